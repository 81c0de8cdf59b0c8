use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::model::time::Epoch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::*;
use crate::bindings::{Positions, Range, TopicPartition};
use crate::config::Config;
use crate::formats::text::TextDecoder;
use crate::formats::{Batch, Position};
use crate::names::{Names, SharedNames};
use crate::store::{Place, Store};

const LONG: &str = "a-user-whose-id-is-longer-than-a-key";

fn impression(n: i64, minute: i64) -> String {
    let (ts, user) = (1_764_041_400_000 + minute * 60_000, if n % 2 == 0 { LONG } else { "u1" });
    format!(
        r#"{{"impression_id":"an-impression-of-number-{n:05}","auction_id":"auction-of-a-long-name-{n}",
        "timestamp":{ts},"user_id":"{user}","campaign_id":"campaign-{}","win_price_cpm":"1.5"}}"#,
        n % 3
    )
    .replace('\n', "")
}

/// The rows of some lines of a feed.
pub(super) fn rows(feed: &str, lines: &[String], names: &SharedNames) -> Rows {
    let config = Config::load(None).expect("defaults");
    let layout = match feed {
        "impressions" => &config.sources.impressions.layout,
        _ => &config.sources.events.layout,
    };
    let mut decoder = TextDecoder::new(layout, Arc::clone(names));
    if decoder.wants_header() {
        let header = b"event_type,event_id,timestamp,user_id,impression_id,campaign_id,advertiser_id,conversion_type,value";
        decoder.header(header).expect("a header");
    }
    let (mut batch, mut rows) = (Batch::default(), Rows::default());
    batch.kept.start();
    for line in lines {
        decoder.line(line.as_bytes(), &feed.into(), Position::Byte(0), &mut batch).expect("no collision");
    }
    rows.add(&batch);
    rows
}

pub(super) fn plan() -> Plan {
    Plan {
        interval: Duration::from_millis(10),
        pending_bytes_max: 1 << 20,
        merging: Merging {
            file_bytes_max: 1 << 20,
            quiet: Duration::from_secs(3600),
            shape: Shape { row_group_rows: 100 },
        },
        retention: Retention::default(),
        workers: 1,
    }
}

pub(super) fn store(path: &Path) -> Arc<Store> {
    Arc::new(Store::directory(path).expect("a directory"))
}

pub(super) fn place(partition: i32) -> TopicPartition {
    TopicPartition { topic: "impressions".into(), partition }
}

pub(super) fn range(partition: i32, from: i64, to: i64) -> Range {
    Range { place: place(partition), from, to }
}

fn start(path: &Path, run: &str, names: &SharedNames, plan: Plan) -> Archiver {
    start_as(path, run, names, (plan, Shard::ONLY))
}

pub(super) fn start_as(
    path: &Path,
    run: &str,
    names: &SharedNames,
    (plan, shard): (Plan, Shard),
) -> Archiver {
    let store = store(path);
    let archive = Archive::find(&store, "job", run, shard, 0).expect("an archive");
    Archiver::start(store, None, archive, run, Arc::clone(names), plan).expect("it starts")
}

pub(super) fn catalog(path: &Path) -> Catalog {
    let s3 = Config::load(None).expect("defaults").s3;
    Catalog::open(&Place::Directory(path.to_owned()), &s3).expect("readable").expect("an archive")
}

fn file(archive: &Catalog, entry: &Entry) -> std::fs::File {
    std::fs::File::open(archive.address(entry).to_string()).expect("the file")
}

pub(super) fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn feed(archiver: &Archiver, epoch: Epoch, from: i64, lines: &[String], names: &SharedNames) {
    let ranges = vec![range(0, from, from + lines.len() as i64)];
    archiver.feed(Fed { epoch, ranges, rows: rows("impressions", lines, names), changes: Vec::new() });
}

/// Every impression id in the files that the manifest names, and whether each file is in order.
pub(super) fn ids(path: &Path) -> Vec<String> {
    let archive = catalog(path);
    let mut ids = Vec::new();
    for file in archive.files.iter().filter(|file| file.kind == Kind::Impressions) {
        let bytes = archive.address(file).read().expect("the file");
        assert_eq!((bytes.len() as u64, xxhash_rust::xxh3::xxh3_64(&bytes)), (file.bytes, file.checksum));
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).expect("Parquet");
        let mut keys = Vec::new();
        for row in reader.get_row_iter(None).expect("rows") {
            let cells: Vec<_> = row.expect("a row").into_columns();
            let cell = |name: &str| cells.iter().find(|(key, _)| key == name).expect("a column").1.clone();
            let (Field::Str(id), Field::Long(ts)) = (cell("impression_id"), cell("ts")) else { panic!() };
            let Field::Str(user) = cell("user_id") else { panic!() };
            assert!(user == LONG || user == "u1", "{user:?}");
            assert!((file.min_ts..=file.max_ts).contains(&ts) && ts / 3_600_000 == i64::from(file.hour));
            keys.push((ts, id));
        }
        assert!(keys.is_sorted() && keys.len() as u64 == file.rows, "{}", file.name);
        ids.extend(keys.into_iter().map(|(_, id)| id));
    }
    ids.sort();
    ids
}

pub(super) fn expected(numbers: std::ops::Range<i64>) -> Vec<String> {
    numbers.map(|n| format!("an-impression-of-number-{n:05}")).collect()
}

pub(super) fn lines(numbers: std::ops::Range<i64>) -> Vec<String> {
    numbers.map(|n| impression(n, n * 7 % 150)).collect()
}

#[test]
fn what_is_published_is_archived_and_nothing_else_and_a_start_goes_on_behind_it() {
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    let archiver = start(root.path(), "a", &names, plan());
    archiver.ready();
    feed(&archiver, 5, 100, &lines(0..300), &names);
    assert!(archiver.anchored() == 4 || archiver.anchored() == Epoch::MAX);
    feed(&archiver, 6, 400, &lines(300..500), &names);
    wait("a new partition's beginning is noted", || archiver.anchored() == Epoch::MAX);
    assert_eq!(catalog(root.path()).positions, Positions::from([(place(0), 100)]));
    archiver.published(5);
    wait("the first epoch is archived", || catalog(root.path()).epoch == 5);
    assert_eq!(ids(root.path()), expected(0..300));
    assert_eq!(catalog(root.path()).positions, Positions::from([(place(0), 400)]));
    // What a crash leaves: a file that no manifest names.
    let garbage = root.path().join("date=2025-11-25/hour=03/impressions-0-a-999999.parquet");
    std::fs::write(&garbage, "half a file").expect("written");
    std::fs::write(root.path().join("notes.txt"), "not ours").expect("written");
    drop(archiver);

    let archiver = start(root.path(), "b", &names, plan());
    assert!(!garbage.exists() && root.path().join("notes.txt").exists());
    assert_eq!(archiver.positions(), &Positions::from([(place(0), 400)]));
    archiver.ready();
    feed(&archiver, 6, 400, &lines(300..500), &names);
    archiver.published(6);
    archiver.stop();
    assert!(archiver.failure().is_none());
    assert_eq!(ids(root.path()), expected(0..500));
    assert_eq!((catalog(root.path()).epoch, catalog(root.path()).begins), (6, 0));

    // A run that read nothing says all the same how far it was.
    let archiver = start(root.path(), "c", &names, plan());
    archiver.ready();
    archiver.published(9);
    archiver.stop();
    assert_eq!((catalog(root.path()).epoch, ids(root.path()).len()), (9, 500));
}

#[test]
fn small_files_become_one_and_row_groups_tell_their_stretch() {
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    let archiver = start(root.path(), "a", &names, plan());
    archiver.ready();
    for epoch in 0..9 {
        feed(
            &archiver,
            epoch + 1,
            50 * epoch as i64,
            &lines(50 * epoch as i64..50 * (epoch as i64 + 1)),
            &names,
        );
        archiver.published(epoch + 1);
        wait("each is archived apart", || catalog(root.path()).epoch == epoch + 1);
    }
    // Three hours with nine files each, eight of which become one.
    wait("files are merged", || catalog(root.path()).files.iter().filter(|file| file.level > 0).count() == 3);
    assert_eq!(ids(root.path()), expected(0..450));
    archiver.stop();
    let archive = catalog(root.path());
    let merged = archive.files.iter().max_by_key(|file| file.rows).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file(&archive, merged));
    let groups = reader.expect("Parquet").metadata().row_groups().to_vec();
    let stretch = |group: &parquet::file::metadata::RowGroupMetaData| {
        let column = group.columns().iter().find(|column| column.column_path().string() == "ts");
        match column.and_then(|column| column.statistics()) {
            Some(parquet::file::statistics::Statistics::Int64(of)) => {
                (of.min_opt().copied(), of.max_opt().copied())
            }
            _ => panic!("no statistics"),
        }
    };
    assert!(groups.len() > 1 && groups.windows(2).all(|pair| stretch(&pair[0]).1 <= stretch(&pair[1]).0));
    // Nothing lies about that no manifest names.
    let store = store(root.path());
    let parquet = |name: &String| name.ends_with(".parquet");
    let there = store.list("").expect("listed").into_iter().map(|object| object.name).filter(parquet).count();
    drop(start(root.path(), "b", &names, plan()));
    assert!(there >= archive.files.len());
    let there = store.list("").expect("listed").into_iter().map(|object| object.name).filter(parquet).count();
    assert_eq!(there, archive.files.len());
}

#[test]
fn a_damaged_manifest_is_passed_over_and_its_files_are_archived_again() {
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    let archiver = start(root.path(), "a", &names, plan());
    archiver.ready();
    for (epoch, from) in [(1, 0), (2, 10)] {
        feed(&archiver, epoch, from, &lines(from..from + 10), &names);
        archiver.published(epoch);
        wait("it is archived", || catalog(root.path()).epoch == epoch);
    }
    archiver.stop();
    let newest = |path: &Path| {
        let names =
            store(path).names().expect("listed").into_iter().filter(|name| name.starts_with("manifest"));
        path.join(names.max().expect("a manifest"))
    };
    let newest = newest(root.path());
    let mut bytes = std::fs::read(&newest).expect("it");
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        bytes[at] ^= 0x10;
        std::fs::write(&newest, &bytes).expect("written");
        assert_eq!(catalog(root.path()).epoch, 1, "byte {at}");
        bytes[at] ^= 0x10;
    }
    std::fs::write(&newest, &bytes[..bytes.len() / 2]).expect("written");
    let archiver = start(root.path(), "b", &names, plan());
    assert_eq!(archiver.positions(), &Positions::from([(place(0), 10)]));
    archiver.ready();
    feed(&archiver, 2, 10, &lines(10..20), &names);
    archiver.published(2);
    archiver.stop();
    assert_eq!(ids(root.path()), expected(0..20));
}

#[test]
fn two_runs_on_one_archive_are_told_apart_and_so_are_two_jobs() {
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    let first = start(root.path(), "a", &names, plan());
    let second = start(root.path(), "b", &names, plan());
    first.ready();
    feed(&first, 1, 0, &lines(0..5), &names);
    let mut failure = None;
    wait("the first finds that it was replaced", || {
        failure = first.failure();
        failure.is_some()
    });
    assert!(matches!(failure, Some(ArchiveError::Fenced { .. })), "{failure:?}");
    second.stop();
    let other = Archive::find(&store(root.path()), "another", "c", Shard::ONLY, 0);
    assert!(matches!(other, Err(ArchiveError::OtherJob { .. })));
}

#[test]
fn old_files_move_and_go_and_a_crash_in_between_loses_none() {
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    let (hot, cold) = (root.path().join("hot"), root.path().join("cold"));
    let archiver = start(&hot, "a", &names, plan());
    archiver.ready();
    feed(&archiver, 1, 0, &lines(0..100), &names);
    archiver.published(1);
    archiver.stop();
    let hours: Vec<u32> = catalog(&hot).files.iter().map(|file| file.hour).collect();
    assert_eq!(hours.len(), 3, "{hours:?}");
    let open = |run: &str| {
        let (store, cold) = (store(&hot), store(&cold));
        let archive = Archive::find(&store, "job", run, Shard::ONLY, 0).expect("an archive");
        Keeper::claim(store, Some(cold), archive, run).expect("claimed")
    };
    let hour = Duration::from_secs(3600);
    let rules = Retention { cold_after: Some(hour), delete_after: None };
    // A copy that was made before a crash, and that no manifest says is there.
    let mut keeper = open("b");
    let stray = catalog(&hot).files[0].clone();
    std::fs::create_dir_all(cold.join(&stray.name).parent().expect("a folder")).expect("made");
    std::fs::copy(hot.join(&stray.name), cold.join(&stray.name)).expect("copied");
    let now = |hour: u32| u64::from(hour) * 3_600_000;
    let aged = keeper.retain(rules, now(hours[1] + 2)).expect("retained");
    assert_eq!((aged.cool.len(), aged.delete.len()), (2, 0));
    assert_eq!(ids(&hot), expected(0..100), "moved files are read from where they are");
    let mut keeper = open("c");
    assert!(!hot.join(&stray.name).exists() && cold.join(&stray.name).exists());
    assert_eq!(ids(&hot), expected(0..100));
    let rules = Retention { delete_after: Some(2 * hour), ..rules };
    let aged = keeper.retain(rules, now(hours[0] + 3)).expect("retained");
    assert_eq!((aged.cool.len(), aged.delete.len()), (0, 1));
    drop(open("d"));
    assert!(!cold.join(&stray.name).exists());
    assert_eq!(catalog(&hot).files.len(), 2);
    let elsewhere = store(&root.path().join("elsewhere"));
    let archive = Archive::find(&store(&hot), "job", "e", Shard::ONLY, 0).expect("an archive");
    let refused = Keeper::claim(store(&hot), Some(elsewhere), archive, "e").map(|_| ());
    assert!(matches!(refused, Err(ArchiveError::OtherCold { .. })), "{refused:?}");
}

#[test]
fn every_kind_is_read_back_as_it_was() {
    use crate::formats::parquet::{Kind as Canonical, ParquetReader, footer};
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    let archiver = start(root.path(), "a", &names, plan());
    archiver.ready();
    let events = [
        "click,a-click-with-a-long-identity,1764041400000,,an-impression-of-number-00001,,,,",
        "conversion,a-conversion-with-a-long-identity,1764041400007,a-user-whose-id-is-longer-than-a-key,,,advertiser-one,newsletter-subscription,2.5",
        "conversion,v,1764041400007,u,,,adv,,",
        "conversion,v,never,u,,,adv,,",
        "visit,v,1764041400007,u,,,adv,,",
    ];
    let events: Vec<String> = events.map(str::to_owned).to_vec();
    let rows = rows("events", &events, &names);
    let (clicks, conversions) = (rows.clicks.clone(), rows.conversions.clone());
    archiver.feed(Fed { epoch: 1, ranges: vec![range(0, 0, 5)], rows, changes: Vec::new() });
    archiver.published(1);
    archiver.stop();
    let archive = catalog(root.path());
    let anew = Arc::new(Names::default());
    let mut read = Batch::default();
    let mut rejected = Vec::new();
    for entry in &archive.files {
        let Some(kind) = entry.kind.events() else {
            rejected.extend(archive.rejected(entry).expect("counts"));
            continue;
        };
        assert!(matches!(kind, Canonical::Clicks | Canonical::Conversions));
        let open = || file(&archive, entry);
        let footer = footer(&open()).expect("a footer");
        let origin = entry.name.as_str().into();
        let mut reader =
            ParquetReader::new(open(), &footer, 0, kind, origin, Arc::clone(&anew)).expect("opens");
        while reader.read(&mut read).expect("reads") {}
    }
    let mut conversions = conversions;
    conversions.reverse();
    read.conversions.sort_by_key(|(id, _)| conversions.iter().position(|(other, _)| other == id));
    assert_eq!((read.clicks, read.conversions, read.rejects.len()), (clicks, conversions, 0));
    let mut rejected: Vec<_> =
        rejected.iter().map(|count| (count.minute.0, count.reason.as_str(), count.count)).collect();
    rejected.sort_unstable();
    assert_eq!(rejected, [(0, "bad_timestamp", 1), (1_764_041_400 / 60, "bad_enum", 1)]);
    assert!(!anew.hashed_names().is_empty(), "texts come back");
}

#[test]
fn what_is_wrong_with_the_store_or_its_rows_is_told_of_the_archive() {
    use std::error::Error;
    let root = tempfile::tempdir().expect("temporary");
    let store = store(root.path());
    let (bytes, listed) = crate::checkpoint::write_rows(&Default::default(), "lookups-0-a-1.json".to_owned());
    let told = |bytes: Option<&[u8]>| {
        if let Some(bytes) = bytes {
            std::fs::write(root.path().join(&listed.name), bytes).expect("written");
        }
        let error = manifest::lookup_rows(&store, &listed).expect_err("not what was written");
        format!("{error}: {:?}", error.source().map(ToString::to_string))
    };
    let (missing, damaged) = (told(None), told(Some(&bytes[1..])));
    assert!(missing.contains("the archive in") && missing.contains("there is no lookups-0"), "{missing}");
    assert!(
        damaged.contains("lookups-0-a-1.json of the archive in") && damaged.contains("checksum"),
        "{damaged}"
    );
    assert!(![missing, damaged].concat().contains("checkpoint"));
}
