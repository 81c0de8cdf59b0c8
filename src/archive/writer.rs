//! Writes the archive, beside the dataflow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dataflows::model::time::Epoch;
use xxhash_rust::xxh3::xxh3_64;

use super::encode::encode;
use super::error::ArchiveError;
use super::keeper::Keeper;
use super::manifest::{Entry, Manifest};
use super::rows::Rows;
use super::state::Archive;
use super::upkeep::{Merging, Retention};
use crate::bindings::{Positions, Range, TopicPartition};
use crate::checkpoint::HeldRows;
use crate::formats::RowChange;
use crate::names::SharedNames;
use crate::store::Store;

/// How often the writer looks whether something is due.
const TICK: Duration = Duration::from_millis(50);

/// When the archive is written, and in what shape.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The time from one set of files to the next.
    pub interval: Duration,
    /// As many bytes wait in memory before files are written early, and four times as many before
    /// the workers stop reading.
    pub pending_bytes_max: usize,
    /// How files are merged.
    pub merging: Merging,
    /// What becomes of old files.
    pub retention: Retention,
    /// Workers whose records are awaited.
    pub workers: usize,
}

/// What one worker read into one epoch.
#[derive(Debug, Default)]
pub struct Fed {
    /// The epoch.
    pub epoch: Epoch,
    /// Where it was read.
    pub ranges: Vec<Range>,
    /// The events.
    pub rows: Rows,
    /// What changed in lookup topics, in order.
    pub changes: Vec<RowChange>,
}

/// The writer, as the workers see it.
pub struct Archiver {
    sender: Sender<Message>,
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
    positions: Positions,
    rows: HeldRows,
    /// Partitions of which something was handed over.
    known: Mutex<BTreeSet<TopicPartition>>,
    workers: usize,
    bytes_max: usize,
}

enum Message {
    /// What a worker has read.
    Fed(Box<Fed>),
    /// The run is over.
    Stop,
}

#[derive(Default)]
struct State {
    /// Everything up to here is published.
    published: AtomicU64,
    /// Workers that have handed over all that was read before this start.
    ready: AtomicUsize,
    waiting: AtomicUsize,
    /// Partitions that no manifest knows yet, and the epoch in which they were first read.
    fresh: Mutex<BTreeMap<TopicPartition, Epoch>>,
    failure: Mutex<Option<ArchiveError>>,
}

impl Archiver {
    /// Takes the archive over for `run`, and starts the thread that writes.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn start(
        store: Arc<Store>,
        cold: Option<Arc<Store>>,
        archive: Archive,
        run: &str,
        names: SharedNames,
        plan: Plan,
    ) -> Result<Self, ArchiveError> {
        let (positions, rows) = (archive.positions.clone(), archive.rows.clone());
        let keeper = Keeper::claim(store, cold, archive, run)?;
        let state = Arc::new(State::default());
        let (sender, receiver) = mpsc::channel();
        let (workers, bytes_max) = (plan.workers, plan.pending_bytes_max);
        let writer = Writer {
            positions: keeper.current.positions(),
            keeper,
            names,
            plan,
            state: Arc::clone(&state),
            archived: positions.clone(),
            rows: rows.clone(),
            rows_changed: false,
            fresh: Positions::new(),
            pending: BTreeMap::new(),
            draft: None,
            last: Instant::now(),
        };
        let thread = std::thread::Builder::new()
            .name("archive".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(ArchiveError::Thread)?;
        let known = Mutex::new(positions.keys().cloned().collect());
        let thread = Mutex::new(Some(thread));
        Ok(Self { sender, state, thread, positions, rows, known, workers, bytes_max })
    }

    /// Up to where each partition was archived before this start, by whichever process.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The rows of lookup topics that were archived before this start.
    pub fn rows(&self) -> &HeldRows {
        &self.rows
    }

    /// Hands over what a worker has read into an epoch, before that epoch can be published.
    pub fn feed(&self, fed: Fed) {
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let mut fresh = self.state.fresh.lock().unwrap_or_else(PoisonError::into_inner);
            for Range { place, .. } in fed.ranges.iter().filter(|range| !known.contains(&range.place)) {
                fresh.entry(place.clone()).or_insert(fed.epoch);
            }
            known.extend(fed.ranges.iter().map(|range| range.place.clone()));
        }
        self.state.waiting.fetch_add(fed.rows.bytes(), Relaxed);
        // A writer that has ended has said why.
        let _ = self.sender.send(Message::Fed(Box::new(fed)));
    }

    /// A worker has handed over all that was read before this start.
    pub fn ready(&self) {
        self.state.ready.fetch_add(1, Release);
    }

    /// Whether more may be read: false while what was read can't be written.
    pub fn has_room(&self) -> bool {
        self.state.waiting.load(Relaxed) < 4 * self.bytes_max
    }

    /// Says that everything up to `epoch` is published.
    pub fn published(&self, epoch: Epoch) {
        self.state.published.fetch_max(epoch, Release);
    }

    /// Up to this epoch, of those that were handed over, manifests tell where the archive of each
    /// partition begins that this process reads. A checkpoint must not go further: after a crash nobody
    /// could tell what before it was not archived.
    pub fn anchored(&self) -> Epoch {
        if self.state.ready.load(Acquire) < self.workers {
            return 0;
        }
        let fresh = self.state.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.values().min().map_or(Epoch::MAX, |epoch| epoch.saturating_sub(1))
    }

    /// Why it has ended, once.
    pub fn failure(&self) -> Option<ArchiveError> {
        self.state.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Writes what is published, if it can, and ends.
    pub fn stop(&self) {
        let _ = self.sender.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic there has been reported there.
        thread.map(JoinHandle::join);
    }
}

struct Writer {
    keeper: Keeper,
    names: SharedNames,
    plan: Plan,
    state: Arc<State>,
    /// As of the last files that were begun: up to where the partitions are archived that this shard
    /// has read.
    positions: Positions,
    /// The same of all partitions, as of the start.
    archived: Positions,
    /// The rows of lookup topics; those of other shards' partitions as of the start.
    rows: HeldRows,
    rows_changed: bool,
    /// Where partitions begin that no manifest knows yet.
    fresh: Positions,
    /// What is in no file yet.
    pending: BTreeMap<Epoch, Vec<Fed>>,
    /// Files that could not be written yet.
    draft: Option<Draft>,
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
            let mut published = self.published();
            over = self.take(receiver);
            if over {
                published = self.published();
            }
            if let Err(error) = self.write_if_due(published, over) {
                if !error.may_pass() {
                    *self.state.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return;
                }
                let because = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(because, "{error}; trying again until it can be");
                self.last = Instant::now();
            }
        }
    }

    /// Up to where all is published and was handed over; none before all was that was read before this
    /// start.
    fn published(&self) -> Option<Epoch> {
        let is_ready = self.state.ready.load(Acquire) >= self.plan.workers;
        is_ready.then(|| self.state.published.load(Acquire))
    }

    /// Waits a moment for messages and takes all there are. True once the run is over.
    fn take(&mut self, receiver: &Receiver<Message>) -> bool {
        let mut message = receiver.recv_timeout(TICK);
        loop {
            match message {
                Ok(Message::Fed(fed)) => {
                    for Range { place, from, .. } in &fed.ranges {
                        if !self.positions.contains_key(place) && !self.archived.contains_key(place) {
                            self.fresh.entry(place.clone()).or_insert(*from);
                        }
                    }
                    self.pending.entry(fed.epoch).or_default().push(*fed);
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
            message = receiver.recv_timeout(Duration::ZERO);
        }
    }

    fn write_if_due(&mut self, published: Option<Epoch>, over: bool) -> Result<(), ArchiveError> {
        self.anchor()?;
        let Some(published) = published else { return Ok(()) };
        let full = self.state.waiting.load(Relaxed) >= self.plan.pending_bytes_max;
        let tidying = over || self.last.elapsed() >= self.plan.interval;
        if !(tidying || full && self.draft.is_none()) {
            return Ok(());
        }
        if self.draft.is_none() {
            self.draft = self.begin(published)?;
        }
        if tidying {
            self.last = Instant::now();
        }
        self.write()?;
        let is_whole = self.pending.range(..=published).next().is_none();
        if over && is_whole && published > self.keeper.current.epoch {
            // Nothing was read since the last files; so nothing is missing, and readers can tell.
            let mut next = self.keeper.current.clone();
            next.epoch = published;
            self.keeper.commit(next)?;
        }
        if tidying && !over {
            // One merge at a time: what is read meanwhile waits in memory.
            self.keeper.merge_some(self.plan.merging)?;
            self.keeper.retain(self.plan.retention, now())?;
        }
        Ok(())
    }

    /// Notes where the archive of new partitions begins.
    fn anchor(&mut self) -> Result<(), ArchiveError> {
        if self.fresh.is_empty() || self.draft.is_some() {
            return Ok(());
        }
        let mut next = self.keeper.current.clone();
        let mut positions = self.positions.clone();
        positions.extend(self.fresh.iter().map(|(place, from)| (place.clone(), *from)));
        next.set_positions(&positions);
        // Twice, as either of the last two manifests may be damaged.
        self.keeper.commit(next.clone())?;
        self.keeper.commit(next)?;
        self.positions = positions;
        let fresh = std::mem::take(&mut self.fresh);
        let mut known = self.state.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|place, _| !fresh.contains_key(place));
        Ok(())
    }

    fn write(&mut self) -> Result<(), ArchiveError> {
        let Some(draft) = &mut self.draft else { return Ok(()) };
        while let Some((name, bytes)) = draft.objects.last() {
            self.keeper.write(name, bytes.clone())?;
            draft.objects.pop();
        }
        self.keeper.commit(draft.manifest.clone())?;
        tracing::debug!(
            number = self.keeper.current.number,
            epoch = self.keeper.current.epoch,
            files = self.keeper.current.files.len(),
            "the archive was written"
        );
        let bytes = self.draft.take().map_or(0, |draft| draft.bytes);
        self.state.waiting.fetch_sub(bytes, Relaxed);
        Ok(())
    }

    /// The files of everything up to `epoch` that is in none yet.
    fn begin(&mut self, epoch: Epoch) -> Result<Option<Draft>, ArchiveError> {
        let rest = self.pending.split_off(&(epoch + 1));
        let fed = std::mem::replace(&mut self.pending, rest);
        if fed.is_empty() {
            return Ok(None);
        }
        let mut draft = Draft { objects: Vec::new(), manifest: self.keeper.current.clone(), bytes: 0 };
        let mut rows = Rows::default();
        for Fed { ranges, rows: read, changes, .. } in fed.into_values().flatten() {
            draft.bytes += read.bytes();
            rows.append(read);
            for Range { place, to, .. } in ranges {
                // Of one that another shard has read before, the rows are this one's from now on.
                let is_new = !self.positions.contains_key(&place);
                self.rows_changed |= is_new && self.rows.keys().any(|(held, _)| *held == place);
                self.positions.insert(place, to);
            }
            self.rows_changed |= !changes.is_empty();
            changes.into_iter().for_each(|change| hold(&mut self.rows, change));
        }
        let shape = self.plan.merging.shape;
        let files = encode(rows, &self.names, shape).map_err(|source| ArchiveError::Parquet {
            place: self.keeper.store.place().to_owned(),
            name: "a new file".to_owned(),
            source,
        })?;
        for file in files {
            let name = self.keeper.name(file.kind, file.hour);
            draft.manifest.files.push(Entry {
                name: name.clone(),
                kind: file.kind,
                hour: file.hour.0,
                rows: file.rows,
                bytes: file.bytes.len() as u64,
                min_ts: file.span.0,
                max_ts: file.span.1,
                epoch,
                checksum: xxh3_64(&file.bytes),
                level: 0,
                cold: false,
            });
            draft.objects.push((name, file.bytes));
        }
        if std::mem::take(&mut self.rows_changed) {
            let lookups = self.keeper.lookups(&self.rows, &self.positions);
            draft.manifest.lookups = lookups.map(|(name, bytes, listed)| {
                draft.objects.push((name, bytes));
                listed
            });
        }
        draft.manifest.epoch = epoch;
        draft.manifest.set_positions(&self.positions);
        Ok(Some(draft))
    }
}

fn now() -> Epoch {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Epoch)
}

fn hold(rows: &mut HeldRows, RowChange { topic, partition, key, row }: RowChange) {
    let place = TopicPartition { topic, partition };
    match row {
        Some(row) => rows.insert((place, key), row),
        None => rows.remove(&(place, key)),
    };
}
