//! A record that was not accepted: what, where and why.

use std::fmt;
use std::sync::Arc;

use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::EventTime;
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// How much of a rejected record is kept.
pub const PAYLOAD_BYTES_MAX: usize = 4096;

/// Where in a file or topic a record stands.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Position {
    /// Text: offset of the line in the (decompressed) file.
    Byte(u64),
    /// Parquet: number of the row, from 0.
    Row(u64),
    /// Avro: the block's offset in the (decompressed) file, and the record in it, from 0.
    Block {
        /// Offset of the block.
        offset: u64,
        /// Number of the record in the block.
        record: u64,
    },
    /// Kafka: the message.
    Message {
        /// Its partition.
        partition: i32,
        /// Its offset in the partition.
        offset: i64,
    },
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Byte(offset) => write!(f, "byte {offset}"),
            Position::Row(row) => write!(f, "row {row}"),
            Position::Block { offset, record } => write!(f, "block at byte {offset}, record {record}"),
            Position::Message { partition, offset } => write!(f, "partition {partition}, offset {offset}"),
        }
    }
}

/// Where a record came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The file, as it was found, or the topic.
    pub file: Arc<str>,
    /// The place in it.
    pub position: Position,
}

/// A record that was not accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reject {
    /// The feed it came by.
    pub feed: Feed,
    /// The closed reason, for counting.
    pub reason: Reason,
    /// Where it stands.
    pub origin: Origin,
    /// Its own time, when that could be read.
    pub ts: Option<EventTime>,
    /// The first [`PAYLOAD_BYTES_MAX`] bytes of the record; empty when a whole file is at fault.
    pub payload: Vec<u8>,
    /// For people: which field, and what was expected.
    pub hint: String,
}

impl Reject {
    /// A reject that stands for a damaged file or part of a file, rather than one record.
    pub fn of_file(feed: Feed, file: &Arc<str>, position: Position, what: impl fmt::Display) -> Self {
        Self {
            feed,
            reason: Reason::Malformed,
            hint: format!("{file}: {what} ({position})"),
            origin: Origin { file: file.clone(), position },
            ts: None,
            payload: Vec::new(),
        }
    }

    /// A record that can't be read at all.
    pub fn malformed(feed: Feed, origin: Origin, record: &[u8], hint: impl Into<String>) -> Self {
        let (reason, payload) = (Reason::Malformed, payload(record));
        Self { feed, reason, origin, ts: None, payload, hint: hint.into() }
    }
}

/// A row of a lookup table that was not accepted. It belongs to no feed, so it is none of the
/// records that `quality_minute` counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LookupFault {
    /// Where it stands.
    pub origin: Origin,
    /// The first [`PAYLOAD_BYTES_MAX`] bytes of the row.
    pub payload: Vec<u8>,
    /// For people: which column, and what was expected.
    pub hint: String,
}

/// Why a record in which nothing is wrong is not taken in at its time, for people.
pub fn untimely(reason: Reason) -> &'static str {
    match reason {
        Reason::TooLate => {
            "its window is frozen: it came after time.correction_horizon_hours (in a replay, --horizon)"
        }
        _ => "its time is more than an hour ahead of the clock of this run",
    }
}

/// The part of a record that a reject keeps.
pub fn payload(record: &[u8]) -> Vec<u8> {
    record[..record.len().min(PAYLOAD_BYTES_MAX)].to_vec()
}

impl Serialize for Reject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = self.ts.and_then(|ts| jiff::Timestamp::from_millisecond(ts.millis()).ok());
        let mut line = serializer.serialize_struct("Reject", 7)?;
        line.serialize_field("feed", &self.feed)?;
        line.serialize_field("reason", &self.reason)?;
        line.serialize_field("file", &*self.origin.file)?;
        line.serialize_field("position", &self.origin.position.to_string())?;
        line.serialize_field("time", &time.map(|time| time.to_string()))?;
        line.serialize_field("payload", &String::from_utf8_lossy(&self.payload))?;
        line.serialize_field("hint", &self.hint)?;
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reject_is_one_json_line() {
        let mut reject = Reject::of_file(Feed::Events, &"a.csv".into(), Position::Byte(7), "no header");
        reject.ts = EventTime::from_millis(1_000);
        reject.payload = vec![b'a', b'\n', 0xff];
        let line = serde_json::to_string(&reject).expect("serialisable");
        assert_eq!(
            line,
            "{\"feed\":\"events\",\"reason\":\"malformed\",\"file\":\"a.csv\",\"position\":\"byte 7\",\
             \"time\":\"1970-01-01T00:00:01Z\",\"payload\":\"a\\n\u{fffd}\",\
             \"hint\":\"a.csv: no header (byte 7)\"}"
        );
    }
}
