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

use dataflows::model::horizon::Horizon;
use dataflows::model::lookups::{LookupRow, Lookups};
use dataflows::model::time::{Epoch, EventTime};
use dataflows::rules::horizon::{Decider, Seen, Terms};

use super::boundaries::Boundaries;
use crate::bindings::{Binding, Bindings, BindingsError, Range, TopicPartition};

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
    /// The first epoch of this start.
    first: Epoch,
    decider: Decider<TopicPartition>,
    /// The rows that say how far numbers look back.
    rules: Lookups,
    boundaries: Boundaries,
}

/// What a worker tells when it closes an epoch.
#[derive(Debug, Default)]
pub struct Closing {
    /// What it has read.
    pub ranges: Vec<Range>,
    /// How far its partitions are.
    pub seen: Vec<(TopicPartition, Seen)>,
    /// Changes of rules that say how far numbers look back.
    pub rules: Vec<(LookupRow, isize)>,
}

/// Where a run goes on.
pub struct Past<'a> {
    /// Everything up to here is published.
    pub published: Epoch,
    /// The horizon of the checkpoint.
    pub horizon: Horizon,
    /// What was bound since the checkpoint.
    pub history: &'a [Binding],
}

/// An epoch to read into.
#[derive(Copy, Clone, Debug)]
pub struct Opened {
    /// Its number.
    pub epoch: Epoch,
    /// What is frozen in it: decided once, when the first worker opens it.
    pub horizon: Horizon,
}

struct Open {
    opened: Opened,
    closed_by: usize,
    ranges: Vec<Range>,
}

impl Open {
    fn new(opened: Opened) -> Self {
        Self { opened, closed_by: 0, ranges: Vec::new() }
    }
}

impl Binder {
    /// Goes on behind what `log` has bound, and behind `after`. Returns also the first epoch, which
    /// all workers read into.
    pub fn new(
        log: Bindings,
        after: Past<'_>,
        workers: usize,
        interval: u64,
        terms: Terms,
    ) -> (Self, Opened) {
        let bound = log.last_epoch().unwrap_or(0).max(after.published);
        let past = after.history.partition_point(|binding| binding.epoch <= after.published);
        let horizon = past.checked_sub(1).map_or(after.horizon, |last| after.history[last].horizon);
        let mut boundaries = Boundaries::new(horizon);
        after.history[past..].iter().for_each(|binding| boundaries.note(binding.epoch, binding.horizon));
        let horizon = after.history.last().map_or(after.horizon, |last| last.horizon);
        let first = Opened { epoch: next_epoch(bound), horizon };
        let state = State {
            log,
            open: VecDeque::from([Open::new(first)]),
            bound,
            last: 0,
            first: first.epoch,
            decider: Decider::new(terms, horizon),
            rules: Lookups::default(),
            boundaries,
        };
        (Self { state: Mutex::new(state), workers, interval }, first)
    }

    /// How far an emission goes that begins behind `published` and could go up to `complete`, and
    /// what is frozen in it.
    pub fn emission(&self, published: Epoch, complete: Epoch) -> (Epoch, Horizon) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let complete = complete.min(state.bound);
        state.boundaries.emission(published, complete)
    }

    /// Whether a worker that reads into `epoch` should go on to the next by now.
    pub fn is_due(&self, epoch: Epoch) -> bool {
        let now = now_millis();
        // A clock that was set back does not stop the run: the others' epochs are followed.
        now >= epoch.saturating_add(self.interval) || now < epoch || self.newest() > epoch
    }

    fn newest(&self) -> Epoch {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.back().map_or(0, |open| open.opened.epoch)
    }

    /// Says what a worker has read into `epoch`, of which it reads no more; returns the next epoch.
    /// When this was the last worker to close the epoch, its binding is on disk on return.
    ///
    /// # Errors
    /// The log can't be written.
    pub fn close(&self, epoch: Epoch, closing: Closing) -> Result<Opened, BindingsError> {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        let Closing { ranges, seen, rules } = closing;
        seen.into_iter().for_each(|(place, seen)| state.decider.observe(place, seen));
        if !rules.is_empty() {
            rules.into_iter().for_each(|(row, diff)| state.rules.update(row, diff));
            state.decider.set_windows(state.rules.windows());
        }
        let at = state.open.iter().position(|open| open.opened.epoch == epoch).unwrap_or(0);
        if at + 1 == state.open.len() {
            let next = next_epoch(epoch);
            // Before all workers have closed an epoch, there are partitions that nobody spoke of.
            let heard = state.bound >= state.first;
            let horizon = if heard { state.decider.decide(next) } else { state.decider.horizon() };
            state.boundaries.note(next, horizon);
            state.open.push_back(Open::new(Opened { epoch: next, horizon }));
        }
        let next = state.open[at + 1].opened;
        let open = &mut state.open[at];
        open.ranges.extend(ranges);
        open.closed_by += 1;
        while let Some(open) = state.open.pop_front_if(|open| open.closed_by == self.workers) {
            let Open { opened: Opened { epoch, horizon }, ranges, .. } = open;
            let moved = horizon != state.log.horizon();
            if !ranges.is_empty() {
                state.last = epoch;
            }
            if moved || !ranges.is_empty() {
                state.log.append(&Binding { epoch, ranges, horizon })?;
            }
            state.bound = epoch;
        }
        Ok(next)
    }

    /// The watermark, if there is one, and what was decided last.
    pub fn horizon(&self) -> (Option<EventTime>, Horizon) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.decider.watermark(), state.decider.horizon())
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
