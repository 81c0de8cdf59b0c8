//! An archive of the golden day: replayed, it gives the tables of the raw feeds, also in part, and
//! what lies outside of the part is not read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use advertisex::archive::{
    Archive, Archiver, Catalog, Fed, Kind, Merging, Plan, Retention, Rows, Shape, Shard,
};
use advertisex::bindings::{Range, TopicPartition};
use advertisex::checkpoint::Store;
use advertisex::config::Config;
use advertisex::formats::Batch;
use advertisex::names::Names;
use advertisex::runtime::job::TimeRange;
use advertisex::runtime::replay::{Options, Replayed, replay};
use advertisex::sinks::table_file::TableFormat;
use advertisex::sources::files::{SplitReader, discover, plan};
use dataflows::model::time::EventTime;
use tempfile::TempDir;

pub fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Archives raw feeds as a live run does, in so many epochs.
pub fn archive(feeds: &Path, directory: &Path, epochs: u64) {
    let (config, names) = (Config::load(None).expect("defaults"), Arc::new(Names::default()));
    let store = Arc::new(Store::directory(directory.to_owned()).expect("a directory"));
    let shape = Shape { row_group_rows: 64 };
    let merging = Merging { file_bytes_max: 1 << 20, quiet: Duration::ZERO, shape };
    let (interval, retention) = (Duration::from_millis(1), Retention::default());
    let settings = Plan { interval, pending_bytes_max: 1 << 20, merging, retention, workers: 1 };
    let found = Archive::find(&store, "job", "run", Shard::ONLY, 0).expect("an archive");
    let archiver = Archiver::start(store, None, found, "run", Arc::clone(&names), settings).expect("starts");
    archiver.ready();
    let mut batches = Vec::new();
    for split in plan(&discover(feeds, &config.sources).expect("feeds")) {
        let mut reader = SplitReader::open(split, &config.sources, Arc::clone(&names));
        loop {
            let (mut batch, mut rows) = (Batch::default(), Rows::default());
            batch.kept.start();
            let more = reader.read(&mut batch, 500).expect("decodes");
            rows.add(&batch);
            batches.push(rows);
            if !more {
                break;
            }
        }
    }
    let count = batches.len() as u64;
    for (number, rows) in (0..).zip(batches) {
        let place = TopicPartition { topic: "feeds".into(), partition: 0 };
        let ranges = vec![Range { place, from: number, to: number + 1 }];
        let epoch = 1 + number as u64 * epochs / count;
        archiver.feed(Fed { epoch, ranges, rows, changes: Vec::new() });
        archiver.published(epoch.saturating_sub(1));
        std::thread::sleep(Duration::from_millis(5));
    }
    archiver.published(epochs);
    archiver.stop();
    assert!(archiver.failure().is_none());
}

fn options(input: &Path, output: &Path, range: TimeRange) -> Options {
    Options {
        input: input.to_owned(),
        lookups: Some(golden()),
        rules: None,
        output: output.to_owned(),
        format: TableFormat::Csv,
        workers: 2,
        epoch_events: 0,
        range,
        force: true,
        quiet: true,
    }
}

fn run(input: &Path, output: &Path, range: TimeRange) -> Replayed {
    replay(&Config::load(None).expect("defaults"), &options(input, output, range)).expect("replays")
}

fn digests(done: &Replayed) -> Vec<(&'static str, String)> {
    done.report.tables.iter().map(|table| (table.table, table.digest.clone())).collect()
}

#[test]
fn an_archive_replays_to_the_tables_of_the_feeds_and_a_part_of_it_reads_only_that_part() {
    let root = TempDir::new().expect("temporary directory");
    let (archived, raw) = (root.path().join("archive"), golden().join("raw"));
    archive(&raw, &archived, 6);
    // What is no manifest's is not read.
    let stray = Catalog::open(&archived).expect("readable").expect("an archive");
    let file = stray.files.iter().find(|file| file.kind == Kind::Clicks).expect("clicks");
    fs::copy(stray.path(file), archived.join("clicks-of-somebody.parquet")).expect("copied");

    let (of_feeds, of_archive) = (root.path().join("feeds"), root.path().join("tables"));
    let everything = TimeRange::default();
    let (expected, found) = (run(&raw, &of_feeds, everything), run(&archived, &of_archive, everything));
    assert_eq!(digests(&found), digests(&expected), "rejects are counted, too");
    assert_eq!(found.report.received_by_kind, expected.report.received_by_kind);
    assert_eq!((found.report.files_skipped, found.report.row_groups_skipped), (0, 0));

    // 2026-03-01T10:00 to 12:00, and an hour and a bit of it.
    let time = |minutes: i64| EventTime::from_millis(1_772_359_200_000 + minutes * 60_000);
    for (since, until, hours) in [(0, 120, 2), (30, 45, 1), (-100_000, 60, 11), (100_000, 100_001, 0)] {
        let range = TimeRange { since: time(since), until: time(until) };
        let (expected, found) = (run(&raw, &of_feeds, range), run(&archived, &of_archive, range));
        assert_eq!(digests(&found), digests(&expected), "{since} to {until}");
        let files: Vec<_> = stray.files.iter().filter(|file| file.kind != Kind::Rejected).collect();
        let inside = files.iter().filter(|file| file.overlaps(range.since, range.until)).count();
        let report = &found.report;
        assert_eq!((report.files, report.files_skipped), (inside, files.len() - inside));
        assert!(inside <= 4 * hours, "{inside} files of {hours} hours: each hour has one of a kind");
        if hours == 1 {
            // A quarter of an hour, of which row groups are a fraction.
            assert!(report.row_groups_skipped > inside, "{}", report.row_groups_skipped);
        }
    }
}

#[test]
fn a_replay_without_lookups_says_where_they_are_looked_for() {
    let root = TempDir::new().expect("temporary directory");
    let archived = root.path().join("archive");
    archive(&golden().join("raw"), &archived, 1);
    let mut options = options(&archived, &root.path().join("tables"), TimeRange::default());
    options.lookups = None;
    let error = replay(&Config::load(None).expect("defaults"), &options).expect_err("none").to_string();
    assert!(error.contains("--lookups") && error.contains("archive holds none"), "{error}");
}
