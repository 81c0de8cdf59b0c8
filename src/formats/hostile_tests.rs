//! Damaged input of every format: whatever the bytes, decoding ends, without a panic.

use std::io::{Cursor, Write};
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::avro::AvroReader;
use super::lines::Lines;
use super::parquet::{Kind, ParquetReader, footer};
use super::text::TextDecoder;
use super::{Batch, Position};
use crate::config::Config;
use crate::formats::layout::Layout;

/// Flips, removes, repeats and inserts bytes, more or less of them.
fn mutate(sample: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..rng.random_range(1..8) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.random_range(0..bytes.len());
        let to = (at + rng.random_range(0..40)).min(bytes.len());
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..to)),
            3 => bytes.insert(at, [0, 0xff, b'"', b'\n', b'\\', b'{', 0x80][rng.random_range(0..7)]),
            _ => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

fn layouts() -> [Layout; 3] {
    let sources = Config::load(None).expect("valid").sources;
    [sources.impressions.layout, sources.events.layout, sources.bid_requests.layout]
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
fn mutated_text_never_panics() {
    let [impressions, events, _] = layouts();
    for seed in 0..20_000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        text(&impressions, mutate(format!("{IMPRESSION}\n{IMPRESSION}\n").as_bytes(), &mut rng));
        text(&events, mutate(EVENTS.as_bytes(), &mut rng));
    }
}

#[test]
fn mutated_avro_never_panics() {
    let layout = &layouts()[2];
    let sample = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/raw/bid_requests.avro"));
    let sample = &sample.expect("committed")[..6_000];
    for seed in 0..3_000 {
        let bytes = mutate(sample, &mut ChaCha8Rng::seed_from_u64(seed));
        let stream = Box::new(Cursor::new(bytes));
        let Ok(mut reader) = AvroReader::new(stream, layout, "a".into(), Arc::default()) else { continue };
        let mut batch = Batch::default();
        while reader.read(&mut batch, 100).expect("no collision") {
            batch.clear();
        }
    }
}

#[test]
fn mutated_parquet_never_panics() {
    use arrow_array::{ArrayRef, Int64Array, StringArray};
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["some-id"; 10]));
    let ts: ArrayRef = Arc::new(Int64Array::from(vec![7; 10]));
    let columns = vec![("click_id", ids.clone()), ("impression_id", ids), ("ts", ts)];
    let sample = super::parquet::sample(columns);
    for seed in 0..2_000 {
        let bytes = mutate(&sample, &mut ChaCha8Rng::seed_from_u64(seed));
        let mut file = tempfile::tempfile().expect("temporary");
        file.write_all(&bytes).expect("written");
        let Ok(footer) = footer(&file) else { continue };
        for group in 0..footer.metadata().num_row_groups() {
            let file = file.try_clone().expect("cloned");
            let reader = ParquetReader::new(file, &footer, group, Kind::Clicks, "p".into(), Arc::default());
            let mut batch = Batch::default();
            let Ok(mut reader) = reader else { continue };
            while reader.read(&mut batch).unwrap_or(false) {}
        }
    }
}

#[test]
fn bad_text_is_rejected_line_by_line() {
    let [impressions, events, _] = layouts();
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
