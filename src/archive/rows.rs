//! Accepted events on their way into the archive: records, and the texts their keys don't hold.

use std::collections::{BTreeMap, HashMap};

use dataflows::model::events::{Bid, Click, Conversion, Impression};
use dataflows::model::ids::{Id, Name, Packed};
use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::{EventTime, Minute};

use crate::formats::Batch;
use crate::formats::kept::Kept;
use crate::names::Names;

/// Accepted events, duplicates included, and counts of rejects.
#[derive(Debug, Default)]
pub struct Rows {
    pub(super) bids: Vec<(Id, Bid)>,
    pub(super) impressions: Vec<(Id, Impression)>,
    pub(super) clicks: Vec<(Id, Click)>,
    pub(super) conversions: Vec<(Id, Conversion)>,
    pub(super) rejected: BTreeMap<(Minute, Feed, Reason), u64>,
    pub(super) kept: Kept,
}

impl Rows {
    /// Adds what a batch holds, whose texts were kept.
    pub fn add(&mut self, batch: &Batch) {
        debug_assert_eq!(batch.bids.len(), batch.kept.bid_users().len(), "texts are kept");
        self.bids.extend(&batch.bids);
        self.impressions.extend(&batch.impressions);
        self.clicks.extend(&batch.clicks);
        self.conversions.extend(&batch.conversions);
        for reject in &batch.rejects {
            let minute = reject.ts.map_or(Minute(0), EventTime::minute);
            *self.rejected.entry((minute, reject.feed, reject.reason)).or_insert(0) += 1;
        }
        self.kept.append(&batch.kept);
    }

    /// Adds all of another.
    pub fn append(&mut self, mut other: Rows) {
        self.bids.append(&mut other.bids);
        self.impressions.append(&mut other.impressions);
        self.clicks.append(&mut other.clicks);
        self.conversions.append(&mut other.conversions);
        for (what, count) in other.rejected {
            *self.rejected.entry(what).or_insert(0) += count;
        }
        self.kept.append(&other.kept);
    }

    /// How much memory they take, about.
    pub fn bytes(&self) -> usize {
        let Self { bids, impressions, clicks, conversions, rejected, kept } = self;
        size_of_val(&**bids)
            + size_of_val(&**impressions)
            + size_of_val(&**clicks)
            + size_of_val(&**conversions)
            + rejected.len() * 64
            + kept.bytes()
    }
}

/// The texts of the keys in some rows.
pub struct Texts<'a> {
    ids: HashMap<Id, &'a str>,
    words: HashMap<Name, &'a str>,
    names: &'a Names,
}

impl<'a> Texts<'a> {
    /// Of ids and words as they were kept with the rows; of names as the dictionary has them.
    pub fn new(kept: &'a Kept, names: &'a Names) -> Self {
        Self { ids: kept.ids().collect(), words: kept.names().collect(), names }
    }

    /// Reads the text of an id.
    pub fn id<T>(&self, id: Id, read: impl FnOnce(&str) -> T) -> T {
        match id.packed() {
            Packed::Inline(text) => read(text.as_str()),
            // Every hashed id of the rows was noted when it was decoded.
            Packed::Hashed => read(self.ids.get(&id).copied().unwrap_or_default()),
        }
    }

    /// Reads the text of a name that has a dictionary.
    pub fn name<T>(&self, name: Name, read: impl FnOnce(&str) -> T) -> T {
        self.names.with_name(name, read)
    }

    /// Reads the text of a name that has none.
    pub fn word<T>(&self, name: Name, read: impl FnOnce(&str) -> T) -> T {
        match name.packed() {
            Packed::Inline(text) => read(text.as_str()),
            Packed::Hashed => read(self.words.get(&name).copied().unwrap_or_default()),
        }
    }
}
