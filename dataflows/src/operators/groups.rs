//! Reads the values of one key after the other out of an arrangement, forwards only.

use std::rc::Rc;

use differential_dataflow::trace::TraceReader;
use differential_dataflow::trace::chunk::{Chunk, ChunkBatch};
use timely::progress::Antichain;

use super::arrange::{Key, Val, ValTrace};
use super::packed::Packed;
use crate::model::diff::Diff;
use crate::model::time::Epoch;

/// A batch of a trace.
pub(crate) type Batch<K, V, R> = Rc<ChunkBatch<Packed<K, V, R>>>;

/// A place in a batch.
struct Place<K: Key, V: Val, R: Diff> {
    batch: Batch<K, V, R>,
    run: usize,
    row: usize,
}

impl<K: Key, V: Val, R: Diff> Place<K, V, R> {
    /// Moves to the first row of `key` or, if there is none, of the next key.
    fn seek(&mut self, key: &K) {
        let runs = &self.batch.chunks;
        let ahead = seek(runs, self.run, |run| run.rows()[run.len() - 1].0 < *key);
        if ahead > self.run {
            (self.run, self.row) = (ahead, 0);
        }
        if let Some(run) = runs.get(self.run) {
            self.row = seek(run.rows(), self.row, |row| row.0 < *key);
        }
    }

    /// Takes the updates of `key`, at whose first row this is.
    fn take(&mut self, key: &K, mut update: impl FnMut(&V, Epoch, R)) {
        while let Some(run) = self.batch.chunks.get(self.run) {
            while let Some((_, val)) = run.rows().get(self.row).filter(|row| row.0 == *key) {
                update(val, *run.time(self.row), run.diff(self.row));
                self.row += 1;
            }
            if self.row < run.len() {
                return;
            }
            (self.run, self.row) = (self.run + 1, 0);
        }
    }
}

/// The first index from `start` on at which `before` no longer holds, found by doubling steps:
/// near ones are cheap, far ones logarithmic.
pub(super) fn seek<T>(items: &[T], start: usize, before: impl Fn(&T) -> bool) -> usize {
    let mut step = 1;
    let mut low = start;
    while low + step <= items.len() && before(&items[low + step - 1]) {
        low += step;
        step *= 2;
    }
    let high = (low + step - 1).min(items.len());
    low + items[low..high].partition_point(before)
}

/// A reader of groups.
pub(crate) struct Groups<K: Key, V: Val, R: Diff> {
    places: Vec<Place<K, V, R>>,
    /// Updates of the present key, ordered by value.
    found: Vec<(V, Epoch, R)>,
}

impl<K: Key, V: Val, R: Diff> Groups<K, V, R> {
    /// Reads all of a trace's batches, from their first keys on.
    pub(crate) fn new(batches: Vec<Batch<K, V, R>>) -> Self {
        let places = batches.into_iter().map(|batch| Place { batch, run: 0, row: 0 }).collect();
        Self { places, found: Vec::new() }
    }

    /// The updates of `key`, which must be above the one asked for before, ordered by value.
    pub(crate) fn updates(&mut self, key: &K) -> &[(V, Epoch, R)] {
        self.found.clear();
        let mut sources = 0;
        for place in &mut self.places {
            let known = self.found.len();
            place.seek(key);
            place.take(key, |val, epoch, diff| self.found.push((*val, epoch, diff)));
            sources += usize::from(self.found.len() > known);
        }
        if sources > 1 {
            self.found.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        }
        &self.found
    }
}

impl<K: Key, V: Val> Groups<K, V, isize> {
    /// Reads a trace as it is now, from its first keys on.
    pub(crate) fn of(trace: &mut ValTrace<K, V>) -> Self {
        Self::new(trace.batches_through(Antichain::new().borrow()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::seek;

    #[test]
    fn seeking_finds_what_a_scan_finds() {
        let rows: Vec<u32> = (0..50).map(|n| n * 2).collect();
        for start in 0..=rows.len() {
            for target in 0..110 {
                let scanned = (start..rows.len()).find(|&i| rows[i] >= target).unwrap_or(rows.len());
                assert_eq!(seek(&rows, start, |row| *row < target), scanned, "{target} from {start}");
            }
        }
    }
}
