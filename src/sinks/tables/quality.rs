//! What became of the records of each feed.

use dataflows::model::reject::{Feed, Quality, Reason};
use dataflows::model::time::Minute;

use serde::{Deserialize, Serialize};

use super::{INT, TEXT, TableRow, columns};
use crate::sinks::cells::{CellSink, Column, Text};
use crate::sinks::texts::Texts;

/// A row of `quality_minute`: all that is counted of a feed in a minute.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QualityMinute {
    /// The minute.
    pub minute: Minute,
    /// The feed.
    pub feed: Feed,
    /// The counts, in the order of [`QualityMinute::COUNTS`].
    pub counts: [i64; 14],
}

impl QualityMinute {
    /// The names of the counts.
    pub const COUNTS: [&'static str; 14] = [
        "received",
        "accepted",
        "duplicate",
        "rejected_malformed",
        "rejected_missing_field",
        "rejected_bad_timestamp",
        "rejected_bad_number",
        "rejected_negative_money",
        "rejected_bad_enum",
        "rejected_too_long",
        "rejected_future",
        "rejected_too_late",
        "orphans",
        "invalid",
    ];

    /// Where a count stands.
    pub fn slot(what: Quality) -> usize {
        match what {
            Quality::Received => 0,
            Quality::Accepted => 1,
            Quality::Duplicate => 2,
            Quality::Rejected(reason) => 3 + reason as usize,
            Quality::Orphan => 3 + Reason::ALL.len(),
            Quality::Invalid => 4 + Reason::ALL.len(),
        }
    }

    /// All rejects.
    pub fn rejected(&self) -> i64 {
        self.counts[3..3 + Reason::ALL.len()].iter().sum()
    }

    /// `received = accepted + duplicate + rejected`.
    pub fn adds_up(&self) -> bool {
        self.counts[0] == self.counts[1] + self.counts[2] + self.rejected()
    }
}

impl TableRow for QualityMinute {
    const TABLE: &'static str = "quality_minute";

    fn columns() -> Vec<Column> {
        let counts = Self::COUNTS.map(|count| (count, INT));
        columns(&[&[("minute", INT), ("feed", TEXT)][..], &counts].concat())
    }

    fn window(&self) -> u32 {
        self.minute.0
    }

    fn in_order<'a>(mut rows: Vec<&'a Self>, _: &Texts) -> Vec<&'a Self> {
        rows.sort_unstable_by_key(|row| (row.minute, row.feed));
        rows
    }

    fn cells(&self, _: &Texts, sink: &mut impl CellSink) {
        sink.window(self.minute.start_millis());
        sink.text(Text::word(self.feed.as_str()));
        sink.ints(self.counts);
    }
}
