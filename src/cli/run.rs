//! `advertisex run`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::args;
use crate::config::Config;
use crate::runtime::live::{self, Options};

/// Runs live until it is told to end.
pub fn run(args: &args::Run) -> anyhow::Result<()> {
    let config = Config::load(Some(&args.config))?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed))?;
    let workers = match args.workers.unwrap_or(config.replay.workers) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let options = Options {
        job: args.job.clone(),
        state: args.state.clone(),
        workers,
        epoch: Duration::from_millis(args.epoch_ms),
        until_idle: args.until_idle_ms.map(Duration::from_millis),
        stop,
    };
    Ok(live::run(&config, &options)?)
}
