//! The frontier of a job that several processes publish: noted by one of them, behind all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use dataflows::model::time::Epoch;

use super::client::ClickHouse;
use super::error::ClickHouseError;
use super::retry::until_done;
use super::upserts::{Epochs, Writer};

/// The thread that notes the frontier.
#[derive(Debug)]
pub struct FrontierWriter {
    queue: Option<Sender<Epochs>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    noted: AtomicU64,
    stop: AtomicBool,
    failure: Mutex<Option<ClickHouseError>>,
}

impl FrontierWriter {
    /// Starts the thread, behind what is noted already.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(clickhouse: ClickHouse, writer: Writer, noted: Epoch) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { noted: AtomicU64::new(noted), ..Shared::default() });
        let (queue, epochs) = channel();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("frontier".to_owned()).spawn(move || {
            if let Err(error) = run(&clickhouse, &writer, &epochs, &theirs) {
                *theirs.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        })?;
        Ok(Self { queue: Some(queue), shared, thread: Some(thread) })
    }

    /// Notes that all processes hold these epochs; they follow those that were noted last.
    pub fn note(&self, epochs: Epochs) {
        // A thread that has ended has said why.
        self.queue.iter().for_each(|queue| _ = queue.send(epochs));
    }

    /// What is noted by now.
    pub fn noted(&self) -> Epoch {
        self.shared.noted.load(Ordering::Acquire)
    }

    /// Why it has ended, once: a fault that no waiting mends.
    pub fn failure(&self) -> Option<ClickHouseError> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for FrontierWriter {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        drop(self.queue.take());
        // It has caught all that it does.
        self.thread.take().map(JoinHandle::join);
    }
}

fn run(
    clickhouse: &ClickHouse,
    writer: &Writer,
    queue: &Receiver<Epochs>,
    shared: &Shared,
) -> Result<(), ClickHouseError> {
    while let Ok(mut epochs) = queue.recv() {
        // Only the last counts.
        epochs.last = queue.try_iter().last().map_or(epochs.last, |later| later.last);
        let tell = |failed, _, error: &ClickHouseError| {
            if failed == 1 {
                tracing::warn!(%error, "the frontier can't be written to ClickHouse; trying again until it can");
            }
        };
        let insert = || clickhouse.insert_frontier(writer, epochs);
        match until_done(clickhouse.config().backoff(), &shared.stop, tell, insert) {
            Err(ClickHouseError::Stopped) => return Ok(()),
            done => done?,
        }
        shared.noted.store(epochs.last, Ordering::Release);
    }
    Ok(())
}
