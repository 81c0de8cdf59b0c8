use dataflows::expiry::Kept;
use dataflows::model::horizon::{Freezes, Horizon};
use dataflows::model::ids::Id;
use dataflows::model::time::{Epoch, EventTime, Minute};

use super::records::Kind;
use super::tests::{JOB, batch, expected, fed, held, start};
use super::*;
use crate::formats::Batch;
use crate::names::Names;

fn edge(seconds: i64) -> EventTime {
    EventTime::from_millis(seconds * 1_000).expect("a time")
}

/// The minute of a key of counts of rejects.
fn minute(key: &str) -> u32 {
    key.split(' ').next().and_then(|minute| minute.parse().ok()).unwrap_or(0)
}

#[test]
fn what_has_expired_is_passed_over_but_for_what_is_kept() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (run, _, store) = start(dir.path(), "first").expect("started");
    run.write(&store, 1..=130);
    // Of an earlier horizon something else was kept.
    let horizon =
        |seconds| Horizon { freeze: edge(60), bids: edge(20), clicks: edge(seconds), ..Horizon::default() };
    let ((id, click), mut fed) = (batch(7).clicks[0], fed(&run.names, 131));
    fed.expired = Some((
        horizon(30),
        Records::kept(&Kept {
            clicks: batch(3).clicks.into_iter().map(|row| (row, 1)).collect(),
            ..Kept::default()
        }),
    ));
    run.checkpointer.feed(fed);
    let kept = Kept { clicks: vec![((id, click), 2)], ..Kept::default() };
    run.checkpointer.feed(Fed {
        epoch: 132,
        expired: Some((horizon(100), Records::kept(&kept))),
        ..Fed::default()
    });
    run.checkpointer.published(132);
    run.checkpointer.stop();

    let recovery = Recovery::find(&store, JOB, "").expect("a checkpoint");
    assert_eq!((recovery.manifest.epoch, recovery.manifest.horizon), (132, horizon(100)));
    let mut all = expected(1..=131);
    all.0.retain(|(_, bid)| bid.ts >= edge(20));
    all.2.retain(|(_, click)| click.ts >= edge(100));
    all.2.extend([(id, click), (id, click)]);
    all.2.sort_unstable();
    all.4.retain(|key, _| minute(key) == 0 || !Minute(minute(key)).is_frozen(edge(60)));
    assert_eq!(held(&store, &recovery).expect("sound"), all);
}

#[test]
fn what_has_expired_leaves_the_store_and_what_is_left_has_its_texts() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (run, _, store) = start(dir.path(), "first").expect("started");
    run.write(&store, 1..=200);
    let (bids, impressions) = (edge(250), edge(250));
    let horizon = Horizon { freeze: edge(240), bids, impressions, clicks: edge(195), conversions: edge(250) };
    run.checkpointer.feed(Fed { epoch: 201, expired: Some((horizon, Records::default())), ..Fed::default() });
    run.checkpointer.published(201);
    run.checkpointer.stop();
    let text = |epoch: Epoch| format!("a click whose id is hashed {epoch}");
    let kept = |names: &Names, epoch| names.id_text(Id::new(&text(epoch))) == text(epoch);
    let of_run = [1, 179, 180, 200].map(|epoch| kept(&run.names, epoch));
    assert_eq!(of_run, [false, false, true, true], "by whole minutes");

    let recovery = Recovery::find(&store, JOB, "").expect("a checkpoint");
    let of_kind = |kind: Kind| {
        let segments = recovery.manifest.segments.iter();
        segments.map(|listed| listed.records[kind as usize]).sum::<u64>()
    };
    assert_eq!([Kind::Bids, Kind::Impressions, Kind::Conversions].map(of_kind), [0; 3]);
    // Of a kind that is not expired to the last, more may be there.
    let mut all = expected(1..=200);
    all.4.retain(|key, _| minute(key) == 0);
    all.2.retain(|(_, click)| click.ts >= edge(195));
    let held = held(&store, &recovery).expect("sound");
    assert_eq!(held, (Vec::new(), Vec::new(), all.2, Vec::new(), all.4));

    let recovery = Recovery::find(&store, JOB, "").expect("a checkpoint");
    let (names, mut batch) = (Names::default(), Batch::default());
    while recovery.next::<CheckpointError>(&store, &names, &mut batch, |_, _| Ok(())).expect("sound") {}
    assert!(kept(&names, 200));
    assert!(!kept(&names, 1), "it went with its click");
    let needed: Vec<&str> = recovery.manifest.objects().collect();
    let unneeded = |name: &&String| name.starts_with("segment") && !needed.contains(&&***name);
    // Those of the manifest before.
    assert!(store.names().expect("a list").iter().filter(unneeded).count() < 20);
}
