//! Reading bound ranges again.

use std::time::{Duration, Instant};

use dataflows::model::ids::Id;

use super::mock::{ALONE, BUDGET, clicks, cluster, config, ids, open, place, poll_clicks, produce};
use crate::bindings::{Positions, Range};
use crate::formats::Batch;
use crate::sources::kafka::{Budget, KafkaSource, KafkaSourceError, RangesLeft};

fn range(partition: i32, from: i64, to: i64) -> Range {
    Range { place: place("events", partition), from, to }
}

/// Reads an epoch in pieces of a few messages.
fn read(source: &mut KafkaSource, ranges: &[Range]) -> Result<Vec<Id>, KafkaSourceError> {
    let mut left = RangesLeft::new(ranges.to_vec());
    let (mut found, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(30));
    loop {
        let mut batch = Batch::default();
        let done = source.read_ranges(&mut left, Budget { messages: 7, ..BUDGET }, &mut batch)?;
        assert!(batch.clicks.len() <= 7);
        found.extend(batch.clicks.iter().map(|(id, _)| *id));
        if done {
            return Ok(found);
        }
        assert!(Instant::now() < deadline, "{left:?}");
    }
}

#[test]
fn the_same_epochs_are_read_again_and_then_it_goes_on() {
    let cluster = cluster(2);
    clicks(&cluster, 0, 0..100);
    clicks(&cluster, 1, 100..200);
    let config = config(&cluster, "");
    let epochs = [
        vec![range(0, 0, 10), range(1, 0, 33)],
        vec![range(1, 33, 34)],
        vec![range(0, 10, 60), range(1, 34, 90)],
    ];
    let starts = Positions::from([(place("events", 0), 0), (place("events", 1), 0)]);
    let mut source = open(&config, ALONE, &starts);
    for epoch in &epochs {
        let mut found = read(&mut source, epoch).expect("there");
        found.sort();
        let expected = epoch.iter().flat_map(|range| {
            let base = range.place.partition as usize * 100;
            ids(base + range.from as usize..base + range.to as usize)
        });
        let mut expected: Vec<Id> = expected.collect();
        expected.sort();
        assert_eq!(found, expected);
    }
    let (mut rest, ranges) = poll_clicks(&mut source, 50);
    rest.sort();
    let mut expected: Vec<Id> = ids(60..100).into_iter().chain(ids(190..200)).collect();
    expected.sort();
    assert_eq!(rest, expected);
    let first = |partition| ranges.iter().find(|range| range.place == place("events", partition)).cloned();
    assert_eq!(first(0).map(|range| range.from), Some(60));
    assert_eq!(first(1).map(|range| range.from), Some(90));
}

#[test]
fn a_range_behind_the_present_position_is_fetched_again() {
    let cluster = cluster(1);
    clicks(&cluster, 0, 0..100);
    let mut source = open(&config(&cluster, ""), ALONE, &Positions::new());
    poll_clicks(&mut source, 100);
    for (from, to) in [(0, 20), (90, 100), (5, 6)] {
        let mut found = read(&mut source, &[range(0, from, to)]).expect("there");
        found.sort();
        let mut expected: Vec<Id> = ids(from as usize..to as usize).into_iter().collect();
        expected.sort();
        assert_eq!(found, expected);
    }
}

#[test]
fn an_end_that_kafka_does_not_hold_is_an_error_with_its_offsets() {
    let cluster = cluster(1);
    clicks(&cluster, 0, 0..10);
    let mut source = open(&config(&cluster, ""), ALONE, &Positions::new());
    match read(&mut source, &[range(0, 0, 12)]).expect_err("lost") {
        KafkaSourceError::Lost { topic, partition: 0, wanted: 12, latest: 10 } => {
            assert_eq!(&*topic, "events")
        }
        other => panic!("{other}"),
    }
    // Where nothing is at all, the broker itself refuses.
    let starts = Positions::from([(place("events", 0), 50)]);
    let mut source = open(&config(&cluster, ""), ALONE, &starts);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match source.poll(BUDGET, &mut Batch::default()) {
            Err(KafkaSourceError::Lost { wanted: 50, latest: 10, .. }) => break,
            Err(other) => panic!("{other}"),
            Ok(_) => assert!(Instant::now() < deadline, "not noticed"),
        }
    }
}

#[test]
fn a_partition_of_another_worker_is_refused() {
    let cluster = cluster(2);
    let share = crate::sources::kafka::Share { worker: 0, workers: 2 };
    let mut source = open(&config(&cluster, ""), share, &Positions::new());
    let error = read(&mut source, &[range(1, 0, 1)]).expect_err("refused");
    assert!(matches!(error, KafkaSourceError::NotOwned { partition: 1, .. }), "{error}");
}

#[test]
fn an_offset_that_kafka_has_dropped_is_an_error_with_the_earliest_one_left() {
    let cluster = cluster(1);
    // The mock keeps some megabytes of a partition.
    let padding = "x".repeat(400 << 10);
    let messages: Vec<_> = (0..20).map(|_| (0, "", Some(padding.clone()))).collect();
    messages.iter().for_each(|message| produce(&cluster, "events", std::slice::from_ref(message)));
    let starts = Positions::from([(place("events", 0), 0)]);
    let mut source = open(&config(&cluster, ""), ALONE, &starts);
    match read(&mut source, &[range(0, 0, 3)]).expect_err("gone") {
        KafkaSourceError::Gone { topic, partition: 0, wanted: 0, earliest } => {
            assert_eq!(&*topic, "events");
            assert!((1..20).contains(&earliest), "{earliest}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_partition_that_is_gone_is_named() {
    let cluster = cluster(1);
    let positions = Positions::from([(place("events", 0), 0), (place("events", 1), 7)]);
    let opened =
        KafkaSource::open(&config(&cluster, ""), ALONE, &positions, &std::sync::Arc::default(), None);
    let error = opened.err().expect("refused");
    assert!(matches!(error, KafkaSourceError::NoPartition { partition: 1, .. }), "{error}");
}
