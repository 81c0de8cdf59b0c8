//! Damaged text, and what becomes of the lines around it. That no bytes lead to a panic is for
//! `tests/fuzz` to find out.

use std::io::Cursor;
use std::sync::Arc;

use super::lines::Lines;
use super::text::TextDecoder;
use super::{Batch, Position};
use crate::config::Config;
use crate::formats::layout::Layout;

fn layouts() -> [Layout; 2] {
    let sources = Config::load(None).expect("valid").sources;
    [sources.impressions.layout, sources.events.layout]
}

fn text(layout: &Layout, bytes: Vec<u8>) -> Batch {
    let mut batch = Batch::default();
    let mut decoder = TextDecoder::new(layout, Arc::default());
    let mut lines = Lines::new(Box::new(Cursor::new(bytes)), 0, u64::MAX, 300);
    while let Some(line) = lines.next_line().expect("in memory") {
        if decoder.wants_header() {
            if decoder.header(line.bytes).is_err() {
                break;
            }
            continue;
        }
        decoder.line(line.bytes, &"t".into(), Position::Byte(line.offset), &mut batch).expect("no collision");
    }
    batch
}

const IMPRESSION: &str = r#"{"impression_id":"i\u00e91","auction_id":"a","timestamp":"2026-03-01T00:20:30.055Z","user_id":"u","campaign_id":"c1","site":"s","country":"DE","device":"ctv","viewable":true,"win_price_cpm":7.486e0}"#;
const EVENTS: &str = "event_type,event_id,timestamp,user_id,impression_id,campaign_id,advertiser_id,conversion_type,value\r\n\
    click,k1,2026-03-01T01:05:22.646Z,,i1,,,,\r\n\
    conversion,v1,1772323200000,u1,,,adv1,\"pur\"\"chase\",3.5e1\r\n";

#[test]
fn bad_text_is_rejected_line_by_line() {
    let [impressions, events] = layouts();
    let mut bytes = Vec::new();
    for line in [
        IMPRESSION.as_bytes(),
        b"\xff\xfe{}",
        b"\0\0",
        b"[]",
        b"null",
        b"{\"user_id\":3}",
        IMPRESSION.as_bytes(),
    ] {
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    let batch = text(&impressions, bytes);
    assert_eq!((batch.impressions.len(), batch.rejects.len()), (2, 5), "{:?}", batch.rejects);
    let stray = EVENTS.replace("click,k1", "click,k0,2026-03-01T01:05:22Z,,\"i,,,,\r\nclick,k1");
    let batch = text(&events, format!("\u{feff}{stray}").into_bytes());
    assert_eq!((batch.clicks.len(), batch.conversions.len(), batch.rejects.len()), (1, 1, 1));
    assert!(batch.rejects[0].hint.contains("quote"), "{}", batch.rejects[0].hint);
}
