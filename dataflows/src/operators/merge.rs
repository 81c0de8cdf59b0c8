//! Merges many sorted chains of packed runs into one.

use std::collections::VecDeque;

use super::arrange::{Key, Val};
use super::packed::{Packed, Packer};
use crate::model::diff::Diff;
use crate::model::time::Epoch;

/// Runs that follow each other.
pub(super) type Chain<K, V, R> = VecDeque<Packed<K, V, R>>;

/// What a row is ordered by among updates, if there is a row.
type Rank<'a, K, V> = Option<(&'a (K, V), &'a Epoch)>;

/// The present place in a chain. What has been read is let go of, run by run.
struct Head<K, V, R> {
    run: Packed<K, V, R>,
    at: usize,
    rest: Chain<K, V, R>,
}

impl<K: Key, V: Val, R: Diff> Head<K, V, R> {
    fn new(rest: Chain<K, V, R>) -> Self {
        let mut head = Self { run: Packed::default(), at: 0, rest };
        head.skip_run();
        head
    }

    fn step(&mut self) {
        self.at += 1;
        if self.at == self.run.rows().len() {
            self.skip_run();
        }
    }

    fn skip_run(&mut self) -> Packed<K, V, R> {
        self.at = 0;
        std::mem::replace(&mut self.run, self.rest.pop_front().unwrap_or_default())
    }

    fn is_over(&self) -> bool {
        self.run.rows().is_empty()
    }

    /// The lead of the present key; the greatest there is when nothing is left.
    fn lead(&self) -> u128 {
        self.run.rows().get(self.at).map_or(u128::MAX, |(key, _)| key.lead())
    }

    /// What is present; nothing comes last.
    fn rank(&self) -> (bool, Rank<'_, K, V>) {
        (self.is_over(), (!self.is_over()).then(|| self.run.rank(self.at)))
    }
}

/// A tournament of heads: every match is remembered by its loser, so that once the winner has
/// moved on, only the matches on its way up are played again.
struct Tournament<K, V, R> {
    heads: Vec<Head<K, V, R>>,
    /// The heads' leads.
    leads: Vec<u128>,
    losers: Vec<usize>,
    winner: usize,
}

impl<K: Key, V: Val, R: Diff> Tournament<K, V, R> {
    fn new(chains: Vec<Chain<K, V, R>>) -> Self {
        let heads: Vec<_> = chains.into_iter().map(Head::new).collect();
        let entrants = heads.len();
        let leads = heads.iter().map(Head::lead).collect();
        let mut tournament = Self { heads, leads, losers: vec![0; entrants], winner: 0 };
        // Match `n` is played by the winners of matches `2n` and `2n + 1`; from `entrants` on, a
        // number stands for an entrant.
        let mut winners: Vec<usize> = (0..2 * entrants).map(|n| n.saturating_sub(entrants)).collect();
        for n in (1..entrants).rev() {
            let (a, b) = (winners[2 * n], winners[2 * n + 1]);
            let first = tournament.comes_first(a, b);
            (winners[n], tournament.losers[n]) = if first { (a, b) } else { (b, a) };
        }
        tournament.winner = winners[1];
        tournament
    }

    fn comes_first(&self, a: usize, b: usize) -> bool {
        let (left, right) = (self.leads[a], self.leads[b]);
        if left == right { self.heads[a].rank() < self.heads[b].rank() } else { left < right }
    }

    /// Plays the winner's matches again, after its head has moved on.
    fn replay(&mut self) {
        let mut winner = self.winner;
        self.leads[winner] = self.heads[winner].lead();
        let mut game = (winner + self.heads.len()) / 2;
        while game > 0 {
            // Who wins can't be predicted, so there is no branch on it.
            let loser = self.losers[game];
            let turned = self.comes_first(loser, winner);
            self.losers[game] = if turned { winner } else { loser };
            winner = if turned { loser } else { winner };
            game /= 2;
        }
        self.winner = winner;
    }

    /// Whether all of the winner's run, of which nothing has been read, comes before all else.
    fn run_is_clear(&self) -> bool {
        let head = &self.heads[self.winner];
        head.at == 0 && {
            let last = (false, Some(head.run.rank(head.run.rows().len() - 1)));
            let others = self.heads.iter().enumerate().filter(|(index, _)| *index != self.winner);
            others.into_iter().all(|(_, other)| last < other.rank())
        }
    }
}

/// Merges chains, adding up the differences of what coincides.
pub(super) fn merge<K: Key, V: Val, R: Diff>(mut chains: Vec<Chain<K, V, R>>) -> Chain<K, V, R> {
    if chains.len() < 2 {
        return chains.pop().unwrap_or_default();
    }
    let mut packer = Packer::default();
    let mut tournament = Tournament::new(chains);
    while !tournament.heads[tournament.winner].is_over() {
        let clear = tournament.run_is_clear();
        let head = &mut tournament.heads[tournament.winner];
        if clear {
            packer.add_run(head.skip_run());
        } else {
            packer.add_from(&head.run, head.at);
            head.step();
        }
        tournament.replay();
    }
    packer.finish()
}
