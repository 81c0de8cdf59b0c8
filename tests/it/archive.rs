//! An archive of the golden day: replayed, it gives the tables of the raw feeds, also in part, and
//! what lies outside of the part is not read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use advertisex::archive::{
    Archive, ArchiveError, Archiver, Catalog, Fed, Kind, Merging, Plan, Retention, Rows, Shape, Shard,
};
use advertisex::bindings::{Range, TopicPartition};
use advertisex::config::Config;
use advertisex::formats::Batch;
use advertisex::names::Names;
use advertisex::runtime::job::TimeRange;
use advertisex::runtime::output::Output;
use advertisex::runtime::replay::{Options, Replayed, replay};
use advertisex::sinks::table_file::TableFormat;
use advertisex::sources::files::{SplitReader, discover, plan};
use advertisex::store::{Place, Store};
use dataflows::model::time::EventTime;
use tempfile::TempDir;

use crate::golden::{self, golden};

/// Archives raw feeds as a live run does, in so many epochs.
pub fn archive(feeds: &Path, directory: &Path, epochs: u64) {
    let (config, names) = (Config::load(None).expect("defaults"), Arc::new(Names::default()));
    let store = Arc::new(Store::directory(directory).expect("a directory"));
    let shape = Shape { row_group_rows: 64 };
    let merging = Merging { file_bytes_max: 1 << 20, quiet: Duration::ZERO, shape };
    let (interval, retention) = (Duration::from_millis(1), Retention::default());
    let settings = Plan { interval, pending_bytes_max: 1 << 20, merging, retention, workers: 1 };
    let found = Archive::find(&store, "job", "run", Shard::ONLY, 0).expect("an archive");
    let archiver = Archiver::start(store, None, found, "run", Arc::clone(&names), settings).expect("starts");
    archiver.ready();
    let mut batches = Vec::new();
    for split in plan(&discover(feeds, &config.sources).expect("feeds")).expect("files") {
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
    let began = Instant::now();
    while !is_merged(directory, epochs) {
        assert!(began.elapsed() < Duration::from_secs(60), "the archive is not whole and merged");
        std::thread::sleep(Duration::from_millis(20));
    }
    archiver.stop();
    assert!(archiver.failure().is_none());
}

fn open(directory: &Path) -> Result<Option<Catalog>, ArchiveError> {
    let s3 = Config::load(None).expect("defaults").s3;
    Catalog::open(&Place::Directory(directory.to_owned()), &s3)
}

/// Whether everything is archived, and each hour has one file of a kind.
fn is_merged(directory: &Path, epochs: u64) -> bool {
    // A manifest may go while it is read.
    let Ok(Some(catalog)) = open(directory) else { return false };
    let hours: BTreeSet<_> = catalog.files.iter().map(|file| (file.kind, file.hour)).collect();
    catalog.epoch == epochs && hours.len() == catalog.files.len()
}

fn options(input: &Path, range: TimeRange) -> Options {
    Options { range, ..golden::options(input, 2) }
}

fn csv(path: &Path) -> Output {
    Output::Directory { path: path.to_owned(), format: TableFormat::Csv, force: true }
}

fn run(input: &Path, output: &Path, range: TimeRange) -> Replayed {
    let done = replay(&Config::load(None).expect("defaults"), &options(input, range), &csv(output));
    done.expect("replays").expect("the first process says what was done")
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
    let stray = open(&archived).expect("readable").expect("an archive");
    let file = stray.files.iter().find(|file| file.kind == Kind::Clicks).expect("clicks");
    fs::copy(archived.join(&file.name), archived.join("clicks-of-somebody.parquet")).expect("copied");

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
fn a_certificate_names_the_cells_that_differ() {
    use advertisex::runtime::verify::{self, Difference, verify};
    let root = TempDir::new().expect("temporary directory");
    let (archived, raw) = (root.path().join("archive"), golden().join("raw"));
    archive(&raw, &archived, 2);
    let tables = root.path().join("tables");
    run(&raw, &tables, TimeRange::default());
    let options = verify::Options {
        archive: Place::Directory(archived),
        lookups: Some(golden()),
        rules: None,
        against: Some(tables.clone()),
        work: root.path().to_owned(),
        workers: 2,
        limit: 5,
    };
    let config = Config::load(None).expect("defaults");
    let verified = verify(&config, &options).expect("compared");
    assert!(verified.is_equal() && verified.verdicts.len() == 7, "{verified:?}");

    // A cell is changed, a row is lost, and a row comes from nowhere.
    let file = tables.join("reach_day.csv");
    let text = fs::read_to_string(&file).expect("a table");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let (changed, lost) = (lines[1].clone(), lines.remove(5));
    lines[1].push('7');
    lines.push("99999999999999,nobody,1,1".to_owned());
    fs::write(&file, lines.join("\n") + "\n").expect("written");
    let run_json = tables.join("run.json");
    let digest = &verified.verdicts[3].published.digest;
    let report = fs::read_to_string(&run_json).expect("run.json").replace(digest, &"0".repeat(32));
    fs::write(&run_json, report).expect("written");
    let verified = verify(&config, &options).expect("compared");
    let differing: Vec<_> = verified.verdicts.iter().filter(|verdict| !verdict.is_equal()).collect();
    assert_eq!(differing.iter().map(|verdict| verdict.table).collect::<Vec<_>>(), ["reach_day"]);
    let key = |line: &str| line.splitn(3, ',').take(2).collect::<Vec<_>>().join(",");
    let found: Vec<(String, bool, bool, bool)> = differing[0]
        .differences
        .iter()
        .map(|Difference { key, column, archived, published }| {
            (key.clone(), column.is_some(), archived.is_some(), published.is_some())
        })
        .collect();
    let nobody = "99999999999999,nobody".to_owned();
    let expected =
        [(key(&changed), true, true, true), (key(&lost), false, true, false), (nobody, false, false, true)];
    assert_eq!(found, expected);
    assert!(fs::read_dir(root.path()).expect("listed").count() == 2, "what was computed is gone");
}

#[test]
fn old_files_are_moved_when_nobody_uses_the_archive_and_are_read_where_they_are() {
    let root = TempDir::new().expect("temporary directory");
    archive(&golden().join("raw"), &root.path().join("archive"), 1);
    let rules = "[archive]\ndirectory = 'archive'\ncold_directory = 'cold'\ncold_after_days = 2\n";
    fs::write(root.path().join("live.toml"), rules).expect("written");
    let program = |arguments: &[&str]| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_advertisex"));
        let done = program.args(arguments).current_dir(root.path()).output().expect("it starts");
        (done.status.code(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    let retain = ["archive", "retain", "--config", "live.toml"];
    let (code, said) = program(&[&retain[..], &["--dry-run"]].concat());
    assert!(code == Some(0) && said.contains("would be moved") && said.contains("2026-03-01"), "{said}");
    assert!(!root.path().join("cold").exists(), "nothing was done");

    let lock = fs::File::create(root.path().join("archive/archive.lock")).expect("a lock");
    lock.lock_shared().expect("locked, as a run does");
    let (code, said) = program(&retain);
    assert!(code == Some(1) && said.contains("in use by a run"), "{said}");
    drop(lock);
    let (code, said) = program(&retain);
    assert!(code == Some(0) && said.contains("were moved"), "{said}");
    let (_, said) = program(&["archive", "list", "--archive", "archive"]);
    assert!(said.contains("cold") && !said.contains("hot"), "{said}");
    let golden = golden().display().to_string();
    let replay = ["replay", "-q", "--input", "archive", "--lookups", &golden, "--output", "tables"];
    let (code, said) = program(&replay);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) =
        program(&["verify", "--archive", "archive", "--lookups", &golden, "--against", "tables"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_replay_without_lookups_says_where_they_are_looked_for() {
    let root = TempDir::new().expect("temporary directory");
    let archived = root.path().join("archive");
    archive(&golden().join("raw"), &archived, 1);
    let mut options = options(&archived, TimeRange::default());
    options.lookups = None;
    let (config, output) = (Config::load(None).expect("defaults"), csv(&root.path().join("tables")));
    let error = replay(&config, &options, &output).expect_err("none").to_string();
    assert!(error.contains("--lookups") && error.contains("archive holds none"), "{error}");
}
