//! The archive of a live run, of one process or of several: killed at any instant, it holds every
//! record once, and a replay of it gives the golden tables.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use advertisex::archive::Catalog;
use advertisex::config::Config;
use advertisex::sinks::clickhouse::ClickHouse;
use advertisex::store::Place;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::cluster::{SOON, signal};
use crate::golden::{TABLES, check, golden, stage};
use crate::server;
use crate::stage::{Job, Stage};

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

/// The archive goes as far as what is published, and gives the same tables.
pub fn certify(stage: &Stage) {
    let said = program(stage, &["verify", "--archive", "archive", "--config", "live.toml"]);
    assert!(said.contains("equal: what is published") && !said.contains("goes up to"), "{said}");
}

/// Starts a run, kills one of its processes after a while, and waits until the others have noticed.
fn kill_one(stage: &Stage, (processes, workers): (usize, usize), more: &[&str], dice: &mut StdRng) {
    let mut jobs = stage.start_cluster(processes, workers, more);
    thread::sleep(Duration::from_millis(dice.random_range(300..2_500)));
    jobs.remove(dice.random_range(0..processes)).kill();
    // At worst they are still waiting for it.
    jobs.iter_mut().for_each(|job| _ = job.ended(3 * SOON));
}

#[test]
fn an_archive_holds_every_record_once_whatever_was_killed_and_replays_to_the_golden_day() {
    holds_every_record_once([(1, 2), (1, 3), (1, 1), (1, 2), (1, 1), (1, 3), (1, 2)]);
}

#[test]
fn so_does_that_of_several_processes_of_which_there_are_more_or_fewer_from_start_to_start() {
    holds_every_record_once([(2, 2), (3, 1), (1, 2), (2, 1), (3, 1), (2, 2), (2, 2)]);
}

/// Each of these processes and workers reads a piece, and most are killed meanwhile; the last ones end.
fn holds_every_record_once(shapes: [(usize, usize); 7]) {
    let Some((_kafka, mut stage)) = stage() else { return };
    let seed = rand::random::<u64>();
    services::tell(&format!("archive test: seed {seed}"));
    let mut dice = StdRng::seed_from_u64(seed);
    stage.produce_campaigns(&golden("campaigns.csv"));
    for (piece, shape) in shapes[..6].iter().enumerate() {
        // Sometimes the archive is behind the checkpoint, sometimes before it.
        archive_every(&mut stage, if piece % 2 == 0 { 60 } else { 5_000 });
        stage.produce_piece(piece, 6, Duration::ZERO);
        kill_one(&stage, *shape, &[], &mut dice);
        if piece == 3 {
            // Once it has ended in order, archive and checkpoint hold all there is.
            stage.run_cluster_until_idle(shape.0, shape.1);
            stage.delete_everything();
        }
    }
    stage.run_cluster_until_idle(shapes[6].0, shapes[6].1);
    certify(&stage);

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
    for (before, after) in [((1, 2), (1, 3)), ((3, 1), (2, 1))] {
        hand_over(before, after);
    }
}

/// From so many processes and workers to so many.
fn hand_over(before: (usize, usize), after: (usize, usize)) {
    let Some((_kafka, mut stage)) = stage() else { return };
    let mut dice = StdRng::seed_from_u64(7);
    archive_every(&mut stage, 100);
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce_piece(0, 3, Duration::ZERO);
    stage.run_cluster_until_idle(before.0, before.1);
    // State and database are lost; the archive is not, nor what came since.
    fs::remove_dir_all(stage.root.path().join("state")).expect("removed");
    ClickHouse::connect(stage.clickhouse.clone()).expect("the server").drop_database().expect("dropped");
    stage.produce_piece(1, 3, Duration::ZERO);
    // However often it is killed: before the hand-over is done, or after.
    let from_archive = ["--from-archive", "archive"];
    for _ in 0..3 {
        kill_one(&stage, after, &from_archive, &mut dice);
    }
    stage.produce_piece(2, 3, Duration::ZERO);
    stage.run_cluster_until_idle_with(after.0, after.1, &from_archive);
    check(&stage);
    certify(&stage);

    // One cell that is not what the archive gives.
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    let cell = "INSERT INTO reach_day SELECT day, campaign_id, users + 1, impressions, version + 1, 0 \
                FROM reach_day FINAL ORDER BY day, campaign_id LIMIT 1";
    server::run(&clickhouse, cell);
    let done = stage.program(&["verify", "--archive", "archive", "--config", "live.toml"]);
    let said = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(5), "{said}");
    assert!(said.contains("users is") && said.matches("DIFFERS").count() == 1, "{said}");
}

#[test]
fn a_process_that_was_cut_off_adds_nothing_to_an_archive_that_goes_on_without_it() {
    let Some((_kafka, mut stage)) = stage() else { return };
    archive_every(&mut stage, 3_000);
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce_piece(0, 3, Duration::ZERO);
    let mut jobs = stage.start_cluster(3, 1, &[]);
    let directory = Place::Directory(stage.root.path().join("archive"));
    let s3 = Config::load(None).expect("defaults").s3;
    let wrote = |shard: &str| {
        // A manifest may go while it is read.
        let archive = Catalog::open(&directory, &s3).ok().flatten();
        archive.is_some_and(|archive| archive.files.iter().any(|file| file.name.contains(shard)))
    };
    let began = Instant::now();
    while !wrote("-2-") {
        assert!(began.elapsed() < Duration::from_secs(60), "{:#?}", stage.logs(3));
        thread::sleep(Duration::from_millis(20));
    }
    // It has what is published, and has not archived it yet.
    stage.produce_piece(1, 3, Duration::from_millis(1_500));
    signal(&jobs[2], "-STOP");
    jobs[..2].iter_mut().for_each(Job::kill);
    stage.run_cluster_until_idle(2, 1);
    signal(&jobs[2], "-CONT");
    assert!(!jobs[2].ended(SOON).success());
    certify(&stage);
    stage.produce_piece(2, 3, Duration::ZERO);
    stage.run_cluster_until_idle(3, 1);
    check(&stage);
    certify(&stage);
}
