//! `advertisex replay`.

use anyhow::Context;
use dataflows::model::time::EventTime;

use super::launch::stop_on_signal;
use super::{args, show};
use crate::config::Config;
use crate::runtime::job::TimeRange;
use crate::runtime::replay::{Options, replay};

/// Replays, and says what came of it.
pub fn run(args: &args::Replay) -> anyhow::Result<()> {
    let config = Config::load(args.config.as_deref())?;
    let options = Options {
        input: args.input.clone(),
        lookups: args.lookups.clone(),
        rules: args.rules.clone(),
        output: args.output.clone(),
        format: args.format,
        cluster: args.processes.cluster(super::run::workers(args.workers, &config), &config)?,
        epoch_events: args.epoch_events.unwrap_or(config.replay.epoch_events),
        range: TimeRange {
            since: args.since.map(event_time).transpose()?,
            until: args.until.map(event_time).transpose()?,
        },
        force: args.force,
        quiet: args.quiet,
        stop: stop_on_signal(&args.processes)?,
    };
    // Among several processes, the first one speaks for all.
    let Some(done) = replay(&config, &options)?.filter(|_| !args.quiet) else { return Ok(()) };
    show::line(&show::feeds(&done.report))?;
    show::line(&show::campaigns(&done.top))?;
    show::line(&show::closing(&done.report))?;
    show::line(&format!("tables, rejects and run.json are in {}", done.output.display()))
}

fn event_time(at: jiff::Timestamp) -> anyhow::Result<EventTime> {
    EventTime::from_millis(at.as_millisecond()).with_context(|| format!("{at} is not within 1970 to 9999"))
}
