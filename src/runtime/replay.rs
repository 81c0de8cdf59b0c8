//! History through the graphs: every file of a directory in, every table out.
//!
//! Each worker takes the next split of the input, decodes it and feeds what it decodes into its
//! own inputs; the dataflow carries records to the workers their keys belong to. The result does
//! not depend on who read what, nor on how the input is cut into epochs.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dataflows::model::lookups::LookupRow;
use timely::worker::Worker;

use super::history::{History, HistoryError};
use super::job::{Counts, Job, TimeRange};
use super::progress::{Progress, watch};
use super::publish::{Publication, Totals};
use super::report::{Imbalance, RunReport, feeds};
use super::top::CampaignTotals;
use crate::checkpoint::RejectCount;
use crate::config::Config;
use crate::formats::{Batch, Reject};
use crate::names::Names;
use crate::sinks::directory::{DirectoryError, PendingDirectory};
use crate::sinks::table_file::{PublishError, TableFormat};
use crate::sources::files::{SourceError, Split, SplitReader};
use crate::sources::lookups::{self, LookupError};

/// Events decoded at a time.
const BATCH_EVENTS: usize = 8192;

/// What to replay, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of feeds.
    pub input: PathBuf,
    /// The directory of lookup tables; an archive may hold some of its own, which then don't count.
    pub lookups: Option<PathBuf>,
    /// A file of attribution rules beside those of the lookup tables.
    pub rules: Option<PathBuf>,
    /// Where the tables go.
    pub output: PathBuf,
    /// The format of the tables.
    pub format: TableFormat,
    /// Worker threads.
    pub workers: usize,
    /// Events a worker reads before it closes an epoch; 0: all in one epoch.
    pub epoch_events: usize,
    /// Which event times to read.
    pub range: TimeRange,
    /// Replace what is at `output`.
    pub force: bool,
    /// Show no progress.
    pub quiet: bool,
}

/// Why a replay failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The output directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A lookup table.
    #[error(transparent)]
    Lookups(#[from] LookupError),
    /// The input.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] crate::archive::ArchiveError),
    /// There are no lookup tables.
    #[error("no lookup tables: name their directory with --lookups; {0} holds none of its own")]
    NoLookups(PathBuf),
    /// The tables.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The numbers don't add up.
    #[error(transparent)]
    Imbalance(#[from] Imbalance),
    /// A file of the output.
    #[error("can't write {file}; is the disk full?")]
    Output {
        /// The file.
        file: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A worker thread ended unexpectedly.
    #[error("a worker failed: {0}")]
    Worker(String),
}

impl From<HistoryError> for ReplayError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Source(error) => error.into(),
            HistoryError::Archive(error) => error.into(),
        }
    }
}

/// A finished replay.
#[derive(Debug)]
pub struct Replayed {
    /// What `run.json` says.
    pub report: RunReport,
    /// The campaigns with the largest spend.
    pub top: Vec<CampaignTotals>,
    /// Where the tables are.
    pub output: PathBuf,
}

/// What the workers share.
struct Shared {
    splits: Mutex<VecDeque<Split>>,
    config: Config,
    names: Arc<Names>,
    lookups: Vec<LookupRow>,
    rejected: Vec<RejectCount>,
    rejects: Mutex<BufWriter<File>>,
    progress: Progress,
    publication: Publication,
    epoch_events: usize,
    range: TimeRange,
    failure: Mutex<Option<ReplayError>>,
}

impl Shared {
    fn fail(&self, error: ReplayError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.progress.failed.store(true, Relaxed);
    }

    fn has_failed(&self) -> bool {
        self.progress.failed.load(Relaxed)
    }
}

/// Replays what `options` say.
pub fn replay(config: &Config, options: &Options) -> Result<Replayed, ReplayError> {
    let started = Instant::now();
    let directory = PendingDirectory::new(&options.output, options.force)?;
    let names = Arc::new(Names::default());
    let history = History::find(&options.input, &config.sources, &options.range)?;
    let mut rows = match &options.lookups {
        Some(lookups) => lookups::load(lookups, &names)?,
        None if history.lookups.is_empty() => return Err(ReplayError::NoLookups(options.input.clone())),
        None => history.lookups,
    };
    if let Some(rules) = &options.rules {
        rows.extend(lookups::load_rules(rules, &names)?);
    }
    let (file_count, skipped, splits) = (history.files, history.skipped, history.splits);
    let input_bytes = splits.iter().map(|split| split.bytes).sum();
    let shared = Arc::new(Shared {
        splits: Mutex::new(splits.into()),
        config: config.clone(),
        names: Arc::clone(&names),
        lookups: rows,
        rejected: history.rejected,
        rejects: Mutex::new(BufWriter::new(directory.create("rejects.jsonl")?)),
        progress: Progress::default(),
        publication: Publication::new(&directory, options.format, &names, options.workers)?,
        epoch_events: options.epoch_events,
        range: options.range,
        failure: Mutex::new(None),
    });
    let (counts, totals) = run_workers(&shared, options, input_bytes)?;

    let feeds = feeds(&totals.quality, &counts)?;
    let tables = shared.publication.finish()?;
    let mut report = RunReport::new(options.workers, (file_count, input_bytes), feeds, &counts, tables);
    let mut rejects = shared.rejects.lock().unwrap_or_else(PoisonError::into_inner);
    rejects.flush().map_err(|source| ReplayError::Output { file: "rejects.jsonl", source })?;

    (report.files_skipped, report.row_groups_skipped) = (skipped.files, skipped.row_groups);
    report.took(started.elapsed());
    write_report(&directory, &report)?;
    Ok(Replayed { report, top: totals.campaigns.largest(&names), output: directory.publish()? })
}

/// Writes `run.json`.
pub(super) fn write_report(directory: &PendingDirectory, report: &RunReport) -> Result<(), ReplayError> {
    let fail = |source| ReplayError::Output { file: "run.json", source };
    let mut file = directory.create("run.json")?;
    serde_json::to_writer_pretty(&mut file, report).map_err(|error| fail(error.into()))?;
    file.write_all(b"\n").map_err(fail)
}

fn run_workers(
    shared: &Arc<Shared>,
    options: &Options,
    input_bytes: u64,
) -> Result<(Counts, Totals), ReplayError> {
    let theirs = Arc::clone(shared);
    let guards = timely::execute(timely::Config::process(options.workers), move |worker| {
        let result = work(worker, &theirs);
        result.unwrap_or_else(|error| {
            theirs.fail(error);
            Default::default()
        })
    })
    .map_err(ReplayError::Worker)?;
    let results = std::thread::scope(|scope| {
        let quiet = options.quiet;
        let watcher = scope.spawn(move || watch(&shared.progress, input_bytes, "replay", quiet));
        let results = guards.join();
        shared.progress.done.store(true, Relaxed);
        watcher.thread().unpark();
        results
    });
    let mut counts = Counts::default();
    let mut totals = Totals::default();
    for result in results {
        let (counted, totalled) = result.map_err(ReplayError::Worker)?;
        counts.add(&counted);
        totals.add(totalled);
    }
    match shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) => Err(error),
        None => Ok((counts, totals)),
    }
}

/// One worker: reads until no split is left, waits for the tables, then publishes its part of them.
fn work(worker: &mut Worker, shared: &Shared) -> Result<(Counts, Totals), ReplayError> {
    let mut job = Job::new(worker, &shared.lookups);
    let mut batch = Batch::default();
    let mut in_epoch = 0;
    if worker.index() == 0 {
        shared.rejected.iter().for_each(|count| job.receive_rejects(*count));
    }
    while let Some(split) = next_split(shared) {
        let mut reader = SplitReader::open(split, &shared.config.sources, Arc::clone(&shared.names));
        loop {
            batch.clear();
            let more = reader.read(&mut batch, BATCH_EVENTS)?;
            take(&mut job, &mut batch, shared)?;
            in_epoch += batch.events();
            worker.step();
            if shared.epoch_events > 0 && in_epoch >= shared.epoch_events {
                in_epoch = 0;
                job.advance_to(job.epoch() + 1);
                job.catch_up(worker, || shared.has_failed());
            }
            if !more || shared.has_failed() {
                break;
            }
        }
    }
    let counts = job.counts().clone();
    let totals = job.finish(worker, &shared.publication, || shared.has_failed())?;
    Ok((counts, totals))
}

fn next_split(shared: &Shared) -> Option<Split> {
    let mut splits = shared.splits.lock().unwrap_or_else(PoisonError::into_inner);
    splits.pop_front().filter(|_| !shared.has_failed())
}

fn take(job: &mut Job, batch: &mut Batch, shared: &Shared) -> Result<(), ReplayError> {
    shared.progress.bytes.fetch_add(batch.bytes, Relaxed);
    shared.range.retain(batch);
    shared.progress.events.fetch_add(batch.events() as u64, Relaxed);
    job.feed(batch);
    if batch.rejects.is_empty() {
        return Ok(());
    }
    let mut out = shared.rejects.lock().unwrap_or_else(PoisonError::into_inner);
    write_rejects(&batch.rejects, &mut *out)
}

/// Writes rejects, one JSON object a line.
pub(super) fn write_rejects(rejects: &[Reject], out: &mut impl Write) -> Result<(), ReplayError> {
    let fail = |source| ReplayError::Output { file: "rejects.jsonl", source };
    for reject in rejects {
        serde_json::to_writer(&mut *out, reject).map_err(|error| fail(error.into()))?;
        out.write_all(b"\n").map_err(fail)?;
    }
    Ok(())
}
