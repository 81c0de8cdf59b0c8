//! Replays with a horizon: judged as a live run would, exact, of bounded state, and the same on any
//! number of workers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use advertisex::config::Config;
use advertisex::generate::{Format, IdStyle, Plan, write};
use advertisex::runtime::output::Output;
use advertisex::runtime::replay::{Options, Replayed, replay};
use advertisex::sinks::table_file::TableFormat;
use dataflows::model::time::Millis;
use tempfile::TempDir;

use crate::archive::archive;
use crate::golden::{TABLES, golden, options};

const HORIZON: Millis = Millis::hours(3);

/// Replays a directory with its own lookups, some hours of correction allowed.
fn run(input: &Path, lookups: &Path, output: &Path, workers: usize, horizon: Option<Millis>) -> Replayed {
    let mut config = Config::load(None).expect("defaults");
    config.time.terms.bid_lifetime = Millis::hours(2);
    let options = Options { lookups: Some(lookups.to_owned()), horizon, ..options(input, workers) };
    let output = Output::Directory { path: output.to_owned(), format: TableFormat::Csv, force: false };
    replay(&config, &options, &output).expect("replays").expect("it says what was done")
}

fn digests(done: &Replayed) -> Vec<(&'static str, u64, String)> {
    done.report.tables.iter().map(|table| (table.table, table.rows, table.digest.clone())).collect()
}

/// Many days of traffic of which some comes hours late, and lookbacks of hours.
fn long_history(seed: u64, format: Format, feeds: &Path) {
    history(seed, format, 0.03, feeds);
}

/// The same, of which so much comes late.
fn history(seed: u64, format: Format, late_rate: f64, feeds: &Path) {
    let plan = Plan {
        auctions: 12_000,
        days: 12.0,
        seed,
        users: 300,
        campaigns: 40,
        advertisers: 10,
        click_rate: 0.2,
        conversion_rate: 0.05,
        late_rate,
        late_millis: 9 * 3_600_000,
        bad_records: 14,
        id_style: IdStyle::Uuid,
        ..Plan::DEFAULT
    };
    write(&plan, format, feeds, false, &mut |_| ()).expect("generated");
    let rules = "advertiser_id,click_lookback,view_lookback,half_life,default_model\n,6h,1h,,\n";
    fs::write(feeds.join("attribution_rules.csv"), rules).expect("written");
}

/// Rejects of a replay that came too late: where they stand, by file.
fn too_late(output: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in fs::read_to_string(output.join("rejects.jsonl")).expect("rejects").lines() {
        let reject: serde_json::Value = serde_json::from_str(line).expect("a JSON object");
        let text = |field: &str| reject[field].as_str().expect("text").to_owned();
        if text("reason") == "too_late" {
            assert!(!text("payload").is_empty() && text("hint").contains("--horizon"), "{reject}");
            found.entry(text("file")).or_default().insert(text("position"));
        }
    }
    found
}

/// Copies text feeds without the lines that stand there, and Avro without the records.
fn without(feeds: &Path, rejected: &BTreeMap<String, BTreeSet<String>>, to: &Path) {
    fs::create_dir(to).expect("made");
    for entry in fs::read_dir(feeds).expect("feeds") {
        let from = entry.expect("an entry").path();
        let name = from.file_name().expect("a name").to_owned();
        let none = BTreeSet::new();
        let places = rejected.get(&*from.to_string_lossy()).unwrap_or(&none);
        if from.extension().is_some_and(|kind| kind == "avro") {
            without_records(&from, places, &to.join(name));
            continue;
        }
        let (text, mut at) = (fs::read_to_string(&from).expect("a feed"), 0);
        let kept = text.split_inclusive('\n').filter(|line| {
            let place = format!("byte {at}");
            at += line.len();
            !places.contains(&place)
        });
        fs::write(to.join(name), kept.collect::<String>()).expect("written");
    }
}

/// Blocks are told by their offset, of which the records follow each other.
fn without_records(from: &Path, places: &BTreeSet<String>, to: &Path) {
    let bytes = fs::read(from).expect("a feed");
    let reader = apache_avro::Reader::new(&bytes[..]).expect("an Avro file");
    let schema = reader.writer_schema().clone();
    let requests: Vec<_> = reader.collect::<Result<_, _>>().expect("requests");
    let mut blocks: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    for place in places {
        let numbers: Vec<u64> =
            place.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        let [block, record] = numbers[..] else { panic!("{place}") };
        blocks.entry(block).or_default().insert(record as usize);
    }
    // All records of the blocks before it.
    let mut dropped = BTreeSet::new();
    for (offset, records) in blocks {
        let before = apache_avro::Reader::new(&bytes[..offset as usize]).expect("an Avro file");
        let before = before.take_while(Result::is_ok).count();
        dropped.extend(records.into_iter().map(|record| before + record));
    }
    let mut writer = apache_avro::Writer::new(&schema, Vec::new()).expect("a writer");
    for (_, request) in (0..).zip(requests).filter(|(number, _)| !dropped.contains(number)) {
        writer.append_value(request).expect("appends");
    }
    fs::write(to, writer.into_inner().expect("flushes")).expect("written");
}

fn assert_equal(found: &Path, expected: &Path, told: &str) {
    for table in TABLES {
        let read = |path: &Path| fs::read_to_string(path.join(format!("{table}.csv"))).expect("a table");
        let (found, expected) = (read(found), read(expected));
        let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        assert_eq!(differs, None, "{table}, {told}");
        assert_eq!(found.lines().count(), expected.lines().count(), "rows of {table}, {told}");
    }
}

/// The rows of `quality_minute` without their orphans: a click a day after its impression is one only
/// where the impression is gone.
fn qualities(output: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(output.join("quality_minute.csv")).expect("a table");
    let orphans = text.lines().next().and_then(|header| header.split(',').position(|name| name == "orphans"));
    let cells = |line: &str| {
        let mut cells: Vec<_> = line.split(',').map(str::to_owned).collect();
        cells.remove(orphans.expect("a column"));
        cells
    };
    text.lines().map(cells).collect()
}

#[test]
fn a_history_shorter_than_the_horizon_gives_the_tables_of_a_replay_without_one() {
    let root = TempDir::new().expect("temporary directory");
    let (raw, at) = (golden().join("raw"), |name: &str| root.path().join(name));
    let expected = run(&raw, &golden(), &at("without"), 2, None);
    assert!(expected.report.horizon.is_none());
    for workers in [1, 3] {
        let output = at(&format!("with-{workers}"));
        let done = run(&raw, &golden(), &output, workers, Some(Millis::days(35)));
        assert_eq!(digests(&done), digests(&expected), "{workers} workers");
        assert_equal(&output, &at("without"), &format!("{workers} workers"));
        let horizon = done.report.horizon.expect("it had one");
        // It is before everything.
        assert!(horizon.frozen_before < Plan::DEFAULT.start_millis);
        assert_eq!(horizon.events_expired, 0);
        assert_eq!(horizon.events_held, done.report.events);
    }
}

#[test]
fn what_has_frozen_is_what_the_accepted_events_give_and_the_rest_was_too_late() {
    let root = TempDir::new().expect("temporary directory");
    let (feeds, at) = (root.path().join("feeds"), |name: &str| root.path().join(name));
    let seed = u64::from(rand::random::<u32>());
    long_history(seed, Format::Raw, &feeds);
    let mut runs = Vec::new();
    for workers in [1, 2, 3] {
        let done = run(&feeds, &feeds, &at(&format!("aged-{workers}")), workers, Some(HORIZON));
        for (feed, counts) in &done.report.feeds {
            let sum = counts.accepted + counts.duplicate + counts.rejected;
            assert_eq!(counts.received, sum, "{feed}, seed {seed}");
        }
        runs.push((digests(&done), too_late(&at(&format!("aged-{workers}"))), done));
    }
    let (tables, rejected, aged) = &runs[0];
    assert!(rejected.len() > 1, "more than one feed had late records, seed {seed}");
    assert!(runs.iter().all(|run| run.0 == *tables && run.1 == *rejected), "seed {seed}");

    // The events that were let in, replayed with all the memory there is.
    without(&feeds, rejected, &at("accepted"));
    let whole = run(&at("accepted"), &at("accepted"), &at("whole"), 2, None);
    assert_equal(&at("aged-1"), &at("whole"), &format!("seed {seed}"));
    for (feed, counts) in &whole.report.feeds {
        let ours = &aged.report.feeds[feed];
        assert_eq!(
            (ours.accepted, ours.duplicate),
            (counts.accepted, counts.duplicate),
            "{feed}, seed {seed}"
        );
        assert!(!counts.rejected_by_reason.contains_key("too_late"), "{feed}");
    }
    let all = run(&feeds, &feeds, &at("all"), 2, None);
    assert_ne!(digests(&all)[0], tables[0], "what came late would have counted");

    // What is held at the end is what the last day or so is about.
    let (events, horizon) = (aged.report.events, aged.report.horizon.as_ref().expect("it had one"));
    assert_eq!(horizon.events_held + horizon.events_expired, events);
    assert!(horizon.events_held < events / 3, "{horizon:?} of {events} events");
    let unbounded = run(&feeds, &feeds, &at("unbounded"), 1, Some(Millis::days(1_000)));
    let most = unbounded.report.horizon.expect("it had one").state_rows_max;
    assert!(horizon.state_rows_max < most / 2, "{horizon:?}, {most} rows without expiry");
}

#[test]
fn an_archive_is_read_hour_by_hour_so_that_nothing_in_it_is_too_late() {
    let root = TempDir::new().expect("temporary directory");
    let (feeds, at) = (root.path().join("feeds"), |name: &str| root.path().join(name));
    let seed = u64::from(rand::random::<u32>());
    long_history(seed, Format::Raw, &feeds);
    archive(&feeds, &at("archive"), 4);
    run(&at("archive"), &feeds, &at("without"), 2, None);
    for (workers, horizon) in [(1, HORIZON), (3, HORIZON), (2, Millis(0))] {
        let output = at(&format!("with-{workers}"));
        let done = run(&at("archive"), &feeds, &output, workers, Some(horizon));
        let told = format!("{workers} workers, seed {seed}");
        assert_equal(&output, &at("without"), &told);
        assert_eq!(qualities(&output), qualities(&at("without")), "{told}");
        let horizon = done.report.horizon.expect("it had one");
        assert!(horizon.events_held < done.report.events / 3, "{horizon:?}");
    }
}

#[test]
fn files_of_a_feed_follow_each_other_in_the_order_of_their_names() {
    let root = TempDir::new().expect("temporary directory");
    let (feeds, at) = (root.path().join("feeds"), |name: &str| root.path().join(name));
    let seed = u64::from(rand::random::<u32>());
    history(seed, Format::Raw, 0.0, &feeds);
    // The impressions in four files, the rest in one each.
    let whole = feeds.join("impressions.jsonl");
    let text = fs::read_to_string(&whole).expect("a feed");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (number, part) in (0..).zip(lines.chunks(lines.len().div_ceil(4))) {
        fs::write(feeds.join(format!("impressions-{number}.jsonl")), part.concat()).expect("written");
    }
    fs::remove_file(whole).expect("removed");
    run(&feeds, &feeds, &at("without"), 2, None);
    for workers in [1, 2] {
        let output = at(&format!("with-{workers}"));
        let done = run(&feeds, &feeds, &output, workers, Some(HORIZON));
        assert_equal(&output, &at("without"), &format!("{workers} workers, seed {seed}"));
        let horizon = done.report.horizon.expect("it had one");
        assert!(horizon.events_held < done.report.events / 3, "{horizon:?}");
    }
}

#[test]
fn parquet_files_are_judged_as_well() {
    let root = TempDir::new().expect("temporary directory");
    let feeds = root.path().join("feeds");
    long_history(7, Format::Parquet, &feeds);
    let done = run(&feeds, &feeds, &root.path().join("aged"), 2, Some(Millis(0)));
    let late: u64 =
        done.report.feeds.values().filter_map(|feed| feed.rejected_by_reason.get("too_late")).sum();
    let places: usize = too_late(&root.path().join("aged")).values().map(BTreeSet::len).sum();
    assert!(late > 0 && late == places as u64, "{late} are counted, {places} are listed");
}

#[test]
fn a_horizon_is_a_number_with_a_unit_and_of_one_process() {
    let root = TempDir::new().expect("temporary directory");
    let ended = |added: &[&str]| {
        let command = crate::cluster::replay(&golden().join("raw"), &root.path().join("out"));
        let program = Command::new(env!("CARGO_BIN_EXE_advertisex")).args(command).args(added).output();
        program.expect("the program starts")
    };
    for (added, code, expected) in [
        (&["--horizon", "soon"][..], 2, "such as 35d, 36h or 90m"),
        (&["--horizon", "2h", "--epoch-events", "5"], 2, "cannot be used with"),
        (&["--horizon", "--processes", "2", "--process", "0"], 2, "--horizon works in one process"),
    ] {
        let ended = ended(added);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{added:?}: {said}");
        assert!(said.contains(expected), "{added:?}: {said}");
    }
    let done = ended(&["--horizon", "--quiet"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
