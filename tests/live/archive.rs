//! The archive of a live run: killed at any instant, it holds every record once, and a replay of it
//! gives the golden tables.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use advertisex::sinks::clickhouse::ClickHouse;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::golden::{TABLES, check, golden, stage};
use crate::server;
use crate::stage::Stage;

/// Makes runs write an archive, so often.
pub fn archive_every(stage: &mut Stage, interval_ms: u64) {
    stage.rest = format!(
        "[archive]\ndirectory = \"archive\"\ninterval_ms = {interval_ms}\nmerge_after_ms = 1000\n\
         row_group_rows = 500\n"
    );
    stage.configure();
}

/// Runs the program; what it says on stdout.
pub fn program(stage: &Stage, arguments: &[&str]) -> String {
    let done = stage.program(arguments);
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// What a replay says of itself.
pub fn report(output: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(output.join("run.json")).expect("run.json")).expect("JSON")
}

/// Compares the tables of a replay with those that were computed elsewhere.
pub fn check_files(output: &Path, told: &str) {
    for (table, _) in TABLES {
        let read = |path: &Path| fs::read_to_string(path.join(format!("{table}.csv"))).expect("a table");
        let (found, expected) = (read(output), read(&golden("expected")));
        let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        assert_eq!(differs, None, "{table}, {told}");
        assert_eq!(found.lines().count(), expected.lines().count(), "{table}, {told}");
    }
}

#[test]
fn an_archive_holds_every_record_once_whatever_was_killed_and_replays_to_the_golden_day() {
    let Some((_kafka, mut stage)) = stage() else { return };
    let seed = rand::random::<u64>();
    let mut dice = StdRng::seed_from_u64(seed);
    stage.produce_campaigns(&golden("campaigns.csv"));
    for piece in 0..6 {
        // Sometimes the archive is behind the checkpoint, sometimes before it.
        archive_every(&mut stage, if piece % 2 == 0 { 60 } else { 5_000 });
        stage.produce_piece(piece, 6, Duration::ZERO);
        let workers = dice.random_range(1..=3).to_string();
        let mut job = stage.start(&["--workers", &workers]);
        thread::sleep(Duration::from_millis(dice.random_range(500..2_500)));
        job.kill();
    }
    stage.run_until_idle_with(2);

    let golden_dir = golden("").display().to_string();
    program(
        &stage,
        &["replay", "-q", "--input", "archive", "--lookups", &golden_dir, "--output", "of-archive"],
    );
    let root = stage.root.path().to_owned();
    // No record twice and none missing, duplicates and rejects included.
    let raw = golden("raw").display().to_string();
    program(&stage, &["replay", "-q", "--input", &raw, "--lookups", &golden_dir, "--output", "of-feeds"]);
    let (of_archive, of_feeds) = (report(&root.join("of-archive")), report(&root.join("of-feeds")));
    assert_eq!(of_archive["received_by_kind"], of_feeds["received_by_kind"], "seed {seed}");
    assert_eq!(of_archive["feeds"], of_feeds["feeds"], "seed {seed}");

    check_files(&root.join("of-archive"), &format!("seed {seed}"));

    // The rows of lookup topics are in it, too.
    program(&stage, &["replay", "-q", "--input", "archive", "--output", "by-itself"]);
    assert_eq!(report(&root.join("by-itself"))["tables"], of_archive["tables"], "seed {seed}");
    let list = program(&stage, &["archive", "list", "--archive", "archive"]);
    assert!(list.contains("2026-03-01") && list.contains("impressions"), "{list}");

    // ClickHouse reads it as it is.
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    let sql = format!(
        "SELECT count() FROM file('{}/archive/date=*/hour=*/impressions-*.parquet', Parquet)",
        root.display()
    );
    assert_eq!(
        server::rows(&clickhouse, &sql),
        [format!("({})", of_feeds["received_by_kind"]["impressions"])]
    );
}

#[test]
fn a_run_handed_over_from_an_archive_goes_on_in_kafka_and_its_tables_are_certified() {
    let Some((_kafka, mut stage)) = stage() else { return };
    archive_every(&mut stage, 100);
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce_piece(0, 3, Duration::ZERO);
    stage.run_until_idle_with(2);
    // State and database are lost; the archive is not, nor what came since.
    fs::remove_dir_all(stage.root.path().join("state")).expect("removed");
    ClickHouse::connect(stage.clickhouse.clone()).expect("the server").drop_database().expect("dropped");
    stage.produce_piece(1, 3, Duration::ZERO);
    // However often it is killed: before the hand-over is done, or after.
    for pause in [300, 900, 1500] {
        let mut job = stage.start(&["--from-archive", "archive"]);
        thread::sleep(Duration::from_millis(pause));
        job.kill();
    }
    stage.produce_piece(2, 3, Duration::ZERO);
    let rest = ["--workers", "3", "--epoch-ms", "50", "--until-idle-ms", "1500"];
    let run = [&["run", "--config", "live.toml", "--from-archive", "archive"][..], &rest].concat();
    program(&stage, &run);
    check(&stage);
    let verify = ["verify", "--archive", "archive", "--config", "live.toml"];
    let said = program(&stage, &verify);
    assert!(said.contains("equal: what is published"), "{said}");

    // One cell that is not what the archive gives.
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    let cell = "INSERT INTO reach_day SELECT day, campaign_id, users + 1, impressions, version + 1, 0 \
                FROM reach_day FINAL ORDER BY day, campaign_id LIMIT 1";
    server::run(&clickhouse, cell);
    let done = stage.program(&verify);
    let said = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(5), "{said}");
    assert!(said.contains("users is") && said.matches("DIFFERS").count() == 1, "{said}");
}
