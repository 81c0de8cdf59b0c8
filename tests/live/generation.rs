//! Other rules over history: a replay fills a new generation of the tables beside the published
//! ones and exchanges them. Readers see whole tables all the time, whatever is killed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advertisex::config::clickhouse::ClickHouseConfig;
use advertisex::sinks::clickhouse::ClickHouse;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::archive::{archive_every, program};
use crate::cluster::SOON;
use crate::golden::{check, golden, stage};
use crate::horizon::TABLES;
use crate::server;
use crate::stage::{Job, Stage};

/// A rule for all that changes nearly every conversion of the golden day.
const RULE: &str = ",6h,1h,,first_touch";

const INTO: [&str; 8] =
    ["replay", "--into", "clickhouse", "--config", "live.toml", "--workers", "2", "--input"];

const MARK: &str = "_next_0123456789abcdef";

/// A stage whose runs write an archive, and have published so much of the golden day.
fn published(stage: &mut Stage, pieces: usize, of: usize) {
    archive_every(stage, 100);
    stage.rest += &format!("[kafka.attribution_rules]\ntopic = \"{}\"\n", stage.topic("attribution_rules"));
    stage.configure();
    stage.produce_campaigns(&golden("campaigns.csv"));
    (0..pieces).for_each(|piece| stage.produce_piece(piece, of, Duration::ZERO));
    stage.run_until_idle();
}

fn into(stage: &Stage, more: &[&str]) -> Output {
    stage.program(&[&INTO, more].concat())
}

/// The same on several processes of one worker each; the first may write to stdout.
fn into_by(stage: &Stage, processes: usize, more: &[&str]) -> Vec<Job> {
    let into = ["replay", "--into", "clickhouse", "--config", "live.toml", "--input"];
    stage.start_processes(processes, 1, &[&into, more].concat(), "info")
}

/// Waits until all have ended well.
fn ended_well(stage: &Stage, mut jobs: Vec<Job>) {
    for job in &mut jobs {
        let status = job.ended(Duration::from_secs(120));
        assert!(status.success(), "{status}: {:#?}", stage.logs(2));
    }
}

/// All that readers see, view by view; versions included.
fn views(clickhouse: &ClickHouse) -> Vec<Vec<String>> {
    let views = TABLES.map(|(table, _)| format!("SELECT * FROM {table}_live ORDER BY ALL"));
    views.iter().map(|sql| server::rows(clickhouse, sql)).collect()
}

/// What the program refused, and with which exit code.
fn refused(done: &Output) -> (Option<i32>, String) {
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

fn connect(stage: &Stage) -> ClickHouse {
    ClickHouse::connect(stage.clickhouse.clone()).expect("the server")
}

/// Tables that are not there for good.
fn left(clickhouse: &ClickHouse) -> Vec<String> {
    let sql = "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%_next_%'";
    server::rows(clickhouse, sql)
}

/// Computes the tables from the archive into files, and compares them with the published ones.
fn check_against_archive(stage: &Stage, output: &str, rules: &[&str]) {
    let replay = ["replay", "-q", "--input", "archive", "--output", output];
    program(stage, &[&replay, rules].concat());
    let output = stage.root.path().join(output);
    TABLES.iter().for_each(|(table, keys)| stage.check(&output, table, *keys));
    let verify = ["verify", "--archive", "archive", "--config", "live.toml"];
    let said = program(stage, &[&verify, rules].concat());
    assert!(said.contains("equal: what is published"), "{said}");
}

/// Reads every view again and again until it is told to stop; none may be empty.
fn read_all_the_time(clickhouse: ClickHouseConfig, stop: &AtomicBool, reads: &AtomicU64) {
    let clickhouse = ClickHouse::connect(clickhouse).expect("the server");
    while !stop.load(Ordering::Relaxed) {
        for (table, _) in TABLES {
            let found = server::rows(&clickhouse, &format!("SELECT count() > 0 FROM {table}_live"));
            assert_eq!(found, ["(1)"], "{table}");
        }
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn new_rules_reach_history_while_readers_see_whole_tables_and_the_run_goes_on_behind_them() {
    let Some((_kafka, mut stage)) = stage() else { return };
    published(&mut stage, 1, 2);
    fs::write(
        stage.root.path().join("rules.csv"),
        format!("advertiser_id,click_lookback,view_lookback,half_life,default_model\n{RULE}\n"),
    )
    .expect("written");
    let rules = ["--rules", "rules.csv"];
    let verify = ["verify", "--archive", "archive", "--config", "live.toml", "--rules", "rules.csv"];
    assert_eq!(stage.program(&verify).status.code(), Some(5), "the rule changes something");

    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let said = thread::scope(|scope| {
        let reader = scope.spawn(|| read_all_the_time(stage.clickhouse.clone(), &stop, &reads));
        let done = into(&stage, &["archive", "--rules", "rules.csv"]);
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("it saw no empty table");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    });
    assert!(said.contains("generation 1 is published: 7 tables as of epoch"), "{said}");
    assert!(reads.load(Ordering::Relaxed) > 1, "it read meanwhile");
    check_against_archive(&stage, "by-the-rules", &rules);
    let clickhouse = connect(&stage);
    let generation = "SELECT number, job, tables, is_swapped FROM generation_live";
    assert_eq!(server::rows(&clickhouse, generation), ["(1,'advertisex',7,1)"]);
    assert_eq!(left(&clickhouse), Vec::<String>::new());

    // The live run is told the rule, and corrects and adds on top.
    stage.put_row("attribution_rules", "all", Some(RULE));
    stage.produce_piece(1, 2, Duration::ZERO);
    stage.run_until_idle_with(3);
    check_against_archive(&stage, "at-the-end", &[]);
    // Without it, all is as it ever was.
    stage.put_row("attribution_rules", "all", None);
    stage.run_until_idle();
    check(&stage);
}

/// Fills a generation by hand, and exchanges so many of its tables.
fn exchange_some(clickhouse: &ClickHouse, number: u64, count: usize) {
    for (table, _) in TABLES {
        server::run(clickhouse, &format!("CREATE TABLE {table}{MARK} AS {table}"));
        server::run(clickhouse, &format!("INSERT INTO {table}{MARK} SELECT * FROM {table} FINAL"));
    }
    server::run(
        clickhouse,
        &format!(
            "INSERT INTO generation SELECT {number}, replaceOne(name, '{MARK}', ''), name, toString(uuid), \
             0, 'advertisex', 1, 0, now64(3) FROM system.tables \
             WHERE database = currentDatabase() AND endsWith(name, '{MARK}')"
        ),
    );
    for (table, _) in &TABLES[..count] {
        server::run(clickhouse, &format!("EXCHANGE TABLES {table} AND {table}{MARK}"));
    }
}

/// The tables that are those of a generation.
fn in_place(clickhouse: &ClickHouse, number: u64) -> usize {
    let sql = format!(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND (name, toString(uuid)) IN \
         (SELECT table_name, uuid FROM generation FINAL WHERE number = {number} AND is_swapped = 1)"
    );
    server::rows(clickhouse, &sql).len()
}

#[test]
fn a_swap_that_was_cut_short_is_finished_by_the_next_start_whatever_it_is() {
    let Some((_kafka, mut stage)) = stage() else { return };
    published(&mut stage, 1, 1);
    let clickhouse = connect(&stage);
    for (number, exchanged) in (1..).zip([0, 3, 7]) {
        exchange_some(&clickhouse, number, exchanged);
        stage.run_until_idle();
        assert_eq!(in_place(&clickhouse, number), 7, "{exchanged} were exchanged");
        assert_eq!(left(&clickhouse), Vec::<String>::new());
        check(&stage);
    }
    exchange_some(&clickhouse, 4, 5);
    let done = into(&stage, &["archive"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let generations = "SELECT number, tables, is_swapped FROM generation_live ORDER BY number DESC LIMIT 2";
    assert_eq!(server::rows(&clickhouse, generations), ["(5,7,1)", "(4,7,1)"]);
    assert_eq!((in_place(&clickhouse, 5), left(&clickhouse)), (7, Vec::new()));
    check(&stage);

    // One whose tables are gone is not passed over in silence.
    exchange_some(&clickhouse, 6, 2);
    server::run(&clickhouse, &format!("DROP TABLE quality_minute{MARK} SYNC"));
    let (code, said) = refused(&into(&stage, &["archive"]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("generation 6 can't be published: its table quality_minute_next_"), "{said}");
}

#[test]
fn a_replay_that_is_killed_at_any_instant_leaves_whole_tables() {
    let Some((_kafka, mut stage)) = stage() else { return };
    published(&mut stage, 1, 1);
    let seed = rand::random::<u64>();
    let mut dice = StdRng::seed_from_u64(seed);
    let clickhouse = connect(&stage);
    for round in 0..8 {
        let replay = Command::new(env!("CARGO_BIN_EXE_advertisex"))
            .args([&INTO, &["archive", "-q"][..]].concat())
            .current_dir(stage.root.path())
            .spawn();
        let mut replay = replay.expect("the program starts");
        thread::sleep(Duration::from_millis(dice.random_range(100..1_500)));
        // It may have ended.
        let _ = replay.kill();
        replay.wait().expect("it ends");
        // As it is, and after a start that may have something to finish.
        check(&stage);
        if round % 4 == 3 {
            stage.run_until_idle();
            check(&stage);
        }
    }
    let done = into(&stage, &["archive"]);
    assert!(done.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&done.stderr));
    check(&stage);
    assert_eq!(left(&clickhouse), Vec::<String>::new(), "seed {seed}");
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-r").args([from, to]).status().expect("cp");
    assert!(done.success(), "{done}");
}

#[test]
fn what_would_lose_something_published_is_refused() {
    let Some((_kafka, mut stage)) = stage() else { return };
    published(&mut stage, 1, 2);
    let root = stage.root.path().to_owned();
    copy(&root.join("archive"), &root.join("behind"));
    stage.produce_piece(1, 2, Duration::ZERO);
    stage.run_until_idle();

    let (code, said) = refused(&into(&stage, &["behind", "--force"]));
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("the archive goes up to epoch") && said.contains("--until-idle-ms"), "{said}");
    let (raw, lookups) = (golden("raw").display().to_string(), golden("").display().to_string());
    let (code, said) = refused(&into(&stage, &[&raw, "--lookups", &lookups]));
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("these files may not hold") && said.contains("--force"), "{said}");
    let mut job = stage.start(&[]);
    thread::sleep(Duration::from_secs(3));
    let (code, said) = refused(&into(&stage, &["archive"]));
    assert!(job.is_running() && code == Some(1), "{said}");
    assert!(said.contains("in use by a run"), "{said}");
    job.kill();
    stage.run_until_idle();

    // The golden day is long ago: retention deletes all of it.
    copy(&root.join("archive"), &root.join("whole"));
    let kept = stage.rest.clone();
    stage.rest = kept.replace("[archive]\n", "[archive]\ndelete_after_days = 1\n");
    stage.configure();
    program(&stage, &["archive", "retain", "--config", "live.toml"]);
    let (code, said) = refused(&into(&stage, &["archive"]));
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("records are published, but the input holds"), "{said}");
    check(&stage);
    let clickhouse = connect(&stage);
    assert_eq!(left(&clickhouse), Vec::<String>::new(), "what was refused is not kept");
    assert_eq!(server::rows(&clickhouse, "SELECT count() FROM generation"), ["(0)"]);

    let done = into(&stage, &[&raw, "--lookups", &lookups, "--force"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    check(&stage);
    let done = into(&stage, &["whole"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    check(&stage);
}

#[test]
fn several_processes_publish_the_tables_of_one_and_the_run_goes_on_behind_them() {
    let Some((_kafka, mut stage)) = stage() else { return };
    // Each process has files to read.
    archive_every(&mut stage, 100);
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce_piece(0, 2, Duration::ZERO);
    stage.run_cluster_until_idle(2, 1);
    let clickhouse = connect(&stage);
    let live = views(&clickhouse);

    let done = into(&stage, &["archive"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let alone = views(&clickhouse);
    ended_well(&stage, into_by(&stage, 2, &["archive"]));
    assert!(views(&clickhouse) == alone, "two processes publish other rows than one");
    let cluster = ["cluster", "-n", "3", "-w", "1", "--"];
    let done = stage.program(&[&cluster, &INTO[..5], &["--input", "archive"]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("generation 3 is published: 7 tables as of epoch"), "{said}");
    assert!(views(&clickhouse) == alone, "three processes publish other rows than one");
    assert_eq!(alone.iter().map(Vec::len).collect::<Vec<_>>(), live.iter().map(Vec::len).collect::<Vec<_>>());
    assert_eq!(left(&clickhouse), Vec::<String>::new());
    check_against_archive(&stage, "of-the-half", &[]);

    stage.produce_piece(1, 2, Duration::ZERO);
    stage.run_cluster_until_idle(2, 1);
    check(&stage);
    check_against_archive(&stage, "of-the-whole", &[]);
}

/// Waits until a process has been told which tables its rows go into, which is when all are connected.
fn await_label(stage: &Stage, process: usize, told: usize) {
    let began = Instant::now();
    let is_told = |log: &str| log.matches("rows go into the tables …_next_").count() > told;
    while !is_told(&fs::read_to_string(stage.log(process)).unwrap_or_default()) {
        assert!(began.elapsed() < Duration::from_secs(60), "{:#?}", stage.logs(2));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_process_that_is_killed_leaves_the_published_tables_as_they_are() {
    let Some((_kafka, mut stage)) = stage() else { return };
    published(&mut stage, 1, 1);
    let clickhouse = connect(&stage);
    let before = views(&clickhouse);
    for (round, killed) in [1, 0].into_iter().enumerate() {
        // Small epochs take so long that it is killed amid them.
        let mut jobs = into_by(&stage, 2, &["archive", "--epoch-events", "5"]);
        await_label(&stage, killed, round);
        jobs.remove(killed).kill();
        assert_eq!(jobs[0].ended(SOON).code(), Some(1));
        let log = &stage.logs(2)[1 - killed];
        assert!(log.contains(&format!("lost the connection to process {killed}")), "{log}");
        assert!(log.contains("nothing was published") && !log.contains("panicked"), "{log}");
        assert!(views(&clickhouse) == before, "process {killed} was killed");
        // The first process drops its tables, if it is there.
        assert_eq!(left(&clickhouse).is_empty(), killed == 1, "process {killed} was killed");
    }
    assert_eq!(server::rows(&clickhouse, "SELECT count() FROM generation"), ["(0)"]);
    ended_well(&stage, into_by(&stage, 2, &["archive"]));
    check(&stage);
    assert_eq!(left(&clickhouse), Vec::<String>::new());
}

#[test]
fn rows_that_a_process_cannot_insert_end_all_and_nothing_is_exchanged() {
    let Some((_kafka, mut stage)) = stage() else { return };
    published(&mut stage, 1, 1);
    let clickhouse = connect(&stage);
    let mut jobs = into_by(&stage, 2, &["archive", "--epoch-events", "5"]);
    await_label(&stage, 1, 0);
    for table in left(&clickhouse) {
        let table = table.trim_matches(['(', ')', '\'']);
        server::run(&clickhouse, &format!("DROP TABLE {table} SYNC"));
    }
    let codes: Vec<_> = jobs.iter_mut().map(|job| job.ended(Duration::from_secs(60)).code()).collect();
    assert_eq!(codes, [Some(1), Some(1)], "{:#?}", stage.logs(2));
    assert!(stage.logs(2).concat().contains("ClickHouse can't insert into"), "{:#?}", stage.logs(2));
    assert_eq!(server::rows(&clickhouse, "SELECT count() FROM generation"), ["(0)"]);
    check(&stage);
}
