//! What a file of the archive holds, and what it is called.

use dataflows::model::time::Hour;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::formats::parquet;

/// What a file holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Bids.
    Bids,
    /// Impressions.
    Impressions,
    /// Clicks.
    Clicks,
    /// Conversions.
    Conversions,
    /// How many records were rejected, by minute, feed and reason; no records.
    Rejected,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] =
        [Kind::Bids, Kind::Impressions, Kind::Clicks, Kind::Conversions, Kind::Rejected];

    /// Its name, with which its files begin.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Bids => "bids",
            Kind::Impressions => "impressions",
            Kind::Clicks => "clicks",
            Kind::Conversions => "conversions",
            Kind::Rejected => "rejected",
        }
    }

    /// The canonical events that it is; none of what was rejected.
    pub fn events(self) -> Option<parquet::Kind> {
        match self {
            Kind::Bids => Some(parquet::Kind::Bids),
            Kind::Impressions => Some(parquet::Kind::Impressions),
            Kind::Clicks => Some(parquet::Kind::Clicks),
            Kind::Conversions => Some(parquet::Kind::Conversions),
            Kind::Rejected => None,
        }
    }
}

/// The folder of an hour, as Hive and all who read its layout expect it.
pub fn folder(hour: Hour) -> String {
    let at = Timestamp::from_millisecond(hour.start_millis()).unwrap_or_default().to_zoned(TimeZone::UTC);
    format!("date={}/hour={:02}", at.date(), at.hour())
}

/// The name of a file of a run's. Each is used once.
pub fn file_name(kind: Kind, hour: Hour, shard: u32, run: &str, number: u64) -> String {
    format!("{}/{}-{shard}-{run}-{number:06}.parquet", folder(hour), kind.as_str())
}

/// The shard that wrote a file of this name; none of a file that no archive wrote.
pub fn shard_of(name: &str) -> Option<u32> {
    let file = name.rsplit('/').next()?.strip_suffix(".parquet")?;
    let mut parts = file.splitn(3, '-');
    let kind = parts.next()?;
    Kind::ALL.iter().find(|known| known.as_str() == kind)?;
    parts.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::model::time::EventTime;

    #[test]
    fn a_name_tells_hour_and_shard_and_fits_the_patterns_of_history() {
        let ts = EventTime::from_millis(1_764_041_400_000).expect("a time");
        let name = file_name(Kind::Impressions, ts.minute().hour(), 12, "19ab-77", 3);
        assert_eq!(name, "date=2025-11-25/hour=03/impressions-12-19ab-77-000003.parquet");
        assert_eq!(shard_of(&name), Some(12));
        for foreign in ["notes.txt", "impressions-all.parquet", "date=2025-11-25/hour=03/visits-1-a.parquet"]
        {
            assert_eq!(shard_of(foreign), None, "{foreign}");
        }
    }
}
