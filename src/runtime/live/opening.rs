//! How a run is opened: the first process looks where the last run ended, the others are told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dataflows::model::time::Epoch;

use super::binder::Binder;
use super::coordinator::{Coordinator, Pace, first_epoch};
use super::hub::Hub;
use super::wire::Opening;
use super::{LiveError, Options, Process, Shared};
use crate::bindings::{Binding, Bindings, Positions, Range, TopicPartition};
use crate::checkpoint::{Checkpointer, Fence, LEASE, MARGIN, Plan, Recovery, Store, seat};
use crate::config::Config;
use crate::names::{Names, SharedNames};
use crate::sinks::clickhouse::{ClickHouse, ClickHouseError, Fault, Frontier, Publisher, Writer};
use crate::sinks::topic::Topic;
use crate::sources::kafka::Registry;

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
    let store = store(config, options)?;
    let (run, before) = (run_name(options), Instant::now());
    let recovery = Recovery::find(&store, &options.job, &run)?;
    // What can't be gone on from is left to whoever may still be at it.
    let mut found = find(process, &head, &clickhouse, &recovery)?;

    let names = names(options);
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
    let opening = Opening { claim, history, positions, published, first: first_epoch(bound.max(published)) };

    let job = || options.job.clone();
    let noting = ClickHouse::new(config.clickhouse.clone())?;
    let frontier =
        Frontier::start(noting, Writer::new(job(), 0), published).map_err(LiveError::Thread)?;
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
    let shared = build(process, opening.clone(), clickhouse, (store, names, checkpointer))?;
    Ok((opening, shared, coordinator))
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
    let published = insist(process, || clickhouse.frontier(&options.job, 0))?.unwrap_or(0);
    let (checkpoint, job) = (recovery.manifest.epoch, || options.job.clone());
    if published > checkpoint && head.log.last_epoch().is_none() {
        return Err(LiveError::ForeignLog { job: job(), published, path: options.state.clone() });
    }
    if published < checkpoint {
        let place = place(config, options).display().to_string();
        return Err(LiveError::Behind { job: job(), published, checkpoint, place });
    }
    let lookup = |topic: &str| kafka.lookups.iter().any(|lookup| lookup.topic == *topic);
    if let Some((place, _)) = recovery.rows.keys().find(|(place, _)| !lookup(&place.topic)) {
        return Err(LiveError::NoLookup { topic: place.topic.to_string() });
    }
    let later = head.history.iter().filter(|binding| binding.epoch > checkpoint);
    let history: Vec<Binding> = later.cloned().collect();
    let positions = continued(recovery.manifest.positions(), &history)
        .map_err(|what| LiveError::Torn { path: options.state.clone(), checkpoint, what })?;
    Ok(Found { published, history, positions })
}

/// Whether the last run may still be alive, for all that the lock on the state directory says.
fn is_foreign(recovery: &Recovery, options: &Options) -> bool {
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
    build(process, opening, clickhouse, (store, names, checkpointer))
}

fn build(
    process: &Process,
    opening: Opening,
    clickhouse: ClickHouse,
    (store, names, checkpointer): (Arc<Store>, SharedNames, Checkpointer),
) -> Result<Shared, LiveError> {
    let Process { options, kafka, .. } = process;
    let cluster = &options.cluster;
    let recovery = Recovery::share(&store, &opening.claim, cluster.process(), cluster.processes())?;
    let writer = Writer::of_rows(options.job.clone(), cluster.process() as u32);
    let publisher = Publisher::start(clickhouse, writer, Arc::clone(&names)).map_err(LiveError::Thread)?;
    let rejects = kafka.rejects_topic.as_ref().map(|topic| Topic::open(kafka, topic)).transpose()?;
    Ok(Shared {
        registry: kafka.registry.as_ref().map(|registry| Arc::new(Registry::start(registry))),
        names,
        store,
        recovery,
        checkpointer,
        positions: opening.positions.iter().cloned().collect(),
        binder: Binder::new(opening.opened(), cluster.workers()),
        hub: Hub::new(publisher, rejects, opening.published, cluster.workers()),
        opening,
    })
}

fn place(config: &Config, options: &Options) -> PathBuf {
    config.checkpoint.directory.clone().unwrap_or_else(|| options.state.join("checkpoint"))
}

fn store(config: &Config, options: &Options) -> Result<Arc<Store>, LiveError> {
    Ok(Arc::new(Store::directory(place(config, options))?))
}

fn names(options: &Options) -> SharedNames {
    let names = Names::recording();
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
fn run_name(options: &Options) -> String {
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
