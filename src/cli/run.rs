//! `advertisex run`.

use std::time::Duration;

use super::args;
use super::launch::stop_on_signal;
use crate::config::Config;
use crate::runtime::live::{self, Options};

/// Runs live until it is told to end.
pub fn run(args: &args::Run) -> anyhow::Result<()> {
    let config = Config::load(Some(&args.config))?;
    let options = Options {
        job: args.job.clone(),
        state: args.state.clone(),
        from_archive: args.from_archive.clone(),
        cluster: args.processes.cluster(workers(args.workers, &config), &config)?,
        epoch: Duration::from_millis(args.epoch_ms),
        until_idle: args.until_idle_ms.map(Duration::from_millis),
        stop: stop_on_signal(&args.processes)?,
    };
    Ok(live::run(&config, &options)?)
}

/// How many workers are asked for, here or in the config; 0 is one per core.
pub fn workers(asked: Option<usize>, config: &Config) -> usize {
    match asked.unwrap_or(config.replay.workers) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}
