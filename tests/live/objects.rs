//! Checkpoints in a bucket, of a server that can be killed.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use advertisex::bindings::{Range, TopicPartition};
use advertisex::checkpoint::{CheckpointError, Checkpointer, Fed, Plan, Records, Recovery};
use advertisex::config::Config;
use advertisex::formats::Batch;
use advertisex::names::Names;
use advertisex::sinks::clickhouse::ClickHouse;
use advertisex::store::{Created, Place, Store, StoreError};
use dataflows::model::events::Click;
use dataflows::model::ids::Id;
use dataflows::model::time::EventTime;
use services::{S3, S3Settings};

use crate::golden::{self, golden};
use crate::server;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server, or a line that says that there is none.
pub fn s3() -> Option<S3> {
    // `.ci/run` looks for this line.
    let told = |error: services::Error| {
        services::tell(&format!("skipped: live tests of S3: {}", error.chain()));
    };
    S3::start(&S3Settings::default()).map_err(told).ok()
}

/// `[s3]` for a server, and the secret of its key.
pub fn settings(s3: &S3, secret: &str) -> String {
    let (url, id) = (s3.url(), s3.key_id());
    format!(
        "[s3]\nendpoint = {url:?}\nallow_http = true\naccess_key_id = {id:?}\nsecret_access_key = {secret:?}\n\
         retry_within_ms = 500\n"
    )
}

fn open(s3: &S3, secret: &str, place: &str) -> Store {
    let config = Config::parse("test", &settings(s3, secret)).expect("valid");
    Store::open(&Place::parse(place).expect("a place"), &config.s3).expect("a client")
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_bucket_keeps_objects_and_says_what_is_wrong() {
    let Some(s3) = s3() else { return };
    let store = open(&s3, s3.key(), "s3://advertisex/some/where");
    store.check_create("one").expect("conditional");
    assert_eq!(store.create("a", b"one".to_vec()).expect("written"), Created::Yes);
    assert_eq!(store.create("a", b"two".to_vec()).expect("answered"), Created::Taken);
    assert_eq!(store.create("b/c", b"deep".to_vec()).expect("written"), Created::Yes);
    assert_eq!(store.read("a").expect("there"), b"one");
    assert_eq!(store.read_ranges("b/c", &[2..4, 1..3]).expect("there"), ["ep", "ee"]);
    for (outside, what) in [(2..5, "in part"), (4..8, "in whole")] {
        let error = store.read_ranges("b/c", &[0..1, outside]).expect_err(what);
        assert!(matches!(error, StoreError::Short { .. }), "{what}: {error}");
    }
    assert_eq!(store.names().expect("a list"), ["a"]);
    let all: Vec<_> = store.list("").expect("a list").into_iter().map(|object| object.name).collect();
    assert_eq!(all, ["a", "b/c"]);
    store.replace("a", b"three".to_vec()).expect("written");
    store.remove("a").expect("removed");
    store.remove("a").expect("nothing to remove");
    assert!(matches!(store.read("a"), Err(StoreError::Missing { .. })));
    // A segment's worth in one request.
    let large: Vec<u8> = (0..64 << 20).map(|at: u32| (at % 251) as u8).collect();
    assert_eq!(store.create("large", large.clone()).expect("written"), Created::Yes);
    assert!(store.read("large").expect("there") == large);

    let error = open(&s3, "wrong", "s3://advertisex/x").names().expect_err("refused");
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("SignatureDoesNotMatch"), "{error}");
    let error = open(&s3, s3.key(), "s3://no-such-bucket/x").check_create("x").expect_err("refused");
    assert!(matches!(error, StoreError::NoBucket { .. }), "{error}");
    let url = s3.url().to_owned();
    drop(s3);
    let error = store.names().expect_err("nobody answers");
    assert!(matches!(error, StoreError::Failed { .. }) && error.may_pass(), "{url}: {error}");
}

/// One click, which tells epochs apart.
fn fed(epoch: u64) -> Fed {
    let mut batch = Batch::default();
    let ts = EventTime::from_millis(epoch as i64).expect("a time");
    batch.clicks.push((Id::new(&format!("click {epoch}")), Click { ts, impression: Id::new("i") }));
    let mut records = Records::default();
    records.add(&batch);
    let place = TopicPartition { topic: "feed".into(), partition: 0 };
    let ranges = vec![Range { place, from: epoch as i64 - 1, to: epoch as i64 }];
    Fed { epoch, ranges, records, ..Fed::default() }
}

fn start(store: &Arc<Store>, run: &str) -> Checkpointer {
    let recovery = Recovery::find(store, "test", run).expect("a checkpoint");
    let (interval, segment_bytes_max) = (Duration::from_millis(1), 1 << 16);
    let plan = Plan { interval, segment_bytes_max, workers: 1, processes: 1 };
    let names = Arc::new(Names::default());
    let started = Checkpointer::start(Arc::clone(store), &recovery, run, names, plan).expect("starts");
    started.ready();
    started
}

fn write(run: &Checkpointer, store: &Store, epoch: u64) {
    run.feed(fed(epoch));
    run.published(epoch);
    until("no checkpoint", || {
        Recovery::find(store, "test", "").expect("a checkpoint").manifest.epoch >= epoch
    });
}

#[test]
fn of_two_runs_over_one_bucket_the_first_ends_and_damage_is_found() {
    let Some(s3) = s3() else { return };
    let place = "s3://advertisex/fence";
    let (mine, theirs) = (open(&s3, s3.key(), place), open(&s3, s3.key(), place));
    let (mine, theirs) = (Arc::new(mine), Arc::new(theirs));
    let first = start(&mine, "one");
    (1..=9).for_each(|epoch| write(&first, &mine, epoch));
    let second = start(&theirs, "two");
    write(&second, &theirs, 10);
    first.feed(fed(10));
    first.published(10);
    let mut failure = None;
    until("it goes on", || {
        failure = first.failure();
        failure.is_some()
    });
    assert!(matches!(failure, Some(CheckpointError::Fenced { .. })), "{failure:?}");
    second.stop();
    assert!(second.failure().is_none());

    let recovery = Recovery::find(&mine, "test", "").expect("a checkpoint");
    assert_eq!((recovery.manifest.epoch, recovery.events()), (10, 10));
    let name = recovery.manifest.segments[0].name.clone();
    let file = s3.file(&format!("fence/{name}"));
    let mut bytes = fs::read(&file).expect("an object is a file there");
    bytes[70] ^= 1;
    fs::write(&file, bytes).expect("written");
    let mut batch = Batch::default();
    let read = || recovery.next::<CheckpointError>(&mine, &Names::default(), &mut batch, |_, _| Ok(()));
    let damaged = std::iter::repeat_with(read).find_map(|read| match read {
        Ok(true) => None,
        Ok(false) => panic!("it was not found"),
        Err(error) => Some(error),
    });
    assert!(damaged.expect("an error").to_string().contains(&name));
}

#[test]
fn a_live_run_keeps_its_checkpoint_in_a_bucket_and_waits_for_one_that_is_away() {
    let Some(mut s3) = s3() else { return };
    let Some((_kafka, stage)) = golden::stage() else { return };
    let place = "s3://advertisex/live";
    // The last section is that of the checkpoint.
    let file = fs::OpenOptions::new().append(true).open(stage.root.path().join("live.toml"));
    write!(file.expect("it is there"), "url = {place:?}\n{}", settings(&s3, s3.key())).expect("written");
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce_piece(0, 4, Duration::ZERO);
    stage.run_until_idle_with(2);
    stage.delete_everything();

    let store = open(&s3, s3.key(), place);
    let number = || Recovery::find(&store, "advertisex", "").expect("a checkpoint").latest;
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    let received = || server::rows(&clickhouse, "SELECT sum(received) FROM quality_minute_live");
    let started = number();
    let mut job = stage.start(&["--workers", "3"]);
    stage.produce_piece(1, 4, Duration::ZERO);
    // The claim, and a checkpoint of what came since.
    until("no start", || number() > started + 1);
    s3.kill().expect("it runs");
    let published = received();
    stage.produce_piece(2, 4, Duration::ZERO);
    until("nothing published while the store is away", || received() != published);
    thread::sleep(Duration::from_secs(2));
    assert!(job.is_running(), "it waits for the store");
    s3.restart().expect("it comes back");
    let back = number();
    until("no checkpoint after the store is back", || number() > back);
    assert!(job.is_running());
    job.kill();

    stage.run_until_idle_with(1);
    stage.delete_everything();
    stage.produce_piece(3, 4, Duration::ZERO);
    stage.run_until_idle_with(2);
    golden::check(&stage);
    assert!(!stage.root.path().join("state/checkpoint").exists(), "it lies in the bucket");
}
