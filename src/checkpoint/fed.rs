//! What the workers read, on its way into a checkpoint.

use std::collections::BTreeMap;

use dataflows::expiry::Kept;
use dataflows::model::horizon::Horizon;
use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::{Epoch, Minute};

use super::records::{Record, RejectCount};
use super::segment::SegmentWriter;
use super::texts::Keys;
use crate::bindings::Range;
use crate::formats::{Batch, RowChange};
use crate::names::Names;

/// What one worker read into one epoch.
#[derive(Debug, Default)]
pub struct Fed {
    /// The epoch.
    pub epoch: Epoch,
    /// Where it was read.
    pub ranges: Vec<Range>,
    /// The records.
    pub records: Records,
    /// What changed in lookup topics, in order.
    pub rows: Vec<RowChange>,
    /// A horizon that took effect in this epoch, and the records of this worker that are kept
    /// beyond their time.
    pub expired: Option<(Horizon, Records)>,
}

/// Events and counts of rejects, as they are kept.
#[derive(Debug, Default)]
pub struct Records {
    bids: Vec<[u64; 8]>,
    impressions: Vec<[u64; 12]>,
    clicks: Vec<[u64; 5]>,
    conversions: Vec<[u64; 8]>,
    rejects: BTreeMap<(Minute, Feed, Reason), u64>,
}

impl Records {
    /// Records that are kept beyond their time, as often as they are there.
    pub fn kept(kept: &Kept) -> Self {
        fn words<R: Record>(records: &[(R, isize)]) -> Vec<R::Words> {
            let copies = |(record, count): &(R, isize)| vec![record.words(); count.unsigned_abs()];
            records.iter().flat_map(copies).collect()
        }
        let Kept { bids, impressions, clicks, conversions } = kept;
        let (bids, impressions) = (words(bids), words(impressions));
        let (clicks, conversions) = (words(clicks), words(conversions));
        Self { bids, impressions, clicks, conversions, ..Self::default() }
    }

    /// Adds what a batch holds.
    pub fn add(&mut self, batch: &Batch) {
        self.bids.extend(batch.bids.iter().map(Record::words));
        self.impressions.extend(batch.impressions.iter().map(Record::words));
        self.clicks.extend(batch.clicks.iter().map(Record::words));
        self.conversions.extend(batch.conversions.iter().map(Record::words));
        for reject in &batch.rejects {
            let minute = batch.gate.minute(reject.ts);
            *self.rejects.entry((minute, reject.feed, reject.reason)).or_insert(0) += 1;
        }
    }

    /// Adds counts of rejects.
    pub fn count(&mut self, RejectCount { minute, feed, reason, count }: RejectCount) {
        *self.rejects.entry((minute, feed, reason)).or_insert(0) += count;
    }

    /// Adds all of another.
    pub fn append(&mut self, mut other: Records) {
        self.bids.append(&mut other.bids);
        self.impressions.append(&mut other.impressions);
        self.clicks.append(&mut other.clicks);
        self.conversions.append(&mut other.conversions);
        for (what, count) in other.rejects {
            *self.rejects.entry(what).or_insert(0) += count;
        }
    }

    /// How much memory they take, about.
    pub fn bytes(&self) -> usize {
        let Self { bids, impressions, clicks, conversions, rejects } = self;
        size_of_val(&**bids)
            + size_of_val(&**impressions)
            + size_of_val(&**clicks)
            + size_of_val(&**conversions)
            + rejects.len() * 64
    }

    /// A segment of them, and of the texts of their keys that are known to `names`.
    pub fn segment(&self, job: &str, names: &Names) -> SegmentWriter {
        use dataflows::model::events::{Bid, Click, Conversion, Impression};
        use dataflows::model::ids::Id;
        let mut segment = SegmentWriter::new(job);
        segment.add::<(Id, Bid)>(&self.bids);
        segment.add::<(Id, Impression)>(&self.impressions);
        segment.add::<(Id, Click)>(&self.clicks);
        segment.add::<(Id, Conversion)>(&self.conversions);
        let count =
            |(&(minute, feed, reason), &count): (&_, &_)| RejectCount { minute, feed, reason, count }.words();
        segment.add::<RejectCount>(&self.rejects.iter().map(count).collect::<Vec<_>>());
        let mut keys = Keys::default();
        self.bids.iter().for_each(|words| <(Id, Bid)>::keys(words, &mut keys));
        self.impressions.iter().for_each(|words| <(Id, Impression)>::keys(words, &mut keys));
        self.clicks.iter().for_each(|words| <(Id, Click)>::keys(words, &mut keys));
        self.conversions.iter().for_each(|words| <(Id, Conversion)>::keys(words, &mut keys));
        segment.add_texts(&keys.texts(names));
        segment
    }
}
