//! The golden day: raw feeds in, every table equal to the independently computed one, cell by
//! cell, whatever the number of workers, the epochs and the order of arrival.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use advertisex::config::Config;
use advertisex::runtime::cluster::Cluster;
use advertisex::runtime::job::TimeRange;
use advertisex::runtime::output::Output;
use advertisex::runtime::replay::{Options, Replayed, replay};
use advertisex::sinks::table_file::TableFormat;
use advertisex::store::Place;
use apache_avro::{Reader, Writer};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

pub const TABLES: [&str; 6] = [
    "performance_minute",
    "performance_hour",
    "attribution_hour",
    "reach_day",
    "supply_hour",
    "conversion_paths",
];

pub fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A replay with the golden lookups, on some workers of one process.
pub fn options(input: &Path, workers: usize) -> Options {
    Options {
        input: Place::Directory(input.to_owned()),
        lookups: Some(golden()),
        rules: None,
        cluster: Cluster::alone(workers),
        epoch_events: 0,
        range: TimeRange::default(),
        horizon: None,
        quiet: true,
        stop: Arc::default(),
    }
}

fn run(input: &Path, output: &Path, workers: usize, epoch_events: usize) -> Replayed {
    let options = Options { epoch_events, ..options(input, workers) };
    let output = Output::Directory { path: output.to_owned(), format: TableFormat::Csv, force: false };
    let done = replay(&Config::load(None).expect("defaults load"), &options, &output).expect("replays");
    done.expect("the first process says what was done")
}

fn assert_tables(output: &Path) {
    for table in TABLES {
        let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let expected = read(golden().join(format!("expected/{table}.csv")));
        let published = read(output.join(format!("{table}.csv")));
        for (number, (left, right)) in (1..).zip(published.lines().zip(expected.lines())) {
            assert_eq!(left, right, "{table}, line {number}");
        }
        assert_eq!(published.lines().count(), expected.lines().count(), "rows of {table}");
    }
}

fn rejects(output: &Path) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for line in fs::read_to_string(output.join("rejects.jsonl")).expect("rejects").lines() {
        let reject: serde_json::Value = serde_json::from_str(line).expect("a JSON object");
        let text = |field: &str| reject[field].as_str().expect("text").to_owned();
        *counts.entry(text("feed")).or_default().entry(text("reason")).or_default() += 1;
    }
    counts
}

fn assert_counts(done: &Replayed) {
    let expected: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(golden().join("expected/totals.json")).expect("totals"))
            .expect("JSON");
    let number = |group: &str, kind: &str| expected[group][kind].as_u64().expect("a number");
    let feed = |name: &str| &done.report.feeds[name];
    for group in ["accepted", "received"] {
        let of = |name: &str| match group {
            "accepted" => feed(name).accepted,
            _ => feed(name).received - feed(name).rejected,
        };
        assert_eq!(of("impressions"), number(group, "impressions"), "{group} impressions");
        assert_eq!(of("bid_requests"), number(group, "bids"), "{group} bids");
        assert_eq!(of("events"), number(group, "clicks") + number(group, "conversions"), "{group} events");
    }
    assert_eq!(feed("events").orphans, expected["orphan_clicks"].as_u64().expect("a number"));
    assert_eq!(feed("events").invalid, expected["flooded_clicks"].as_u64().expect("a number"));
}

#[test]
fn the_golden_day_is_exact_at_any_number_of_workers_and_epochs() {
    let root = TempDir::new().expect("temporary directory");
    let expected: BTreeMap<String, BTreeMap<String, u64>> =
        serde_json::from_str(&fs::read_to_string(golden().join("expected/rejects.json")).expect("rejects"))
            .expect("JSON");
    let mut digests = Vec::new();
    for (workers, epoch_events) in [(1, 0), (2, 0), (3, 0), (1, 700), (2, 1500), (3, 4000)] {
        let output = root.path().join(format!("{workers}-{epoch_events}"));
        let done = run(&golden().join("raw"), &output, workers, epoch_events);
        assert_tables(&output);
        assert_counts(&done);
        assert_eq!(rejects(&output), expected);
        digests.push(done.report.tables.iter().map(|table| table.digest.clone()).collect::<Vec<_>>());
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "digests differ: {digests:?}");
}

#[test]
fn the_golden_day_is_exact_in_any_order_of_arrival() {
    for seed in 0..3 {
        let root = TempDir::new().expect("temporary directory");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let raw = root.path().join("raw");
        fs::create_dir(&raw).expect("directory");
        shuffle_lines("impressions.jsonl", 0, &raw, &mut rng);
        shuffle_lines("events.csv", 1, &raw, &mut rng);
        shuffle_requests(&raw, &mut rng);
        let output = root.path().join("out");
        run(&raw, &output, 1 + seed as usize, 900 * seed as usize);
        assert_tables(&output);
    }
}

fn shuffle_lines(file: &str, header: usize, to: &Path, rng: &mut ChaCha8Rng) {
    let bytes = fs::read(golden().join("raw").join(file)).expect("feed");
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    lines[header..].shuffle(rng);
    fs::write(to.join(file), lines.concat()).expect("writes");
}

fn shuffle_requests(to: &Path, rng: &mut ChaCha8Rng) {
    let bytes = fs::read(golden().join("raw/bid_requests.avro")).expect("feed");
    let reader = Reader::new(&bytes[..]).expect("an Avro file");
    let schema = reader.writer_schema().clone();
    let mut requests: Vec<_> = reader.collect::<Result<_, _>>().expect("requests");
    requests.shuffle(rng);
    let mut writer = Writer::new(&schema, Vec::new()).expect("a writer");
    for request in requests {
        writer.append_value(request).expect("appends");
    }
    fs::write(to.join("bid_requests.avro"), writer.into_inner().expect("flushes")).expect("writes");
}
