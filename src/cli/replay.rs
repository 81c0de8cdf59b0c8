//! `advertisex replay`.

use anyhow::Context;
use dataflows::model::time::{EventTime, Millis};

use super::launch::stop_on_signal;
use super::{args, show};
use crate::config::Config;
use crate::runtime::generation::{self, Regenerated, regenerate};
use crate::runtime::job::TimeRange;
use crate::runtime::output::Output;
use crate::runtime::replay::{Options, Replayed, replay};

/// Replays, and says what came of it.
pub fn run(args: &args::Replay) -> anyhow::Result<()> {
    let config = Config::load(args.config.as_deref())?;
    let options = Options {
        input: args.input.clone(),
        lookups: args.lookups.clone(),
        rules: args.rules.clone(),
        cluster: args.processes.cluster(super::run::workers(args.workers, &config), &config)?,
        epoch_events: args.epoch_events.unwrap_or(config.replay.epoch_events),
        range: TimeRange {
            since: args.since.map(event_time).transpose()?,
            until: args.until.map(event_time).transpose()?,
        },
        horizon: horizon(args, &config)?,
        quiet: args.quiet,
        stop: stop_on_signal(&args.processes)?,
    };
    let Some(path) = &args.output else { return into_clickhouse(args, &config, &options) };
    let output = Output::Directory { path: path.clone(), format: args.format, force: args.force };
    // Among several processes, the first one speaks for all.
    let Some(done) = replay(&config, &options, &output)?.filter(|_| !args.quiet) else { return Ok(()) };
    tell(&done)?;
    show::line(&format!("tables, rejects and run.json are in {}", path.display()))
}

/// Replaces the published tables, and says by what.
fn into_clickhouse(args: &args::Replay, config: &Config, options: &Options) -> anyhow::Result<()> {
    let replaced = generation::Options { job: args.job.clone(), force: args.force };
    let done = regenerate(config, options, &replaced)?.filter(|_| !args.quiet);
    let Some(Regenerated { replayed, swapped }) = done else { return Ok(()) };
    tell(&replayed)?;
    let tables = &replayed.report.tables;
    let rows = tables
        .iter()
        .map(|table| vec![table.table.to_owned(), show::count(table.rows), table.digest.clone()]);
    show::line(&show::table(&["table", "rows", "digest"], rows))?;
    show::line(&format!(
        "generation {} is published: {} tables as of epoch {}, exchanged in {:.0} ms; start the live run again",
        swapped.number,
        tables.len(),
        swapped.epoch,
        swapped.took.as_secs_f64() * 1e3
    ))
}

/// How long windows can be corrected, if there is to be a horizon.
fn horizon(args: &args::Replay, config: &Config) -> anyhow::Result<Option<Millis>> {
    match args.horizon {
        None => Ok(None),
        Some(Some(asked)) => Ok(Some(asked)),
        Some(None) => config.time.terms.correction.map(Some).context(
            "time.correction_horizon_hours is 0, which means for ever; say how long with --horizon, as in \
             --horizon 35d",
        ),
    }
}

fn tell(done: &Replayed) -> anyhow::Result<()> {
    show::line(&show::feeds(&done.report))?;
    show::line(&show::campaigns(&done.top))?;
    show::line(&show::closing(&done.report))
}

fn event_time(at: jiff::Timestamp) -> anyhow::Result<EventTime> {
    EventTime::from_millis(at.as_millisecond()).with_context(|| format!("{at} is not within 1970 to 9999"))
}
