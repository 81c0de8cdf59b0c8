//! The thread that publishes, so that no worker ever waits for the network.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use dataflows::model::time::Epoch;

use super::client::ClickHouse;
use super::error::ClickHouseError;
use super::upserts::{Upserts, Writer};
use crate::names::SharedNames;

/// How publishing goes.
#[derive(Clone, Debug)]
pub enum Health {
    /// Nothing is in the way.
    Fine,
    /// ClickHouse can't be written to; it is tried again for as long as it takes.
    Retrying {
        /// When it first failed.
        since: Instant,
        /// Attempts that failed since.
        failed: u32,
        /// The last failure.
        reason: String,
    },
    /// Publishing has ended over a fault that no waiting mends; [`Publisher::close`] returns it.
    Failed {
        /// What it was.
        reason: String,
    },
}

/// A batch that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The queue is full: stop feeding, and offer it again later.
    #[error("the queue to ClickHouse is full")]
    Full(Box<Upserts>),
    /// The publisher has ended; [`Publisher::close`] says why.
    #[error("publishing to ClickHouse has ended")]
    Ended(Box<Upserts>),
}

/// A running publisher.
///
/// Batches are published in the order in which they are taken, which must be that of their
/// epochs. Dropped without [`close`](Publisher::close), it gives up what is queued.
#[derive(Debug)]
pub struct Publisher {
    queue: Option<Sender<Upserts>>,
    shared: Arc<Shared>,
    queue_bytes_max: usize,
    thread: Option<JoinHandle<Result<(), ClickHouseError>>>,
}

#[derive(Debug)]
struct Shared {
    /// 0: nothing yet.
    published: AtomicU64,
    queued_bytes: AtomicUsize,
    stop: AtomicBool,
    health: Mutex<Health>,
}

impl Shared {
    fn set(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

impl Publisher {
    /// Starts the thread. The schema is there already.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(clickhouse: ClickHouse, writer: Writer, names: SharedNames) -> std::io::Result<Self> {
        let queue_bytes_max = clickhouse.config().queue_bytes_max;
        let shared = Arc::new(Shared {
            published: AtomicU64::new(0),
            queued_bytes: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            health: Mutex::new(Health::Fine),
        });
        let (queue, batches) = channel();
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("clickhouse".to_owned()).spawn(move || {
            let done = run(&clickhouse, &writer, &names, &batches, &theirs);
            if let Err(error) = &done {
                theirs.set(Health::Failed { reason: error.to_string() });
            }
            done
        })?;
        Ok(Self { queue: Some(queue), shared, queue_bytes_max, thread: Some(thread) })
    }

    /// Whether a batch would be taken now. While it would not, the caller stops feeding.
    pub fn has_room(&self) -> bool {
        self.queued_bytes() < self.queue_bytes_max
    }

    /// Hands a batch over; never blocks. The queue is bounded by bytes: it takes batches while it
    /// holds less than `queue_bytes_max`, so it exceeds that by one batch at most.
    ///
    /// # Errors
    /// [`Refused`], with the batch.
    pub fn offer(&self, batch: Upserts) -> Result<(), Refused> {
        if !self.has_room() {
            return Err(Refused::Full(Box::new(batch)));
        }
        let Some(queue) = &self.queue else { return Err(Refused::Ended(Box::new(batch))) };
        let bytes = batch.bytes();
        self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        queue.send(batch).map_err(|unsent| {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            Refused::Ended(Box::new(unsent.0))
        })
    }

    /// The last epoch that every table is known to hold; `None` before the first batch.
    pub fn published(&self) -> Option<Epoch> {
        Some(self.shared.published.load(Ordering::Acquire)).filter(|epoch| *epoch > 0)
    }

    /// Bytes, about, of the batches not yet published.
    pub fn queued_bytes(&self) -> usize {
        self.shared.queued_bytes.load(Ordering::Relaxed)
    }

    /// How it goes.
    pub fn health(&self) -> Health {
        self.shared.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the publisher give up soon, after the attempt that is under way.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until everything queued is published, or the publisher has ended.
    ///
    /// # Errors
    /// Why it ended: a permanent fault, or [`ClickHouseError::Stopped`] with batches left.
    pub fn close(mut self) -> Result<(), ClickHouseError> {
        drop(self.queue.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(done)) => done,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop();
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // Its error was there to be asked for with `close`.
            let _ = thread.join();
        }
    }
}

fn run(
    clickhouse: &ClickHouse,
    writer: &Writer,
    names: &SharedNames,
    batches: &Receiver<Upserts>,
    shared: &Shared,
) -> Result<(), ClickHouseError> {
    let tell = |failed, since, error: &ClickHouseError| {
        // Once at the start of an outage; how long it lasts is for `health` to show.
        if failed == 1 {
            tracing::warn!(%error, "ClickHouse can't be written to; trying again until it can");
        }
        shared.set(Health::Retrying { since, failed, reason: error.to_string() });
    };
    while let Ok(mut batch) = batches.recv() {
        // What has piled up meanwhile goes out as one: far fewer inserts, and rows.
        let piled: Vec<Upserts> = batches.try_iter().collect();
        let bytes = batch.bytes() + piled.iter().map(Upserts::bytes).sum::<usize>();
        batch.follow(piled);
        let last = batch.epochs.last;
        clickhouse.publish(&batch, writer, names, &shared.stop, &tell)?;
        drop(batch);
        shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        shared.published.store(last, Ordering::Release);
        shared.set(Health::Fine);
    }
    Ok(())
}
