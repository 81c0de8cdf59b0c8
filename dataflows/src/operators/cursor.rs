//! Reads packed runs, key by key and value by value.

use std::marker::PhantomData;

use differential_dataflow::trace::chunk::{Chunk, NavigableChunk};
use differential_dataflow::trace::{Cursor, Navigable};

use super::arrange::Val;
use super::groups::seek;
use super::packed::Packed;
use crate::model::diff::Diff;
use crate::model::time::Epoch;

/// A place in a run: the first row of the present key and of the present value.
pub struct PackedCursor<K, V, R> {
    key: usize,
    val: usize,
    of: PhantomData<(K, V, R)>,
}

impl<K: Val, V: Val, R: Diff> Cursor for PackedCursor<K, V, R> {
    type Storage = Packed<K, V, R>;
    type Key<'a> = &'a K;
    type ValOwn = V;
    type Val<'a> = &'a V;
    type Time = Epoch;
    type TimeGat<'a> = &'a Epoch;
    type Diff = R;
    type DiffGat<'a> = &'a R;
    type KeyContainer = Vec<K>;
    type ValContainer = Vec<V>;
    type TimeContainer = Vec<Epoch>;
    type DiffContainer = Vec<R>;

    fn key_valid(&self, run: &Self::Storage) -> bool {
        self.key < run.len()
    }

    fn val_valid(&self, run: &Self::Storage) -> bool {
        let rows = run.rows();
        self.val < rows.len() && rows[self.val].0 == rows[self.key].0
    }

    fn key<'a>(&self, run: &'a Self::Storage) -> &'a K {
        &run.rows()[self.key].0
    }

    fn val<'a>(&self, run: &'a Self::Storage) -> &'a V {
        &run.rows()[self.val].1
    }

    fn get_key<'a>(&self, run: &'a Self::Storage) -> Option<&'a K> {
        run.rows().get(self.key).map(|(key, _)| key)
    }

    fn get_val<'a>(&self, run: &'a Self::Storage) -> Option<&'a V> {
        self.val_valid(run).then(|| self.val(run))
    }

    fn map_times<L: FnMut(&Epoch, &R)>(&mut self, run: &Self::Storage, mut logic: L) {
        if !self.val_valid(run) {
            return;
        }
        let rows = run.rows();
        let here = &rows[self.val];
        let same = rows[self.val..].iter().take_while(|row| *row == here).count();
        (self.val..self.val + same).for_each(|index| logic(run.time(index), &run.diff(index)));
    }

    fn step_key(&mut self, run: &Self::Storage) {
        if self.key_valid(run) {
            let rows = run.rows();
            let key = &rows[self.key].0;
            self.key += rows[self.key..].iter().take_while(|row| row.0 == *key).count();
            self.val = self.key;
        }
    }

    fn seek_key(&mut self, run: &Self::Storage, key: &K) {
        self.key = seek(run.rows(), self.key, |row| row.0 < *key);
        self.val = self.key;
    }

    fn step_val(&mut self, run: &Self::Storage) {
        if self.val_valid(run) {
            let rows = run.rows();
            let here = &rows[self.val];
            self.val += rows[self.val..].iter().take_while(|row| *row == here).count();
        }
    }

    fn seek_val(&mut self, run: &Self::Storage, val: &V) {
        if self.key_valid(run) {
            let rows = run.rows();
            let key = &rows[self.key].0;
            self.val = seek(rows, self.val, |row| (&row.0, &row.1) < (key, val));
        }
    }

    fn rewind_keys(&mut self, _: &Self::Storage) {
        (self.key, self.val) = (0, 0);
    }

    fn rewind_vals(&mut self, _: &Self::Storage) {
        self.val = self.key;
    }
}

impl<K: Val, V: Val, R: Diff> Navigable for Packed<K, V, R> {
    type Cursor = PackedCursor<K, V, R>;

    fn cursor(&self) -> Self::Cursor {
        PackedCursor { key: 0, val: 0, of: PhantomData }
    }
}

/// A row with its time, as bounds are told.
type Bound<'a, K, V> = (&'a K, &'a V, &'a Epoch);

impl<K: Val, V: Val, R: Diff> NavigableChunk for Packed<K, V, R> {
    fn bounds(&self) -> (Bound<'_, K, V>, Bound<'_, K, V>) {
        let bound = |index: usize| {
            let (key, val) = &self.rows()[index];
            (key, val, self.time(index))
        };
        (bound(0), bound(self.len() - 1))
    }
}
