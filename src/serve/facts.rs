//! The rows of one table, by window, up to a number of rows: beyond it the oldest windows go.

use std::collections::{BTreeMap, HashMap};

use xxhash_rust::xxh3::Xxh3Builder;

use super::shape::{Key, MEASURES_MAX};

/// Sums, as many as the table has measures.
pub type Sums = [i64; MEASURES_MAX];

/// A row that has changed.
#[derive(Copy, Clone, Debug)]
pub struct Change<'a> {
    /// The window's first millisecond.
    pub start: i64,
    /// The values of its key columns.
    pub key: &'a Key,
    /// What it was; none if it wasn't there.
    pub was: Option<&'a [i64]>,
    /// What it is; none if it is gone.
    pub is: Option<&'a [i64]>,
}

/// What a table does, whatever its number of measures.
pub trait Facts: Send + Sync {
    /// Sets a row, or removes it; `changed` is told what that changes. A row before the edge is not
    /// taken: returns whether it was.
    fn set(&mut self, start: i64, key: &Key, sums: Option<&[i64]>, changed: &mut dyn FnMut(Change)) -> bool;
    /// All rows of windows that begin in a range.
    fn scan(&self, since: i64, until: i64, each: &mut dyn FnMut(i64, &Key, &[i64]));
    /// Lets the oldest windows go until no more than so many rows are left.
    fn trim(&mut self, rows_max: usize);
    /// From here on every row is held.
    fn edge(&self) -> i64;
    /// Says that nothing is known before this moment.
    fn begin_at(&mut self, edge: i64);
    /// How many rows there are.
    fn rows(&self) -> usize;
}

type Window<const M: usize> = HashMap<Key, [i64; M], Xxh3Builder>;

/// The rows of a table with `M` measures.
#[derive(Debug)]
pub struct Rows<const M: usize> {
    windows: BTreeMap<i64, Window<M>>,
    rows: usize,
    edge: i64,
}

impl<const M: usize> Default for Rows<M> {
    fn default() -> Self {
        Self { windows: BTreeMap::new(), rows: 0, edge: i64::MIN }
    }
}

impl<const M: usize> Facts for Rows<M> {
    fn set(&mut self, start: i64, key: &Key, sums: Option<&[i64]>, changed: &mut dyn FnMut(Change)) -> bool {
        if start < self.edge {
            return false;
        }
        let sums: Option<[i64; M]> = sums.map(|sums| std::array::from_fn(|at| sums[at]));
        let window = self.windows.entry(start).or_default();
        let was = match sums {
            Some(sums) => window.insert(*key, sums),
            None => window.remove(key),
        };
        match (was.is_some(), sums.is_some()) {
            (false, true) => self.rows += 1,
            (true, false) => self.rows -= 1,
            _ => {}
        }
        if window.is_empty() {
            self.windows.remove(&start);
        }
        if was != sums {
            let (was, is) = (was.as_ref().map(|sums| &sums[..]), sums.as_ref().map(|sums| &sums[..]));
            changed(Change { start, key, was, is });
        }
        true
    }

    fn scan(&self, since: i64, until: i64, each: &mut dyn FnMut(i64, &Key, &[i64])) {
        if since < until {
            for (start, window) in self.windows.range(since..until) {
                window.iter().for_each(|(key, sums)| each(*start, key, sums));
            }
        }
    }

    fn trim(&mut self, rows_max: usize) {
        while self.rows > rows_max && self.windows.len() > 1 {
            let Some((_, window)) = self.windows.pop_first() else { break };
            self.rows -= window.len();
            self.edge = self.windows.first_key_value().map_or(self.edge, |(start, _)| *start);
        }
    }

    fn edge(&self) -> i64 {
        self.edge
    }

    fn begin_at(&mut self, edge: i64) {
        self.edge = self.edge.max(edge);
    }

    fn rows(&self) -> usize {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u64) -> Key {
        [first, 0, 0, 0, 0]
    }

    fn held(rows: &Rows<2>) -> Vec<(i64, u64, i64)> {
        let mut held = Vec::new();
        rows.scan(i64::MIN, i64::MAX, &mut |start, key, sums| held.push((start, key[0], sums[0])));
        held.sort_unstable();
        held
    }

    #[test]
    fn rows_are_set_and_removed_and_only_changes_are_told() {
        let mut rows = Rows::<2>::default();
        let mut told = Vec::new();
        let steps: [(i64, u64, Option<[i64; 2]>); 5] = [
            (0, 1, Some([5, 0])),
            (0, 1, Some([5, 0])),
            (0, 1, Some([4, 0])),
            (60, 1, Some([1, 1])),
            (0, 1, None),
        ];
        for (start, first, sums) in steps {
            let sums = sums.as_ref().map(|sums| &sums[..]);
            assert!(rows.set(start, &key(first), sums, &mut |change| {
                told.push((change.start, change.was.map(|sums| sums[0]), change.is.map(|sums| sums[0])));
            }));
        }
        assert_eq!(
            told,
            [(0, None, Some(5)), (0, Some(5), Some(4)), (60, None, Some(1)), (0, Some(4), None)]
        );
        assert_eq!((held(&rows), rows.rows()), (vec![(60, 1, 1)], 1));
    }

    #[test]
    fn the_oldest_windows_go_whole_and_take_no_more_rows() {
        let mut rows = Rows::<2>::default();
        for start in 0..4 {
            for first in 0..3 {
                rows.set(start, &key(first), Some(&[1, 1]), &mut |_| {});
            }
        }
        rows.trim(7);
        assert_eq!((rows.rows(), rows.edge()), (6, 2));
        assert!(!rows.set(1, &key(9), Some(&[1, 1]), &mut |_| panic!("it isn't held")));
        rows.trim(1);
        assert_eq!(rows.rows(), 3, "the newest window stays, whatever its size");
    }
}
