//! Bytes to canonical events or rejects: JSON, CSV, Avro, Parquet. No network, no directories.
//!
//! ```text
//! lines ──> json / csv ──> slots ─┐
//! blocks ─> avro plan ───> slots ─┼─> fields (every rule, once) ──> Batch { events, rejects }
//! columns ───────────────> parquet (the same rules, once per distinct value)
//! ```

pub mod avro;
pub mod csv;
pub mod decimal;
pub mod dimension;
pub mod fields;
pub mod json;
pub mod kept;
pub mod layout;
pub mod lines;
pub mod lookup;
pub mod parquet;
pub mod paths;
pub mod reject;
pub mod slots;
pub mod text;
pub mod timestamp;
pub mod window;

#[cfg(test)]
mod hostile_tests;

use std::sync::Arc;

use dataflows::model::events::{Bid, Click, Conversion, Impression};
use dataflows::model::horizon::Gate;
use dataflows::model::ids::Id;
use dataflows::model::lookups::LookupRow;
use dataflows::model::reject::Feed;
use dataflows::model::time::EventTime;

use self::dimension::DimensionChange;
use self::kept::Kept;
use self::lookup::Entry;

pub use reject::{LookupFault, Origin, Position, Reject};

use crate::names::Collision;

/// Why decoding cannot go on at all. Bad input never ends here: it becomes a [`Reject`].
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Two texts share a key, so their numbers could not be told apart.
    #[error(transparent)]
    Collision(#[from] Collision),
}

/// What decoding a piece of input yields; cleared and used again.
#[derive(Debug, Default)]
pub struct Batch {
    /// Bids, each with its auction.
    pub bids: Vec<(Id, Bid)>,
    /// Impressions, each with its id.
    pub impressions: Vec<(Id, Impression)>,
    /// Clicks, each with its id.
    pub clicks: Vec<(Id, Click)>,
    /// Conversions, each with its id.
    pub conversions: Vec<(Id, Conversion)>,
    /// What could not be accepted, and why.
    pub rejects: Vec<Reject>,
    /// Changes of lookup tables, in order: a row, and by how many its copies change.
    pub lookups: Vec<(LookupRow, isize)>,
    /// Changes of what ids stand for, in order.
    pub dimensions: Vec<DimensionChange>,
    /// The same changes as the messages that made them; only of lookup topics.
    pub rows: Vec<RowChange>,
    /// Lookup rows that could not be accepted; the rows before them stay in force.
    pub lookup_faults: Vec<LookupFault>,
    /// Texts of keys that don't hold them, if they are asked for.
    pub kept: Kept,
    /// Input bytes this batch stands for, as stored; for progress.
    pub bytes: u64,
    /// Which event times it takes in; records are judged by it, and rejects are counted by it.
    pub gate: Gate,
}

/// How many events of each kind a batch held at some moment; by default, when it was empty.
#[derive(Copy, Clone, Debug, Default)]
pub struct Mark([usize; 4]);

/// A message of a lookup topic: what is in force under its key from there on.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RowChange {
    /// The topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// The message's key.
    pub key: Box<[u8]>,
    /// The row; none when it was withdrawn.
    pub row: Option<Entry>,
}

impl Batch {
    /// How many canonical events are held.
    pub fn events(&self) -> usize {
        self.bids.len() + self.impressions.len() + self.clicks.len() + self.conversions.len()
    }

    /// The present number of events.
    pub fn mark(&self) -> Mark {
        Mark([self.bids.len(), self.impressions.len(), self.clicks.len(), self.conversions.len()])
    }

    /// The times of the events that were added since.
    pub fn times_since(
        &self,
        Mark([bids, impressions, clicks, conversions]): Mark,
    ) -> impl Iterator<Item = EventTime> {
        let bids = self.bids[bids..].iter().map(|(_, bid)| bid.ts);
        let impressions = self.impressions[impressions..].iter().map(|(_, impression)| impression.ts);
        let clicks = self.clicks[clicks..].iter().map(|(_, click)| click.ts);
        let conversions = self.conversions[conversions..].iter().map(|(_, conversion)| conversion.ts);
        bids.chain(impressions).chain(clicks).chain(conversions)
    }

    /// Takes the events out again that were added since.
    pub fn undo(&mut self, Mark([bids, impressions, clicks, conversions]): Mark) {
        self.bids.truncate(bids);
        self.kept.truncate_bids(bids);
        self.impressions.truncate(impressions);
        self.clicks.truncate(clicks);
        self.conversions.truncate(conversions);
    }

    /// Turns the events that were added since, all of one record and so of one time, into a reject if
    /// the gate does not let them in.
    pub fn judge(&mut self, mark: Mark, feed: Feed, record: &[u8], origin: impl FnOnce() -> Origin) {
        let time = self.times_since(mark).next();
        let Some((ts, reason)) = time.and_then(|ts| Some((ts, self.gate.judge(ts)?))) else { return };
        self.undo(mark);
        let (origin, payload, hint) =
            (origin(), reject::payload(record), reject::untimely(reason).to_owned());
        self.rejects.push(Reject { feed, reason, origin, ts: Some(ts), payload, hint });
    }

    /// Empties the batch, keeping its memory and its gate.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.impressions.clear();
        self.clicks.clear();
        self.conversions.clear();
        self.rejects.clear();
        self.lookups.clear();
        self.dimensions.clear();
        self.rows.clear();
        self.lookup_faults.clear();
        self.kept.clear();
        self.bytes = 0;
    }

    /// Events, rejects and lookups together: what bounds the memory of a batch of hostile input.
    pub fn len(&self) -> usize {
        self.events() + self.rejects.len() + self.lookups.len() + self.rows.len() + self.lookup_faults.len()
    }

    /// Whether nothing at all was decoded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
