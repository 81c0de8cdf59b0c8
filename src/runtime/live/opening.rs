//! How a run is opened: the first process looks where the last run ended, the others are told.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dataflows::model::time::Epoch;

use super::binder::Binder;
use super::coordinator::{Coordinator, Pace, first_epoch};
use super::erasure::MARK;
use super::hub::Hub;
use super::wire::Opening;
use super::{LiveError, Options, Process, Shared, handover, showing};
use crate::archive::{Archive, Archiver, Shard};
use crate::bindings::{Binding, Bindings, Positions, Range, TopicPartition};
use crate::checkpoint::{CheckpointError, Checkpointer, Fence, LEASE, MARGIN, Plan, Recovery, seat};
use crate::config::Config;
use crate::names::{Names, SharedNames};
use crate::runtime::archives;
use crate::sinks::clickhouse::{ClickHouse, ClickHouseError, Fault, FrontierWriter, Publisher, Writer};
use crate::sinks::topic::Topic;
use crate::sources::kafka::Registry;
use crate::store::{Place, Store};

/// How long a start waits for ClickHouse.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// What the first process holds before the others are there: the state directory, locked.
pub struct Head {
    log: Bindings,
    history: Vec<Binding>,
}

impl Head {
    /// Takes the state directory.
    ///
    /// # Errors
    /// Another run holds it, or what lies there is not ours or damaged.
    pub fn take(options: &Options) -> Result<Self, LiveError> {
        let state = |source| LiveError::State { path: options.state.clone(), source };
        std::fs::create_dir_all(&options.state).map_err(state)?;
        let (log, history) = Bindings::open(&options.state, &options.job)?;
        let mark = options.state.join(MARK);
        if mark.exists() {
            return Err(LiveError::Erasing { path: mark });
        }
        Ok(Self { log, history })
    }

    /// The same, as it is by now.
    fn again(self, options: &Options) -> Result<Self, LiveError> {
        drop(self);
        Self::take(options)
    }
}

/// Opens the run, as its first process.
///
/// # Errors
/// See [`LiveError`].
pub fn open(process: &Process, mut head: Head) -> Result<(Opening, Shared, Coordinator), LiveError> {
    let Process { config, options, .. } = process;
    let clickhouse = connect(process)?;
    insist(process, || clickhouse.create_schema())?;
    insist(process, || clickhouse.verify_schema())?;
    let store = store(config, options)?;
    let (run, before) = (run_name(options), Instant::now());
    let recovery = recover(process, &head, &clickhouse, &store, &run)?;
    // What can't be gone on from is left to whoever may still be at it.
    let mut found = find(process, &head, &clickhouse, &recovery)?;

    let names = names(options);
    let archive = archive(config, options, &run, recovery.manifest.epoch, &names)?;
    insist(process, || clickhouse.finish_swap())?;
    let plan = plan(config, options);
    let checkpointer = Checkpointer::start(Arc::clone(&store), &recovery, &run, Arc::clone(&names), plan)?;
    let claim = checkpointer.claim().cloned().unwrap_or_else(|| recovery.manifest.clone());
    let fence = Fence::watch(Arc::clone(&store), &claim, before)?;
    if is_foreign(&recovery, options) {
        // Another run may bind epochs for as long as its lease lasts.
        await_lease(process);
        head = head.again(options)?;
        found = find(process, &head, &clickhouse, &recovery)?;
    }
    let (Head { log, .. }, Found { published, history, positions }) = (head, found);
    let (positions, bound) = (positions.into_iter().collect(), log.last_epoch().unwrap_or(0));
    let first = first_epoch(bound.max(published).max(claim.epoch));
    let opening = Opening { claim, history, positions, published, first };

    let job = || options.job.clone();
    let noting = ClickHouse::new(config.clickhouse.clone())?;
    let frontier =
        FrontierWriter::start(noting, Writer::new(job(), 0), published).map_err(LiveError::Thread)?;
    let pace = Pace {
        epoch: options.epoch,
        emission: config.clickhouse.emission_interval,
        until_idle: options.until_idle,
        terms: config.time.terms,
    };
    let team = (options.cluster.processes(), Arc::clone(&process.telemetry));
    let coordinator = Coordinator::new(&opening, (log, fence), frontier, team, pace);
    tracing::info!(
        job = options.job,
        processes = options.cluster.processes(),
        checkpoint = opening.claim.epoch,
        events = opening.claim.segments.iter().flat_map(|listed| &listed.records[..4]).sum::<u64>(),
        bound_epochs = opening.history.len(),
        published,
        "live: reading from Kafka, publishing to ClickHouse"
    );
    let mut shared = build(process, opening.clone(), clickhouse, (store, names, checkpointer))?;
    (shared._archive_lock, shared.archiver) = archive;
    Ok((opening, shared, coordinator))
}

/// Takes the archive over, if there is to be one: as the first process all of it, else what is this
/// one's.
fn archive(
    config: &Config,
    options: &Options,
    run: &str,
    checkpoint: Epoch,
    names: &SharedNames,
) -> Result<(Option<File>, Option<Archiver>), LiveError> {
    let Some((store, cold)) = archives::places(&config.archive, &config.s3)? else { return Ok((None, None)) };
    let lock = archives::lock(&config.archive, false)?;
    let cluster = &options.cluster;
    let shard = Shard { number: cluster.process() as u32, of: cluster.processes() as u32 };
    let found = Archive::find(&store, &options.job, run, shard, checkpoint)?;
    let plan = archives::plan(&config.archive, cluster.workers());
    Ok((lock, Some(Archiver::start(store, cold, found, run, Arc::clone(names), plan)?)))
}

fn connect(process: &Process) -> Result<ClickHouse, ClickHouseError> {
    insist(process, || ClickHouse::connect(process.config.clickhouse.clone()))
}

/// Tries again for a while: a server that comes back is no reason to end.
fn insist<T>(
    process: &Process,
    mut attempt: impl FnMut() -> Result<T, ClickHouseError>,
) -> Result<T, ClickHouseError> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(error) if error.fault() == Fault::Retry && began.elapsed() < PATIENCE => {
                tracing::warn!(%error, "ClickHouse can't be reached; trying again");
                std::thread::sleep(PAUSE);
            }
            done => return done,
        }
        if process.is_asked_to_stop() {
            return attempt();
        }
    }
}

/// The last checkpoint; where there is none and nothing was published, one that is made of the archive.
fn recover(
    process: &Process,
    head: &Head,
    clickhouse: &ClickHouse,
    store: &Store,
    run: &str,
) -> Result<Recovery, LiveError> {
    let Process { config, options, kafka, .. } = process;
    let job = &options.job;
    let recovery = Recovery::find(store, job, run)?;
    let Some(archive) = &options.from_archive else { return Ok(recovery) };
    if recovery.latest > 0 || head.log.last_epoch().is_some() {
        return Ok(recovery);
    }
    if let Some(published) = published(process, clickhouse)? {
        return Err(LiveError::NotEmpty { job: job.clone(), published });
    }
    handover::import(config, kafka, archive, store, (job, run))?;
    Ok(Recovery::find(store, job, run)?)
}

/// The frontier, if something is published.
fn published(process: &Process, clickhouse: &ClickHouse) -> Result<Option<Epoch>, ClickHouseError> {
    let frontier = insist(process, || clickhouse.frontier(&process.options.job, 0))?;
    Ok(frontier.filter(|epoch| *epoch > 0))
}

/// What was found of the last run.
struct Found {
    published: Epoch,
    /// What was bound since the checkpoint.
    history: Vec<Binding>,
    positions: Positions,
}

fn find(
    process: &Process,
    head: &Head,
    clickhouse: &ClickHouse,
    recovery: &Recovery,
) -> Result<Found, LiveError> {
    let Process { config, options, kafka, .. } = process;
    let published = published(process, clickhouse)?.unwrap_or(0);
    let (checkpoint, job) = (recovery.manifest.epoch, || options.job.clone());
    if published > checkpoint && head.log.last_epoch().is_none() {
        return Err(LiveError::ForeignLog { job: job(), published, path: options.state.clone() });
    }
    // What came from an archive was never published; a start that was killed begins anew with it.
    let unpublished = recovery.manifest.handed_over && published == 0;
    if published < checkpoint && !unpublished {
        let place = place(config, options).to_string();
        return Err(LiveError::Behind { job: job(), published, checkpoint, place });
    }
    let lookup = |topic: &str| kafka.lookups.iter().any(|lookup| lookup.topic == *topic);
    if let Some((place, _)) = recovery.rows.keys().find(|(place, _)| !lookup(&place.topic)) {
        return Err(LiveError::NoLookup { topic: place.topic.to_string() });
    }
    let torn = |what| LiveError::Torn { path: options.state.clone(), checkpoint, what };
    if head.log.forgotten() > checkpoint {
        return Err(torn(format!("it has forgotten the epochs up to {} already", head.log.forgotten())));
    }
    let later = head.history.iter().filter(|binding| binding.epoch > checkpoint);
    let history: Vec<Binding> = later.cloned().collect();
    let positions = continued(recovery.manifest.positions(), &history).map_err(torn)?;
    Ok(Found { published, history, positions })
}

/// Whether the last run may still be alive, for all that the lock on the state directory says.
pub fn is_foreign(recovery: &Recovery, options: &Options) -> bool {
    recovery.latest > 0 && !recovery.manifest.run.ends_with(&seat(&options.state))
}

fn await_lease(process: &Process) {
    let claimed = Instant::now();
    tracing::info!(
        "the last run of this job was on another machine or had its state elsewhere; waiting {} s until it can't \
         be at work any more",
        (LEASE + MARGIN).as_secs()
    );
    while claimed.elapsed() < LEASE + MARGIN && !process.is_asked_to_stop() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Joins the run that the first process has opened.
///
/// # Errors
/// See [`LiveError`].
pub fn join(process: &Process, opening: Opening) -> Result<Shared, LiveError> {
    let Process { config, options, .. } = process;
    let clickhouse = connect(process)?;
    let store = store(config, options)?;
    let names = names(options);
    let (plan, number) = (plan(config, options), options.cluster.process());
    let checkpointer =
        Checkpointer::join(Arc::clone(&store), &opening.claim, number, Arc::clone(&names), plan)?;
    let (run, checkpoint) = (opening.claim.run.clone(), opening.claim.epoch);
    let archive = archive(config, options, &run, checkpoint, &names)?;
    let mut shared = build(process, opening, clickhouse, (store, names, checkpointer))?;
    (shared._archive_lock, shared.archiver) = archive;
    Ok(shared)
}

fn build(
    process: &Process,
    opening: Opening,
    clickhouse: ClickHouse,
    (store, names, checkpointer): (Arc<Store>, SharedNames, Checkpointer),
) -> Result<Shared, LiveError> {
    let Process { config, options, kafka, .. } = process;
    let cluster = &options.cluster;
    let recovery = Recovery::share(&store, &opening.claim, cluster.process(), cluster.processes())?;
    let writer = Writer::of_rows(options.job.clone(), cluster.process() as u32);
    let publisher = Publisher::start(clickhouse, writer, Arc::clone(&names)).map_err(LiveError::Thread)?;
    let rejects = kafka.rejects_topic.as_ref().map(|topic| Topic::open(kafka, topic)).transpose()?;
    let hub = Hub::new(publisher, rejects, opening.published, cluster.workers());
    Ok(Shared {
        registry: kafka.registry.as_ref().map(|registry| Arc::new(Registry::start(registry))),
        store,
        recovery,
        checkpointer,
        archiver: None,
        _archive_lock: None,
        positions: opening.positions.iter().cloned().collect(),
        binder: Binder::new(opening.opened(), cluster.workers()),
        hub: match config.serve.listen {
            Some(_) => hub.showing(),
            None => hub,
        },
        screen: showing::screen(process, &names)?,
        opening,
        names,
    })
}

/// Where checkpoints lie.
pub fn place(config: &Config, options: &Options) -> Place {
    let place = config.checkpoint.place.clone();
    place.unwrap_or_else(|| Place::Directory(options.state.join("checkpoint")))
}

/// Opens the place of checkpoints.
///
/// # Errors
/// See [`LiveError`].
pub fn store(config: &Config, options: &Options) -> Result<Arc<Store>, LiveError> {
    let store = Store::open(&place(config, options), &config.s3).map_err(CheckpointError::from)?;
    Ok(Arc::new(store))
}

fn names(options: &Options) -> SharedNames {
    let names = Names::default();
    let cluster = &options.cluster;
    Arc::new(if cluster.is_alone() { names } else { names.shared(cluster.workers()) })
}

fn plan(config: &Config, options: &Options) -> Plan {
    Plan {
        interval: config.checkpoint.interval,
        segment_bytes_max: config.checkpoint.segment_bytes_max,
        workers: options.cluster.workers(),
        processes: options.cluster.processes(),
    }
}

/// Tells this start from all others, and whether the next is in its seat.
pub fn run_name(options: &Options) -> String {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{}-{}", started.as_millis(), std::process::id(), seat(&options.state))
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
