//! What a record says, in bytes: the epoch, its horizon if that has moved,
//! topics not named before, and ranges. Numbers are of
//! variable length, as a log of many small epochs is mostly small numbers.

use std::sync::Arc;

use dataflows::model::horizon::Horizon;
use dataflows::model::time::EventTime;

use super::error::Invalid;
use super::ledger::Ledger;
use super::{Binding, Range, TopicPartition};

/// Writes a checked binding. Topics that are new to the ledger are added to it.
pub fn encode(binding: &Binding, ledger: &mut Ledger) -> Vec<u8> {
    let known = ledger.topic_count();
    for range in &binding.ranges {
        if ledger.topic_number(&range.place.topic).is_none() {
            ledger.add_topic(Arc::clone(&range.place.topic));
        }
    }
    let mut out = Vec::new();
    put(&mut out, binding.epoch);
    let moved = binding.horizon != ledger.horizon();
    put(&mut out, u64::from(moved));
    for time in binding.horizon.parts().into_iter().filter(|_| moved) {
        put(&mut out, time.millis() as u64);
    }
    put(&mut out, (ledger.topic_count() - known) as u64);
    for topic in (known..).map_while(|number| ledger.topic(number)) {
        put(&mut out, topic.len() as u64);
        out.extend(topic.as_bytes());
    }
    put(&mut out, binding.ranges.len() as u64);
    for Range { place, from, to } in &binding.ranges {
        let topic = ledger.topic_number(&place.topic).unwrap_or_default();
        // A checked range holds no negative number.
        for number in [topic as u64, place.partition as u64, *from as u64, (to - from) as u64] {
            put(&mut out, number);
        }
    }
    out
}

/// Reads a record; topics it names are added to the ledger.
pub fn decode(payload: &[u8], ledger: &mut Ledger) -> Result<Binding, Invalid> {
    let mut rest = payload;
    read(&mut rest, ledger).filter(|_| rest.is_empty()).ok_or(Invalid::Unreadable)
}

fn read(rest: &mut &[u8], ledger: &mut Ledger) -> Option<Binding> {
    let epoch = take(rest)?;
    let horizon = match take(rest)? {
        0 => ledger.horizon(),
        1 => read_horizon(rest)?,
        _ => return None,
    };
    for _ in 0..take(rest)? {
        let len = usize::try_from(take(rest)?).ok()?;
        let (topic, behind) = rest.split_at_checked(len)?;
        ledger.add_topic(std::str::from_utf8(topic).ok()?.into());
        *rest = behind;
    }
    let mut ranges = Vec::new();
    for _ in 0..take(rest)? {
        let topic = ledger.topic(usize::try_from(take(rest)?).ok()?)?;
        let partition = i32::try_from(take(rest)?).ok()?;
        let from = i64::try_from(take(rest)?).ok()?;
        let to = from.checked_add(i64::try_from(take(rest)?).ok()?)?;
        ranges.push(Range { place: TopicPartition { topic, partition }, from, to });
    }
    Some(Binding { epoch, ranges, horizon })
}

fn read_horizon(rest: &mut &[u8]) -> Option<Horizon> {
    let mut parts = [EventTime::MIN; 5];
    for part in &mut parts {
        *part = EventTime::from_millis(i64::try_from(take(rest)?).ok()?)?;
    }
    Some(Horizon::from_parts(parts))
}

/// Seven bits a byte, the lowest first.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
