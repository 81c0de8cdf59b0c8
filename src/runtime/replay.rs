//! History through the graphs: every file of a directory in, every table out.
//!
//! Each worker takes the next split of the input, decodes it and feeds what it decodes into its
//! own inputs; the dataflow carries records to the workers their keys belong to. The result does
//! not depend on who read what, nor on how the input is cut into epochs. Several processes share out
//! the splits, and each writes its part of every table.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dataflows::graphs::residue::Residue;
use dataflows::model::lookups::LookupRow;
use dataflows::model::time::Millis;
use dataflows::rules::horizon::Terms;
use timely::worker::Worker;

use super::aging::read_in_rounds;
use super::cluster::{Cluster, ClusterError, Connected, Links, Lost};
use super::filling::agree;
use super::frozen::{FreezeError, Frozen};
use super::generation::Refusal;
use super::history::{History, HistoryError};
use super::job::{Counts, Job, TimeRange};
use super::output::Output;
use super::progress::{Progress, watch};
use super::publish::Publication;
use super::report::{HorizonReport, Imbalance, RunReport};
use super::rounds::{Dated, Desk, Rounds};
use super::settle::{Settlement, settle};
use super::telling::Neighbours;
use super::top::CampaignTotals;
use crate::checkpoint::RejectCount;
use crate::config::Config;
use crate::formats::{Batch, Reject};
use crate::names::{Collision, Names};
use crate::sinks::clickhouse::{ClickHouseError, Staging};
use crate::sinks::directory::{DirectoryError, PendingDirectory};
use crate::sinks::table_file::PublishError;
use crate::sources::files::{SourceError, Split, SplitReader};
use crate::sources::lookups::{self, LookupError};
use crate::store::Place;

/// Events decoded at a time.
pub(super) const BATCH_EVENTS: usize = 8192;

/// What to replay.
#[derive(Clone, Debug)]
pub struct Options {
    /// An archive, or the directory of feeds.
    pub input: Place,
    /// The directory of lookup tables; an archive may hold some of its own, which then don't count.
    pub lookups: Option<PathBuf>,
    /// A file of attribution rules beside those of the lookup tables.
    pub rules: Option<PathBuf>,
    /// The processes, and their workers.
    pub cluster: Cluster,
    /// Events a worker reads before it closes an epoch; 0: all in one epoch.
    pub epoch_events: usize,
    /// Which event times to read.
    pub range: TimeRange,
    /// For how long a window can be corrected, past its end; none: for ever, and nothing expires.
    pub horizon: Option<Millis>,
    /// Show no progress.
    pub quiet: bool,
    /// Set from outside to give up.
    pub stop: Arc<AtomicBool>,
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
    NoLookups(Place),
    /// There is no archive in a bucket.
    #[error(transparent)]
    NoArchive(HistoryError),
    /// The tables.
    #[error(transparent)]
    Publish(PublishError),
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
    /// Two names share a key.
    #[error(transparent)]
    Names(#[from] Collision),
    /// A horizon is decided on in one process.
    #[error("--horizon works in one process: leave out --hosts and --processes, and use --workers")]
    HorizonAmong,
    /// What has frozen.
    #[error(transparent)]
    Freeze(#[from] FreezeError),
    /// The processes did not come together.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A process was lost on the way.
    #[error("{0}; nothing was published")]
    Lost(Lost),
    /// What would be lost by putting the tables in place.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// ClickHouse, when the tables were to be put in place.
    #[error(transparent)]
    Exchange(Box<ClickHouseError>),
    /// It was told to give up.
    #[error("stopped; nothing was published")]
    Stopped,
    /// A worker thread ended unexpectedly.
    #[error("a worker failed: {0}")]
    Worker(String),
}

impl From<PublishError> for ReplayError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::ClickHouse(ClickHouseError::Stopped) => Self::Stopped,
            error => Self::Publish(error),
        }
    }
}

impl From<HistoryError> for ReplayError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Source(error) => error.into(),
            HistoryError::Archive(error) => error.into(),
            error @ HistoryError::NoArchive(_) => Self::NoArchive(error),
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
}

/// What the workers of this process share.
pub(super) struct Shared {
    splits: Mutex<VecDeque<Split>>,
    /// With a horizon the input is read in these instead.
    rounds: Option<Rounds>,
    /// Where rows may wait on disk.
    pub scratch: PathBuf,
    /// How long what this process reads is.
    bytes: u64,
    config: Config,
    pub names: Arc<Names>,
    lookups: Vec<LookupRow>,
    residues: Vec<Residue>,
    rejected: Vec<RejectCount>,
    pub rejects: Mutex<Box<dyn Write + Send>>,
    progress: Progress,
    pub publication: Publication,
    /// Where rows are written in ClickHouse; tables in files have a place of each process's own.
    staging: Option<Arc<Staging>>,
    epoch_events: usize,
    range: TimeRange,
    horizon: Option<Millis>,
    pub links: Arc<Links>,
    pub settlement: Settlement,
    stop: Arc<AtomicBool>,
    failure: Mutex<Option<ReplayError>>,
}

impl Shared {
    fn fail(&self, error: ReplayError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.progress.failed.store(true, Relaxed);
        self.links.abandon();
    }

    /// What the horizon came to, if there is one.
    pub fn horizon_report(&self, counts: &Counts) -> Option<HorizonReport> {
        let (correction, rounds) = (self.horizon?, self.rounds.as_ref()?);
        let [events, expired] = [counts.kinds, counts.expired].map(|kinds| kinds.iter().sum::<u64>());
        Some(HorizonReport {
            correction_ms: correction.0,
            frozen_before: rounds.horizon().freeze.millis(),
            events_expired: expired,
            events_held: events - expired,
            state_rows_max: counts.state_rows_max,
        })
    }

    pub fn has_failed(&self) -> bool {
        if self.stop.load(Relaxed) && !self.settlement.is_over() {
            self.fail(ReplayError::Stopped);
        }
        self.progress.failed.load(Relaxed) || self.links.is_over()
    }
}

/// Replays what `options` say into `output`. Of several processes, the first one says what was done.
pub fn replay(config: &Config, options: &Options, output: &Output) -> Result<Option<Replayed>, ReplayError> {
    let started = Instant::now();
    let cluster = &options.cluster;
    if options.horizon.is_some() && !cluster.is_alone() {
        return Err(ReplayError::HorizonAmong);
    }
    output.check()?;
    let mut names = Names::default();
    if !cluster.is_alone() {
        names = names.shared(cluster.workers());
    }
    let names = Arc::new(names);
    let history = History::find(&options.input, config, &options.range)?;
    let mut rows = match &options.lookups {
        Some(lookups) => lookups::load(lookups, &names)?,
        None if history.lookups.is_empty() => return Err(ReplayError::NoLookups(options.input.clone())),
        None => history.lookups,
    };
    if let Some(rules) = &options.rules {
        rows.extend(lookups::load_rules(rules, &names)?);
    }
    history.residues.restore(&names)?;
    // Every process has read the lookups and the residues.
    names.all_know();
    let (skipped, splits) = (history.skipped, history.splits);
    let input = (history.files, splits.iter().map(|split| split.bytes).sum());

    let connected =
        cluster.connect(&purpose((options, output.kind()), &rows, input), &|| options.stop.load(Relaxed))?;
    let part = (!cluster.is_alone()).then(|| (connected.run(), cluster.process()));
    let opened = output.open(part)?;
    let mut own = deal(splits, cluster.processes()).swap_remove(cluster.process());
    let (mut rejected, bytes) = (history.rejected, own.iter().map(|split| split.bytes).sum());
    let rounds = options.horizon.map(|correction| {
        let hour = |split: &Split| history.hours.get(&split.file.name).copied();
        let dated = own.drain(..).map(|split| Dated { hour: hour(&split), split }).collect();
        let terms = Terms { correction: Some(correction), ..config.time.terms };
        let desk = Desk { sources: config.sources.clone(), names: Arc::clone(&names) };
        let input = (dated, std::mem::take(&mut rejected));
        Rounds::new(input, &rows, terms, desk, cluster.workers())
    });
    let shared = Arc::new(Shared {
        splits: Mutex::new(own.into()),
        rounds,
        scratch: opened.scratch(),
        bytes,
        config: config.clone(),
        names: Arc::clone(&names),
        lookups: rows,
        residues: history.residues.residues,
        rejected,
        rejects: Mutex::new(opened.rejects()?),
        progress: Progress::default(),
        publication: Publication::new(opened.place(), &names, cluster.workers())?,
        staging: opened.staging().filter(|_| !cluster.is_alone()),
        epoch_events: options.epoch_events,
        range: options.range,
        horizon: options.horizon,
        links: Arc::clone(connected.links()),
        settlement: Settlement::new(cluster, opened, (input, skipped), started),
        stop: Arc::clone(&options.stop),
        failure: Mutex::new(None),
    });
    run_workers(&shared, connected, options)?;
    Ok(shared.settlement.replayed())
}

/// What all processes of a replay have in common.
fn purpose(
    (options, output): (&Options, String),
    rows: &[LookupRow],
    (files, bytes): (usize, u64),
) -> String {
    let Options { range, epoch_events, .. } = options;
    format!("replay {files} {bytes} {range:?} {epoch_events} {output} {rows:?}")
}

/// Deals splits out to processes, so that each has about as much to read.
fn deal(splits: Vec<Split>, processes: usize) -> Vec<Vec<Split>> {
    let mut hands: Vec<(u64, Vec<Split>)> = (0..processes).map(|_| (0, Vec::new())).collect();
    for split in splits {
        if let Some((bytes, hand)) = hands.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            *bytes += split.bytes.max(1);
            hand.push(split);
        }
    }
    hands.into_iter().map(|(_, hand)| hand).collect()
}

/// Writes `run.json`.
pub(super) fn write_report(directory: &PendingDirectory, report: &RunReport) -> Result<(), ReplayError> {
    let fail = |source| ReplayError::Output { file: "run.json", source };
    let mut file = directory.create_whole("run.json")?;
    serde_json::to_writer_pretty(&mut file, report).map_err(|error| fail(error.into()))?;
    file.write_all(b"\n").map_err(fail)
}

fn run_workers(shared: &Arc<Shared>, connected: Connected, options: &Options) -> Result<(), ReplayError> {
    let theirs = Arc::clone(shared);
    let team = connected.execute(timely::WorkerConfig::default(), move |worker| {
        let done = work(worker, &theirs);
        done.unwrap_or_else(|error| theirs.fail(error));
    })?;
    let results = std::thread::scope(|scope| {
        let quiet = options.quiet || !options.cluster.is_first();
        let watcher = scope.spawn(move || watch(&shared.progress, shared.bytes, "replay", quiet));
        let results = team.join();
        shared.progress.done.store(true, Relaxed);
        watcher.thread().unpark();
        results
    });
    if let Some(error) = shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    results.into_iter().collect::<Result<(), _>>().map_err(ReplayError::Worker)?;
    // Once it is settled, others may go as they like.
    match shared.links.lost().filter(|_| !shared.settlement.is_over()) {
        Some(lost) => Err(ReplayError::Lost(lost)),
        None => Ok(()),
    }
}

/// One worker: reads until no split is left, waits for the tables, publishes its part of them, then
/// settles with the other processes.
fn work(worker: &mut Worker, shared: &Arc<Shared>) -> Result<(), ReplayError> {
    if let Some(staging) = &shared.staging {
        agree(worker, staging, shared);
    }
    let failing = Arc::clone(shared);
    let neighbours = Neighbours {
        names: Arc::clone(&shared.names),
        workers: shared.publication.workers(),
        collided: Arc::new(move |collision| failing.fail(collision.into())),
    };
    let mut job = match &shared.rounds {
        None => Job::among(worker, &shared.lookups, &neighbours),
        Some(_) => Job::expiring(worker, &shared.lookups, &neighbours),
    };
    if worker.index() == 0 {
        shared.residues.iter().for_each(|residue| job.add_residue(*residue));
    }
    let frozen = match &shared.rounds {
        None => read_at_once(worker, &mut job, shared).map(|()| Frozen::none())?,
        Some(rounds) => read_in_rounds(worker, &mut job, rounds, shared)?,
    };
    let counts = job.counts().clone();
    let totals = job.finish(worker, &shared.publication, frozen, || shared.has_failed())?;
    settle(worker, shared, counts, totals)
}

/// Reads until no split is left, epoch by epoch if that is asked for.
fn read_at_once(worker: &mut Worker, job: &mut Job, shared: &Shared) -> Result<(), ReplayError> {
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
            take(job, &mut batch, shared)?;
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
    Ok(())
}

fn next_split(shared: &Shared) -> Option<Split> {
    let mut splits = shared.splits.lock().unwrap_or_else(PoisonError::into_inner);
    splits.pop_front().filter(|_| !shared.has_failed())
}

/// Takes a batch into the job, but for what lies outside of the range of times.
pub(super) fn take(job: &mut Job, batch: &mut Batch, shared: &Shared) -> Result<(), ReplayError> {
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
