//! Against librdkafka's own mock of a cluster, in this process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::model::ids::Id;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use crate::bindings::{Positions, Range, TopicPartition};
use crate::config::{Config, KafkaConfig};
use crate::formats::Batch;
use crate::sources::kafka::{Budget, KafkaSource, KafkaSourceError, Share};

pub type Cluster = MockCluster<'static, DefaultProducerContext>;

pub const ALONE: Share = Share { worker: 0, workers: 1 };
pub const BUDGET: Budget = Budget { messages: 1_000, bytes: 1 << 20, wait: Duration::from_millis(100) };

/// A cluster of one broker with the topic `events` and a lookup topic.
pub fn cluster(partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).expect("starts");
    cluster.create_topic("events", partitions, 1).expect("created");
    cluster.create_topic("campaigns", 1, 1).expect("created");
    cluster
}

pub fn config(cluster: &Cluster, more: &str) -> KafkaConfig {
    let servers = cluster.bootstrap_servers();
    let text = format!(
        "[kafka]\nbootstrap_servers = \"{servers}\"\ndiscovery_interval_ms = 100\n{more}\n\
         [kafka.impressions]\ntopic = \"\"\n[kafka.bid_requests]\ntopic = \"\"\n\
         [kafka.campaigns]\ntopic = \"campaigns\"\n"
    );
    Config::parse("test.toml", &text).expect("valid").kafka.expect("set")
}

pub fn open(config: &KafkaConfig, share: Share, positions: &Positions) -> KafkaSource {
    KafkaSource::open(config, share, positions, &Arc::default(), None).expect("opens")
}

pub fn click(number: usize) -> String {
    format!("click,click-{number},1772323200000,,i1,,,,")
}

/// Produces and waits until all is written.
pub fn produce(cluster: &Cluster, topic: &str, messages: &[(i32, &str, Option<String>)]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .expect("a producer");
    for (partition, key, value) in messages {
        let record = BaseRecord::<str, str>::to(topic).partition(*partition).key(*key);
        let record = match value {
            Some(value) => record.payload(value),
            None => record,
        };
        producer.send(record).map_err(|(error, _)| error).expect("queued");
    }
    producer.flush(Duration::from_secs(20)).expect("written");
}

pub fn clicks(cluster: &Cluster, partition: i32, numbers: std::ops::Range<usize>) {
    let messages: Vec<_> = numbers.map(|number| (partition, "", Some(click(number)))).collect();
    produce(cluster, "events", &messages);
}

/// Polls until `count` clicks came; returns their ids and the ranges, in order.
pub fn poll_clicks(source: &mut KafkaSource, count: usize) -> (Vec<Id>, Vec<Range>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let (mut ids, mut ranges) = (Vec::new(), Vec::new());
    while ids.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} came", ids.len());
        let mut batch = Batch::default();
        ranges.extend(source.poll(BUDGET, &mut batch).expect("polls"));
        assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
        ids.extend(batch.clicks.iter().map(|(id, _)| *id));
    }
    (ids, ranges)
}

pub fn ids(numbers: std::ops::Range<usize>) -> BTreeSet<Id> {
    numbers.map(|number| Id::new(&format!("click-{number}"))).collect()
}

pub fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

#[test]
fn every_message_is_read_once_by_the_worker_that_owns_its_partition() {
    let cluster = cluster(5);
    for partition in 0..5 {
        clicks(&cluster, partition, partition as usize * 100..partition as usize * 100 + 100);
    }
    let config = config(&cluster, "");
    let mut all = BTreeSet::new();
    for worker in 0..2 {
        let mut source = open(&config, Share { worker, workers: 2 }, &Positions::new());
        let owned = if worker == 0 { 3 } else { 2 };
        let (ids, ranges) = poll_clicks(&mut source, owned * 100);
        assert_eq!(ids.len(), owned * 100);
        assert!(ranges.iter().all(|range| range.place.partition as usize % 2 == worker));
        all.extend(ids);
        assert_eq!(source.positions().get(&place("events", worker as i32)), Some(&100));
        assert!(source.state().brokers_down_since.is_none());
        // Offsets of the group are for others to see; committing must do no harm.
        source.commit(&source.positions());
    }
    assert_eq!(all, ids(0..500));
}

#[test]
fn ranges_continue_each_other_and_a_start_is_bound_before_its_first_message() {
    let cluster = cluster(1);
    clicks(&cluster, 0, 0..50);
    let mut source = open(&config(&cluster, "start = \"latest\""), ALONE, &Positions::new());
    let mut batch = Batch::default();
    let nothing = Budget { messages: 0, ..BUDGET };
    let starts = source.poll(nothing, &mut batch).expect("polls");
    let empty = |topic, at| Range { place: place(topic, 0), from: at, to: at };
    // A table of lookups is always read from its beginning.
    assert_eq!(starts, [empty("campaigns", 0), empty("events", 50)]);
    clicks(&cluster, 0, 50..150);
    let (found, ranges) = poll_clicks(&mut source, 100);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), ids(50..150));
    let mut next = 50;
    for range in ranges {
        assert_eq!((range.from, range.place), (next, place("events", 0)));
        next = range.to;
    }
    assert_eq!(next, 150);
}

#[test]
fn the_budget_is_kept() {
    let cluster = cluster(3);
    (0..3).for_each(|partition| clicks(&cluster, partition, 0..500));
    let mut source = open(&config(&cluster, ""), ALONE, &Positions::new());
    poll_clicks(&mut source, 1);
    for budget in [Budget { messages: 7, ..BUDGET }, Budget { bytes: 200, ..BUDGET }] {
        let mut batch = Batch::default();
        source.poll(budget, &mut batch).expect("polls");
        assert!((1..=7).contains(&batch.clicks.len()), "{}", batch.clicks.len());
    }
}

#[test]
fn a_lookup_topic_yields_changes_in_order() {
    let cluster = cluster(1);
    let row = |advertiser: &str| Some(format!("c1,{advertiser}"));
    produce(&cluster, "campaigns", &[(0, "k", row("a")), (0, "k", row("b")), (0, "k", None)]);
    let mut source = open(&config(&cluster, ""), ALONE, &Positions::new());
    let (mut changes, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(20));
    while changes.len() < 4 && Instant::now() < deadline {
        let mut batch = Batch::default();
        source.poll(BUDGET, &mut batch).expect("polls");
        changes.extend(batch.lookups.iter().map(|(_, diff)| *diff));
    }
    assert_eq!(changes, [1, -1, 1, -1]);
}

#[test]
fn a_lost_broker_comes_back_without_a_restart() {
    let cluster = cluster(1);
    clicks(&cluster, 0, 0..10);
    let mut source = open(&config(&cluster, ""), ALONE, &Positions::new());
    poll_clicks(&mut source, 10);
    cluster.broker_down(-1).expect("down");
    let deadline = Instant::now() + Duration::from_secs(20);
    while source.state().brokers_down_since.is_none() {
        assert!(Instant::now() < deadline, "the loss was not noticed");
        assert!(source.poll(BUDGET, &mut Batch::default()).expect("no error").is_empty());
    }
    cluster.broker_up(-1).expect("up");
    clicks(&cluster, 0, 10..20);
    let (found, _) = poll_clicks(&mut source, 10);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), ids(10..20));
    assert!(source.state().brokers_down_since.is_none());
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    let cluster = cluster(1);
    let more = "[kafka.events]\ntopic = \"nowhere\"";
    let config = config(&cluster, more);
    let opened = KafkaSource::open(&config, ALONE, &Positions::new(), &Arc::default(), None);
    match opened.err().expect("refused") {
        KafkaSourceError::NoTopic { topic } => assert_eq!(&*topic, "nowhere"),
        other => panic!("{other}"),
    }
}
