//! Rejects as messages, for whoever produced them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::clickhouse::Reject;

/// The key of a reject's message: where the record stands, so that a message that is written again
/// after a crash has the key it had.
pub fn key(reject: &Reject) -> String {
    let Reject { origin, place, position, record, .. } = reject;
    format!("{origin}/{place}/{position}/{record}")
}

/// The message: one JSON object. A payload that isn't text is in base 64.
pub fn message(reject: &Reject) -> Vec<u8> {
    let text = std::str::from_utf8(&reject.payload);
    let time = reject.time.and_then(|time| jiff::Timestamp::from_millisecond(time.millis()).ok());
    json!({
        "feed": reject.feed.as_str(),
        "reason": reject.reason.as_str(),
        "topic": &*reject.origin,
        "partition": reject.place,
        "offset": reject.position,
        "record": reject.record,
        "time": time.map(|time| time.to_string()),
        "hint": reject.hint,
        "payload": text.ok(),
        "payload_base64": text.is_err().then(|| BASE64_STANDARD.encode(&reject.payload)),
    })
    .to_string()
    .into_bytes()
}
