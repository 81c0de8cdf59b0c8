//! Users are erased: from state, archive and rejects, and with them what they had added to the numbers,
//! or not. The run goes on as if nothing had been.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use advertisex::sinks::clickhouse::ClickHouse;
use apache_avro::types::Value;
use dataflows::model::ids::Id;

use crate::archive::{archive_every, certify, program};
use crate::golden::{TABLES, golden, stage};
use crate::server;
use crate::stage::{Job, Stage};

/// Two of the busiest users of the golden day.
const USERS: [&str; 2] = ["u1", "u17"];
/// One of the others.
const OTHER: &str = r#"{"impression_id":"late-one","auction_id":"late-auction","timestamp":1772323510147,"user_id":"u9","campaign_id":"c1","win_price_cpm":1.5}"#;
/// Names a user, and no readable time.
const REJECT: &str = r#"{"impression_id":"never","auction_id":"a","timestamp":"soon","user_id":"u1","campaign_id":"c1","win_price_cpm":1}"#;

const ERASE: [&str; 5] = ["erase", "--config", "live.toml", "--workers", "2"];

fn is_theirs(value: Option<&str>) -> bool {
    value.is_some_and(|user| USERS.contains(&user))
}

fn text<'a>(record: &'a [(String, Value)], field: &str) -> Option<&'a str> {
    record.iter().find(|(name, _)| name == field).and_then(|(_, value)| match value {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    })
}

/// The golden feeds without what the users have left; rejected records are no events, and stay.
fn without_them(stage: &Stage) -> PathBuf {
    let to = stage.root.path().join("without");
    fs::create_dir(&to).expect("a directory");
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    let payloads =
        clickhouse.database().query("SELECT payload FROM rejects_live WHERE feed != 'bid_requests'");
    let rejected: BTreeSet<String> =
        clickhouse.call("read", payloads.fetch_all()).expect("rows").into_iter().collect();
    let mut impressions = BTreeSet::new();
    let keep = |line: &&str| {
        if rejected.contains(*line) {
            return true;
        }
        let Ok(record) = serde_json::from_str::<serde_json::Value>(line) else { return true };
        let theirs = is_theirs(record["user_id"].as_str());
        if theirs {
            impressions.insert(record["impression_id"].as_str().expect("an id").to_owned());
        }
        !theirs
    };
    let lines = fs::read_to_string(golden("raw/impressions.jsonl")).expect("committed");
    let mut kept: Vec<&str> = lines.lines().filter(keep).collect();
    kept.push(REJECT);
    fs::write(to.join("impressions.jsonl"), kept.join("\n")).expect("written");

    let lines = fs::read_to_string(golden("raw/events.csv")).expect("committed");
    let keep = |line: &&str| {
        let cells: Vec<&str> = line.split(',').collect();
        match cells[0] {
            _ if rejected.contains(*line) => true,
            "click" => !cells.get(4).is_some_and(|impression| impressions.contains(*impression)),
            "conversion" => !is_theirs(cells.get(3).copied()),
            _ => true,
        }
    };
    let kept: Vec<&str> = lines.lines().filter(keep).collect();
    fs::write(to.join("events.csv"), kept.join("\n")).expect("written");

    let bytes = fs::read(golden("raw/bid_requests.avro")).expect("committed");
    let reader = apache_avro::Reader::new(&bytes[..]).expect("a container");
    let schema = reader.writer_schema().clone();
    let mut writer = apache_avro::Writer::new(&schema, Vec::new()).expect("a schema");
    for value in reader.map(|value| value.expect("a record")) {
        let Value::Record(fields) = &value else { panic!("no record") };
        if !is_theirs(text(fields, "user_id")) {
            writer.append_value(value).expect("what was read can be written");
        }
    }
    fs::write(to.join("bid_requests.avro"), writer.into_inner().expect("written")).expect("written");
    to
}

/// All that the views show, but for the records of single conversions where these are not wanted.
fn views(stage: &Stage, paths: bool) -> Vec<Vec<String>> {
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    let tables = TABLES.iter().map(|(table, _)| *table).chain(["quality_minute"]);
    let tables = tables.filter(|table| paths || *table != "conversion_paths");
    let read = |table| {
        server::rows(&clickhouse, &format!("SELECT * EXCEPT (version) FROM {table}_live ORDER BY ALL"))
    };
    tables.map(read).collect()
}

fn number(stage: &Stage, sql: &str) -> i64 {
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    server::rows(&clickhouse, sql)[0].trim_matches(['(', ')']).parse().expect("a number")
}

/// A stage that has published the golden day, with an archive and a reject that names a user.
fn published() -> Option<(services::Kafka, Stage)> {
    let (kafka, mut stage) = stage()?;
    archive_every(&mut stage, 100);
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce(1, Duration::ZERO);
    stage.put("impressions", 0, Some(REJECT.as_bytes()), None);
    stage.run_cluster_until_idle(2, 1);
    Some((kafka, stage))
}

/// Erases both users; returns the receipt.
fn erase(stage: &Stage, more: &[&str]) -> serde_json::Value {
    let named =
        ["--user", USERS[0], "--user", USERS[1], "--receipt", "receipts/118.json", "--request", "118"];
    program(stage, &[&ERASE[..], &named, more].concat());
    let receipt = fs::read_to_string(stage.root.path().join("receipts/118.json")).expect("a receipt");
    assert!(!receipt.contains("\"u1\"") && !receipt.contains("u17"), "it names nobody: {receipt}");
    serde_json::from_str(&receipt).expect("JSON")
}

/// How often the keys of the users stand in what is left of the checkpoint.
fn kept(stage: &Stage) -> usize {
    let key =
        |user: &str| Id::new(user).words().iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
    let objects = fs::read_dir(stage.root.path().join("state/checkpoint")).expect("a directory");
    let objects = objects.map(|object| fs::read(object.expect("an object").path()).expect("an object"));
    let found = |bytes: &[u8], key: &[u8]| bytes.windows(key.len()).filter(|window| *window == key).count();
    objects.map(|bytes| USERS.iter().map(|user| found(&bytes, &key(user))).sum::<usize>()).sum()
}

/// Events that the archive has of the users, as anybody reads it.
fn archived(stage: &Stage) -> i64 {
    let archive = stage.root.path().join("archive");
    let files = |kind: &str| format!("file('{}/date=*/hour=*/{kind}-*.parquet', Parquet)", archive.display());
    let count = |kind: &str| format!("(SELECT count() FROM {} WHERE user_id IN ('u1', 'u17'))", files(kind));
    number(stage, &format!("SELECT {} + {} + {}", count("bids"), count("impressions"), count("conversions")))
}

#[test]
fn what_users_have_left_goes_everywhere_and_the_numbers_are_those_without_it() {
    let Some((_kafka, stage)) = published() else { return };
    let rejects = "SELECT count() FROM rejects WHERE match(payload, '\\\\b(u1|u17)\\\\b')";
    let rejected = number(&stage, rejects);
    assert!(rejected >= 1);
    let (without, lookups) = (without_them(&stage).display().to_string(), golden("").display().to_string());
    assert!(archived(&stage) > 1_000 && kept(&stage) > 100);

    // 1. Looked at first: nothing changes.
    let before = views(&stage, true);
    let said = program(&stage, &[&ERASE[..], &["--user", "u1", "--user", "u17", "--dry-run"]].concat());
    assert!(said.contains("nothing was changed") && said.contains("performance_hour"), "{said}");
    assert_eq!(views(&stage, true), before);
    certify(&stage);

    // 2. Erased.
    let receipt = erase(&stage, &[]);
    assert_eq!(receipt["state"], receipt["archive"], "one as the other: {receipt:#}");
    assert_eq!((receipt["rejects"].as_i64(), receipt["policy"].as_str()), (Some(rejected), Some("restate")));
    assert_eq!((number(&stage, rejects), archived(&stage), kept(&stage)), (0, 0, 0));
    certify(&stage);
    program(&stage, &["replay", "-q", "--input", &without, "--lookups", &lookups, "--output", "expected"]);
    program(&stage, &["verify", "--archive", "archive", "--against", "expected"]);
    assert!(receipt["cells"].as_array().is_some_and(|cells| {
        cells.iter().any(|cell| cell["table"] == "reach_day" && cell["from"]["users"] != cell["to"]["users"])
    }));

    // 3. Done again there is nothing left, and the run goes on.
    let again = erase(&stage, &[]);
    let none = serde_json::json!({ "bids": 0, "impressions": 0, "clicks": 0, "conversions": 0 });
    assert_eq!((&again["state"], &again["archive"], &again["cells"]), (&none, &none, &serde_json::json!([])));
    let shown = "SELECT sum(impressions) FROM performance_minute_live";
    let impressions = number(&stage, shown);
    stage.put("impressions", 1, Some(OTHER.as_bytes()), None);
    stage.run_cluster_until_idle(3, 1);
    assert_eq!(number(&stage, shown), impressions + 1);
    certify(&stage);
}

#[test]
fn numbers_that_are_to_stay_do_and_move_on_from_there() {
    let Some((_kafka, stage)) = published() else { return };
    let before = views(&stage, false);
    let paths = "SELECT uniq(conversion_id) FROM conversion_paths_live";
    let conversions = number(&stage, paths);
    let receipt = erase(&stage, &["--policy", "freeze"]);
    assert_eq!(views(&stage, false), before);
    assert_eq!(number(&stage, paths), conversions - receipt["paths"].as_i64().expect("a number"));
    assert!(
        receipt["paths"].as_i64() > Some(0)
            && receipt["cells"].as_array().is_some_and(|cells| cells.len() > 100)
    );
    assert_eq!(archived(&stage), 0);
    certify(&stage);

    stage.put("impressions", 1, Some(OTHER.as_bytes()), None);
    stage.run_cluster_until_idle(2, 2);
    let moved = views(&stage, false);
    let differs = |table: usize| before[table].iter().zip(&moved[table]).filter(|(a, b)| a != b).count();
    // One minute has one impression more; its row is an old one, or stands among them.
    assert!(differs(0) >= 1 && before[0].len().abs_diff(moved[0].len()) <= 1);
    certify(&stage);
    // Other users are erased from what is left, and the first ones' residues stay.
    program(&stage, &[&ERASE[..], &["--user", "u2", "--receipt", "second.json"]].concat());
    certify(&stage);
    // A state that begins with the archive has them, too.
    fs::remove_dir_all(stage.root.path().join("state")).expect("there");
    ClickHouse::connect(stage.clickhouse.clone()).and_then(|server| server.drop_database()).expect("dropped");
    stage.run_cluster_until_idle_with(2, 1, &["--from-archive", "archive"]);
    certify(&stage);
}

#[test]
fn an_erasure_that_was_cut_short_keeps_runs_away_until_it_is_ended() {
    let Some((_kafka, stage)) = published() else { return };
    let mut erasing = Command::new(env!("CARGO_BIN_EXE_advertisex"));
    erasing.args([&ERASE[..], &["--user", "u1"]].concat()).current_dir(stage.root.path());
    let mut job = Job::of(erasing.spawn().expect("the program starts"));
    let mark = stage.root.path().join("state/erasure.json");
    let began = std::time::Instant::now();
    while !mark.exists() && job.is_running() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    job.kill();
    assert!(mark.exists(), "killed too late");
    let refused = |arguments: &[&str], because: &str| {
        let done = stage.program(arguments);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains(because), "{arguments:?}: {said}");
    };
    refused(&["run", "--config", "live.toml", "--until-idle-ms", "500"], "an erasure was cut short");
    refused(&[&ERASE[..], &["--user", "u2"]].concat(), "of other users was cut short");
    program(&stage, &[&ERASE[..], &["--receipt", "receipt.json"]].concat());
    assert!(!mark.exists());
    refused(&ERASE, "no erasure was cut short");
    let receipt = fs::read_to_string(stage.root.path().join("receipt.json")).expect("a receipt");
    let receipt: serde_json::Value = serde_json::from_str(&receipt).expect("JSON");
    assert_eq!((receipt["users"].as_u64(), &receipt["state"]), (Some(1), &receipt["archive"]));
    stage.run_until_idle();
    certify(&stage);
}
