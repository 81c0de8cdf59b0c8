//! How arranged records are kept: sorted runs of rows, with their times and differences beside
//! them, and these only once where all rows of a run share them.
//!
//! ```text
//!   rows   (k,v) (k,v) (k,v) …        times   7           diffs   +1
//!                                     one for all, or one each
//! ```
//!
//! Nearly all records of a batch have one epoch and the difference +1, and once a trace is
//! compacted, nearly all of the trace has: a run is then hardly more than its rows. Differences
//! that differ (the measures of an aggregate, most of which are zero) are kept as a few bytes
//! each, see [`Diff`]. A run is what the batcher sorts, what a batch consists of and what a merge
//! frees piece by piece, so that no second copy of an arrangement is made when a batch is sealed.

use std::collections::VecDeque;
use std::rc::Rc;

use differential_dataflow::trace::chunk::{Chunk, pack};
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use super::arrange::Val;
use super::columns::{Diffs, Times};
use crate::model::diff::Diff;
use crate::model::time::Epoch;

/// An update, unpacked.
pub type Update<K, V, R> = ((K, V), Epoch, R);

/// Rows of a run at most: enough to amortise what is done per run, few enough for the allocator
/// to use the room of one for the next.
pub(super) const TARGET: usize = 1024;

/// A sorted, consolidated run of updates, shared.
pub struct Packed<K, V, R>(Rc<Body<K, V, R>>);

struct Body<K, V, R> {
    rows: Vec<(K, V)>,
    times: Times,
    diffs: Diffs<R>,
}

impl<K, V, R> Default for Body<K, V, R> {
    fn default() -> Self {
        Self { rows: Vec::new(), times: Times::default(), diffs: Diffs::default() }
    }
}

impl<K, V, R> Default for Packed<K, V, R> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<K, V, R> Clone for Packed<K, V, R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<K: Val, V: Val, R: Diff> Packed<K, V, R> {
    /// The rows, in order. A row that changes at several times stands once for each.
    pub(crate) fn rows(&self) -> &[(K, V)] {
        &self.0.rows
    }

    pub(crate) fn time(&self, index: usize) -> &Epoch {
        match &self.0.times {
            Times::All(time) => time,
            Times::Each(times) => &times[index],
        }
    }

    pub(crate) fn diff(&self, index: usize) -> R {
        self.0.diffs.at(index)
    }

    pub(super) fn at(&self, index: usize) -> Update<K, V, R> {
        (self.0.rows[index], *self.time(index), self.diff(index))
    }

    /// What the row is ordered by among updates.
    pub(super) fn rank(&self, index: usize) -> (&(K, V), &Epoch) {
        (&self.0.rows[index], self.time(index))
    }
}

/// Packs updates that come in order into runs; what coincides with the one before is added up.
///
/// Updates that don't come in order are packed alike, into runs that still have to be sorted.
pub(super) struct Packer<K, V, R> {
    body: Body<K, V, R>,
    out: VecDeque<Packed<K, V, R>>,
}

impl<K, V, R> Default for Packer<K, V, R> {
    fn default() -> Self {
        Self { body: Body::default(), out: VecDeque::new() }
    }
}

impl<K: Val, V: Val, R: Diff> Packer<K, V, R> {
    /// Full runs packed by now.
    pub(super) fn runs(&self) -> usize {
        self.out.len()
    }

    /// All that was added. Of updates that were not added as runs, all runs but the last are full.
    pub(super) fn finish(mut self) -> VecDeque<Packed<K, V, R>> {
        self.flush();
        self.out
    }

    /// Adds an update.
    pub(super) fn add(&mut self, (row, time, diff): Update<K, V, R>) {
        if self.coincides(&row, time) {
            self.add_up(&diff);
        } else if !diff.is_zero() {
            self.start_row(row, time);
            self.body.diffs.push(self.body.rows.len() - 1, diff);
        }
    }

    /// Adds an update of a run: as [`Packer::add`], but its difference stays packed.
    pub(super) fn add_from(&mut self, run: &Packed<K, V, R>, index: usize) {
        let (row, time) = (run.0.rows[index], *run.time(index));
        if self.coincides(&row, time) {
            self.add_up(&run.diff(index));
        } else {
            self.start_row(row, time);
            self.body.diffs.push_from(self.body.rows.len() - 1, &run.0.diffs, index);
        }
    }

    /// Adds a whole run, as it is.
    pub(super) fn add_run(&mut self, run: Packed<K, V, R>) {
        if self.coincides(&run.0.rows[0], *run.time(0)) {
            return (0..run.len()).for_each(|index| self.add_from(&run, index));
        }
        self.flush();
        self.out.push_back(run);
    }

    #[inline]
    fn coincides(&self, row: &(K, V), time: Epoch) -> bool {
        let Body { rows, times, .. } = &self.body;
        rows.last() == Some(row) && times.at(rows.len() - 1) == time
    }

    fn add_up(&mut self, diff: &R) {
        if let Some(last) = self.body.rows.len().checked_sub(1) {
            let mut sum = self.body.diffs.pop(last);
            sum.plus_equals(diff);
            if sum.is_zero() {
                self.body.rows.pop();
                self.body.times.truncate(last);
            } else {
                self.body.diffs.push(last, sum);
            }
        }
    }

    #[inline]
    fn start_row(&mut self, row: (K, V), time: Epoch) {
        // Not before: the last row of a full run might still have been added to.
        if self.body.rows.len() == TARGET {
            self.flush();
        }
        let Body { rows, times, .. } = &mut self.body;
        if rows.is_empty() {
            rows.reserve_exact(TARGET);
        }
        times.push(rows.len(), time);
        rows.push(row);
    }

    fn flush(&mut self) {
        if !self.body.rows.is_empty() {
            self.body.rows.shrink_to_fit();
            self.body.diffs.shrink_to_fit();
            self.out.push_back(Packed(Rc::new(std::mem::take(&mut self.body))));
        }
    }

    /// Takes the last update back.
    fn pop(&mut self) -> Option<Update<K, V, R>> {
        let last = self.body.rows.len().checked_sub(1)?;
        let (row, time) = (self.body.rows.pop()?, self.body.times.at(last));
        self.body.times.truncate(last);
        Some((row, time, self.body.diffs.pop(last)))
    }
}

impl<K: Val, V: Val, R: Diff> Chunk for Packed<K, V, R> {
    type Time = Epoch;
    const TARGET: usize = TARGET;

    fn len(&self) -> usize {
        self.0.rows.len()
    }

    fn merge(left: &mut VecDeque<Self>, right: &mut VecDeque<Self>, out: &mut VecDeque<Self>) {
        let mut packer = Packer::default();
        let (mut a, mut b) = (left.pop_front().unwrap_or_default(), right.pop_front().unwrap_or_default());
        let (mut i, mut j) = (0, 0);
        // As soon as one side is used up, what remains of the other may have to wait for more.
        while i < a.len() && j < b.len() {
            if i == 0 && a.rank(a.len() - 1) < b.rank(j) {
                // All of a run comes before the other side: it goes on as it is.
                packer.add_run(std::mem::take(&mut a));
            } else if j == 0 && b.rank(b.len() - 1) < a.rank(i) {
                packer.add_run(std::mem::take(&mut b));
            } else {
                let order = a.rank(i).cmp(&b.rank(j));
                if order.is_le() {
                    packer.add_from(&a, i);
                    i += 1;
                }
                if order.is_ge() {
                    packer.add_from(&b, j);
                    j += 1;
                }
            }
            if i >= a.len()
                && let Some(next) = left.pop_front()
            {
                (a, i) = (next, 0);
            }
            if j >= b.len()
                && let Some(next) = right.pop_front()
            {
                (b, j) = (next, 0);
            }
        }
        out.append(&mut packer.finish());
        for (run, from, queue) in [(a, i, left), (b, j, right)] {
            let mut packer = Packer::default();
            (from..run.len()).for_each(|index| packer.add_from(&run, index));
            packer.finish().into_iter().rev().for_each(|run| queue.push_front(run));
        }
    }

    fn extract(
        input: &mut VecDeque<Self>,
        frontier: AntichainRef<Epoch>,
        residual: &mut Antichain<Epoch>,
        keep: &mut VecDeque<Self>,
        ship: &mut VecDeque<Self>,
    ) {
        let Some(run) = input.pop_front() else { return };
        if let Times::All(time) = run.0.times {
            // The usual case: the run goes one way, as it is.
            if frontier.less_equal(&time) {
                residual.insert(time);
                keep.push_back(run);
            } else {
                ship.push_back(run);
            }
            return;
        }
        let (mut kept, mut shipped) = (Packer::default(), Packer::default());
        for index in 0..run.len() {
            let time = *run.time(index);
            if frontier.less_equal(&time) {
                residual.insert(time);
                kept.add_from(&run, index);
            } else {
                shipped.add_from(&run, index);
            }
        }
        keep.append(&mut kept.finish());
        ship.append(&mut shipped.finish());
    }

    fn advance(
        input: &mut VecDeque<Self>,
        frontier: AntichainRef<Epoch>,
        done: bool,
        out: &mut VecDeque<Self>,
    ) {
        // Epochs are totally ordered, so advancing keeps updates in order, and of one row only
        // neighbours can come to coincide.
        let least = frontier.first().copied().unwrap_or(0);
        let mut packer = Packer::default();
        for run in input.drain(..) {
            for index in 0..run.len() {
                let (row, time, diff) = run.at(index);
                packer.add((row, time.max(least), diff));
            }
        }
        // More of the last row may follow.
        let open = if done { None } else { packer.pop() };
        out.append(&mut packer.finish());
        if let Some(update) = open {
            let mut packer = Packer::default();
            packer.add(update);
            input.append(&mut packer.finish());
        }
    }

    fn settle(input: &mut VecDeque<Self>, done: bool, out: &mut VecDeque<Self>) {
        let repack = |runs: &[Self], from: usize, to: usize| {
            let mut packer = Packer::default();
            runs.iter()
                .flat_map(|run| (0..run.len()).map(move |index| (run, index)))
                .skip(from)
                .take(to - from)
                .for_each(|(run, index)| packer.add_from(run, index));
            packer.finish().pop_front().unwrap_or_default()
        };
        pack(
            input,
            done,
            out,
            |runs| repack(&runs, 0, TARGET),
            |run, at| {
                let len = run.len();
                let runs = [run];
                (repack(&runs, 0, at), repack(&runs, at, len))
            },
            |run| run,
        );
    }
}
