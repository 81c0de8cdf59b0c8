//! How arranged records are kept: sorted runs of rows, with their times and differences beside
//! them, and these only once where all rows of a run share them.
//!
//! ```text
//!   rows   (k,v) (k,v) (k,v) …        times   7           diffs   +1
//!                                     one for all, or one each
//! ```
//!
//! Nearly all records of a batch have one epoch and the difference +1, and once a trace is
//! compacted, nearly all of the trace has: a run is then hardly more than its rows. A run is what
//! the batcher sorts, what a batch consists of and what a merge frees piece by piece, so that no
//! second copy of an arrangement is made when a batch is sealed.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::rc::Rc;

use differential_dataflow::difference::Semigroup;
use differential_dataflow::trace::chunk::{Chunk, pack};
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use super::arrange::Val;
use crate::model::time::Epoch;

/// A difference of a packed run.
pub trait Diff: Semigroup + Val {}
impl<R: Semigroup + Val> Diff for R {}

/// An update, unpacked.
pub type Update<K, V, R> = ((K, V), Epoch, R);

/// Rows of a run at most: enough to amortise what is done per run, few enough for the allocator
/// to use the room of one for the next.
pub(super) const TARGET: usize = 1024;

/// One value for all rows, or one for each.
#[derive(Clone)]
enum Column<T> {
    All(T),
    Each(Vec<T>),
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl<T: Copy + Eq> Column<T> {
    fn at(&self, index: usize) -> &T {
        match self {
            Self::All(value) => value,
            Self::Each(values) => &values[index],
        }
    }

    /// Adds a value behind `len` others.
    fn push(&mut self, len: usize, value: T) {
        match self {
            _ if len == 0 => *self = Self::All(value),
            Self::All(all) if *all == value => {}
            Self::All(all) => {
                let mut each = Vec::with_capacity(TARGET);
                each.resize(len, *all);
                each.push(value);
                *self = Self::Each(each);
            }
            Self::Each(each) => each.push(value),
        }
    }
}

/// A sorted, consolidated run of updates, shared.
pub struct Packed<K, V, R>(Rc<Body<K, V, R>>);

struct Body<K, V, R> {
    rows: Vec<(K, V)>,
    times: Column<Epoch>,
    diffs: Column<R>,
}

impl<K, V, R> Default for Body<K, V, R> {
    fn default() -> Self {
        Self { rows: Vec::new(), times: Column::default(), diffs: Column::default() }
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
        self.0.times.at(index)
    }

    pub(crate) fn diff(&self, index: usize) -> &R {
        self.0.diffs.at(index)
    }

    fn at(&self, index: usize) -> Update<K, V, R> {
        (self.0.rows[index], *self.time(index), *self.diff(index))
    }

    fn rank(&self, index: usize) -> (&(K, V), &Epoch) {
        (&self.0.rows[index], self.time(index))
    }
}

/// Packs updates that come in order into runs.
pub(super) struct Packer<'a, K, V, R> {
    body: Body<K, V, R>,
    out: &'a mut VecDeque<Packed<K, V, R>>,
}

impl<'a, K: Val, V: Val, R: Diff> Packer<'a, K, V, R> {
    pub(super) fn new(out: &'a mut VecDeque<Packed<K, V, R>>) -> Self {
        Self { body: Body::default(), out }
    }

    pub(super) fn push(&mut self, (row, time, diff): Update<K, V, R>) {
        let Body { rows, times, diffs } = &mut self.body;
        if rows.is_empty() {
            rows.reserve_exact(TARGET);
        }
        times.push(rows.len(), time);
        diffs.push(rows.len(), diff);
        rows.push(row);
        if rows.len() == TARGET {
            self.flush();
        }
    }

    pub(super) fn flush(&mut self) {
        if !self.body.rows.is_empty() {
            if self.body.rows.len() < TARGET {
                self.body.rows.shrink_to_fit();
            }
            self.out.push_back(Packed(Rc::new(std::mem::take(&mut self.body))));
        }
    }

    fn extend(&mut self, run: &Packed<K, V, R>, from: usize) {
        (from..run.len()).for_each(|index| self.push(run.at(index)));
    }
}

impl<K: Val, V: Val, R: Diff> Chunk for Packed<K, V, R> {
    type Time = Epoch;
    const TARGET: usize = TARGET;

    fn len(&self) -> usize {
        self.0.rows.len()
    }

    fn merge(left: &mut VecDeque<Self>, right: &mut VecDeque<Self>, out: &mut VecDeque<Self>) {
        let mut packer = Packer::new(out);
        let (mut a, mut b) = (left.pop_front().unwrap_or_default(), right.pop_front().unwrap_or_default());
        let (mut i, mut j) = (0, 0);
        // As soon as one side is used up, what remains of the other may have to wait for more.
        while i < a.len() && j < b.len() {
            if i == 0 && a.rank(a.len() - 1) < b.rank(j) {
                // All of a run comes before the other side: it goes on as it is.
                packer.flush();
                packer.out.push_back(std::mem::take(&mut a));
            } else if j == 0 && b.rank(b.len() - 1) < a.rank(i) {
                packer.flush();
                packer.out.push_back(std::mem::take(&mut b));
            } else {
                match a.rank(i).cmp(&b.rank(j)) {
                    Ordering::Less => {
                        packer.push(a.at(i));
                        i += 1;
                    }
                    Ordering::Greater => {
                        packer.push(b.at(j));
                        j += 1;
                    }
                    Ordering::Equal => {
                        let (row, time, mut diff) = a.at(i);
                        diff.plus_equals(b.diff(j));
                        if !diff.is_zero() {
                            packer.push((row, time, diff));
                        }
                        i += 1;
                        j += 1;
                    }
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
        packer.flush();
        for (run, from, queue) in [(a, i, left), (b, j, right)] {
            let mut rest = VecDeque::new();
            let mut packer = Packer::new(&mut rest);
            packer.extend(&run, from);
            packer.flush();
            rest.into_iter().rev().for_each(|run| queue.push_front(run));
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
        if let Column::All(time) = run.0.times {
            // The usual case: the run goes one way, as it is.
            if frontier.less_equal(&time) {
                residual.insert(time);
                keep.push_back(run);
            } else {
                ship.push_back(run);
            }
            return;
        }
        let (mut kept, mut shipped) = (Packer::new(keep), Packer::new(ship));
        for index in 0..run.len() {
            let update = run.at(index);
            if frontier.less_equal(&update.1) {
                residual.insert(update.1);
                kept.push(update);
            } else {
                shipped.push(update);
            }
        }
        kept.flush();
        shipped.flush();
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
        let mut packer = Packer::new(out);
        let mut pending: Option<Update<K, V, R>> = None;
        for run in input.drain(..) {
            for index in 0..run.len() {
                let (row, time, diff) = run.at(index);
                let time = time.max(least);
                match &mut pending {
                    Some((last, at, sum)) if *last == row && *at == time => sum.plus_equals(&diff),
                    _ => {
                        if let Some(complete) = pending.replace((row, time, diff)).filter(|u| !u.2.is_zero())
                        {
                            packer.push(complete);
                        }
                    }
                }
            }
        }
        let last = pending.filter(|update| !update.2.is_zero());
        if done {
            last.into_iter().for_each(|update| packer.push(update));
        }
        packer.flush();
        if let Some(update) = last.filter(|_| !done) {
            // More of the last row may follow.
            let mut packer = Packer::new(input);
            packer.push(update);
            packer.flush();
        }
    }

    fn settle(input: &mut VecDeque<Self>, done: bool, out: &mut VecDeque<Self>) {
        let repack = |runs: &[Self], from: usize, to: usize| {
            let mut packed = VecDeque::new();
            let mut packer = Packer::new(&mut packed);
            runs.iter()
                .flat_map(|run| (0..run.len()).map(|index| run.at(index)))
                .skip(from)
                .take(to - from)
                .for_each(|update| packer.push(update));
            packer.flush();
            packed.pop_front().unwrap_or_default()
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
