//! A live run's surroundings: topics and a database of its own, the messages of some feed files,
//! and the tables that these must give.

#[path = "jobs.rs"]
mod jobs;
#[path = "messages.rs"]
mod messages;
#[path = "retention.rs"]
mod retention;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advertisex::config::clickhouse::{ClickHouseConfig, Secret};
use advertisex::sinks::clickhouse::ClickHouse;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message as _};
use tempfile::TempDir;

pub use jobs::Job;
use messages::bid_requests;

const TOPICS: [(&str, i32); 9] = [
    ("impressions", 3),
    ("events", 2),
    ("bid_requests", 3),
    ("campaigns", 1),
    ("attribution_rules", 1),
    ("advertisers", 1),
    ("creatives", 2),
    ("sites", 1),
    ("rejects", 1),
];

/// One message of a feed.
#[derive(Clone)]
pub struct Message {
    topic: &'static str,
    payload: Vec<u8>,
    /// How many bids and impressions it holds.
    bids: i64,
    impressions: i64,
}

impl Message {
    /// How many events it holds.
    fn events(&self) -> u64 {
        if self.topic == "bid_requests" { self.bids.unsigned_abs() } else { 1 }
    }
}

/// Many epochs and emissions a second, so that much can go wrong between them.
const QUICK: (u64, u64) = (50, 200);

/// What was produced by now, at most.
#[derive(Default)]
pub struct Produced {
    pub bids: AtomicI64,
    pub impressions: AtomicI64,
}

pub struct Stage {
    pub root: TempDir,
    pub clickhouse: ClickHouseConfig,
    pub produced: Produced,
    bootstrap: String,
    /// What all clients are set up with besides.
    client: Vec<(&'static str, &'static str)>,
    /// Before the names of topics, which others may have on a broker that was given.
    prefix: String,
    /// What the configuration says besides, of `[kafka]`.
    settings: String,
    /// And besides, sections of its own.
    pub rest: String,
    /// Milliseconds from epoch to epoch, and from emission to emission.
    pace: (u64, u64),
    messages: Vec<Message>,
}

/// A broker, or a line that says that there is none.
pub fn kafka(started: services::Result<services::Kafka>) -> Option<services::Kafka> {
    // `.ci/run` looks for this line.
    started.map_err(|error| services::tell(&format!("skipped: live tests of Kafka: {}", error.chain()))).ok()
}

impl Stage {
    /// A stage for the feeds in a directory.
    pub fn set(kafka: &services::Kafka, clickhouse: ClickHouseConfig, feeds: &Path) -> Self {
        Self::set_as(&[], kafka, clickhouse, feeds)
    }

    /// A stage whose clients have settings of their own, such as a login.
    pub fn set_as(
        client: &[(&'static str, &'static str)],
        kafka: &services::Kafka,
        clickhouse: ClickHouseConfig,
        feeds: &Path,
    ) -> Self {
        let root = TempDir::new().expect("temporary directory");
        let lines = |name: &str| {
            let text = fs::read(feeds.join(name)).expect("a feed");
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let text = |topic, impressions| move |payload| Message { topic, payload, bids: 0, impressions };
        let mut messages: Vec<Message> = Vec::new();
        messages.extend(lines("impressions.jsonl").into_iter().map(text("impressions", 1)));
        messages.extend(lines("events.csv").into_iter().skip(1).map(text("events", 0)));
        let (bids, schema) = bid_requests(&feeds.join("bid_requests.avro"));
        messages.extend(bids);
        fs::write(root.path().join("bids.avsc"), schema).expect("written");
        let bootstrap = kafka.bootstrap().to_owned();
        let (produced, pace) = (Produced::default(), QUICK);
        let prefix = format!("{}_", clickhouse.database);
        let (settings, rest) = (String::new(), String::new());
        let client = client.to_vec();
        let stage =
            Self { root, clickhouse, produced, bootstrap, client, prefix, settings, rest, pace, messages };
        stage.configure();
        stage.create_topics();
        stage
    }

    /// The name of a topic.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Adds settings of `[kafka]`.
    pub fn configure_kafka(&mut self, settings: &str) {
        settings.clone_into(&mut self.settings);
        self.configure();
    }

    /// Sets milliseconds from epoch to epoch and from emission to emission.
    pub fn set_pace(&mut self, epoch: u64, emission: u64) {
        self.pace = (epoch, emission);
        self.configure();
    }

    /// Repeats some of the messages, as producers do, and mixes up their order.
    pub fn disturb(&mut self, dice: &mut StdRng, repeated: f64) {
        use rand::RngExt;
        let again: Vec<_> = self.messages.iter().filter(|_| dice.random_bool(repeated)).cloned().collect();
        self.messages.extend(again);
        self.messages.shuffle(dice);
    }

    /// Writes the configuration.
    pub fn configure(&self) {
        let password = match &self.clickhouse.password {
            Secret::Text(text) => text.clone(),
            Secret::Environment(name) => format!("${{{name}}}"),
        };
        let ClickHouseConfig { url, user, database, .. } = &self.clickhouse;
        let Self { prefix, settings, rest, .. } = self;
        let client: String =
            self.client.iter().map(|(key, value)| format!("{key:?} = {value:?}\n")).collect();
        let text = format!(
            "[kafka]\nbootstrap_servers = {:?}\nrejects_topic = \"{prefix}rejects\"\n{settings}\n\
             [kafka.impressions]\ntopic = \"{prefix}impressions\"\n\
             [kafka.events]\ntopic = \"{prefix}events\"\n\
             [kafka.bid_requests]\ntopic = \"{prefix}bid_requests\"\nschema_file = {:?}\n\
             [kafka.campaigns]\ntopic = \"{prefix}campaigns\"\n\
             [kafka.advertisers]\ntopic = \"{prefix}advertisers\"\n\
             [kafka.creatives]\ntopic = \"{prefix}creatives\"\nformat = \"json\"\n\
             [kafka.sites]\ntopic = \"{prefix}sites\"\n\
             [kafka.client]\n{client}\
             [clickhouse]\nurl = {url:?}\nuser = {user:?}\npassword = {password:?}\ndatabase = {database:?}\n\
             emission_interval_ms = {}\n\
             [checkpoint]\ninterval_ms = 300\n{rest}",
            self.bootstrap,
            self.root.path().join("bids.avsc").display().to_string(),
            self.pace.1,
        );
        fs::write(self.root.path().join("live.toml"), text).expect("written");
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        for (key, value) in &self.client {
            config.set(*key, *value);
        }
        config
    }

    fn producer(&self) -> BaseProducer {
        let mut config = self.client();
        config.set("enable.idempotence", "true").set("linger.ms", "20").set("message.max.bytes", "20971520");
        config.create().expect("a producer")
    }

    fn create_topics(&self) {
        let names = TOPICS.map(|(name, partitions)| (self.topic(name), partitions));
        self.administer(async |admin, options| {
            let topics = names.iter().map(|(name, partitions)| {
                let topic = NewTopic::new(name, *partitions, TopicReplication::Fixed(1));
                topic.set("max.message.bytes", "20971520")
            });
            let topics: Vec<_> = topics.collect();
            let made = admin.create_topics(&topics, options).await.expect("an answer");
            made.into_iter().for_each(|topic| _ = topic.expect("a topic"));
        });
    }

    fn administer(&self, work: impl AsyncFnOnce(&AdminClient<DefaultClientContext>, &AdminOptions)) {
        let admin = self.client().create().expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work(&admin, &AdminOptions::new()));
    }

    /// Produces one message, of a time in milliseconds if it matters.
    pub fn put(&self, topic: &str, partition: i32, payload: Option<&[u8]>, time: Option<i64>) {
        let (topic, producer) = (self.topic(topic), self.producer());
        let mut record = BaseRecord::<(), [u8]>::to(&topic).partition(partition);
        (record.payload, record.timestamp) = (payload, time);
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
        producer.flush(Duration::from_secs(30)).expect("delivered");
    }

    /// Produces the row of a lookup topic, or with none its withdrawal.
    pub fn put_row(&self, topic: &str, key: &str, row: Option<&str>) {
        let (topic, producer) = (self.topic(topic), self.producer());
        let mut record = BaseRecord::<str, str>::to(&topic).key(key);
        record.payload = row;
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
        producer.flush(Duration::from_secs(30)).expect("delivered");
    }

    /// Produces the rows of a `campaigns.csv`.
    pub fn produce_campaigns(&self, file: &Path) {
        let text = fs::read_to_string(file).expect("a lookup table");
        let (producer, topic) = (self.producer(), self.topic("campaigns"));
        for line in text.lines().skip(1) {
            let mut cells = line.split(',');
            let (campaign, advertiser) =
                (cells.next().expect("a campaign"), cells.next().expect("an advertiser"));
            let row = format!("{campaign},{advertiser}");
            let record = BaseRecord::to(&topic).key(campaign).payload(&row);
            producer.send(record).expect("room in the queue");
        }
        producer.flush(Duration::from_secs(30)).expect("delivered");
    }

    /// Produces the feeds, in as many pieces as asked for, with pauses between. Brokers that are
    /// away are waited for.
    pub fn produce(&self, pieces: usize, pause: Duration) {
        (0..pieces).for_each(|piece| self.produce_piece(piece, pieces, pause));
    }

    /// Produces one of so many pieces of the feeds.
    pub fn produce_piece(&self, number: usize, pieces: usize, pause: Duration) {
        let producer = self.producer();
        if let Some(piece) = self.messages.chunks(self.messages.len().div_ceil(pieces)).nth(number) {
            for (number, message) in piece.iter().enumerate() {
                // Counted first: what is seen can't be more.
                self.produced.bids.fetch_add(message.bids, Ordering::SeqCst);
                self.produced.impressions.fetch_add(message.impressions, Ordering::SeqCst);
                self.send(&producer, message, number);
            }
            producer.flush(Duration::from_secs(120)).expect("delivered");
            thread::sleep(pause);
        }
    }

    /// How many events there are to produce.
    pub fn events(&self) -> u64 {
        self.messages.iter().map(Message::events).sum()
    }

    /// Produces `rate` events a second for a while, as far as there are messages; returns how many
    /// events were sent by when.
    pub fn produce_at(&self, rate: u64, duration: Duration) -> Vec<(Instant, u64)> {
        let producer = self.producer();
        let (began, mut sent, mut counts) = (Instant::now(), 0, Vec::new());
        let mut messages = self.messages.iter().enumerate();
        while began.elapsed() < duration {
            let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
            let now = Instant::now();
            while sent < due {
                let Some((number, message)) = messages.next() else { return counts };
                self.send(&producer, message, number);
                sent += message.events();
            }
            counts.push((now, sent));
            producer.poll(Duration::from_millis(2));
        }
        producer.flush(Duration::from_secs(120)).expect("delivered");
        counts
    }

    /// Sends a message to one of the partitions of its topic; waits while the queue is full.
    fn send(&self, producer: &BaseProducer, message: &Message, number: usize) {
        let Message { topic, payload, .. } = message;
        let partitions = TOPICS.iter().find(|(name, _)| name == topic).expect("a topic").1;
        let topic = self.topic(topic);
        let partition = i32::try_from(number % 1_000).expect("a small number") % partitions;
        let mut record = BaseRecord::<(), [u8]>::to(&topic).payload(payload).partition(partition);
        while let Err((error, unsent)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "only the queue may refuse");
            producer.poll(Duration::from_millis(20));
            record = unsent;
        }
    }

    /// The keys of the messages in a topic, once there are `count` different ones.
    pub fn keys(&self, topic: &str, count: usize) -> BTreeSet<String> {
        let mut config = self.client();
        config.set("group.id", "test");
        config.set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        consumer.subscribe(&[&*self.topic(topic)]).expect("a topic");
        let (mut keys, began) = (BTreeSet::new(), Instant::now());
        while keys.len() < count {
            assert!(began.elapsed() < Duration::from_secs(60), "{} of {count} messages came", keys.len());
            if let Some(message) = consumer.poll(Duration::from_millis(100)) {
                let message = message.expect("a message");
                keys.insert(String::from_utf8(message.key().expect("a key").to_vec()).expect("text"));
            }
        }
        keys
    }

    /// Compares a table in ClickHouse with a file of what it should hold; `keys` columns order it.
    pub fn check(&self, expected: &Path, table: &str, keys: usize) {
        check(&self.clickhouse, expected, table, keys);
    }
}

/// Compares a table in ClickHouse with a file of what it should hold; `keys` columns order it.
pub fn check(clickhouse: &ClickHouseConfig, expected: &Path, table: &str, keys: usize) {
    let clickhouse = ClickHouse::connect(clickhouse.clone()).expect("the server");
    let expected = fs::read_to_string(expected.join(format!("{table}.csv"))).expect("a table");
    let columns: Vec<&str> = expected.lines().next().expect("a header").split(',').collect();
    let cell = |column: &&str| match *column {
        "minute" | "hour" | "day" => format!("toString(toUnixTimestamp({column}) * 1000)"),
        _ => format!("toString({column})"),
    };
    let cells = columns.iter().map(cell).collect::<Vec<_>>().join(", ");
    let order = columns[..keys].join(", ");
    let sql = format!(
        "SELECT arrayStringConcat([{cells}], ',') FROM {table} FINAL WHERE is_deleted = 0 ORDER BY {order}"
    );
    let query = clickhouse.database().query(&sql);
    let found: Vec<String> = clickhouse.call(&sql, query.fetch_all()).expect("rows");
    let expected: Vec<&str> = expected.lines().skip(1).collect();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{table}");
    }
    assert_eq!(found.len(), expected.len(), "rows of {table}");
}
