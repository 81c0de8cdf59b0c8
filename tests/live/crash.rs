//! Everything is killed under steady traffic, at random instants: the job, Kafka, ClickHouse.
//!
//! At the end every table equals that of a replay of the same feeds from files, and whoever read
//! the views meanwhile never saw more than was produced, nor less than before.
//!
//! `ADVERTISEX_CRASHES=30,3,3` says how often the job, Kafka and ClickHouse are killed,
//! `ADVERTISEX_CRASH_AUCTIONS` how much traffic there is, `ADVERTISEX_CRASH_SEED` repeats a run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advertisex::sinks::clickhouse::ClickHouse;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::server;
use crate::stage::{Stage, kafka};

#[derive(Copy, Clone)]
enum Victim {
    Job,
    Kafka,
    ClickHouse,
}

pub fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} can't be read")),
        Err(_) => default,
    }
}

/// Who is killed how often, in random order.
fn victims(dice: &mut StdRng) -> Vec<Victim> {
    let counts = setting("ADVERTISEX_CRASHES", "4,1,1".to_owned());
    let counts: Vec<usize> = counts.split(',').map(|count| count.parse().expect("a count")).collect();
    let kinds = [Victim::Job, Victim::Kafka, Victim::ClickHouse].into_iter().zip(counts);
    let mut victims: Vec<Victim> = kinds.flat_map(|(kind, count)| std::iter::repeat_n(kind, count)).collect();
    victims.shuffle(dice);
    victims
}

/// Generates traffic and computes its tables from the files.
pub fn traffic(root: &Path, seed: u64) -> (PathBuf, PathBuf) {
    let (feeds, tables) = (root.join("feeds"), root.join("tables"));
    let run = |command: &mut Command| {
        let done = command.output().expect("the program starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let program = || Command::new(env!("CARGO_BIN_EXE_advertisex"));
    let auctions: u64 = setting("ADVERTISEX_CRASH_AUCTIONS", 10_000);
    run(program()
        .args(["generate", "--quiet", "--auctions", &auctions.to_string(), "--seed", &seed.to_string()])
        .args(["--campaigns", "200", "--output"])
        .arg(&feeds));
    run(program()
        .args(["replay", "--quiet", "--input"])
        .arg(&feeds)
        .arg("--lookups")
        .arg(&feeds)
        .arg("--output")
        .arg(&tables));
    (feeds, tables)
}

/// Reads the views again and again; returns how often it could.
pub fn watch(stage: &Stage, over: &AtomicBool) -> u64 {
    let clickhouse = ClickHouse::new(stage.clickhouse.clone()).expect("set up without a server");
    let sql = "SELECT sum(bids), sum(impressions) FROM performance_minute_live";
    let (mut reads, mut before) = (0, (0, 0));
    while !over.load(Ordering::SeqCst) {
        let query = clickhouse.database().query(sql);
        // The server may be away, and the view not be there yet.
        if let Ok(now) = clickhouse.call(sql, query.fetch_one::<(i64, i64)>()) {
            let produced = &stage.produced;
            let most = (produced.bids.load(Ordering::SeqCst), produced.impressions.load(Ordering::SeqCst));
            assert!(now.0 <= most.0 && now.1 <= most.1, "{now:?} is more than the {most:?} produced");
            assert!(now.0 >= before.0 && now.1 >= before.1, "{now:?} is less than {before:?} seen before");
            (reads, before) = (reads + 1, now);
        }
        thread::sleep(Duration::from_millis(20));
    }
    reads
}

/// Waits until the server is at an insert; false if it isn't for a while.
fn await_insert(stage: &Stage) -> bool {
    let clickhouse = ClickHouse::new(stage.clickhouse.clone()).expect("set up without a server");
    let sql = "SELECT count() FROM system.processes WHERE query_kind = 'Insert'";
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        // The server may be away.
        if let Ok(1..) = clickhouse.call(sql, clickhouse.database().query(sql).fetch_one::<u64>()) {
            return true;
        }
    }
    false
}

/// Every table, the one that counts duplicates included.
pub fn check(stage: &Stage, tables: &Path) {
    for (table, keys) in [
        ("performance_minute", 2),
        ("performance_hour", 6),
        ("attribution_hour", 3),
        ("reach_day", 2),
        ("supply_hour", 4),
        ("conversion_paths", 2),
        ("quality_minute", 2),
    ] {
        stage.check(tables, table, keys);
    }
}

pub struct End<'a>(pub &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn whoever_is_killed_nothing_is_lost_and_nothing_counted_twice() {
    let seed = setting("ADVERTISEX_CRASH_SEED", rand::random());
    services::tell(&format!("crash test: ADVERTISEX_CRASH_SEED={seed}"));
    let Some(mut clickhouse) = server::own() else { return };
    let Some(mut kafka) = kafka(services::Kafka::start(&services::KafkaSettings::default())) else { return };
    let root = tempfile::TempDir::new().expect("temporary directory");
    let (feeds, tables) = traffic(root.path(), seed);
    let mut dice = StdRng::seed_from_u64(seed);
    let mut stage = Stage::set(&kafka, server::config(&clickhouse), &feeds);
    stage.disturb(&mut dice, 0.0);
    stage.produce_campaigns(&feeds.join("campaigns.csv"));

    let victims = victims(&mut dice);
    let (stage, over, began) = (&stage, AtomicBool::new(false), Instant::now());
    let mut amid_inserts = 0;
    let reads = thread::scope(|scope| {
        let producing = scope.spawn(|| stage.produce(4 * victims.len(), Duration::from_millis(300)));
        let watching = scope.spawn(|| watch(stage, &over));
        // Whatever fails, nobody goes on watching.
        let end = End(&over);
        let mut job = stage.start(&[]);
        for victim in &victims {
            thread::sleep(Duration::from_millis(dice.random_range(300..2_500)));
            let away = Duration::from_millis(dice.random_range(0..1_500));
            match victim {
                Victim::Job => {
                    job.kill();
                    job = stage.start(&[]);
                }
                Victim::Kafka => {
                    kafka.kill().expect("it runs");
                    thread::sleep(away);
                    kafka.restart().expect("it comes back");
                }
                Victim::ClickHouse => {
                    amid_inserts += u32::from(await_insert(stage));
                    clickhouse.kill().expect("it runs");
                    thread::sleep(away);
                    clickhouse.restart().expect("it comes back");
                }
            }
            assert!(job.is_running(), "the job ended by itself");
        }
        producing.join().expect("all is produced");
        job.kill();
        stage.run_until_idle();
        drop(end);
        watching.join().expect("what was read was right")
    });
    check(stage, &tables);
    assert!(reads > 0, "the views were read");
    let bids = stage.produced.bids.load(Ordering::SeqCst);
    services::tell(&format!(
        "crash test: {} kills, {amid_inserts} of them amid an insert, {bids} bids, {reads} reads, {} s: every table is exact",
        victims.len(),
        began.elapsed().as_secs()
    ));
}
