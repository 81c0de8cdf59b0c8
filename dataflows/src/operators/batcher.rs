//! Sorts updates into packed runs as they arrive, and hands out those of complete epochs.
//!
//! Updates are staged, sorted a few thousand at a time, packed, and merged on a ladder of
//! geometrically growing chains. A sealed batch is the chain itself.

use std::collections::VecDeque;

use differential_dataflow::batcher::merge::{Extractor, MergeLadder};
use differential_dataflow::batcher::{Batcher, Extract};
use differential_dataflow::consolidation::consolidate_updates;
use differential_dataflow::logging::Logger;
use differential_dataflow::trace::chunk::{ChunkBatch, ChunkMerger, settle_all};
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use super::arrange::Val;
use super::packed::{Diff, Packed, Packer, TARGET, Update};
use crate::model::time::Epoch;

/// Updates sorted at a time: larger sorts leave fewer runs to merge, while they fit the cache.
const STAGED_MAX: usize = 8 * TARGET;

/// A batcher of packed runs.
pub struct PackedBatcher<K: Val, V: Val, R: Diff> {
    staged: Vec<Update<K, V, R>>,
    ladder: MergeLadder<ChunkMerger<Packed<K, V, R>>>,
    merger: ChunkMerger<Packed<K, V, R>>,
    held: Antichain<Epoch>,
}

impl<K: Val, V: Val, R: Diff> PackedBatcher<K, V, R> {
    /// An empty batcher of the operator `operator`.
    pub fn new(logger: Option<Logger>, operator: usize) -> Self {
        Self {
            staged: Vec::new(),
            ladder: MergeLadder::new(logger, operator),
            merger: ChunkMerger::default(),
            held: Antichain::new(),
        }
    }

    fn pack(&mut self) {
        consolidate_updates(&mut self.staged);
        let mut chain = VecDeque::new();
        let mut packer = Packer::new(&mut chain);
        self.staged.drain(..).for_each(|update| packer.push(update));
        packer.flush();
        self.ladder.insert_chain(chain.into());
    }
}

impl<K: Val, V: Val, R: Diff> Batcher<Vec<Update<K, V, R>>> for PackedBatcher<K, V, R> {
    fn insert(&mut self, updates: &mut Vec<Update<K, V, R>>) {
        self.staged.append(updates);
        if self.staged.len() >= STAGED_MAX {
            self.pack();
        }
    }
}

impl<K: Val, V: Val, R: Diff> Extract for PackedBatcher<K, V, R> {
    type Time = Epoch;
    type Output = ChunkBatch<Packed<K, V, R>>;

    fn extract<'a>(
        &'a mut self,
        upper: AntichainRef<'_, Epoch>,
    ) -> (Option<Self::Output>, AntichainRef<'a, Epoch>) {
        self.pack();
        let merged = self.ladder.merge_all();
        let (mut ready, mut kept, mut spare) = (Vec::new(), Vec::new(), Vec::new());
        self.held.clear();
        self.merger.extract(merged, upper, &mut self.held, &mut ready, &mut kept, &mut spare);
        self.ladder.insert_chain(kept);
        let ready = settle_all(ready);
        ((!ready.is_empty()).then(|| ChunkBatch::new(ready)), self.held.borrow())
    }
}
