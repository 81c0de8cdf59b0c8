//! Live: from Kafka through the graphs into ClickHouse, exactly once.
//!
//! ```text
//!   Kafka ─▶ workers: read into epochs ─▶ graphs ─▶ what changed ─▶ publisher ─▶ ClickHouse
//!                 │                                                  ▲
//!                 └─▶ binding log: epoch = offsets, on disk ─────────┘ nothing leaves before
//! ```
//!
//! A run that starts finds in ClickHouse up to which epoch everything is published, in the last
//! checkpoint what was read up to some epoch before that, and in the binding log what each epoch
//! since was made of. It reads the same offsets into the same epochs again:
//! what was published is only rebuilt, what was not is published, once more perhaps, with the
//! versions it had. A version replaces a lesser one, so nothing is lost and nothing counted twice.

mod archiving;
mod binder;
mod boundaries;
pub mod demo;
mod expiring;
mod following;
mod gauges;
mod handover;
mod hub;
mod worker;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dataflows::model::time::Epoch;

use self::binder::{Binder, Opened, Past};
use self::hub::Hub;
use self::worker::LiveWorker;
use crate::archive::{Archive, ArchiveError, Archiver, Shard};
use crate::bindings::{Binding, Bindings, BindingsError, Positions, Range, TopicPartition};
use crate::checkpoint::{CheckpointError, Checkpointer, Plan, Recovery};
use crate::config::{Config, KafkaConfig};
use crate::names::{Names, SharedNames};
use crate::runtime::archives;
use crate::sinks::clickhouse::{ClickHouse, ClickHouseError, Health, Publisher, Writer};
use crate::sinks::topic::{Topic, TopicError};
use crate::sources::kafka::{KafkaSourceError, Registry};
use crate::store::{Place, Store};
use crate::telemetry::{Server, ServerError, Telemetry};

/// How a live run is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's name: its frontier and binding log are kept under it.
    pub job: String,
    /// Where the binding log lies.
    pub state: PathBuf,
    /// The archive that an empty state begins with.
    pub from_archive: Option<PathBuf>,
    /// Worker threads.
    pub workers: usize,
    /// The time from one epoch to the next.
    pub epoch: Duration,
    /// End once nothing has arrived for this long and everything is published.
    pub until_idle: Option<Duration>,
    /// Set from outside to end the run.
    pub stop: Arc<std::sync::atomic::AtomicBool>,
}

/// Why a live run ended.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The configuration names no Kafka.
    #[error("the configuration has no kafka.bootstrap_servers, so there is nothing to read; set it")]
    NoKafka,
    /// The state directory.
    #[error("can't make the state directory {path}")]
    State {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// ClickHouse has published what this directory's binding log does not know.
    #[error(
        "ClickHouse holds epoch {published} of job {job:?}, but the binding log in {path} ends before; \
         use the log that belongs to it, or another job name and database"
    )]
    ForeignLog {
        /// The job.
        job: String,
        /// The frontier in ClickHouse.
        published: Epoch,
        /// The state directory.
        path: PathBuf,
    },
    /// The binding log.
    #[error(transparent)]
    Bindings(#[from] BindingsError),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaSourceError),
    /// ClickHouse.
    #[error(transparent)]
    ClickHouse(#[from] ClickHouseError),
    /// The topic of rejects.
    #[error(transparent)]
    Rejects(#[from] TopicError),
    /// Publishing met a fault that no waiting mends.
    #[error("publishing to ClickHouse has ended: {reason}")]
    Publishing {
        /// Which.
        reason: String,
    },
    /// The numbers don't add up.
    #[error(
        "{feed}, minute {minute} (epoch milliseconds): received is not accepted + duplicate + rejected; \
         nothing of this epoch was published, please report this"
    )]
    Imbalance {
        /// The feed.
        feed: &'static str,
        /// The minute.
        minute: i64,
    },
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is no archive to begin with.
    #[error("{path} is no archive: it holds no manifest")]
    NoArchive {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The archive was begun late.
    #[error(
        "the archive in {path} lacks what was read up to epoch {begins}, before there was an archive: the \
         tables would lack it, too; start from Kafka, or from a checkpoint"
    )]
    PartOfArchive {
        /// Where it is.
        path: PathBuf,
        /// Where it begins.
        begins: Epoch,
    },
    /// A file of the archive isn't what was written.
    #[error("{path}: {hint}; restore the file from a copy")]
    ArchiveFile {
        /// Which.
        path: String,
        /// What is wrong.
        hint: String,
    },
    /// The input of a hand-over.
    #[error(transparent)]
    Source(#[from] crate::sources::files::SourceError),
    /// There is something in ClickHouse already.
    #[error(
        "ClickHouse holds epoch {published} of job {job:?}, so a hand-over from an archive could not tell what \
         is old there; name an empty database, or another job"
    )]
    NotEmpty {
        /// The job.
        job: String,
        /// The frontier in ClickHouse.
        published: Epoch,
    },
    /// ClickHouse is behind the checkpoint.
    #[error(
        "the checkpoint in {place} goes up to epoch {checkpoint} of job {job:?}, but ClickHouse holds only \
         {published}; restore the database that belongs to it, or start with another job name and state"
    )]
    Behind {
        /// The job.
        job: String,
        /// The frontier in ClickHouse.
        published: Epoch,
        /// The checkpoint's epoch.
        checkpoint: Epoch,
        /// Where it lies.
        place: String,
    },
    /// The binding log does not continue the checkpoint.
    #[error(
        "the binding log in {path} does not continue the checkpoint of epoch {checkpoint}: {what}; both must \
         be of one run, restore them together"
    )]
    Torn {
        /// The state directory.
        path: PathBuf,
        /// The checkpoint's epoch.
        checkpoint: Epoch,
        /// Where the gap is.
        what: String,
    },
    /// A lookup topic was taken out of the configuration.
    #[error(
        "the checkpoint holds rows of the lookup topic {topic}, which the configuration does not name any \
         more; empty the topic first, or start with another job name and state"
    )]
    NoLookup {
        /// The topic.
        topic: String,
    },
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] ServerError),
    /// A thread could not be started.
    #[error("can't start a thread")]
    Thread(#[source] std::io::Error),
    /// A worker thread ended unexpectedly.
    #[error("a worker failed: {0}")]
    Worker(String),
}

/// What the workers share.
struct Shared {
    kafka: KafkaConfig,
    registry: Option<Arc<Registry>>,
    names: SharedNames,
    store: Arc<Store>,
    recovery: Recovery,
    checkpointer: Checkpointer,
    archiver: Option<Archiver>,
    /// Held for as long as the archive is written to.
    _archive_lock: Option<std::fs::File>,
    /// What was bound since the checkpoint, and where reading goes on behind it.
    history: Vec<Binding>,
    positions: Positions,
    /// Everything up to here was published before this start.
    published: Epoch,
    /// The first epoch of this start.
    first: Opened,
    binder: Binder,
    hub: Hub,
    emission: Duration,
    /// After how long at its end a partition no longer holds the watermark back.
    idle_timeout: Duration,
    started: Instant,
    /// When something arrived last, in milliseconds since the start.
    touched: AtomicU64,
    telemetry: Arc<Telemetry>,
    stop: Arc<std::sync::atomic::AtomicBool>,
    failure: Mutex<Option<LiveError>>,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn fail(&self, error: LiveError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.store(true, Relaxed);
    }

    /// Tells the checkpoints what is published, and the binding log what it may forget.
    fn checkpoint(&self) -> Result<(), LiveError> {
        self.note_published();
        let (watermark, horizon) = self.binder.horizon();
        self.telemetry.horizon(watermark, horizon.freeze);
        self.checkpointer.written().into_iter().for_each(|written| self.telemetry.checkpoint(written));
        self.binder.forget(self.checkpointer.safe())?;
        if let Some(error) = self.archiver.as_ref().and_then(Archiver::failure) {
            return Err(error.into());
        }
        self.checkpointer.failure().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Tells archive and checkpoints what is published.
    fn note_published(&self) {
        let published = self.hub.publisher().published();
        published.into_iter().for_each(|epoch| self.telemetry.published(epoch));
        let published = published.unwrap_or(self.published);
        let mut anchored = Epoch::MAX;
        if let Some(archiver) = &self.archiver {
            archiver.published(published);
            anchored = archiver.anchored();
        }
        self.checkpointer.published(published.min(anchored));
    }

    /// Whether nothing has arrived for `quiet` and everything that did is published.
    fn is_idle(&self, quiet: Duration) -> bool {
        let touched = Duration::from_millis(self.touched.load(Relaxed));
        let silent = self.started.elapsed().saturating_sub(touched) >= quiet;
        let all_bound = u128::from(self.binder.bound()) > epoch_of(self.started, touched);
        silent && all_bound && self.hub.publisher().published() >= Some(self.binder.last_bound())
    }
}

/// Where reading goes on behind a checkpoint and the bindings that follow it, which must start where
/// the checkpoint ends; else says where they don't.
fn continued(mut positions: Positions, history: &[Binding]) -> Result<Positions, String> {
    for Range { place, from, to } in history.iter().flat_map(|binding| &binding.ranges) {
        match positions.insert(place.clone(), *to) {
            Some(expected) if expected != *from => {
                let TopicPartition { topic, partition } = place;
                return Err(format!("{topic}/{partition} goes on at {from} instead of {expected}"));
            }
            _ => {}
        }
    }
    Ok(positions)
}

/// The epoch, about, of an instant: epochs are milliseconds since 1970.
fn epoch_of(started: Instant, since: Duration) -> u128 {
    let ago = started.elapsed().saturating_sub(since);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.saturating_sub(ago).as_millis())
}

/// Runs until it is stopped, is idle as the options say, or something fails that no waiting mends.
///
/// # Errors
/// See [`LiveError`]. Brokers or a ClickHouse that are away are waited for, and are no errors.
pub fn run(config: &Config, options: &Options) -> Result<(), LiveError> {
    let kafka = config.kafka.clone().ok_or(LiveError::NoKafka)?;
    let state = |source| LiveError::State { path: options.state.clone(), source };
    std::fs::create_dir_all(&options.state).map_err(state)?;
    let (log, mut history) = Bindings::open(&options.state, &options.job)?;

    let clickhouse = ClickHouse::connect(config.clickhouse.clone())?;
    clickhouse.create_schema()?;
    clickhouse.verify_schema()?;
    let published = clickhouse.frontier(&options.job, 0)?.unwrap_or(0);
    let place = config.checkpoint.place.clone();
    let place = place.unwrap_or_else(|| Place::Directory(options.state.join("checkpoint")));
    let store = Arc::new(Store::open(&place, &config.s3).map_err(CheckpointError::from)?);
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let run = format!("{:x}-{}", started.as_millis(), std::process::id());
    let mut recovery = Recovery::find(&store, &options.job, &run)?;
    if let Some(archive) = &options.from_archive
        && recovery.latest == 0
        && log.last_epoch().is_none()
    {
        if published > 0 {
            return Err(LiveError::NotEmpty { job: options.job.clone(), published });
        }
        handover::import(config, &kafka, archive, &store, (&options.job, &run))?;
        recovery = Recovery::find(&store, &options.job, &run)?;
    }
    let checkpoint = recovery.manifest.epoch;
    // What came from an archive was never published; a start that was killed begins anew with it.
    let unpublished = recovery.manifest.handed_over && published == 0;
    if published > checkpoint && log.last_epoch().is_none() {
        let (job, path) = (options.job.clone(), options.state.clone());
        return Err(LiveError::ForeignLog { job, published, path });
    }
    if published < checkpoint && !unpublished {
        let (job, place) = (options.job.clone(), store.place().to_owned());
        return Err(LiveError::Behind { job, published, checkpoint, place });
    }
    let lookup = |topic: &str| kafka.lookups.iter().any(|lookup| lookup.topic == *topic);
    if let Some((place, _)) = recovery.rows.keys().find(|(place, _)| !lookup(&place.topic)) {
        return Err(LiveError::NoLookup { topic: place.topic.to_string() });
    }
    let torn = |what| LiveError::Torn { path: options.state.clone(), checkpoint, what };
    if log.forgotten() > checkpoint {
        return Err(torn(format!("it has forgotten the epochs up to {} already", log.forgotten())));
    }
    history.retain(|binding| binding.epoch > checkpoint);
    let positions = continued(recovery.manifest.positions(), &history).map_err(torn)?;

    let telemetry = Arc::new(Telemetry::default());
    let names: SharedNames = Arc::new(Names::recording());
    let plan = Plan {
        interval: config.checkpoint.interval,
        segment_bytes_max: config.checkpoint.segment_bytes_max,
        workers: options.workers,
    };
    let archive_lock = archives::lock(&config.archive, false)?;
    clickhouse.finish_swap()?;
    let archiver = start_archive(config, options, &run, checkpoint, &names)?;
    let checkpointer = Checkpointer::start(Arc::clone(&store), &recovery, &run, Arc::clone(&names), plan)?;
    let writer = Writer::new(options.job.clone(), 0);
    let publisher = Publisher::start(clickhouse, writer, Arc::clone(&names)).map_err(LiveError::Thread)?;
    let rejects = kafka.rejects_topic.as_ref().map(|topic| Topic::open(&kafka, topic)).transpose()?;
    let past =
        Past { published: published.max(checkpoint), horizon: recovery.manifest.horizon, history: &history };
    let interval = options.epoch.as_millis() as u64;
    let (binder, first) = Binder::new(log, past, options.workers, interval, config.time.terms);
    let shared = Arc::new(Shared {
        registry: kafka.registry.as_ref().map(|registry| Arc::new(Registry::start(registry))),
        kafka,
        names,
        store,
        recovery,
        checkpointer,
        archiver,
        _archive_lock: archive_lock,
        history,
        positions,
        published,
        first,
        binder,
        hub: Hub::new(publisher, rejects, published, options.workers),
        emission: config.clickhouse.emission_interval,
        idle_timeout: config.time.idle_timeout,
        started: Instant::now(),
        touched: AtomicU64::new(0),
        telemetry: Arc::clone(&telemetry),
        stop: Arc::clone(&options.stop),
        failure: Mutex::new(None),
    });
    tracing::info!(
        job = options.job,
        checkpoint,
        events = shared.recovery.events(),
        bound_epochs = shared.history.len(),
        published,
        "live: reading from Kafka, publishing to ClickHouse"
    );
    let shown = config.metrics.listen.map(|listen| Server::start(listen, telemetry)).transpose()?;
    if let Some(server) = &shown {
        tracing::info!(address = %server.address(), "metrics are shown at /metrics");
    }
    run_workers(&shared, options)
}

/// Takes the archive over, if there is to be one.
fn start_archive(
    config: &Config,
    options: &Options,
    run: &str,
    checkpoint: Epoch,
    names: &SharedNames,
) -> Result<Option<Archiver>, LiveError> {
    let Some((store, cold)) = archives::places(&config.archive)? else { return Ok(None) };
    let found = Archive::find(&store, &options.job, run, Shard::ONLY, checkpoint)?;
    let plan = archives::plan(&config.archive, options.workers);
    Ok(Some(Archiver::start(store, cold, found, run, Arc::clone(names), plan)?))
}

fn run_workers(shared: &Arc<Shared>, options: &Options) -> Result<(), LiveError> {
    let theirs = Arc::clone(shared);
    let mut config = timely::Config::process(options.workers);
    // Kafka and ClickHouse may be on the same cores.
    config.worker = config.worker.idle_spin(Duration::ZERO);
    let guards = timely::execute(config, move |worker| {
        let done = LiveWorker::open(worker, &theirs).and_then(|live| live.run(worker));
        if let Err(error) = done {
            theirs.fail(error);
        }
        // Nobody waits for what a stopped run has not finished: a start goes on from the log.
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    })
    .map_err(LiveError::Worker)?;
    while !shared.is_over() {
        std::thread::sleep(Duration::from_millis(20));
        if options.until_idle.is_some_and(|quiet| shared.is_idle(quiet)) {
            shared.stop.store(true, Relaxed);
        }
        if let Health::Failed { reason } = shared.hub.publisher().health() {
            shared.fail(LiveError::Publishing { reason });
        }
        if let Err(error) = shared.checkpoint() {
            shared.fail(error);
        }
    }
    for result in guards.join() {
        result.map_err(LiveError::Worker)?;
    }
    shared.hub.publisher().stop();
    shared.note_published();
    if let Some(archiver) = &shared.archiver {
        archiver.stop();
    }
    shared.note_published();
    shared.checkpointer.stop();
    shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
}
