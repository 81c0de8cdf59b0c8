//! `advertisex replay`.

use std::num::NonZero;

use anyhow::Context;
use dataflows::model::time::EventTime;

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
        workers: match args.workers.unwrap_or(config.replay.workers) {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get),
            workers => workers,
        },
        epoch_events: args.epoch_events.unwrap_or(config.replay.epoch_events),
        range: TimeRange {
            since: args.since.map(event_time).transpose()?,
            until: args.until.map(event_time).transpose()?,
        },
        force: args.force,
        quiet: args.quiet,
    };
    let done = replay(&config, &options)?;
    if args.quiet {
        return Ok(());
    }
    show::line(&show::feeds(&done.report))?;
    show::line(&show::campaigns(&done.top))?;
    show::line(&show::closing(&done.report))?;
    show::line(&format!("tables, rejects.jsonl and run.json are in {}", done.output.display()))
}

fn event_time(at: jiff::Timestamp) -> anyhow::Result<EventTime> {
    EventTime::from_millis(at.as_millisecond()).with_context(|| format!("{at} is not within 1970 to 9999"))
}
