//! Sorts updates into packed runs as they arrive, and hands out those of complete epochs.
//!
//! Updates are staged, sorted a few thousand at a time and packed into a chain of runs. As soon
//! as there are [`FAN`] chains of one size they are merged into one of the next size, so that an
//! update is copied once for every power of [`FAN`]. A sealed batch is the chain itself.

use std::collections::VecDeque;

use differential_dataflow::batcher::{Batcher, Extract};
use differential_dataflow::trace::chunk::{Chunk, ChunkBatch, settle_all};
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use super::arrange::{Key, Val};
use super::leads::sorted_positions;
use super::merge::{Chain, merge};
use super::packed::{Packed, Packer, TARGET};
use crate::model::diff::Diff;
use crate::model::time::Epoch;

/// Runs sorted at a time: larger sorts leave less to merge, while they fit the cache.
const STAGED_RUNS: usize = 16;
/// Chains merged at a time.
const FAN: usize = 64;

/// A batcher of packed runs of what `split` makes of records.
pub struct PackedBatcher<K: Key, V: Val, R: Diff, F> {
    split: F,
    /// Runs that are not sorted yet.
    staged: Packer<K, V, R>,
    /// Chains by size: those on a level were each merged from [`FAN`] of the level below.
    levels: Vec<Vec<Chain<K, V, R>>>,
    held: Antichain<Epoch>,
}

impl<K: Key, V: Val, R: Diff, F> PackedBatcher<K, V, R, F> {
    /// An empty batcher.
    pub fn new(split: F) -> Self {
        Self { split, staged: Packer::default(), levels: Vec::new(), held: Antichain::new() }
    }

    /// Sorts what is staged into a chain.
    fn pack(&mut self) {
        let runs = std::mem::take(&mut self.staged).finish();
        if runs.is_empty() {
            return;
        }
        let leads = runs.iter().flat_map(|run| run.rows()).map(|(key, _)| key.lead());
        let order = sorted_positions(leads.collect(), |a, b| {
            let rank = |position: usize| runs[position / TARGET].rank(position % TARGET);
            rank(a).cmp(&rank(b))
        });
        let mut packer = Packer::default();
        order.for_each(|position| packer.add_from(&runs[position / TARGET], position % TARGET));
        self.insert_chain(0, packer.finish());
    }

    fn insert_chain(&mut self, level: usize, chain: Chain<K, V, R>) {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        self.levels[level].push(chain);
        if self.levels[level].len() == FAN {
            let merged = merge(std::mem::take(&mut self.levels[level]));
            self.insert_chain(level + 1, merged);
        }
    }
}

impl<D, K: Key, V: Val, R: Diff, F: Fn(D) -> (K, V)> Batcher<Vec<(D, Epoch, R)>>
    for PackedBatcher<K, V, R, F>
{
    fn insert(&mut self, updates: &mut Vec<(D, Epoch, R)>) {
        let split = &self.split;
        updates.drain(..).for_each(|(record, epoch, diff)| self.staged.add((split(record), epoch, diff)));
        if self.staged.runs() >= STAGED_RUNS {
            self.pack();
        }
    }
}

impl<K: Key, V: Val, R: Diff, F> Extract for PackedBatcher<K, V, R, F> {
    type Time = Epoch;
    type Output = ChunkBatch<Packed<K, V, R>>;

    fn extract<'a>(
        &'a mut self,
        upper: AntichainRef<'_, Epoch>,
    ) -> (Option<Self::Output>, AntichainRef<'a, Epoch>) {
        self.pack();
        let mut merged = merge(std::mem::take(&mut self.levels).into_iter().flatten().collect());
        let (mut ready, mut kept) = (VecDeque::new(), VecDeque::new());
        self.held.clear();
        while !merged.is_empty() {
            Chunk::extract(&mut merged, upper, &mut self.held, &mut kept, &mut ready);
        }
        if !kept.is_empty() {
            self.insert_chain(0, kept);
        }
        let ready = settle_all(ready);
        ((!ready.is_empty()).then(|| ChunkBatch::new(ready)), self.held.borrow())
    }
}
