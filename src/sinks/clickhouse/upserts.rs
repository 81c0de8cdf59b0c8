//! A batch of upserts, how it is cut into inserts, and what each insert is called.

use std::ops::Range;
use std::sync::Arc;

use dataflows::graphs::attribution::PathStep;
use dataflows::graphs::auctions::SupplyKey;
use dataflows::model::events::Placed;
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::Model;
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::{Day, Epoch, EventTime, Hour, Minute};

use super::tables::{self, Table};
use crate::formats::dimension::{Attributes, DIMENSIONS};
use crate::formats::reject::{self, Position};

/// A key and its state; without one the key is gone.
pub type Upsert<K, V> = (K, Option<V>);

/// The key of `attribution_hour`.
pub type CampaignModel = ((Hour, Name), Model);

/// The epochs that a batch holds the changes of, first and last included.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Epochs {
    /// The first.
    pub first: Epoch,
    /// The last; the version of every row, and the frontier once all is written.
    pub last: Epoch,
}

/// What changed in a range of epochs: of each changed key its state as of the last of them. Keys
/// are unique within a table. Names stay keys until the rows are written.
#[derive(Debug)]
pub struct Upserts {
    /// Which epochs.
    pub epochs: Epochs,
    /// `performance_minute`.
    pub performance_minute: Vec<Upsert<(Minute, Name), Measures>>,
    /// `performance_hour`.
    pub performance_hour: Vec<Upsert<Placed<Hour>, Measures>>,
    /// `attribution_hour`.
    pub attribution_hour: Vec<Upsert<CampaignModel, Credit>>,
    /// `reach_day`.
    pub reach_day: Vec<Upsert<(Day, Name), Reach>>,
    /// `supply_hour`.
    pub supply_hour: Vec<Upsert<SupplyKey, Supply>>,
    /// `quality_minute`: every count, in the order of
    /// [`QualityMinute::COUNTS`](crate::sinks::tables::QualityMinute::COUNTS).
    pub quality_minute: Vec<Upsert<(Minute, Feed), [i64; 14]>>,
    /// `conversion_paths`: the path in order.
    pub conversion_paths: Vec<Upsert<Id, Arc<[PathStep]>>>,
    /// What ids stand for, by [`Dimension`](crate::formats::dimension::Dimension).
    pub dimensions: [Vec<Upsert<Name, Attributes>>; DIMENSIONS],
    /// `rejects`.
    pub rejects: Vec<Upsert<Reject, ()>>,
}

/// A reject on its way to the `rejects` table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reject {
    /// The feed it came by.
    pub feed: Feed,
    /// Why.
    pub reason: Reason,
    /// The topic or file.
    pub origin: Arc<str>,
    /// The partition of the topic; 0 in a file.
    pub place: i32,
    /// The offset in the partition, or the byte, row or block in the file.
    pub position: u64,
    /// The record's number inside the message or block.
    pub record: u64,
    /// Its own time, when that could be read.
    pub time: Option<EventTime>,
    /// Its first bytes.
    pub payload: Vec<u8>,
    /// For people: which field, and what was expected.
    pub hint: String,
}

impl From<reject::Reject> for Reject {
    fn from(reject: reject::Reject) -> Self {
        let (place, position, record) = match reject.origin.position {
            Position::Byte(at) | Position::Row(at) => (0, at, 0),
            Position::Block { offset, record } => (0, offset, record),
            Position::Message { partition, offset } => (partition, offset.max(0) as u64, 0),
        };
        Self {
            feed: reject.feed,
            reason: reject.reason,
            origin: reject.origin.file,
            place,
            position,
            record,
            time: reject.ts,
            payload: reject.payload,
            hint: reject.hint,
        }
    }
}

impl Upserts {
    /// Adds another batch of the same epochs and of other keys.
    pub fn append(&mut self, mut other: Upserts) {
        self.performance_minute.append(&mut other.performance_minute);
        self.performance_hour.append(&mut other.performance_hour);
        self.attribution_hour.append(&mut other.attribution_hour);
        self.reach_day.append(&mut other.reach_day);
        self.supply_hour.append(&mut other.supply_hour);
        self.quality_minute.append(&mut other.quality_minute);
        self.conversion_paths.append(&mut other.conversion_paths);
        let pairs = self.dimensions.iter_mut().zip(&mut other.dimensions);
        pairs.for_each(|(rows, more)| rows.append(more));
        self.rejects.append(&mut other.rejects);
    }

    /// Adds batches of the epochs behind it, in their order: of a key in several the last state
    /// counts.
    pub fn follow(&mut self, later: impl IntoIterator<Item = Upserts>) {
        let before = self.epochs.last;
        for batch in later {
            self.epochs.last = batch.epochs.last;
            self.append(batch);
        }
        if self.epochs.last > before {
            keep_last(&mut self.performance_minute);
            keep_last(&mut self.performance_hour);
            keep_last(&mut self.attribution_hour);
            keep_last(&mut self.reach_day);
            keep_last(&mut self.supply_hour);
            keep_last(&mut self.quality_minute);
            keep_last(&mut self.conversion_paths);
            self.dimensions.iter_mut().for_each(keep_last);
            // A record is rejected once.
        }
    }

    /// An empty batch. Published, it only moves the frontier.
    pub fn new(epochs: Epochs) -> Self {
        Self {
            epochs,
            performance_minute: Vec::new(),
            performance_hour: Vec::new(),
            attribution_hour: Vec::new(),
            reach_day: Vec::new(),
            supply_hour: Vec::new(),
            quality_minute: Vec::new(),
            conversion_paths: Vec::new(),
            dimensions: Default::default(),
            rejects: Vec::new(),
        }
    }

    /// How many upserts it holds.
    pub fn len(&self) -> usize {
        self.performance_minute.len()
            + self.performance_hour.len()
            + self.attribution_hour.len()
            + self.reach_day.len()
            + self.supply_hour.len()
            + self.quality_minute.len()
            + self.conversion_paths.len()
            + self.dimensions.iter().map(Vec::len).sum::<usize>()
            + self.rejects.len()
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes it takes, in memory and on its way.
    pub fn bytes(&self) -> usize {
        fn all<T: Table>(upserts: &[Upsert<T::Key, T::Value>]) -> usize {
            upserts.iter().map(|(key, value)| T::bytes(key, value.as_ref())).sum()
        }
        all::<tables::PerformanceMinute>(&self.performance_minute)
            + all::<tables::PerformanceHour>(&self.performance_hour)
            + all::<tables::AttributionHour>(&self.attribution_hour)
            + all::<tables::ReachDay>(&self.reach_day)
            + all::<tables::SupplyHour>(&self.supply_hour)
            + all::<tables::QualityMinute>(&self.quality_minute)
            + all::<tables::ConversionPaths>(&self.conversion_paths)
            + self.dimensions.iter().map(|rows| all::<tables::DimCampaign>(rows)).sum::<usize>()
            + all::<tables::Rejects>(&self.rejects)
    }
}

/// Of the states of a key, leaves the last.
fn keep_last<K: Ord, V>(upserts: &mut Vec<Upsert<K, V>>) {
    upserts.reverse();
    upserts.sort_by(|(one, _), (other, _)| one.cmp(other));
    upserts.dedup_by(|(one, _), (other, _)| one == other);
}

/// How large one insert may be.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Upserts; above 0.
    pub rows_max: usize,
    /// Bytes, about, before compression.
    pub bytes_max: usize,
}

/// Cuts upserts into inserts that keep the limits. One upsert is never cut.
pub(super) fn parts<T: Table>(upserts: &[Upsert<T::Key, T::Value>], limits: Limits) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, (key, value)) in upserts.iter().enumerate() {
        let more = T::bytes(key, value.as_ref());
        if at > start && (at - start >= limits.rows_max || bytes + more > limits.bytes_max) {
            parts.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += more;
    }
    if start < upserts.len() {
        parts.push(start..upserts.len());
    }
    parts
}

/// Who writes: what the frontier is kept under and tokens start with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Writer {
    /// The job.
    pub job: String,
    /// Which of the job's processes, from 0; no two write the same key.
    pub shard: u32,
    /// This start of the process. It keeps a token from ever meaning other rows: after a restart
    /// the same epochs may be cut into other parts, and a part that ClickHouse took for known
    /// would be lost.
    run: u64,
    /// Whether this process notes the frontier, too.
    pub(super) notes_frontier: bool,
}

impl Writer {
    /// A writer with a run number of its own.
    pub fn new(job: impl Into<String>, shard: u32) -> Self {
        Self { job: job.into(), shard, run: rand::random(), notes_frontier: true }
    }

    /// A writer of rows alone: the frontier is noted by someone who knows how far all writers are.
    pub fn of_rows(job: impl Into<String>, shard: u32) -> Self {
        Self { notes_frontier: false, ..Self::new(job, shard) }
    }

    /// The deduplication token of one insert: the same for every attempt at it, and for no other.
    pub(super) fn token(&self, epochs: Epochs, table: &str, part: &Range<usize>) -> String {
        let Self { job, shard, run, .. } = self;
        let (Epochs { first, last }, Range { start, end }) = (epochs, part);
        format!("{job}/{shard}/{run:016x}/{table}/{first}-{last}/{start}-{end}")
    }
}

#[cfg(test)]
mod tests {
    use dataflows::model::ids::Name;
    use dataflows::model::time::EventTime;

    use super::*;

    #[test]
    fn of_batches_that_follow_each_other_the_last_state_of_a_key_counts() {
        let key = |minute: i64| {
            (EventTime::from_millis(minute * 60_000).expect("a time").minute(), Name::default())
        };
        let measures = |bids| Some(Measures { bids, ..Measures::default() });
        let batch = |first, last, rows: &[(i64, Option<Measures>)]| {
            let mut batch = Upserts::new(Epochs { first, last });
            batch.performance_minute = rows.iter().map(|(minute, value)| (key(*minute), *value)).collect();
            batch
        };
        let mut joined = batch(1, 3, &[(5, measures(1)), (4, measures(2)), (6, None)]);
        joined.follow([
            batch(4, 4, &[(5, measures(3)), (6, measures(4)), (7, measures(5))]),
            batch(5, 9, &[(5, measures(6)), (7, None)]),
        ]);
        assert_eq!(joined.epochs, Epochs { first: 1, last: 9 });
        let expected = [(4, measures(2)), (5, measures(6)), (6, measures(4)), (7, None)];
        assert_eq!(joined.performance_minute, expected.map(|(minute, value)| (key(minute), value)));
    }
}
