//! Writes checkpoints, beside the dataflow.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dataflows::model::time::Epoch;

use super::error::CheckpointError;
use super::fed::{Fed, Records};
use super::manifest::{self, HeldRows, Manifest, write_rows};
use super::recovery::{self, Recovery};
use super::segment::{Listed, SegmentWriter};
use super::store::{Created, Store};
use crate::bindings::{Positions, TopicPartition};
use crate::formats::RowChange;
use crate::names::SharedNames;
use crate::telemetry::CheckpointWritten;

/// How often the writer looks whether a checkpoint is due.
const TICK: Duration = Duration::from_millis(50);
/// Segments of one level that are merged into one of the next.
const FAN: usize = 8;

/// When a checkpoint is written, and of what size.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The time from one to the next.
    pub interval: Duration,
    /// A segment is about this large at most. As much waits in memory before one is written early,
    /// and four times as much before the workers stop reading.
    pub segment_bytes_max: usize,
    /// Workers whose records are awaited.
    pub workers: usize,
}

/// The writer, as the workers see it.
pub struct Checkpointer {
    sender: Sender<Message>,
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
    bytes_max: usize,
}

enum Message {
    /// What a worker has read.
    Fed(Box<Fed>),
    /// A worker has handed over all that was bound before this start.
    Ready,
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
    /// How many bytes wait.
    waiting: AtomicUsize,
    written: Mutex<Option<CheckpointWritten>>,
    failure: Mutex<Option<CheckpointError>>,
}

impl Checkpointer {
    /// Goes on behind `recovery`: claims the store for `run`, removes what no checkpoint needs, and
    /// starts the thread that writes.
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
        let before = recovery.manifest.clone();
        let mut claim = before.clone();
        (claim.run, claim.number) = (run.to_owned(), recovery.latest + 1);
        publish(&store, &claim)?;
        remove_garbage(&store, &[&before, &claim])?;
        let state = Arc::new(State::default());
        let (sender, receiver) = mpsc::channel();
        let bytes_max = plan.segment_bytes_max;
        let writer = Writer {
            store,
            names,
            positions: claim.positions(),
            rows: recovery.rows.clone(),
            rows_changed: false,
            before,
            current: claim,
            pending: BTreeMap::new(),
            draft: None,
            objects: 0,
            ready: 0,
            last: Instant::now(),
            plan,
            state: Arc::clone(&state),
        };
        let thread = std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(CheckpointError::Thread)?;
        Ok(Self { sender, state, thread: Mutex::new(Some(thread)), bytes_max })
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

    /// A checkpoint that was written since this was asked last.
    pub fn written(&self) -> Option<CheckpointWritten> {
        self.state.written.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Why it has ended, once.
    pub fn failure(&self) -> Option<CheckpointError> {
        self.state.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Writes a last checkpoint of what is published, if it can, and ends.
    pub fn stop(&self) {
        let _ = self.sender.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic there has been reported there.
        thread.map(JoinHandle::join);
    }
}

struct Writer {
    store: Arc<Store>,
    names: SharedNames,
    plan: Plan,
    state: Arc<State>,
    /// As of the last checkpoint that was begun.
    positions: Positions,
    rows: HeldRows,
    rows_changed: bool,
    /// The last two manifests.
    before: Manifest,
    current: Manifest,
    /// What is in no checkpoint yet.
    pending: BTreeMap<Epoch, Vec<Fed>>,
    /// A checkpoint that could not be written yet.
    draft: Option<Draft>,
    /// Objects named by this run.
    objects: u64,
    ready: usize,
    last: Instant,
}

struct Draft {
    objects: Vec<(String, Vec<u8>)>,
    manifest: Manifest,
    /// How much waits less once it is written.
    bytes: usize,
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
            if let Err(error) = self.write_if_due(published, over) {
                if !error.may_pass() {
                    *self.state.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return;
                }
                tracing::warn!("{error}; trying again until it can be");
                self.last = Instant::now();
            }
        }
    }

    /// Waits a moment for messages and takes all there are. True once the run is over.
    fn take(&mut self, receiver: &Receiver<Message>) -> bool {
        let mut message = receiver.recv_timeout(TICK);
        loop {
            match message {
                Ok(Message::Fed(fed)) => self.pending.entry(fed.epoch).or_default().push(*fed),
                Ok(Message::Ready) => self.ready += 1,
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
            message = receiver.recv_timeout(Duration::ZERO);
        }
    }

    fn write_if_due(&mut self, published: Epoch, over: bool) -> Result<(), CheckpointError> {
        let full = self.state.waiting.load(Relaxed) >= self.plan.segment_bytes_max;
        let due = over || self.last.elapsed() >= self.plan.interval || (full && self.draft.is_none());
        if self.ready < self.plan.workers || !due {
            return Ok(());
        }
        if self.draft.is_none() {
            self.draft = self.begin(published)?;
        }
        self.last = Instant::now();
        let Some(draft) = &self.draft else { return Ok(()) };
        for (name, bytes) in &draft.objects {
            // Only this run uses this name, so what is there is what is to be there.
            self.store.create(name, bytes.clone())?;
        }
        publish(&self.store, &draft.manifest)?;
        let Some(Draft { objects, manifest, bytes }) = self.draft.take() else { return Ok(()) };
        self.state.waiting.fetch_sub(bytes, Relaxed);
        tracing::debug!(
            number = manifest.number,
            epoch = manifest.epoch,
            segments = manifest.segments.len(),
            bytes = objects.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(),
            millis = self.last.elapsed().as_millis() as u64,
            "a checkpoint was written"
        );
        let bytes = manifest.segments.iter().chain(&manifest.kept).map(|listed| listed.bytes).sum();
        let written = CheckpointWritten { epoch: manifest.epoch, bytes, segments: manifest.segments.len() };
        *self.state.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(written);
        let oldest = std::mem::replace(&mut self.before, std::mem::replace(&mut self.current, manifest));
        self.state.safe.store(self.before.epoch, Relaxed);
        self.remove(&oldest)
    }

    /// A checkpoint of everything up to `epoch`, unless the last one is.
    fn begin(&mut self, epoch: Epoch) -> Result<Option<Draft>, CheckpointError> {
        let rest = self.pending.split_off(&(epoch + 1));
        let fed = std::mem::replace(&mut self.pending, rest);
        if fed.is_empty() {
            return Ok(None);
        }
        let mut draft = Draft { objects: Vec::new(), manifest: self.current.clone(), bytes: 0 };
        let mut records = Records::default();
        let mut kept: Option<Records> = None;
        for Fed { ranges, records: read, rows, expired, .. } in fed.into_values().flatten() {
            if let Some((horizon, records)) = expired {
                // Of each worker; a later horizon says anew what is kept.
                if horizon != std::mem::replace(&mut draft.manifest.horizon, horizon) {
                    kept = None;
                }
                kept.get_or_insert_default().append(records);
            }
            draft.bytes += read.bytes();
            records.append(read);
            self.positions.extend(ranges.into_iter().map(|range| (range.place, range.to)));
            self.rows_changed |= !rows.is_empty();
            for RowChange { topic, partition, key, row } in rows {
                let place = TopicPartition { topic, partition };
                match row {
                    Some(row) => self.rows.insert((place, key), row),
                    None => self.rows.remove(&(place, key)),
                };
            }
        }
        let mut segment = SegmentWriter::new(&self.current.job);
        records.write(&mut segment);
        segment.add_texts(&self.names.take_added());
        if !segment.is_empty() {
            self.add_segment(&mut draft, segment, 0);
        }
        if let Some(kept) = kept {
            let mut segment = SegmentWriter::new(&self.current.job);
            kept.write(&mut segment);
            draft.manifest.kept = (!segment.is_empty()).then(|| {
                let (bytes, listed) = segment.finish(self.object("kept", "seg"), 0);
                draft.objects.push((listed.name.clone(), bytes));
                listed
            });
        }
        if std::mem::take(&mut self.rows_changed) {
            let name = self.object("lookups", "json");
            let (bytes, listed) = write_rows(&self.rows, name);
            draft.objects.push((listed.name.clone(), bytes));
            draft.manifest.lookups = Some(listed);
        }
        draft.manifest.number += 1;
        draft.manifest.epoch = epoch;
        draft.manifest.set_positions(&self.positions);
        // What can't be merged now can be later.
        if let Err(error) = self.merge(&mut draft) {
            tracing::warn!("segments could not be merged: {error}");
        }
        Ok(Some(draft))
    }

    fn object(&mut self, what: &str, kind: &str) -> String {
        self.objects += 1;
        format!("{what}-{}-{:08}.{kind}", self.current.run, self.objects)
    }

    fn add_segment(&mut self, draft: &mut Draft, segment: SegmentWriter, level: u8) {
        let (bytes, listed) = segment.finish(self.object("segment", "seg"), level);
        draft.objects.push((listed.name.clone(), bytes));
        draft.manifest.segments.push(listed);
    }

    /// Merges segments once there are many of one level, so that their number grows with the
    /// logarithm of their records, and each record is written as often.
    fn merge(&mut self, draft: &mut Draft) -> Result<(), CheckpointError> {
        let size_max = self.plan.segment_bytes_max as u64 / 2;
        for level in 0..u8::MAX {
            let small = |listed: &&Listed| listed.level == level && listed.bytes <= size_max;
            let chosen: Vec<Listed> = draft.manifest.segments.iter().filter(small).cloned().collect();
            if chosen.len() < FAN {
                break;
            }
            // All is read before anything is changed: what can't be read leaves everything as it was.
            let mut merged = vec![SegmentWriter::new(&self.current.job)];
            for listed in &chosen {
                let fresh = draft.objects.iter().find(|(name, _)| *name == listed.name);
                let segment = match fresh {
                    Some((_, bytes)) => recovery::verify(&self.store, &self.current.job, listed, bytes)?,
                    None => recovery::open(&self.store, &self.current.job, listed)?,
                };
                let is_full = |last: &SegmentWriter| {
                    last.len() as u64 + listed.bytes > 2 * size_max && !last.is_empty()
                };
                if merged.last().is_some_and(is_full) {
                    merged.push(SegmentWriter::new(&self.current.job));
                }
                merged.iter_mut().last().into_iter().for_each(|last| last.add_segment(&segment));
            }
            merged.into_iter().for_each(|merged| self.add_segment(draft, merged, level + 1));
            let merged = |name: &str| chosen.iter().any(|listed| listed.name == name);
            draft.manifest.segments.retain(|listed| !merged(&listed.name));
            draft.objects.retain(|(name, _)| !merged(name));
        }
        Ok(())
    }

    /// Removes a manifest, and what only it needed.
    fn remove(&self, oldest: &Manifest) -> Result<(), CheckpointError> {
        let needed = |name: &&str| {
            [&self.before, &self.current].iter().any(|kept| kept.objects().any(|kept| kept == *name))
        };
        self.store.remove(&manifest::name(oldest.number))?;
        oldest.objects().filter(|name| !needed(name)).try_for_each(|name| self.store.remove(name))
    }
}

/// Writes a manifest, unless another run was faster.
fn publish(store: &Store, manifest: &Manifest) -> Result<(), CheckpointError> {
    let name = manifest::name(manifest.number);
    let fenced = |number| CheckpointError::Fenced { place: store.place().to_owned(), number };
    // A request that seemed to fail may have been carried out.
    if store.create(&name, manifest.bytes())? == Created::Taken && store.read(&name)? != manifest.bytes() {
        return Err(fenced(manifest.number));
    }
    // Who took this number may have removed it since, but then has written greater ones.
    let newest = manifest::numbers(store)?.last().copied().unwrap_or(0);
    if newest > manifest.number { Err(fenced(newest)) } else { Ok(()) }
}

/// Removes what none of these manifests needs: what earlier runs had begun.
fn remove_garbage(store: &Store, kept: &[&Manifest]) -> Result<(), CheckpointError> {
    let is_kept = |name: &str| {
        let listed = kept.iter().flat_map(|manifest| manifest.objects()).any(|kept| kept == name);
        listed || kept.iter().any(|kept| manifest::name(kept.number) == name)
    };
    store.names()?.iter().filter(|name| !is_kept(name)).try_for_each(|name| store.remove(name))
}
