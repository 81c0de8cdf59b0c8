//! Writes checkpoints, beside the dataflow.
//!
//! ```text
//!   process 0   keeper ─ save up to E ─▶ its part ─┐
//!                 │                                ├─▶ keeper: one manifest
//!   process 1     └────── errand ──────▶ its part ─┘
//! ```
//!
//! Every process saves its own records in segments of its own; the first one's keeper then writes
//! the manifest that names them all. Errands between processes are carried by whoever runs them.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dataflows::model::time::Epoch;

use super::error::CheckpointError;
use super::fed::Fed;
use super::keeper::{Keeper, Kept};
use super::manifest::Manifest;
use super::part::{Errand, Pending, Save};
use super::recovery::Recovery;
use crate::names::SharedNames;
use crate::store::Store;
use crate::telemetry::CheckpointWritten;

/// How often the writer looks whether a checkpoint is due.
const TICK: Duration = Duration::from_millis(50);
/// How long it waits when the store has failed.
const PAUSE: Duration = Duration::from_millis(500);

/// When a checkpoint is written, and of what size.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The time from one to the next.
    pub interval: Duration,
    /// A segment is about this large at most. As much waits in memory before one is written early,
    /// and four times as much before the workers stop reading.
    pub segment_bytes_max: usize,
    /// Workers of this process, whose records are awaited.
    pub workers: usize,
    /// Processes, whose parts are awaited.
    pub processes: usize,
}

/// The writer, as the workers see it.
pub struct Checkpointer {
    sender: Sender<Message>,
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
    bytes_max: usize,
    claim: Option<Manifest>,
}

enum Message {
    /// What a worker has read.
    Fed(Box<Fed>),
    /// A worker has handed over all that was bound before this start.
    Ready,
    /// From another process.
    Errand(Errand),
    /// The run is over.
    Stop,
}

/// What the threads share.
#[derive(Default)]
struct State {
    /// Everything up to here is published.
    published: AtomicU64,
    /// Everything up to here is in the last two checkpoints.
    safe: AtomicU64,
    /// Everything up to here is in a checkpoint, if anything was read.
    saved: AtomicU64,
    /// A checkpoint is to be written without delay.
    hurry: AtomicBool,
    /// How many bytes wait.
    waiting: AtomicUsize,
    written: Mutex<Option<CheckpointWritten>>,
    /// For other processes.
    errands: Mutex<Vec<Errand>>,
    failure: Mutex<Option<CheckpointError>>,
}

impl State {
    fn send(&self, errand: Errand) {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner).push(errand);
    }
}

impl Checkpointer {
    /// Goes on behind `recovery`, as the first process: claims the store for `run`, removes what no
    /// checkpoint needs, and starts the thread that writes.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn start(
        store: Arc<Store>,
        recovery: &Recovery,
        run: &str,
        names: SharedNames,
        plan: Plan,
    ) -> Result<Self, CheckpointError> {
        store.check_create(run)?;
        let sizes = (plan.processes, plan.interval, plan.segment_bytes_max);
        let keeper = Keeper::claim(Arc::clone(&store), recovery, run, sizes)?;
        let claim = keeper.manifest().clone();
        let pending = Pending::new(store, names, &claim.job, run, 0);
        Self::spawn(pending, Some(keeper), plan, Some(claim))
    }

    /// Joins in as another process, in the run that the first one has claimed the store for.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn join(
        store: Arc<Store>,
        claim: &Manifest,
        process: usize,
        names: SharedNames,
        plan: Plan,
    ) -> Result<Self, CheckpointError> {
        let pending = Pending::new(store, names, &claim.job, &claim.run, process);
        Self::spawn(pending, None, plan, None)
    }

    fn spawn(
        pending: Pending,
        keeper: Option<Keeper>,
        plan: Plan,
        claim: Option<Manifest>,
    ) -> Result<Self, CheckpointError> {
        let state = Arc::new(State::default());
        if let Some(claim) = &claim {
            state.saved.store(claim.epoch, Relaxed);
        }
        let (sender, receiver) = mpsc::channel();
        let bytes_max = plan.segment_bytes_max;
        let theirs = Arc::clone(&state);
        let writer = Writer { pending, keeper, plan, save: None, ready: 0, was_full: false, state: theirs };
        let thread = std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(CheckpointError::Thread)?;
        Ok(Self { sender, state, thread: Mutex::new(Some(thread)), bytes_max, claim })
    }

    /// The manifest that the store was claimed with, by this process.
    pub fn claim(&self) -> Option<&Manifest> {
        self.claim.as_ref()
    }

    /// Hands over what a worker has read into an epoch, before that epoch can be published.
    pub fn feed(&self, fed: Fed) {
        self.state.waiting.fetch_add(fed.records.bytes(), Relaxed);
        // A writer that has ended has said why.
        let _ = self.sender.send(Message::Fed(Box::new(fed)));
    }

    /// A worker has handed over all that was bound before this start.
    pub fn ready(&self) {
        let _ = self.sender.send(Message::Ready);
    }

    /// What is to be carried to other processes.
    pub fn errands(&self) -> Vec<Errand> {
        std::mem::take(&mut self.state.errands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Brings what another process's writer has sent.
    pub fn bring(&self, errand: Errand) {
        let _ = self.sender.send(Message::Errand(errand));
    }

    /// Whether more may be read: false while what was read can't be written.
    pub fn has_room(&self) -> bool {
        self.state.waiting.load(Relaxed) < 4 * self.bytes_max
    }

    /// Says that everything up to `epoch` is published.
    pub fn published(&self, epoch: Epoch) {
        self.state.published.fetch_max(epoch, Release);
    }

    /// Bindings up to this epoch are not needed any more.
    pub fn safe(&self) -> Epoch {
        self.state.safe.load(Relaxed)
    }

    /// Asks for a checkpoint of what is published by now; true once it is there.
    pub fn has_saved(&self, epoch: Epoch) -> bool {
        self.state.hurry.store(true, Relaxed);
        self.state.saved.load(Acquire) >= epoch
    }

    /// A checkpoint that was written since this was asked last.
    pub fn written(&self) -> Option<CheckpointWritten> {
        self.state.written.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Why it has ended, once.
    pub fn failure(&self) -> Option<CheckpointError> {
        self.state.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Writes a last checkpoint of what is published, if this process can do so alone, and ends.
    pub fn stop(&self) {
        let _ = self.sender.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic there has been reported there.
        thread.map(JoinHandle::join);
    }
}

struct Writer {
    pending: Pending,
    /// In the first process.
    keeper: Option<Keeper>,
    plan: Plan,
    /// What this process is asked to save.
    save: Option<Save>,
    ready: usize,
    /// Whether the keeper knows that much waits here.
    was_full: bool,
    state: Arc<State>,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut over = false;
        while !over {
            // Read before what has been handed over is taken in: all of those epochs is among it.
            let mut published = self.state.published.load(Acquire);
            over = self.take(receiver);
            if over {
                published = self.state.published.load(Acquire);
            }
            if let Err(error) = self.work(published, over) {
                if !error.may_pass() {
                    *self.state.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return;
                }
                tracing::warn!("{error}; trying again until it can be");
                if !over {
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Waits a moment for messages and takes all there are. True once the run is over.
    fn take(&mut self, receiver: &Receiver<Message>) -> bool {
        let mut message = receiver.recv_timeout(TICK);
        loop {
            match message {
                Ok(Message::Fed(fed)) => self.pending.add(*fed),
                Ok(Message::Ready) => self.ready += 1,
                Ok(Message::Errand(errand)) => self.take_errand(errand),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
            message = receiver.recv_timeout(Duration::ZERO);
        }
    }

    fn take_errand(&mut self, errand: Errand) {
        match errand {
            Errand::Save(save) => self.save = Some(save),
            Errand::Saved(part) => {
                if let Some(keeper) = &mut self.keeper {
                    keeper.add(part);
                }
            }
            Errand::Full => self.state.hurry.store(true, Relaxed),
        }
    }

    fn work(&mut self, published: Epoch, over: bool) -> Result<(), CheckpointError> {
        if self.ready < self.plan.workers {
            return Ok(());
        }
        let full = self.state.waiting.load(Relaxed) >= self.plan.segment_bytes_max;
        if full && !self.was_full && self.keeper.is_none() {
            self.state.send(Errand::Full);
        }
        self.was_full = full;
        if let Some(keeper) = &mut self.keeper {
            // One that is in the works must not keep the last one from being begun.
            Self::keep(&self.state, keeper)?;
            let at_once = over || full || self.state.hurry.load(Relaxed);
            let alone = self.plan.processes == 1;
            if let Some(save) = keeper.begin(published, at_once) {
                self.state.hurry.store(false, Relaxed);
                self.save = Some(save);
                if !alone {
                    self.state.send(Errand::Save(save));
                }
            }
        }
        self.save_part()?;
        self.keeper.as_mut().map_or(Ok(()), |keeper| Self::keep(&self.state, keeper))
    }

    fn save_part(&mut self) -> Result<(), CheckpointError> {
        let Some(save) = self.save else { return Ok(()) };
        let (part, bytes) = self.pending.save(save)?;
        self.save = None;
        self.state.waiting.fetch_sub(bytes, Relaxed);
        match &mut self.keeper {
            Some(keeper) => keeper.add(part),
            None => self.state.send(Errand::Saved(part)),
        }
        Ok(())
    }

    fn keep(state: &State, keeper: &mut Keeper) -> Result<(), CheckpointError> {
        if let Some(Kept { epoch, safe }) = keeper.write()? {
            let manifest = keeper.manifest();
            let bytes = manifest.segments.iter().chain(&manifest.kept).map(|listed| listed.bytes).sum();
            let written = CheckpointWritten { epoch, bytes, segments: manifest.segments.len() };
            *state.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(written);
            state.safe.store(safe, Relaxed);
            state.saved.store(epoch, Release);
        }
        Ok(())
    }
}
