//! Which epoch the workers of a process read into, and what each epoch was made of.
//!
//! ```text
//!   worker 0   ── epoch 100 ──┤├─ epoch 1100 ──┤├─ …      the first process says which epoch it is
//!   worker 1   ─── epoch 100 ───┤├─ epoch 1100 ──┤
//!                               └─ closed by all: the first process is told, and binds it
//! ```
//!
//! Workers don't wait for each other: the one that is ahead reads into the next epoch already. One
//! that was busy for longer passes epochs over.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use dataflows::model::time::Epoch;

use super::wire::Closed;
use crate::bindings::{Binding, Range};

/// The epochs of one process.
#[derive(Debug)]
pub struct Binder {
    /// The epoch to read into.
    current: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    workers: Vec<Progress>,
    /// What was read into epochs that were not told yet.
    read: BTreeMap<Epoch, Vec<Range>>,
    told: Closed,
}

#[derive(Clone, Debug)]
struct Progress {
    /// What the worker reads into.
    epoch: Epoch,
    drained: bool,
}

impl Binder {
    /// So many workers, all of which start with `first`.
    pub fn new(first: Epoch, workers: usize) -> Self {
        let workers = vec![Progress { epoch: first, drained: false }; workers];
        let state = State { workers, read: BTreeMap::new(), told: Closed::default() };
        Self { current: AtomicU64::new(first), state: Mutex::new(state) }
    }

    /// Says which epoch to read into from now on.
    pub fn go_on_to(&self, epoch: Epoch) {
        self.current.fetch_max(epoch, Relaxed);
    }

    /// The epoch to read into.
    pub fn current(&self) -> Epoch {
        self.current.load(Relaxed)
    }

    /// Says what a worker has read into `epoch`, of which it reads no more; returns the next epoch.
    /// `drained` says that it will read nothing into any other.
    pub fn close(&self, worker: usize, epoch: Epoch, ranges: Vec<Range>, drained: bool) -> Epoch {
        let next = self.current().max(epoch + 1);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !ranges.is_empty() {
            state.read.entry(epoch).or_default().extend(ranges);
        }
        state.workers[worker] = Progress { epoch: next, drained };
        next
    }

    /// What was closed by all workers and not told yet.
    pub fn closed(&self) -> Option<Closed> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.workers.iter().map(|worker| worker.epoch).min().unwrap_or_default();
        let drained = state.workers.iter().all(|worker| worker.drained);
        if (before, drained) == (state.told.before, state.told.drained) {
            return None;
        }
        let later = state.read.split_off(&before);
        let closed = std::mem::replace(&mut state.read, later).into_iter();
        let bindings = closed.map(|(epoch, ranges)| Binding { epoch, ranges }).collect();
        state.told = Closed { before, bindings: Vec::new(), drained };
        Some(Closed { before, bindings, drained })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::TopicPartition;

    fn range(partition: i32) -> Range {
        Range { place: TopicPartition { topic: "t".into(), partition }, from: 0, to: 1 }
    }

    #[test]
    fn an_epoch_is_closed_once_no_worker_reads_into_it() {
        let binder = Binder::new(100, 2);
        assert_eq!(binder.closed().map(|closed| closed.before), Some(100));
        binder.go_on_to(300);
        assert_eq!(binder.close(0, 100, vec![range(0)], false), 300);
        assert_eq!(binder.closed(), None);
        binder.go_on_to(400);
        assert_eq!(binder.close(0, 300, vec![range(0)], false), 400);
        // The other one was busy meanwhile, and passes over 300.
        assert_eq!(binder.close(1, 100, vec![range(1)], false), 400);
        let closed = binder.closed().expect("both");
        let expected = [(100, vec![range(0), range(1)]), (300, vec![range(0)])];
        assert_eq!((closed.before, closed.drained), (400, false));
        assert_eq!(closed.bindings, expected.map(|(epoch, ranges)| Binding { epoch, ranges }));
        assert_eq!(binder.closed(), None);
    }

    #[test]
    fn a_process_is_drained_once_all_workers_are() {
        let binder = Binder::new(1, 2);
        binder.go_on_to(2);
        binder.close(0, 1, Vec::new(), true);
        assert!(binder.closed().is_some_and(|closed| !closed.drained));
        binder.close(1, 1, vec![range(1)], true);
        assert_eq!(binder.closed().map(|closed| (closed.before, closed.drained)), Some((2, true)));
    }
}
