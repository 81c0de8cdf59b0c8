use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::model::events::{Bid, Click, Conversion, Dims, Impression};
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::LookupRow;
use dataflows::model::money::Micros;
use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::{Epoch, EventTime};

use super::*;
use crate::bindings::{Range, TopicPartition};
use crate::formats::dimension::{Dimension, DimensionRow};
use crate::formats::lookup::Entry;
use crate::formats::{Batch, Origin, Position, Reject, RowChange};
use crate::names::{Names, SharedNames};
use crate::store::Store;

pub(super) const JOB: &str = "test";
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn site(epoch: Epoch) -> String {
    format!("a site whose name is hashed {}", epoch % 5)
}

/// An epoch of everything there is; of another epoch, other records.
pub(super) fn batch(epoch: Epoch) -> Batch {
    let ts = EventTime::from_millis(epoch as i64 * 1_000).expect("a time");
    let id = |kind: &str| Id::new(&format!("{kind} {epoch}"));
    let dims = Dims { site: Name::new(&site(epoch)), ..Dims::default() };
    let mut batch = Batch::default();
    for number in 0..epoch % 7 {
        batch.bids.push((id("auction"), Bid { dims, bid: Micros(number as i64), ts }));
    }
    batch.impressions.push((id("impression"), Impression { ts, user: id("user"), ..Impression::default() }));
    batch.clicks.push((id("a click whose id is hashed"), Click { ts, impression: id("impression") }));
    batch.conversions.push((id("conversion"), Conversion { ts, ..Conversion::default() }));
    let origin = Origin { file: "topic".into(), position: Position::Byte(0) };
    for reason in [Reason::Malformed, Reason::Malformed, Reason::Future] {
        let (origin, ts) = (origin.clone(), Some(ts));
        let (payload, hint) = (Vec::new(), String::new());
        batch.rejects.push(Reject { feed: Feed::Events, reason, ts, origin, payload, hint });
    }
    batch
}

pub(super) fn fed(names: &Names, epoch: Epoch) -> Fed {
    let (batch, mut records) = (batch(epoch), Records::default());
    let ts = batch.clicks[0].1.ts;
    names.id(&format!("a click whose id is hashed {epoch}"), ts).expect("no collision");
    names.name(&site(epoch)).expect("no collision");
    records.add(&batch);
    let topic: Arc<str> = "feed".into();
    let place = TopicPartition { topic: Arc::clone(&topic), partition: (epoch % 2) as i32 };
    let ranges = vec![Range { place, from: epoch as i64, to: epoch as i64 + 2 }];
    let user = LookupRow::ListedUser(Id::new(&format!("u{epoch}")));
    // A key holds a row in every other epoch.
    let (id, attributes) = (Name::new("s1"), ["a name".into(), "".into()]);
    let dimension = Some(DimensionRow { dimension: Dimension::Site, id, attributes });
    let row = (epoch % 6 < 3).then_some(Entry { rule: Some(user), dimension, text: None });
    let rows = vec![RowChange { topic, partition: 0, key: vec![(epoch % 3) as u8].into(), row }];
    Fed { epoch, ranges, records, rows, expired: None }
}

pub(super) fn plan(workers: usize) -> Plan {
    Plan { interval: Duration::from_millis(1), segment_bytes_max: 1 << 20, workers, processes: 1 }
}

pub(super) struct Run {
    pub(super) checkpointer: Checkpointer,
    pub(super) names: SharedNames,
}

pub(super) fn start(
    dir: &std::path::Path,
    run: &str,
) -> Result<(Run, Recovery, Arc<Store>), CheckpointError> {
    let store = Arc::new(Store::directory(dir)?);
    let names: SharedNames = Arc::new(Names::default());
    let recovery = Recovery::find(&store, JOB, run)?;
    let checkpointer = Checkpointer::start(Arc::clone(&store), &recovery, run, Arc::clone(&names), plan(1))?;
    Ok((Run { checkpointer, names }, recovery, store))
}

impl Run {
    pub(super) fn feed(&self, epoch: Epoch) {
        self.checkpointer.feed(fed(&self.names, epoch));
    }

    /// Feeds and publishes these epochs, each in a checkpoint of its own.
    pub(super) fn write(&self, store: &Store, epochs: std::ops::RangeInclusive<Epoch>) {
        self.checkpointer.ready();
        for epoch in epochs {
            self.feed(epoch);
            self.checkpointer.published(epoch);
            let began = Instant::now();
            while Recovery::find(store, JOB, "").expect("a checkpoint").manifest.epoch < epoch {
                assert!(began.elapsed() < PATIENCE, "no checkpoint of epoch {epoch}");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

pub(super) type Held =
    (Vec<(Id, Bid)>, Vec<(Id, Impression)>, Vec<(Id, Click)>, Vec<(Id, Conversion)>, BTreeMap<String, u64>);

/// Everything in a checkpoint, sorted.
pub(super) fn held(store: &Store, recovery: &Recovery) -> Result<Held, CheckpointError> {
    let (names, mut all, mut batch) = (Names::default(), Held::default(), Batch::default());
    let mut take = |batch: &Batch, rejects: Vec<RejectCount>| {
        all.0.extend(&batch.bids);
        all.1.extend(&batch.impressions);
        all.2.extend(&batch.clicks);
        all.3.extend(&batch.conversions);
        for RejectCount { minute, feed, reason, count } in rejects {
            *all.4.entry(format!("{} {feed:?} {reason:?}", minute.0)).or_insert(0) += count;
        }
        Ok(())
    };
    while recovery.next::<CheckpointError>(store, &names, &mut batch, &mut take)? {}
    all.0.sort_unstable();
    all.1.sort_unstable();
    all.2.sort_unstable();
    all.3.sort_unstable();
    Ok(all)
}

pub(super) fn expected(epochs: std::ops::RangeInclusive<Epoch>) -> Held {
    let mut all = Held::default();
    for epoch in epochs {
        let batch = batch(epoch);
        all.0.extend(batch.bids);
        all.1.extend(batch.impressions);
        all.2.extend(batch.clicks);
        all.3.extend(batch.conversions);
        for reject in batch.rejects {
            let minute = reject.ts.expect("a time").minute().0;
            *all.4.entry(format!("{minute} {:?} {:?}", reject.feed, reject.reason)).or_insert(0) += 1;
        }
    }
    all.0.sort_unstable();
    all.1.sort_unstable();
    all.2.sort_unstable();
    all.3.sort_unstable();
    all
}

#[test]
fn what_was_published_is_read_back_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let (run, _, store) = start(dir.path(), "one").expect("starts");
    run.write(&store, 1..=40);
    run.feed(41);
    run.checkpointer.stop();
    assert!(run.checkpointer.failure().is_none());

    let recovery = Recovery::find(&store, JOB, "").expect("a checkpoint");
    assert_eq!(recovery.manifest.epoch, 40);
    assert_eq!(held(&store, &recovery).expect("sound"), expected(1..=40));
    let positions = recovery.manifest.positions();
    assert_eq!(positions.values().copied().collect::<Vec<_>>(), [42, 41]);
    // The keys 0, 1, 2 were changed last by epochs 39, 40, 38: only 38 and 39 are of the withdrawing half.
    let keys: Vec<_> = recovery.rows.keys().map(|(_, key)| key[0]).collect();
    let last = |key: u64| (1..=40u64).rev().find(|epoch| epoch % 3 == key).expect("one");
    assert_eq!(keys, (0..3).filter(|key| last(*key) % 6 < 3).map(|key| key as u8).collect::<Vec<_>>());

    // There are few segments, and no object that is not needed.
    assert!(recovery.manifest.segments.len() < 16, "{} segments", recovery.manifest.segments.len());
    let objects = store.names().expect("a list").len();
    assert!(objects < 50, "{objects} objects");
}

#[test]
fn texts_of_hashed_keys_come_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (run, _, store) = start(dir.path(), "one").expect("starts");
    run.write(&store, 1..=20);
    run.checkpointer.stop();
    let recovery = Recovery::find(&store, JOB, "").expect("a checkpoint");
    let (names, mut batch) = (Names::default(), Batch::default());
    while recovery.next::<CheckpointError>(&store, &names, &mut batch, |_, _| Ok(())).expect("sound") {}
    for epoch in 1..=20 {
        let text = format!("a click whose id is hashed {epoch}");
        assert_eq!(names.id_text(Id::new(&text)), text);
        assert_eq!(names.name_text(Name::new(&site(epoch))), site(epoch));
    }
}

#[test]
fn a_run_goes_on_behind_the_one_before_and_takes_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, _, store) = start(dir.path(), "one").expect("starts");
    first.write(&store, 1..=9);
    // What a crash leaves: an object that no manifest names.
    store.create("segment-lost-00000001.seg", vec![0; 64]).expect("written");
    let (second, recovery, _) = start(dir.path(), "two").expect("starts");
    assert_eq!(recovery.manifest.epoch, 9);
    assert!(!store.names().expect("a list").contains(&"segment-lost-00000001.seg".to_owned()));
    second.write(&store, 10..=12);

    // The first one still lives, and finds out.
    first.feed(10);
    first.checkpointer.published(10);
    let began = Instant::now();
    let failure = loop {
        assert!(began.elapsed() < PATIENCE, "it goes on");
        match first.checkpointer.failure() {
            Some(failure) => break failure,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    assert!(matches!(failure, CheckpointError::Fenced { .. }), "{failure}");
    second.checkpointer.stop();
    let recovery = Recovery::find(&store, JOB, "").expect("a checkpoint");
    assert_eq!(held(&store, &recovery).expect("sound"), expected(1..=12));
}

/// Waits until something is so.
fn until(what: &str, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_claim_holds_until_another_is_made_or_it_can_no_longer_be_seen() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, _, store) = start(dir.path(), "one").expect("starts");
    let claim = first.checkpointer.claim().expect("claimed");
    let fence = Fence::watch(Arc::clone(&store), claim, Instant::now()).expect("a thread");
    // Its own manifests are no other run's.
    first.write(&store, 1..=30);
    std::thread::sleep(2 * LEASE);
    assert!(fence.holds() && fence.failure().is_none());

    // What can't be read may be another's.
    let away = dir.path().with_extension("away");
    std::fs::rename(dir.path(), &away).expect("moved");
    until("it holds on to what it can't see", || !fence.holds());
    std::fs::rename(&away, dir.path()).expect("moved back");
    until("it does not take it up again", || fence.holds());
    assert!(fence.failure().is_none());

    let (_second, _, _) = start(dir.path(), "two").expect("starts");
    until("it holds against another's claim", || !fence.holds());
    assert!(matches!(fence.failure(), Some(CheckpointError::Fenced { .. })));
}

/// Carries what the writers of several processes tell each other.
fn carry(first: &Checkpointer, others: &[&Checkpointer]) {
    for errand in first.errands() {
        others.iter().for_each(|other| other.bring(errand.clone()));
    }
    for errand in others.iter().flat_map(|other| other.errands()) {
        first.bring(errand);
    }
}

#[test]
fn processes_write_one_checkpoint_together_and_others_share_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Arc::new(Store::directory(dir.path()).expect("a store"));
    let recovery = Recovery::find(&store, JOB, "run").expect("nothing");
    let plan = Plan { processes: 3, ..plan(1) };
    let names: Vec<SharedNames> = (0..3).map(|_| Arc::new(Names::default())).collect();
    let (ours, own_plan) = (Arc::clone(&names[0]), plan.clone());
    let first = Checkpointer::start(Arc::clone(&store), &recovery, "run", ours, own_plan).expect("starts");
    let claim = first.claim().expect("claimed").clone();
    let join = |process: usize| {
        let (store, names) = (Arc::clone(&store), Arc::clone(&names[process]));
        Checkpointer::join(store, &claim, process, names, plan.clone()).expect("joins")
    };
    let others = [join(1), join(2)];
    let all = [&first, &others[0], &others[1]];
    for epoch in 1..=40u64 {
        // One process reads nothing, and is ready last.
        let process = epoch as usize % 2;
        all[process].feed(fed(&names[process], epoch));
        first.published(epoch);
        if epoch == 20 {
            all.iter().for_each(|process| process.ready());
        }
        carry(&first, &[all[1], all[2]]);
        std::thread::sleep(Duration::from_millis(5));
    }
    until("no checkpoint of everything", || {
        carry(&first, &[all[1], all[2]]);
        first.has_saved(40)
    });
    all.iter().for_each(|process| assert!(process.failure().is_none()));

    let recovery = Recovery::find(&store, JOB, "").expect("a checkpoint");
    assert_eq!((recovery.manifest.epoch, &*recovery.manifest.run), (40, "run"));
    assert_eq!(held(&store, &recovery).expect("sound"), expected(1..=40));
    assert_eq!(recovery.manifest.positions().values().copied().collect::<Vec<_>>(), [42, 41]);
    // Whoever shares it has all of it together, whatever the number of processes.
    let mut shared = Held::default();
    for process in 0..2 {
        let share = Recovery::share(&store, &recovery.manifest, process, 2).expect("a share");
        assert_eq!(share.rows, recovery.rows);
        let part = held(&store, &share).expect("sound");
        shared.0.extend(part.0);
        shared.1.extend(part.1);
        shared.2.extend(part.2);
        shared.3.extend(part.3);
        part.4.into_iter().for_each(|(what, count)| *shared.4.entry(what).or_insert(0) += count);
    }
    shared.0.sort_unstable();
    shared.1.sort_unstable();
    shared.2.sort_unstable();
    shared.3.sort_unstable();
    assert_eq!(shared, expected(1..=40));

    let elsewhere = tempfile::tempdir().expect("a directory");
    let elsewhere = Store::directory(elsewhere.path()).expect("a store");
    let error = Recovery::share(&elsewhere, &recovery.manifest, 1, 2).err().expect("refused");
    assert!(matches!(error, CheckpointError::NotShared { .. }), "{error}");
}

#[test]
fn nothing_is_written_before_all_workers_are_ready() {
    let dir = tempfile::tempdir().expect("a directory");
    let (run, _, store) = start(dir.path(), "one").expect("starts");
    run.feed(1);
    run.checkpointer.published(1);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(Recovery::find(&store, JOB, "").expect("a checkpoint").manifest.epoch, 0);
}

#[test]
fn checkpoints_are_written_while_records_keep_coming() {
    let dir = tempfile::tempdir().expect("a directory");
    let (run, _, store) = start(dir.path(), "one").expect("starts");
    run.checkpointer.ready();
    let began = Instant::now();
    for epoch in 1.. {
        assert!(began.elapsed() < PATIENCE, "no checkpoint");
        run.feed(epoch);
        run.checkpointer.published(epoch);
        std::thread::sleep(Duration::from_millis(1));
        let recovery = Recovery::find(&store, JOB, "").expect("a checkpoint");
        let written = recovery.manifest.epoch;
        if written > 5 {
            run.checkpointer.stop();
            let recovery = Recovery::find(&store, JOB, "").expect("a checkpoint");
            assert_eq!(recovery.manifest.epoch, epoch);
            assert_eq!(held(&store, &recovery).expect("sound"), expected(1..=epoch));
            return;
        }
    }
}

#[test]
fn another_jobs_checkpoint_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (run, _, store) = start(dir.path(), "one").expect("starts");
    run.write(&store, 5..=5);
    let error = Recovery::find(&store, "other", "").err().expect("refused");
    assert!(matches!(error, CheckpointError::OtherJob { .. }), "{error}");
}
