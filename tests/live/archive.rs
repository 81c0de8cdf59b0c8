//! The archive of a live run: killed at any instant, it holds every record once, and a replay of it
//! gives the golden tables.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use advertisex::sinks::clickhouse::ClickHouse;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::golden::{golden, stage};
use crate::server;
use crate::stage::Stage;

const TABLES: [&str; 6] = [
    "performance_minute",
    "performance_hour",
    "attribution_hour",
    "reach_day",
    "supply_hour",
    "conversion_paths",
];

fn archive_every(stage: &mut Stage, interval_ms: u64) {
    stage.rest = format!(
        "[archive]\ndirectory = \"archive\"\ninterval_ms = {interval_ms}\nmerge_after_ms = 1000\n\
         row_group_rows = 500\n"
    );
    stage.configure();
}

/// Runs the program; what it says on stdout.
fn program(stage: &Stage, arguments: &[&str]) -> String {
    let done = stage.program(arguments);
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

fn report(output: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(output.join("run.json")).expect("run.json")).expect("JSON")
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

    for table in TABLES {
        let read = |path: &Path| fs::read_to_string(path.join(format!("{table}.csv"))).expect("a table");
        let (found, expected) = (read(&root.join("of-archive")), read(&golden("expected")));
        let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        assert_eq!(differs, None, "{table}, seed {seed}");
        assert_eq!(found.lines().count(), expected.lines().count(), "{table}, seed {seed}");
    }

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
