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
mod clerk;
mod coordinator;
pub mod demo;
pub mod erasure;
mod error;
pub(super) mod expiring;
mod following;
mod gauges;
mod handover;
mod hub;
mod opening;
mod screen;
mod shares;
mod showing;
mod wire;
mod worker;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use timely::worker::Worker;

use self::binder::Binder;
use self::clerk::Clerk;
pub use self::error::LiveError;
pub use self::following::Following;
use self::hub::Hub;
use self::opening::Head;
use self::screen::Screen;
use self::wire::Opening;
use self::worker::LiveWorker;
use super::cluster::{Cluster, Links};
use super::post::Post;
use crate::archive::Archiver;
use crate::bindings::Positions;
use crate::checkpoint::{Checkpointer, Recovery};
use crate::config::{Config, KafkaConfig};
use crate::names::SharedNames;
use crate::serve::http::Served;
use crate::sources::kafka::Registry;
use crate::store::{Place, Store};
use crate::telemetry::otlp::Exporter;
use crate::telemetry::{Anatomy, Server, Telemetry};

/// How long a worker waits for its first orders at a time.
const PARK: Duration = Duration::from_millis(10);

/// How a live run is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's name: its frontier and binding log are kept under it.
    pub job: String,
    /// Where the binding log lies.
    pub state: PathBuf,
    /// The archive that an empty state begins with.
    pub from_archive: Option<Place>,
    /// The processes, and the worker threads of each.
    pub cluster: Cluster,
    /// The time from one epoch to the next.
    pub epoch: Duration,
    /// End once nothing has arrived for this long and everything is published.
    pub until_idle: Option<Duration>,
    /// Set from outside to end the run.
    pub stop: Arc<AtomicBool>,
}

/// What the workers of a process share from the start on.
struct Process {
    config: Config,
    options: Options,
    kafka: KafkaConfig,
    links: Arc<Links>,
    telemetry: Arc<Telemetry>,
    /// In the first process, if somebody may look.
    served: Option<Arc<Served>>,
    /// Once the run is open.
    shared: OnceLock<Shared>,
    draining: AtomicBool,
    over: AtomicBool,
    failure: Mutex<Option<LiveError>>,
}

/// What they share once the run is open.
struct Shared {
    opening: Opening,
    /// Where reading goes on behind all that was bound.
    positions: Positions,
    registry: Option<Arc<Registry>>,
    names: SharedNames,
    store: Arc<Store>,
    recovery: Recovery,
    checkpointer: Checkpointer,
    /// Of what is read in this process.
    archiver: Option<Archiver>,
    /// Held for as long as the archive is written to.
    _archive_lock: Option<std::fs::File>,
    binder: Binder,
    hub: Hub,
    /// In the first process, if somebody may look.
    screen: Option<Screen>,
}

impl Process {
    fn is_over(&self) -> bool {
        self.over.load(Relaxed) || self.links.is_over()
    }

    /// Whether nothing more is to be read.
    fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    fn is_asked_to_stop(&self) -> bool {
        self.options.stop.load(Relaxed)
    }

    fn fail(&self, error: LiveError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.over.store(true, Relaxed);
    }

    fn end(&self, reason: Option<String>) {
        match reason {
            Some(reason) => self.fail(LiveError::Ended { reason }),
            None => self.over.store(true, Relaxed),
        }
    }

    /// What has failed here, if the others don't know of it.
    fn failure(&self) -> Option<String> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            None | Some(LiveError::Ended { .. }) => None,
            Some(error) => Some(error.to_string()),
        }
    }
}

/// Runs until it is stopped, is idle as the options say, or something fails that no waiting mends.
/// One of several processes when the options say so: all run with the same options, but for the
/// cluster.
///
/// # Errors
/// See [`LiveError`]. Brokers or a ClickHouse that are away are waited for, and are no errors.
pub fn run(config: &Config, options: &Options) -> Result<(), LiveError> {
    let kafka = config.kafka.clone().ok_or(LiveError::NoKafka)?;
    let head = options.cluster.is_first().then(|| Head::take(options)).transpose()?;
    let purpose = format!("run of {}", options.job);
    let connected = options.cluster.connect(&purpose, &|| options.stop.load(Relaxed))?;
    let telemetry = Arc::<Telemetry>::default();
    let serving = showing::serve(config, options, &telemetry)?;
    let process = Arc::new(Process {
        config: config.clone(),
        options: options.clone(),
        kafka,
        links: Arc::clone(connected.links()),
        telemetry,
        served: serving.as_ref().map(|(served, _)| Arc::clone(served)),
        shared: OnceLock::new(),
        draining: AtomicBool::new(false),
        over: AtomicBool::new(false),
        failure: Mutex::new(None),
    });
    let shown = show(&process)?;
    let exported = export(&process)?;
    // Kafka and ClickHouse may be on the same cores.
    let timely = timely::WorkerConfig::default().idle_spin(Duration::ZERO);
    let (theirs, head) = (Arc::clone(&process), Mutex::new(head));
    let head = move || head.lock().unwrap_or_else(PoisonError::into_inner).take();
    let team = connected.execute(timely, move |worker| work(worker, &theirs, &head))?;
    let results = team.join();
    drop((shown, exported, serving));
    if let Some(lost) = process.links.lost() {
        process.fail(lost.into());
    }
    for result in results {
        result.map_err(LiveError::Worker)?;
    }
    if let Some(shared) = process.shared.get() {
        shared.hub.publisher().stop();
        shared.archiver.iter().for_each(Archiver::stop);
        shared.checkpointer.stop();
    }
    process.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
}

/// Shows how the run goes, if that is wanted; each process of a cluster at a port of its own, as they
/// may be on one machine.
fn show(process: &Process) -> Result<Option<Server>, LiveError> {
    let Some(mut listen) = process.config.metrics.listen else { return Ok(None) };
    if listen.port() > 0 {
        listen.set_port(listen.port().saturating_add(process.options.cluster.process() as u16));
    }
    let server = Server::start(listen, Arc::clone(&process.telemetry))?;
    tracing::info!(address = %server.address(), "shown at /metrics, /health/live and /health/ready");
    Ok(Some(server))
}

/// Sends how the run goes to a collector, if that is wanted; each process for itself.
fn export(process: &Process) -> Result<Option<Exporter>, LiveError> {
    let Process { config, options, telemetry, .. } = process;
    let Some(target) = config.metrics.otlp.clone() else { return Ok(None) };
    let origin = (&*options.job, options.cluster.process());
    Ok(Some(Exporter::start(target, origin, Arc::clone(telemetry))?))
}

/// One worker, from its start to its end.
fn work(worker: &mut Worker, process: &Arc<Process>, head: &dyn Fn() -> Option<Head>) {
    if process.config.serve.listen.is_some() {
        process.telemetry.anatomy(Anatomy::follow(worker));
    }
    let workers = process.options.cluster.workers();
    let post = Post::open(worker, workers);
    let mut clerk = post.is_first_of_process().then(|| Clerk::new(post, workers));
    let head = clerk.as_ref().and_then(|_| head());
    if let Err(error) = live(worker, process, clerk.as_mut(), head) {
        process.fail(error);
    }
    if let Some(clerk) = &mut clerk {
        clerk.farewell(worker, process);
    }
    // Nobody waits for what a stopped run has not finished: a start goes on from the log.
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}

fn live(
    worker: &mut Worker,
    process: &Arc<Process>,
    mut clerk: Option<&mut Clerk>,
    head: Option<Head>,
) -> Result<(), LiveError> {
    if let Some(clerk) = &mut clerk
        && let Some(shared) = clerk.open(worker, process, head)?
    {
        // Nobody else opens it.
        let _ = process.shared.set(shared);
    }
    while process.shared.get().is_none() && !process.is_over() {
        worker.step_or_park(Some(PARK));
    }
    match process.shared.get() {
        Some(shared) => LiveWorker::open(worker, process, shared, clerk)?.run(worker),
        None => Ok(()),
    }
}
