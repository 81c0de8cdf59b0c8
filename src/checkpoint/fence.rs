//! Whether this run may still bind epochs, or another has taken its place.
//!
//! Who starts claims the store with a manifest of its own. A run that was merely cut off can't know
//! that at once, so it holds the place on lease: it looks again and again whether the last manifest
//! is its own, and binds nothing once it could not see that for [`LEASE`]. Who starts in a place that
//! another may hold waits out the lease before it reads what was bound.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::Xxh3;

use super::error::CheckpointError;
use super::keeper::fenced;
use super::manifest::{self, Manifest};
use crate::store::Store;

/// For how long a run may go on since it last began to look.
pub const LEASE: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 6_000 });
/// Who takes the place waits for this much longer, for a binding that was being written.
pub const MARGIN: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 2_000 });
const NAP: Duration = Duration::from_millis(20);

/// The watch over a claim.
pub struct Fence {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    /// When it was last begun to look, of the times that all was well.
    seen: Mutex<Instant>,
    stop: AtomicBool,
    failure: Mutex<Option<CheckpointError>>,
}

impl Fence {
    /// Watches over the claim that was written no earlier than `since`.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn watch(store: Arc<Store>, claim: &Manifest, since: Instant) -> Result<Self, CheckpointError> {
        let (seen, failure) = (Mutex::new(since), Mutex::new(None));
        let state = Arc::new(State { seen, stop: AtomicBool::new(false), failure });
        let (theirs, job, run) = (Arc::clone(&state), claim.job.clone(), claim.run.clone());
        let watch = move || {
            while !theirs.stop.load(Ordering::Relaxed) {
                theirs.look(&store, &job, &run);
                theirs.rest();
            }
        };
        let thread = std::thread::Builder::new().name("fence".to_owned()).spawn(watch);
        Ok(Self { state, thread: Some(thread.map_err(CheckpointError::Thread)?) })
    }

    /// Whether the place is still this run's.
    pub fn holds(&self) -> bool {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < LEASE
    }

    /// The other run that has taken the place, once.
    pub fn failure(&self) -> Option<CheckpointError> {
        self.state.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl State {
    fn look(&self, store: &Store, job: &str, run: &str) {
        let began = Instant::now();
        match holder(store, job) {
            Ok(Some((_, holder))) if holder == run => {
                *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = began;
            }
            Ok(Some((number, _))) => {
                let failure = fenced(store, number);
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                self.stop.store(true, Ordering::Relaxed);
            }
            // Our own may be gone before the next is listed.
            Ok(None) => {}
            Err(error) => tracing::warn!("{error}; nothing is bound until it can be"),
        }
    }

    fn rest(&self) {
        let began = Instant::now();
        while began.elapsed() < LOOK && !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(NAP);
        }
    }
}

/// The last manifest's number and run; nothing if it was removed while it was looked for, as it is
/// when two more were written.
fn holder(store: &Store, job: &str) -> Result<Option<(u64, String)>, CheckpointError> {
    let Some(number) = manifest::numbers(store)?.pop() else { return Ok(None) };
    match Manifest::read(store, number, job) {
        Ok(manifest) => Ok(Some((number, manifest.run))),
        Err(error) if error.may_pass() && manifest::numbers(store)?.last() > Some(&number) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        // A panic there has been reported there.
        self.thread.take().map(JoinHandle::join);
    }
}

/// Where a run has its state: the same for two runs only if the lock on the state directory keeps
/// the second from starting while the first lives.
pub fn seat(state: &std::path::Path) -> String {
    let mut hash = Xxh3::new();
    // The lock is the kernel's. Where this can't be read, no two starts have the same seat.
    match std::fs::read("/proc/sys/kernel/random/boot_id") {
        Ok(boot) => hash.update(&boot),
        Err(_) => hash.update(&rand::random::<u64>().to_ne_bytes()),
    }
    let path = state.canonicalize().unwrap_or_else(|_| state.to_owned());
    hash.update(path.as_os_str().as_encoded_bytes());
    format!("{:016x}", hash.digest())
}
