//! Which epoch a worker reads into, and what each epoch was made of.
//!
//! ```text
//!   worker 0   ── epoch 100 ──┤├─ epoch 1100 ──┤├─ …      an epoch is opened by the first worker
//!   worker 1   ─── epoch 100 ───┤├─ epoch 1100 ──┤        that is done with the one before
//!                               └─ closed by all: bound, on disk, may be published
//! ```
//!
//! Workers don't wait for each other: the one that is ahead reads into the next epoch already.
//! An epoch in which no worker read anything needs no record.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use dataflows::model::time::Epoch;

use crate::bindings::{Binding, Bindings, BindingsError, Range};

/// The epochs of one process.
pub struct Binder {
    state: Mutex<State>,
    workers: usize,
    /// Milliseconds from one epoch to the next, at least.
    interval: u64,
}

struct State {
    log: Bindings,
    /// Epochs that some worker has not closed yet, and behind them the one that is open.
    open: VecDeque<Open>,
    /// All epochs up to this one are bound.
    bound: Epoch,
    /// The last of them into which anything was read.
    last: Epoch,
}

struct Open {
    epoch: Epoch,
    closed_by: usize,
    ranges: Vec<Range>,
}

impl Open {
    fn new(epoch: Epoch) -> Self {
        Self { epoch, closed_by: 0, ranges: Vec::new() }
    }
}

impl Binder {
    /// Goes on behind what `log` has bound, and behind `after`. Returns also the first epoch, which
    /// all workers read into.
    pub fn new(log: Bindings, after: Epoch, workers: usize, interval: u64) -> (Self, Epoch) {
        let bound = log.last_epoch().unwrap_or(0).max(after);
        let first = next_epoch(bound);
        let state = State { log, open: VecDeque::from([Open::new(first)]), bound, last: 0 };
        (Self { state: Mutex::new(state), workers, interval }, first)
    }

    /// Whether a worker that reads into `epoch` should go on to the next by now.
    pub fn is_due(&self, epoch: Epoch) -> bool {
        let now = now_millis();
        // A clock that was set back does not stop the run: the others' epochs are followed.
        now >= epoch.saturating_add(self.interval) || now < epoch || self.newest() > epoch
    }

    fn newest(&self) -> Epoch {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.back().map_or(0, |open| open.epoch)
    }

    /// Says what a worker has read into `epoch`, of which it reads no more; returns the next epoch.
    /// When this was the last worker to close the epoch, its binding is on disk on return.
    ///
    /// # Errors
    /// The log can't be written.
    pub fn close(&self, epoch: Epoch, ranges: Vec<Range>) -> Result<Epoch, BindingsError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let at = state.open.iter().position(|open| open.epoch == epoch).unwrap_or(0);
        if at + 1 == state.open.len() {
            state.open.push_back(Open::new(next_epoch(epoch)));
        }
        let next = state.open[at + 1].epoch;
        let open = &mut state.open[at];
        open.ranges.extend(ranges);
        open.closed_by += 1;
        while let Some(open) = state.open.pop_front_if(|open| open.closed_by == self.workers) {
            if !open.ranges.is_empty() {
                state.last = open.epoch;
                state.log.append(&Binding { epoch: open.epoch, ranges: open.ranges })?;
            }
            state.bound = open.epoch;
        }
        Ok(next)
    }

    /// Forgets what was bound up to `epoch`, which a checkpoint holds.
    ///
    /// # Errors
    /// The log can't be written anew.
    pub fn forget(&self, epoch: Epoch) -> Result<(), BindingsError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).log.forget(epoch)
    }

    /// The last epoch of this start into which anything was read, of those bound; 0: none.
    pub fn last_bound(&self) -> Epoch {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    /// All epochs up to this one are bound, so they may be published.
    pub fn bound(&self) -> Epoch {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).bound
    }
}

fn next_epoch(after: Epoch) -> Epoch {
    now_millis().max(after + 1)
}

fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
