//! Lets go of the records whose time is up, by retracting them at the inputs.
//!
//! ```text
//!   this worker's arrangements ── walked, some rows at a time ──▶ retractions in the open epoch
//!   (bids, impressions, clicks, conversions, source counts)  └──▶ what is kept beyond its time
//! ```
//!
//! A new horizon takes effect in the epoch in which it is first in force: its retractions are of
//! that epoch, and are reckoned from the state before it. So what is let go of does not depend on
//! how fast anybody walks, and an epoch that is read again lets go of the same.
//!
//! The records of one key go together, when the last of them may go: else a record that had lost to
//! another of its identity would win, and move a number. An impression also stays while a click on
//! it is in a minute that is not frozen (it would become an orphan), and a bid while a counted
//! impression of its auction is in a window that is not frozen (it would be a win no more).

use crate::graphs::catalogue::{Inputs, Session, Traces};
use crate::graphs::impressions::{ClickAt, Served};
use crate::model::events::{Bid, Click, Conversion, Impression};
use crate::model::horizon::{Freezes, Horizon};
use crate::model::ids::Id;
use crate::model::reject::{Quality, QualityKey};
use crate::model::time::{Epoch, Minute};
use crate::operators::arrange::{Val, ValTrace};
use crate::operators::groups::Groups;
use crate::rules::horizon::Expires;
use crate::snapshot::{Rows, rows};

/// Records of all kinds, each with its number of copies.
#[derive(Debug, Default)]
pub struct Kept {
    /// Bids, with their auction.
    pub bids: Vec<((Id, Bid), isize)>,
    /// Impressions, with their id.
    pub impressions: Vec<((Id, Impression), isize)>,
    /// Clicks, with their id.
    pub clicks: Vec<((Id, Click), isize)>,
    /// Conversions, with their id.
    pub conversions: Vec<((Id, Conversion), isize)>,
}

impl Kept {
    /// The ids of all events that have one of their own.
    pub fn ids(&self) -> impl Iterator<Item = Id> {
        let Self { impressions, clicks, conversions, .. } = self;
        let impressions = impressions.iter().map(|((id, _), _)| *id);
        let (clicks, conversions) =
            (clicks.iter().map(|((id, _), _)| *id), conversions.iter().map(|((id, _), _)| *id));
        impressions.chain(clicks).chain(conversions)
    }
}

/// How many records of each kind were let go of.
#[derive(Copy, Clone, Debug, Default)]
pub struct Gone {
    /// Bids.
    pub bids: usize,
    /// Impressions.
    pub impressions: usize,
    /// Clicks.
    pub clicks: usize,
    /// Conversions.
    pub conversions: usize,
}

/// A horizon that is taking effect on one worker.
pub struct Expiry {
    horizon: Horizon,
    epoch: Epoch,
    bids: Walk<Bid, Served>,
    impressions: Walk<Impression, ClickAt>,
    clicks: Walk<Click, ()>,
    conversions: Walk<Conversion, ()>,
    quality: Rows<QualityKey, (), isize>,
    kept: Kept,
    gone: Gone,
}

impl Expiry {
    /// Begins, once every table is complete as of `epoch`, the last before that in which `horizon`
    /// is first in force. The inputs must not go on from that one before this is done.
    pub fn begin(traces: &mut Traces, horizon: Horizon, epoch: Epoch) -> Self {
        Self {
            horizon,
            epoch,
            bids: Walk::new(&mut traces.bids, Some(&mut traces.impressions_by_auction), epoch),
            impressions: Walk::new(&mut traces.impressions, Some(&mut traces.clicks_by_impression), epoch),
            clicks: Walk::new(&mut traces.clicks, None, epoch),
            conversions: Walk::new(&mut traces.conversions, None, epoch),
            quality: rows(&mut traces.quality_minute, epoch),
            kept: Kept::default(),
            gone: Gone::default(),
        }
    }

    /// Goes on over about `budget` rows. True once all has been walked.
    pub fn work(&mut self, inputs: &mut Inputs, budget: usize) -> bool {
        let Self {
            horizon,
            epoch,
            kept,
            gone,
            bids: bids_walk,
            impressions: impressions_walk,
            clicks: clicks_walk,
            conversions: conversions_walk,
            quality: quality_walk,
        } = self;
        let mut left = budget;
        let (horizon, epoch, freeze) = (&*horizon, *epoch, horizon.freeze);
        let wins = |served: &Served| !served.place.window.hour().is_frozen(freeze);
        let clicked = |click: &ClickAt| !click.ts.minute().is_frozen(freeze);
        let Inputs { bids, impressions, clicks, conversions, quality, .. } = inputs;
        gone.bids += bids_walk.work(horizon, epoch, &mut left, wins, bids, &mut kept.bids);
        gone.impressions +=
            impressions_walk.work(horizon, epoch, &mut left, clicked, impressions, &mut kept.impressions);
        gone.clicks += clicks_walk.work(horizon, epoch, &mut left, |()| false, clicks, &mut kept.clicks);
        gone.conversions +=
            conversions_walk.work(horizon, epoch, &mut left, |()| false, conversions, &mut kept.conversions);
        while left > 0 {
            let Some(((key, ()), count)) = quality_walk.next() else { return true };
            left -= 1;
            // What the graphs count goes with what they count it of.
            let by_sources = matches!(key.what, Quality::Received | Quality::Rejected(_));
            if by_sources && key.minute != Minute(0) && key.minute.is_frozen(freeze) {
                quality.update(key, -count);
            }
        }
        false
    }

    /// What it came to: the records that are kept beyond their time, all of them and not only those
    /// that are so since this horizon; and how many were let go of.
    pub fn finish(self) -> (Kept, Gone) {
        (self.kept, self.gone)
    }
}

/// A walk over the records of one kind, with what may keep them beside it.
struct Walk<V: Val, W: Val> {
    rows: Rows<Id, V, isize>,
    /// The first row of the next key.
    next: Option<((Id, V), isize)>,
    others: Option<Groups<Id, W, isize>>,
    group: Vec<((Id, V), isize)>,
}

impl<V: Val + Expires, W: Val> Walk<V, W> {
    fn new(trace: &mut ValTrace<Id, V>, others: Option<&mut ValTrace<Id, W>>, epoch: Epoch) -> Self {
        let mut rows = rows(trace, epoch);
        let next = rows.next();
        Self { rows, next, others: others.map(Groups::of), group: Vec::new() }
    }

    /// Walks as far as there is budget; returns how many records were retracted.
    fn work(
        &mut self,
        horizon: &Horizon,
        epoch: Epoch,
        left: &mut usize,
        keeps: impl Fn(&W) -> bool,
        input: &mut Session<(Id, V)>,
        kept: &mut Vec<((Id, V), isize)>,
    ) -> usize {
        let mut gone = 0;
        while *left > 0
            && let Some(first) = self.next.take()
        {
            self.take_group(first);
            *left = left.saturating_sub(self.group.len());
            let expired = |((_, record), count): &&((Id, V), isize)| record.is_expired(horizon) && *count > 0;
            if !self.group.iter().any(|row| expired(&row)) {
                continue;
            }
            let all = self.group.iter().all(|row| expired(&row));
            if all && !self.is_kept(epoch, &keeps) {
                // As often as they came.
                gone += self.group.iter().map(|(_, count)| count.unsigned_abs()).sum::<usize>();
                self.group.drain(..).for_each(|(row, count)| input.update(row, -count));
            } else {
                kept.extend(self.group.iter().filter(expired).copied());
            }
        }
        gone
    }

    fn take_group(&mut self, first: ((Id, V), isize)) {
        let key = first.0.0;
        self.group.clear();
        self.group.push(first);
        self.next = loop {
            match self.rows.next() {
                Some(row) if row.0.0 == key => self.group.push(row),
                next => break next,
            }
        };
    }

    /// Whether anything on the other side keeps the present group.
    fn is_kept(&mut self, epoch: Epoch, keeps: impl Fn(&W) -> bool) -> bool {
        let (Some(others), Some(((key, _), _))) = (&mut self.others, self.group.first()) else {
            return false;
        };
        let updates = others.updates(key);
        updates.chunk_by(|a, b| a.0 == b.0).any(|of_value| {
            let count: isize =
                of_value.iter().filter(|(_, time, _)| *time <= epoch).map(|(_, _, diff)| diff).sum();
            count > 0 && keeps(&of_value[0].0)
        })
    }
}
