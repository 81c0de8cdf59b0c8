//! Sorts updates into packed runs as they arrive, and hands out those of complete epochs.
//!
//! Updates are staged, sorted a few thousand at a time and packed into a chain of runs. As soon
//! as there are [`FAN`] chains of one size they are merged into one of the next size, so that an
//! update is copied once for every power of [`FAN`]. A sealed batch is the chain itself.

use std::cmp::Ordering;
use std::collections::VecDeque;

use differential_dataflow::batcher::{Batcher, Extract};
use differential_dataflow::trace::chunk::{Chunk, ChunkBatch, settle_all};
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use super::arrange::{Key, Val};
use super::merge::{Chain, merge};
use super::packed::{Packed, Packer, TARGET};
use crate::model::diff::Diff;
use crate::model::time::Epoch;

/// Runs sorted at a time: larger sorts leave less to merge, while they fit the cache.
const STAGED_RUNS: usize = 8;
/// Chains merged at a time.
const FAN: usize = 32;

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

/// The positions of `leads` in rising order; `tie` orders positions that the leads leave open.
fn sorted_positions(leads: Vec<u128>, tie: impl Fn(usize, usize) -> Ordering) -> impl Iterator<Item = usize> {
    // What follows the bits that all leads share fits half a lead, nearly always: then one number
    // holds that and the position, which is quick to compare and to move.
    let first = leads.first().copied().unwrap_or(0);
    let shared = leads.iter().fold(0, |bits, lead| bits | (lead ^ first)).leading_zeros().min(64);
    let low = u128::from(u64::MAX);
    let mut order: Vec<u128> =
        (0..).zip(&leads).map(|(position, lead)| ((lead << shared) & !low) | position).collect();
    order.sort_unstable();
    for tied in order.chunk_by_mut(|a, b| a >> 64 == b >> 64).filter(|tied| tied.len() > 1) {
        tied.sort_unstable_by(|a, b| tie((a & low) as usize, (b & low) as usize));
    }
    order.into_iter().map(move |entry| (entry & low) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_sorted_whatever_the_leads_share() {
        let samples: [&[u128]; 5] = [
            &[],
            &[7, 7, 7],
            &[u128::MAX, 0, 5, 1 << 127, 5],
            &[(9 << 64) + 3, (9 << 64) + 1, (9 << 64) + 2],
            &[3 << 70, (3 << 70) + 2, (3 << 70) + 1, 1 << 70],
        ];
        for leads in samples {
            let order: Vec<usize> =
                sorted_positions(leads.to_vec(), |a, b| (leads[a], a).cmp(&(leads[b], b))).collect();
            assert_eq!(order.len(), leads.len());
            assert!(order.is_sorted_by_key(|&position| (leads[position], position)), "{leads:?} {order:?}");
        }
    }
}
