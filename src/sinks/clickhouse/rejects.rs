//! Reads rejects back, for people.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clickhouse::Row;
use serde::Deserialize;

use super::client::ClickHouse;
use super::error::ClickHouseError;

/// Where a rejected record stands: `origin/place/position/record`.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct RejectId {
    /// The topic or file.
    pub origin: String,
    /// The partition; 0 in a file.
    pub place: i32,
    /// The offset; in a file the byte, row or block.
    pub position: u64,
    /// The record's number inside the message or block.
    pub record: u64,
}

impl std::fmt::Display for RejectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { origin, place, position, record } = self;
        write!(f, "{origin}/{place}/{position}/{record}")
    }
}

impl std::str::FromStr for RejectId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no id of a reject, which looks like impressions/2/1234/0");
        // A file's name may hold slashes.
        let mut parts = text.rsplitn(4, '/');
        let record = parts.next().and_then(|part| part.parse().ok()).ok_or_else(wrong)?;
        let position = parts.next().and_then(|part| part.parse().ok()).ok_or_else(wrong)?;
        let place = parts.next().and_then(|part| part.parse().ok()).ok_or_else(wrong)?;
        let origin = parts.next().filter(|part| !part.is_empty()).ok_or_else(wrong)?.to_owned();
        Ok(Self { origin, place, position, record })
    }
}

/// A reject as it is kept.
#[derive(Clone, Debug, Row, Deserialize)]
pub struct KeptReject {
    /// Its id, as [`RejectId`] reads it.
    pub id: String,
    /// The feed it came by.
    pub feed: String,
    /// Why.
    pub reason: String,
    /// Its own time; empty when that could not be read.
    pub time: String,
    /// Which field, and what was expected.
    pub hint: String,
    payload: String,
}

impl KeptReject {
    /// The first bytes of the record.
    pub fn payload(&self) -> Vec<u8> {
        // The server encoded it.
        BASE64_STANDARD.decode(&self.payload).unwrap_or_default()
    }
}

/// Rejects that one request deletes: their ids stand in its address.
const DELETED_AT_ONCE: usize = 200;

/// The columns of a [`KeptReject`].
const COLUMNS: &str = "concat(origin, '/', toString(place), '/', toString(position), '/', toString(record)) AS id, \
     toString(feed) AS feed, toString(reason) AS reason, ifNull(toString(time), '') AS time, hint, \
     base64Encode(payload) AS payload";

impl ClickHouse {
    /// The newest rejects, `limit` at most; of one feed or for one reason, unless these are empty.
    ///
    /// # Errors
    /// What the server said.
    pub fn rejects(&self, feed: &str, reason: &str, limit: u64) -> Result<Vec<KeptReject>, ClickHouseError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM rejects_live \
             WHERE ({{feed:String}} = '' OR rejects_live.feed = {{feed:String}}) \
             AND ({{reason:String}} = '' OR rejects_live.reason = {{reason:String}}) \
             ORDER BY version DESC, origin, place, position, record LIMIT {{limit:UInt64}}"
        );
        let query = self.database().query(&sql).param("feed", feed).param("reason", reason);
        self.call("read the rejects", query.param("limit", limit).fetch_all())
    }

    /// All rejects in whose payload a text stands, or may stand in another spelling.
    ///
    /// # Errors
    /// What the server said.
    pub fn rejects_that_may_name(&self, text: &str) -> Result<Vec<KeptReject>, ClickHouseError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM rejects_live \
             WHERE position(rejects_live.payload, {{text:String}}) > 0 \
             OR (rejects_live.feed = 'impressions' AND position(rejects_live.payload, '\\\\') > 0)"
        );
        self.call("look through the rejects", self.database().query(&sql).param("text", text).fetch_all())
    }

    /// Deletes rejects; none of their bytes is left when this returns.
    ///
    /// # Errors
    /// What the server said.
    pub fn delete_rejects(&self, ids: &[RejectId]) -> Result<(), ClickHouseError> {
        let sql = "ALTER TABLE rejects DELETE \
             WHERE concat(origin, '/', toString(place), '/', toString(position), '/', toString(record)) \
             IN {ids:Array(String)} SETTINGS mutations_sync = 2";
        for ids in ids.chunks(DELETED_AT_ONCE) {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            self.call("delete rejects", self.database().query(sql).param("ids", ids).execute())?;
        }
        Ok(())
    }

    /// One reject.
    ///
    /// # Errors
    /// What the server said.
    pub fn reject(&self, id: &RejectId) -> Result<Option<KeptReject>, ClickHouseError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM rejects_live WHERE origin = {{origin:String}} AND place = {{place:Int32}} \
             AND position = {{position:UInt64}} AND record = {{record:UInt64}}"
        );
        let query = self.database().query(&sql).param("origin", &id.origin).param("place", id.place);
        let query = query.param("position", id.position).param("record", id.record);
        self.call("read a reject", query.fetch_optional())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_from_behind() {
        let id: RejectId = "day/2026/impressions.jsonl/0/512/3".parse().expect("an id");
        let origin = "day/2026/impressions.jsonl".to_owned();
        assert_eq!(id, RejectId { origin, place: 0, position: 512, record: 3 });
        for wrong in ["", "impressions", "impressions/1/2", "/1/2/3", "impressions/x/2/3", "a/1/-2/3"] {
            assert!(wrong.parse::<RejectId>().is_err(), "{wrong}");
        }
    }
}
