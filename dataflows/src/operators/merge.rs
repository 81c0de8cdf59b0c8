//! Merges many sorted chains of packed runs into one.

use std::collections::VecDeque;

use super::arrange::{Key, Val};
use super::packed::{Diff, Packed, Packer};
use crate::model::time::Epoch;

/// Runs that follow each other.
pub(super) type Chain<K, V, R> = VecDeque<Packed<K, V, R>>;

/// The present place in a chain. What has been read is let go of, run by run.
struct Head<K, V, R> {
    run: Packed<K, V, R>,
    at: usize,
    rest: Chain<K, V, R>,
    /// The lead of the present key; nothing is left when there is none.
    lead: Option<u128>,
}

impl<K: Key, V: Val, R: Diff> Head<K, V, R> {
    fn new(rest: Chain<K, V, R>) -> Self {
        let mut head = Self { run: Packed::default(), at: 0, rest, lead: None };
        head.skip_run();
        head
    }

    fn step(&mut self) {
        self.at += 1;
        match self.run.rows().get(self.at) {
            Some((key, _)) => self.lead = Some(key.lead()),
            None => _ = self.skip_run(),
        }
    }

    fn skip_run(&mut self) -> Packed<K, V, R> {
        let next = self.rest.pop_front().unwrap_or_default();
        self.at = 0;
        self.lead = next.rows().first().map(|(key, _)| key.lead());
        std::mem::replace(&mut self.run, next)
    }

    fn rank(&self) -> (&(K, V), &Epoch) {
        self.run.rank(self.at)
    }
}

/// A tournament of heads: every match is remembered by its loser, so that once the winner has
/// moved on, only the matches on its way up are played again.
struct Tournament<K, V, R> {
    heads: Vec<Head<K, V, R>>,
    losers: Vec<usize>,
    winner: usize,
}

impl<K: Key, V: Val, R: Diff> Tournament<K, V, R> {
    fn new(chains: Vec<Chain<K, V, R>>) -> Self {
        let heads: Vec<_> = chains.into_iter().map(Head::new).collect();
        let entrants = heads.len();
        let mut tournament = Self { heads, losers: vec![0; entrants], winner: 0 };
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
        let (a, b) = (&self.heads[a], &self.heads[b]);
        match (a.lead, b.lead) {
            (Some(left), Some(right)) if left != right => left < right,
            (Some(_), Some(_)) => a.rank() <= b.rank(),
            (left, _) => left.is_some(),
        }
    }

    fn replay(&mut self) {
        let mut winner = self.winner;
        let mut game = (winner + self.heads.len()) / 2;
        while game > 0 {
            let loser = self.losers[game];
            if self.comes_first(loser, winner) {
                self.losers[game] = winner;
                winner = loser;
            }
            game /= 2;
        }
        self.winner = winner;
    }

    /// Whether all of the winner's run, of which nothing has been read, comes before all else.
    fn run_is_clear(&self) -> bool {
        let head = &self.heads[self.winner];
        head.at == 0 && {
            let last = head.run.rank(head.run.rows().len() - 1);
            let others = self.heads.iter().enumerate().filter(|(index, _)| *index != self.winner);
            others.filter(|(_, other)| other.lead.is_some()).all(|(_, other)| last < other.rank())
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
    while tournament.heads[tournament.winner].lead.is_some() {
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
