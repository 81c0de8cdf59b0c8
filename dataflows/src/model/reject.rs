//! Records that break a rule, and how each feed is counted.

use serde::{Deserialize, Serialize};

use super::ids::{Route, mix};
use super::time::Minute;

/// The three feeds that are counted.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Feed {
    /// Bid requests; counted per bid, and a rejected request once.
    BidRequests,
    /// Clicks and conversions.
    Events,
    /// Impressions.
    Impressions,
}

impl Feed {
    /// Every feed, in the order of their names.
    pub const ALL: [Feed; 3] = [Feed::BidRequests, Feed::Events, Feed::Impressions];

    /// The feed's name in tables and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Feed::BidRequests => "bid_requests",
            Feed::Events => "events",
            Feed::Impressions => "impressions",
        }
    }
}

/// Why a record was rejected. The set is closed; tables have a column for each.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Reason {
    /// Not a record of this format at all.
    Malformed,
    /// A required field is absent, null or empty.
    MissingField,
    /// A time that can't be read, or one outside the years 1970 to 9999.
    BadTimestamp,
    /// A number that can't be read or doesn't fit.
    BadNumber,
    /// An amount below zero.
    NegativeMoney,
    /// A word outside a closed set.
    BadEnum,
    /// An id over 128 bytes, or another text over 1 KiB.
    TooLong,
    /// Ahead of the ingest clock; live sources only.
    Future,
    /// Its window is frozen.
    TooLate,
}

impl Reason {
    /// Every reason, in the order of the columns.
    pub const ALL: [Reason; 9] = [
        Reason::Malformed,
        Reason::MissingField,
        Reason::BadTimestamp,
        Reason::BadNumber,
        Reason::NegativeMoney,
        Reason::BadEnum,
        Reason::TooLong,
        Reason::Future,
        Reason::TooLate,
    ];

    /// The reason's code.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::MissingField => "missing_field",
            Reason::BadTimestamp => "bad_timestamp",
            Reason::BadNumber => "bad_number",
            Reason::NegativeMoney => "negative_money",
            Reason::BadEnum => "bad_enum",
            Reason::TooLong => "too_long",
            Reason::Future => "future",
            Reason::TooLate => "too_late",
        }
    }
}

/// What `quality_minute` counts.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub enum Quality {
    /// Records that arrived.
    Received,
    /// Records that count.
    Accepted,
    /// Records that lost to another of the same identity.
    Duplicate,
    /// Records rejected, by reason.
    Rejected(Reason),
    /// Clicks that wait for their impression.
    Orphan,
    /// Accepted records excluded by an invalid-traffic rule.
    Invalid,
}

impl Quality {
    /// Everything that is counted, in order.
    pub fn all() -> impl Iterator<Item = Quality> {
        let rejected = Reason::ALL.into_iter().map(Quality::Rejected);
        let before = [Quality::Received, Quality::Accepted, Quality::Duplicate];
        before.into_iter().chain(rejected).chain([Quality::Orphan, Quality::Invalid])
    }
}

/// The key of one count of `quality_minute`; the difference is the count.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct QualityKey {
    /// The minute of the record's own time; the first minute of 1970 when it has none.
    pub minute: Minute,
    /// The feed it came by.
    pub feed: Feed,
    /// What is counted.
    pub what: Quality,
}

impl Route for QualityKey {
    const LEAD_BITS: u32 = 40;

    fn lead(&self) -> u128 {
        self.minute.lead() | (self.feed as u128) << 88
    }

    fn route(&self) -> u64 {
        mix(self.minute.route() ^ self.feed as u64)
    }
}
