//! The live run on several processes: the same tables as on one, whoever of them is stopped, added,
//! left out or killed.
//!
//! `ADVERTISEX_PROCESS_KILLS=20` says how often a process is killed, `ADVERTISEX_CRASH_AUCTIONS` how
//! much traffic there is meanwhile, `ADVERTISEX_CRASH_SEED` repeats a run.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advertisex::sinks::clickhouse::ClickHouse;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::archive::{archive_every, certify};
use crate::crash::{self, End, setting, traffic, watch};
use crate::golden::{check, golden, stage};
use crate::server;
use crate::stage::{Job, Stage, kafka};

/// How soon a process notices that another has gone.
pub const SOON: Duration = Duration::from_secs(15);

#[test]
fn the_golden_day_is_exact_on_2x2_and_on_3x1_processes_and_workers() {
    for (processes, workers) in [(2, 2), (3, 1)] {
        let Some((_kafka, mut stage)) = stage() else { return };
        stage.disturb(&mut StdRng::seed_from_u64(7), 0.05);
        archive_every(&mut stage, 100);
        stage.produce_campaigns(&golden("campaigns.csv"));
        stage.produce(1, Duration::ZERO);
        stage.run_cluster_until_idle(processes, workers);
        check(&stage);
        certify(&stage);
    }
}

#[test]
fn a_run_goes_on_with_other_processes_when_kafka_has_forgotten() {
    let Some((_kafka, mut stage)) = stage() else { return };
    // At times the end of the run is what writes the archive.
    archive_every(&mut stage, 2_000);
    stage.produce_campaigns(&golden("campaigns.csv"));
    for (piece, (processes, workers)) in [(2, 1), (3, 1), (1, 2), (2, 2)].into_iter().enumerate() {
        stage.produce_piece(piece, 4, Duration::ZERO);
        stage.run_cluster_until_idle(processes, workers);
        stage.delete_everything();
    }
    check(&stage);
    certify(&stage);
    stage.run_cluster_until_idle(1, 1);
    check(&stage);
    certify(&stage);
}

/// Waits until something is published.
pub fn await_rows(stage: &Stage) {
    let clickhouse = ClickHouse::new(stage.clickhouse.clone()).expect("set up without a server");
    let began = Instant::now();
    let sql = "SELECT count() FROM performance_minute";
    while !matches!(clickhouse.call(sql, clickhouse.database().query(sql).fetch_one::<u64>()), Ok(1..)) {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is published: {:#?}", stage.logs(3));
        thread::sleep(Duration::from_millis(20));
    }
}

/// The epoch of the last checkpoint, and that up to which ClickHouse holds everything.
fn ends(stage: &Stage) -> (u64, u64) {
    let directory = fs::read_dir(stage.root.path().join("state/checkpoint")).expect("checkpoints");
    let manifest = directory
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("manifest")))
        .max()
        .expect("a manifest");
    let text = fs::read_to_string(manifest).expect("readable");
    let epoch = text.lines().find_map(|line| line.trim().strip_prefix("\"epoch\": ")).expect("an epoch");
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    let frontier = clickhouse.frontier("advertisex", 0).expect("readable").expect("published");
    (epoch.trim_end_matches(',').parse().expect("a number"), frontier)
}

#[test]
fn one_process_that_is_asked_to_end_ends_all_and_what_was_read_is_published_and_kept() {
    let Some((_kafka, stage)) = stage() else { return };
    stage.produce_campaigns(&golden("campaigns.csv"));
    for (piece, asked) in [0, 1].into_iter().enumerate() {
        let mut jobs = stage.start_cluster(2, 1, &[]);
        stage.produce_piece(piece, 3, Duration::from_millis(300));
        await_rows(&stage);
        jobs[asked].terminate();
        for job in &mut jobs {
            let status = job.ended(Duration::from_secs(30));
            assert!(status.success(), "{status}: {:#?}", stage.logs(2));
        }
        let (kept, published) = ends(&stage);
        assert_eq!(kept, published);
    }
    stage.produce_piece(2, 3, Duration::ZERO);
    stage.run_cluster_until_idle(2, 1);
    check(&stage);
}

#[test]
fn a_process_that_dies_takes_the_others_with_it_and_they_say_why() {
    let Some((_kafka, stage)) = stage() else { return };
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce(1, Duration::ZERO);
    let mut jobs = stage.start_cluster(3, 1, &[]);
    await_rows(&stage);
    // A second run on the same state is turned away, while the first goes on.
    let second = stage.program(&["run", "--config", "live.toml"]);
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(error.contains("bindings.lock"), "{error}");
    assert!(jobs.iter_mut().all(Job::is_running), "{:#?}", stage.logs(3));

    jobs[2].kill();
    for process in [0, 1] {
        assert_eq!(jobs[process].ended(SOON).code(), Some(1));
        let log = &stage.logs(3)[process];
        assert!(log.contains("lost the connection to process"), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
    // Who noticed it second may have lost the one that noticed it first.
    let logs = stage.logs(2).concat();
    assert!(logs.contains("lost the connection to process 2"), "{logs}");
    stage.run_cluster_until_idle(3, 1);
    check(&stage);
}

/// Sends a signal.
pub fn signal(job: &Job, signal: &str) {
    let done = Command::new("kill").args([signal, &job.pid().to_string()]).status();
    assert!(done.expect("kill is there").success());
}

#[test]
fn a_run_that_was_cut_off_does_no_harm_to_the_one_that_has_taken_its_place() {
    let Some((_kafka, stage)) = stage() else { return };
    // Both have the checkpoints in one place, and each a state directory of its own, so that no lock
    // keeps them apart: as on two machines.
    let config = stage.root.path().join("live.toml");
    let text = fs::read_to_string(&config).expect("readable");
    fs::write(&config, text + "directory = \"kept\"\n").expect("written");
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce_piece(0, 3, Duration::ZERO);
    let mut cut_off = stage.start(&[]);
    await_rows(&stage);
    signal(&cut_off, "-STOP");
    let state = |name: &str| stage.root.path().join(name).join("bindings.log");
    fs::create_dir(stage.root.path().join("other")).expect("made");
    fs::copy(state("state"), state("other")).expect("copied");

    let mut other = stage.start(&["--state", "other"]);
    stage.produce_piece(1, 3, Duration::from_secs(12));
    assert!(other.is_running());
    let before = fs::metadata(state("state")).expect("there").len();
    signal(&cut_off, "-CONT");
    stage.produce_piece(2, 3, Duration::ZERO);
    assert_eq!(cut_off.ended(SOON).code(), Some(7), "it has found out");
    assert_eq!(fs::metadata(state("state")).expect("there").len(), before, "and bound nothing more");
    other.kill();
    let mut other = stage.start(&["--state", "other", "--until-idle-ms", "1500"]);
    assert!(other.ended(Duration::from_secs(120)).success());
    check(&stage);
}

#[test]
fn whichever_process_is_killed_nothing_is_lost_and_nothing_counted_twice() {
    const PROCESSES: usize = 3;
    let seed = setting("ADVERTISEX_CRASH_SEED", rand::random());
    let kills: usize = setting("ADVERTISEX_PROCESS_KILLS", 3);
    services::tell(&format!("cluster crash test: ADVERTISEX_CRASH_SEED={seed}"));
    let Some(clickhouse) = server::shared() else { return };
    let Some(kafka) = kafka(services::Kafka::given_or_start(&services::KafkaSettings::default())) else {
        return;
    };
    let root = tempfile::TempDir::new().expect("temporary directory");
    let (feeds, tables) = traffic(root.path(), seed);
    let mut dice = StdRng::seed_from_u64(seed);
    let mut stage = Stage::set(&kafka, server::config(clickhouse), &feeds);
    stage.disturb(&mut dice, 0.0);
    archive_every(&mut stage, 500);
    stage.produce_campaigns(&feeds.join("campaigns.csv"));

    let (stage, over, began) = (&stage, AtomicBool::new(false), Instant::now());
    let reads = thread::scope(|scope| {
        let producing = scope.spawn(|| stage.produce(8 * kills, Duration::from_millis(500)));
        let watching = scope.spawn(|| watch(stage, &over));
        // Whatever fails, nobody goes on watching.
        let end = End(&over);
        for _ in 0..kills {
            let mut jobs = stage.start_cluster(PROCESSES, 1, &[]);
            thread::sleep(Duration::from_millis(dice.random_range(500..7_000)));
            assert!(jobs.iter_mut().all(Job::is_running), "{:#?}", stage.logs(PROCESSES));
            jobs.remove(dice.random_range(0..PROCESSES)).kill();
            for job in &mut jobs {
                assert!(!job.ended(SOON).success(), "what is left of a cluster is no cluster");
            }
        }
        producing.join().expect("all is produced");
        stage.run_cluster_until_idle(PROCESSES, 1);
        drop(end);
        watching.join().expect("what was read was right")
    });
    crash::check(stage, &tables);
    certify(stage);
    assert!(reads > 0, "the views were read");
    let bids = stage.produced.bids.load(Ordering::SeqCst);
    services::tell(&format!(
        "cluster crash test: {kills} kills of one process of {PROCESSES}, {bids} bids, {reads} reads, {} s: \
         every table is exact",
        began.elapsed().as_secs()
    ));
}
