//! Reads the contents of a maintained table, row by row and in order.

use std::rc::Rc;
use std::vec;

use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::trace::TraceReader;
use differential_dataflow::trace::chunk::{ChunkBatch, ChunkSpine};
use timely::progress::Antichain;

use crate::model::diff::Diff;
use crate::model::time::Epoch;
use crate::operators::arrange::Val;
use crate::operators::packed::Packed;

/// The state of a table: of an aggregate ([`SumTrace`](crate::operators::arrange::SumTrace)) or of
/// a collection of pairs ([`ValTrace`](crate::operators::arrange::ValTrace)).
pub type Table<K, V, R> = TraceAgent<ChunkSpine<Packed<K, V, R>>>;

/// The rows of a table as of the end of `epoch`, which must be complete and not compacted away:
/// this worker's part of the table.
pub fn rows<K: Val, V: Val, R: Diff>(table: &mut Table<K, V, R>, epoch: Epoch) -> Rows<K, V, R> {
    let batches = table.batches_through(Antichain::new().borrow()).unwrap_or_default();
    Rows::new(batches, epoch)
}

/// Takes the rows out of a table that nobody else needs any more: each run of them is freed as
/// soon as it has been read.
pub fn take<K: Val, V: Val, R: Diff>(mut table: Table<K, V, R>, epoch: Epoch) -> Rows<K, V, R> {
    let batches = table.batches_through(Antichain::new().borrow()).unwrap_or_default();
    drop(table);
    Rows::new(batches, epoch)
}

/// The rows of a table, each with the sum of its differences, which is never zero.
pub struct Rows<K, V, R> {
    batches: Vec<Batch<K, V, R>>,
    epoch: Epoch,
}

/// A batch, from some row on.
struct Batch<K, V, R> {
    run: Packed<K, V, R>,
    index: usize,
    rest: vec::IntoIter<Packed<K, V, R>>,
}

impl<K: Val, V: Val, R: Diff> Batch<K, V, R> {
    fn new(batch: Rc<ChunkBatch<Packed<K, V, R>>>) -> Self {
        let runs = Rc::try_unwrap(batch).map_or_else(|shared| shared.chunks.clone(), |owned| owned.chunks);
        let mut rest = runs.into_iter();
        Self { run: rest.next().unwrap_or_default(), index: 0, rest }
    }

    /// The next row; none when the batch is used up.
    fn row(&self) -> Option<(K, V)> {
        self.run.rows().get(self.index).copied()
    }

    fn step(&mut self) {
        self.index += 1;
        if self.index == self.run.rows().len() {
            (self.run, self.index) = (self.rest.next().unwrap_or_default(), 0);
        }
    }
}

impl<K: Val, V: Val, R: Diff> Rows<K, V, R> {
    fn new(batches: Vec<Rc<ChunkBatch<Packed<K, V, R>>>>, epoch: Epoch) -> Self {
        Self { batches: batches.into_iter().map(Batch::new).collect(), epoch }
    }
}

impl<K: Val, V: Val, R: Diff> Iterator for Rows<K, V, R> {
    type Item = ((K, V), R);

    fn next(&mut self) -> Option<Self::Item> {
        // A table has few batches, and mostly one that holds nearly everything.
        while let Some(row) = self.batches.iter().filter_map(Batch::row).min() {
            let mut sum: Option<R> = None;
            for batch in &mut self.batches {
                while batch.row() == Some(row) {
                    if *batch.run.time(batch.index) <= self.epoch {
                        let diff = batch.run.diff(batch.index);
                        match &mut sum {
                            Some(sum) => sum.plus_equals(&diff),
                            None => sum = Some(diff),
                        }
                    }
                    batch.step();
                }
            }
            if let Some(sum) = sum.filter(|sum| !sum.is_zero()) {
                return Some((row, sum));
            }
        }
        None
    }
}
