//! Which rejects name a user.

use crate::sinks::clickhouse::{ClickHouse, ClickHouseError, KeptReject, RejectId};

/// The ids of all rejects whose payload names one of the users.
pub(super) fn find(clickhouse: &ClickHouse, users: &[String]) -> Result<Vec<RejectId>, ClickHouseError> {
    let mut found = Vec::new();
    for user in users {
        // A text in JSON may be written with escapes.
        let candidates = clickhouse.rejects_that_may_name(user)?;
        let theirs = candidates.iter().filter(|reject| names(reject, user));
        found.extend(theirs.filter_map(|reject| reject.id.parse().ok()));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn names(reject: &KeptReject, user: &str) -> bool {
    let payload = reject.payload();
    let json = || serde_json::from_slice(&payload).is_ok_and(|value| holds(&value, user));
    stands_alone(&payload, user.as_bytes()) || follows_its_length(&payload, user.as_bytes()) || json()
}

/// Whether a text is one of the texts in a JSON value.
fn holds(value: &serde_json::Value, text: &str) -> bool {
    match value {
        serde_json::Value::String(found) => found == text,
        serde_json::Value::Array(values) => values.iter().any(|value| holds(value, text)),
        serde_json::Value::Object(fields) => fields.values().any(|value| holds(value, text)),
        _ => false,
    }
}

/// Whether a text stands in a payload and is not part of a longer word.
fn stands_alone(payload: &[u8], text: &[u8]) -> bool {
    let in_word =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
    places(payload, text).any(|at| {
        let before = at.checked_sub(1).and_then(|at| payload.get(at));
        !in_word(before) && !in_word(payload.get(at + text.len()))
    })
}

/// Whether a text stands in a payload as Avro writes it: behind its length.
fn follows_its_length(payload: &[u8], text: &[u8]) -> bool {
    let (mut left, mut length) = (text.len() << 1, Vec::new());
    while left >= 0x80 {
        length.push(left as u8 | 0x80);
        left >>= 7;
    }
    length.push(left as u8);
    places(payload, text).any(|at| payload[..at].ends_with(&length))
}

fn places<'a>(payload: &'a [u8], text: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = payload.windows(text.len().max(1)).enumerate();
    windows.filter(move |(_, window)| *window == text).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_by_a_whole_word_and_not_by_a_part_of_one() {
        let alone = |payload: &str| stands_alone(payload.as_bytes(), b"u12");
        assert!(alone(r#"{"user_id":"u12"}"#) && alone("click,c1,x,u12,i1") && alone("u12"));
        assert!(!alone("u123") && !alone("au12") && !alone("u12-3") && !alone(""));
    }

    #[test]
    fn avro_has_the_length_before_a_text_whatever_that_looks_like() {
        let user = "a".repeat(30);
        // 30 is written as 60, which is '<'; 36 as 72, which is 'H'.
        assert!(follows_its_length(format!("x<{user}y").as_bytes(), user.as_bytes()));
        let user = "b".repeat(36);
        let payload = format!("H{user}tail");
        assert!(!stands_alone(payload.as_bytes(), user.as_bytes()));
        assert!(follows_its_length(payload.as_bytes(), user.as_bytes()));
        let user = "c".repeat(100);
        let mut payload = vec![0xc8, 0x01];
        payload.extend(user.as_bytes());
        assert!(follows_its_length(&payload, user.as_bytes()));
    }

    #[test]
    fn json_may_be_written_with_escapes() {
        let value = serde_json::json!({ "a": [1, { "b": "zoë/1" }] });
        assert!(holds(&value, "zoë/1") && !holds(&value, "zoë"));
    }
}
