use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use super::*;
use crate::config::{Config, SourcesConfig};
use crate::formats::{Batch, Reject};

fn config() -> SourcesConfig {
    Config::load(None).expect("valid").sources
}

struct Read {
    bids: usize,
    impressions: usize,
    clicks: usize,
    conversions: usize,
    rejects: Vec<Reject>,
    bytes: u64,
}

fn read_splits(splits: Vec<Split>, events_max: usize) -> Read {
    let (mut all, names) = (Batch::default(), Arc::default());
    for split in splits {
        let bytes = split.bytes + all.bytes;
        let mut reader = SplitReader::open(split, &config(), Arc::clone(&names));
        let mut batch = Batch::default();
        loop {
            batch.clear();
            let more = reader.read(&mut batch, events_max).expect("no collision");
            all.bids.append(&mut batch.bids);
            all.impressions.append(&mut batch.impressions);
            all.clicks.append(&mut batch.clicks);
            all.conversions.append(&mut batch.conversions);
            all.rejects.append(&mut batch.rejects);
            all.bytes += batch.bytes;
            if !more {
                break;
            }
        }
        assert_eq!(all.bytes, bytes, "a split stands for its size");
    }
    let Batch { bids, impressions, clicks, conversions, rejects, bytes, .. } = all;
    let (bids, impressions) = (bids.len(), impressions.len());
    Read { bids, impressions, clicks: clicks.len(), conversions: conversions.len(), rejects, bytes }
}

fn read_dir(dir: &Path, events_max: usize) -> Read {
    read_splits(plan(&discover(dir, &config()).expect("input")).expect("files"), events_max)
}

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn golden_json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(golden(name)).expect("committed")).expect("json")
}

#[test]
fn the_golden_feeds_give_the_expected_counts() {
    let totals = golden_json("expected/totals.json");
    let mut expected = BTreeMap::new();
    for (feed, reasons) in golden_json("expected/rejects.json").as_object().expect("object") {
        for (reason, count) in reasons.as_object().expect("object") {
            expected.insert((feed.clone(), reason.clone()), count.as_u64().expect("count") as usize);
        }
    }
    for events_max in [1, 777, usize::MAX] {
        let read = read_dir(&golden("raw"), events_max);
        let counts = [
            ("bids", read.bids),
            ("impressions", read.impressions),
            ("clicks", read.clicks),
            ("conversions", read.conversions),
        ];
        for (kind, count) in counts {
            assert_eq!(Some(count as u64), totals["received"][kind].as_u64(), "{kind}");
        }
        let mut rejects = BTreeMap::new();
        for reject in &read.rejects {
            *rejects.entry((reject.feed.as_str().into(), reject.reason.as_str().into())).or_default() += 1;
        }
        assert_eq!(rejects, expected);
    }
}

#[test]
fn cutting_a_file_anywhere_changes_nothing() {
    for file in discover(&golden("raw"), &config()).expect("input") {
        let whole = read_splits(plan(std::slice::from_ref(&file)).expect("a file"), usize::MAX);
        for pieces in [2, 3, 17] {
            let cut = |n: u64| file.bytes * n / pieces;
            let split = |n| Split {
                file: file.clone(),
                bytes: cut(n + 1) - cut(n),
                part: Part::Bytes(cut(n)..cut(n + 1)),
            };
            let parts = read_splits((0..pieces).map(split).collect(), 500);
            assert_eq!(
                (parts.bids, parts.impressions, parts.clicks, parts.conversions, parts.bytes),
                (whole.bids, whole.impressions, whole.clicks, whole.conversions, whole.bytes),
            );
            assert_eq!(parts.rejects, whole.rejects);
        }
    }
}

#[test]
fn a_directory_with_nothing_to_read_says_what_was_looked_for() {
    let dir = tempfile::tempdir().expect("temporary");
    let error = discover(dir.path(), &config()).expect_err("nothing").to_string();
    assert!(error.contains("impressions*.jsonl") && error.contains("bids*.parquet"), "{error}");
    let missing = discover(&dir.path().join("absent"), &config()).expect_err("missing");
    assert!(matches!(missing, SourceError::Directory { .. }));
}

#[cfg(unix)]
#[test]
fn links_that_lead_back_are_harmless() {
    let dir = tempfile::tempdir().expect("temporary");
    std::fs::create_dir(dir.path().join("b")).expect("made");
    std::fs::write(dir.path().join("b/events.csv"), "").expect("written");
    std::os::unix::fs::symlink(dir.path(), dir.path().join("b/loop")).expect("linked");
    std::os::unix::fs::symlink("nowhere", dir.path().join("events-x.csv")).expect("linked");
    assert_eq!(discover(dir.path(), &config()).expect("input").len(), 1);
}

#[test]
fn patterns_match_whole_names() {
    let fits = discover::matches;
    assert!(fits("events*.csv", "events.csv") && fits("events*.csv", "events-1.csv") && fits("*", ""));
    assert!(
        fits("a*b*c", "a1b2b3c")
            && fits("a", "a")
            && !fits("a", "ab")
            && !fits("a*b", "a")
            && !fits("aba*aba", "aba")
    );
    assert!(!fits("events*.csv", "my-events.csv") && !fits("events*.csv", "events.csv.bak"));
}

fn lines() -> Vec<u8> {
    let line = r#"{"impression_id":"i","auction_id":"a","timestamp":1772323200000,"user_id":"u","campaign_id":"c1","win_price_cpm":1}"#;
    (0..20_000).map(|_| format!("{line}\n")).collect::<String>().into_bytes()
}

fn only_hint(read: &Read, part: &str) {
    assert_eq!(read.rejects.len(), 1, "{:?}", read.rejects);
    let reject = &read.rejects[0];
    assert_eq!(reject.reason.as_str(), "malformed");
    assert!(reject.hint.contains(part), "{}", reject.hint);
}

#[test]
fn compressed_streams_are_read_and_a_cut_one_counts_as_far_as_it_goes() {
    let mut gz = Vec::new();
    for half in lines().chunks(lines().len() / 2) {
        let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        member.write_all(half).expect("in memory");
        gz.extend(member.finish().expect("in memory"));
    }
    let zst = zstd::encode_all(&*lines(), 1).expect("in memory");
    for (name, packed) in [("impressions.jsonl.gz", gz), ("impressions.jsonl.zst", zst)] {
        let dir = tempfile::tempdir().expect("temporary");
        std::fs::write(dir.path().join(name), &packed).expect("written");
        let read = read_dir(dir.path(), 1000);
        assert_eq!((read.impressions, read.rejects.len()), (20_000, 0), "{name}");
        std::fs::write(dir.path().join(name), &packed[..packed.len() - 5]).expect("written");
        let read = read_dir(dir.path(), 1000);
        assert!(read.impressions > 0, "{name}");
        only_hint(&read, "can't be read on");
        std::fs::write(dir.path().join(name), "plainly not compressed").expect("written");
        only_hint(&read_dir(dir.path(), 1000), "can't be read on");
        std::fs::write(dir.path().join(name), "").expect("written");
        only_hint(&read_dir(dir.path(), 1000), "the file is empty");
    }
}

#[test]
fn a_broken_file_costs_one_reject_and_the_others_go_on() {
    for (name, contents, hint) in [
        ("impressions-2.jsonl", "", "the file is empty"),
        ("events-2.csv", "", "the file is empty"),
        ("bid_requests.avro", "", "the file is empty"),
        ("bid_requests.avro", "no Avro at all", "not an Avro container"),
        ("bid_requests.avro", "Obj\x01\x04", "ends inside the Avro header"),
        ("bids.parquet", "", "the file is empty"),
        ("bids.parquet", "PAR1 and nothing", "footer"),
        ("events-2.csv", "event_type,event_id\nclick,1\n", "\"timestamp\" is not in the header"),
        ("events-2.csv", "a\"b", "not in the header"),
    ] {
        let dir = tempfile::tempdir().expect("temporary");
        std::fs::write(dir.path().join(name), contents).expect("written");
        std::fs::write(dir.path().join("impressions.jsonl"), lines()).expect("written");
        // A header alone is a file without events, and none that is broken.
        let header = "event_type,event_id,timestamp,user_id,impression_id,campaign_id,advertiser_id,conversion_type,value\n";
        std::fs::write(dir.path().join("events.csv"), header).expect("written");
        let read = read_dir(dir.path(), 1000);
        assert_eq!(read.impressions, 20_000);
        only_hint(&read, hint);
        assert!(read.rejects[0].hint.contains(name));
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_one_reject() {
    let dir = tempfile::tempdir().expect("temporary");
    let mut file = std::fs::File::create(dir.path().join("impressions.jsonl")).expect("created");
    let megabyte = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        file.write_all(&megabyte).expect("written");
    }
    file.write_all(b"\n").and_then(|()| file.write_all(&lines())).expect("written");
    let read = read_dir(dir.path(), 1000);
    assert_eq!(read.impressions, 20_000);
    only_hint(&read, "max_line_bytes");
    assert_eq!(read.rejects[0].payload.len(), 4096);
}
