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

use dataflows::model::horizon::Horizon;
use dataflows::model::lookups::LookupRow;
use dataflows::model::time::Epoch;
use dataflows::rules::horizon::Seen;

use super::wire::{Closed, Opened};
use crate::bindings::{Binding, Range, TopicPartition};

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
    /// The first epoch of each horizon that some worker may still come to.
    horizons: Vec<Opened>,
    seen: BTreeMap<TopicPartition, Seen>,
    rules: Vec<(LookupRow, isize)>,
    held_back: bool,
}

/// What a worker tells when it closes an epoch.
#[derive(Debug, Default)]
pub struct Closing {
    /// What it has read.
    pub ranges: Vec<Range>,
    /// How far its partitions are.
    pub seen: Vec<(TopicPartition, Seen)>,
    /// Changes of the rules that say how far numbers look back.
    pub rules: Vec<(LookupRow, isize)>,
    /// It will read nothing into any other epoch.
    pub drained: bool,
    /// It would have read more, had there been room.
    pub held_back: bool,
}

#[derive(Clone, Debug)]
struct Progress {
    /// What the worker reads into.
    epoch: Epoch,
    drained: bool,
}

impl Binder {
    /// So many workers, all of which start with `first`.
    pub fn new(first: Opened, workers: usize) -> Self {
        let workers = vec![Progress { epoch: first.epoch, drained: false }; workers];
        let state = State {
            workers,
            read: BTreeMap::new(),
            told: Closed::default(),
            horizons: vec![first],
            seen: BTreeMap::new(),
            rules: Vec::new(),
            held_back: false,
        };
        Self { current: AtomicU64::new(first.epoch), state: Mutex::new(state) }
    }

    /// Says which epoch to read into from now on.
    pub fn go_on_to(&self, opened: Opened) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.horizons.last().is_none_or(|last| last.horizon != opened.horizon) {
            state.horizons.push(opened);
        }
        self.current.fetch_max(opened.epoch, Relaxed);
    }

    /// The epoch to read into.
    pub fn current(&self) -> Epoch {
        self.current.load(Relaxed)
    }

    /// Says what a worker has read into `epoch`, of which it reads no more; returns the next epoch.
    /// One in which a horizon takes effect is not passed over: what expires in it does so on all
    /// workers alike.
    pub fn close(&self, worker: usize, epoch: Epoch, closing: Closing) -> Opened {
        let Closing { ranges, seen, rules, drained, held_back } = closing;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current().max(epoch + 1);
        let change = state.horizons.iter().find(|change| change.epoch > epoch).map(|change| change.epoch);
        let next = change.map_or(current, |change| change.min(current));
        if !ranges.is_empty() {
            state.read.entry(epoch).or_default().extend(ranges);
        }
        state.seen.extend(seen);
        state.rules.extend(rules);
        state.held_back |= held_back;
        state.workers[worker] = Progress { epoch: next, drained };
        Opened { epoch: next, horizon: state.horizon(next) }
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
        let bind = |(epoch, ranges)| Binding { epoch, ranges, horizon: state.horizon(epoch) };
        let bindings = closed.map(bind).collect();
        while state.horizons.get(1).is_some_and(|change| change.epoch <= before) {
            state.horizons.remove(0);
        }
        let (seen, rules) = (std::mem::take(&mut state.seen), std::mem::take(&mut state.rules));
        let (seen, held_back) = (seen.into_iter().collect(), std::mem::take(&mut state.held_back));
        state.told = Closed { before, drained, ..Closed::default() };
        Some(Closed { before, bindings, seen, rules, drained, held_back })
    }
}

impl State {
    fn horizon(&self, epoch: Epoch) -> Horizon {
        let change = self.horizons.iter().rfind(|change| change.epoch <= epoch);
        change.map_or_else(Horizon::default, |change| change.horizon)
    }
}

#[cfg(test)]
mod tests {
    use dataflows::model::time::EventTime;

    use super::*;

    fn range(partition: i32) -> Range {
        Range { place: TopicPartition { topic: "t".into(), partition }, from: 0, to: 1 }
    }

    fn opened(epoch: Epoch, hours: i64) -> Opened {
        let freeze = EventTime::from_millis(hours * 3_600_000).expect("in range");
        Opened { epoch, horizon: Horizon { freeze, ..Horizon::default() } }
    }

    fn close(binder: &Binder, worker: usize, epoch: Epoch, drained: bool) -> Opened {
        let ranges = vec![range(worker as i32)];
        binder.close(worker, epoch, Closing { ranges, drained, ..Closing::default() })
    }

    #[test]
    fn an_epoch_is_closed_once_no_worker_reads_into_it() {
        let binder = Binder::new(opened(100, 0), 2);
        assert_eq!(binder.closed().map(|closed| closed.before), Some(100));
        binder.go_on_to(opened(300, 0));
        assert_eq!(close(&binder, 0, 100, false).epoch, 300);
        assert_eq!(binder.closed(), None);
        binder.go_on_to(opened(400, 0));
        assert_eq!(close(&binder, 0, 300, false).epoch, 400);
        // The other one was busy meanwhile, and passes over 300.
        assert_eq!(close(&binder, 1, 100, false).epoch, 400);
        let closed = binder.closed().expect("both");
        let expected = [(100, vec![range(0), range(1)]), (300, vec![range(0)])];
        assert_eq!((closed.before, closed.drained), (400, false));
        let horizon = Horizon::default();
        assert_eq!(closed.bindings, expected.map(|(epoch, ranges)| Binding { epoch, ranges, horizon }));
        assert_eq!(binder.closed(), None);
    }

    #[test]
    fn no_worker_passes_over_an_epoch_in_which_a_horizon_takes_effect() {
        let binder = Binder::new(opened(100, 1), 2);
        binder.go_on_to(opened(200, 1));
        assert_eq!(close(&binder, 0, 100, false), opened(200, 1));
        for (epoch, hours) in [(300, 2), (400, 2), (500, 3), (600, 3)] {
            binder.go_on_to(opened(epoch, hours));
        }
        assert_eq!(close(&binder, 1, 100, false), opened(300, 2));
        assert_eq!(close(&binder, 1, 300, false), opened(500, 3));
        assert_eq!(close(&binder, 1, 500, false), opened(600, 3));
        assert_eq!(close(&binder, 0, 200, false), opened(300, 2));
        assert_eq!(close(&binder, 0, 300, false), opened(500, 3));
        let closed = binder.closed().expect("some");
        let horizons: Vec<_> = closed
            .bindings
            .iter()
            .map(|binding| opened(binding.epoch, 0).epoch)
            .zip(closed.bindings.iter().map(|binding| binding.horizon))
            .collect();
        let expected = [(100, 1), (200, 1), (300, 2)];
        assert_eq!(horizons, expected.map(|(epoch, hours)| (epoch, opened(epoch, hours).horizon)));
    }

    #[test]
    fn who_was_held_back_is_told_of_once() {
        let binder = Binder::new(opened(1, 0), 2);
        binder.close(0, 1, Closing { held_back: true, ..Closing::default() });
        binder.close(1, 1, Closing::default());
        assert!(binder.closed().is_some_and(|closed| closed.held_back));
        [0, 1].into_iter().for_each(|worker| _ = close(&binder, worker, 2, false));
        assert!(binder.closed().is_some_and(|closed| !closed.held_back));
    }

    #[test]
    fn a_process_is_drained_once_all_workers_are() {
        let binder = Binder::new(opened(1, 0), 2);
        binder.go_on_to(opened(2, 0));
        close(&binder, 0, 1, true);
        assert!(binder.closed().is_some_and(|closed| !closed.drained));
        close(&binder, 1, 1, true);
        assert_eq!(binder.closed().map(|closed| (closed.before, closed.drained)), Some((2, true)));
    }
}
