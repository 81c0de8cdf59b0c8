//! The golden day through Kafka into ClickHouse, undisturbed and with the job killed again and
//! again: every table equals what was computed elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use advertisex::config::clickhouse::ClickHouseConfig;
use advertisex::sinks::clickhouse::ClickHouse;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use crate::server;

const PARTITIONS: i32 = 3;

/// A feed message: its topic and its payload.
type Message = (&'static str, Vec<u8>);

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn lines(name: &str, topic: &'static str, skip: usize) -> Vec<Message> {
    let text = fs::read(golden(name)).expect("committed");
    let lines = text.split(|byte| *byte == b'\n').skip(skip).filter(|line| !line.is_empty());
    lines.map(|line| (topic, line.to_vec())).collect()
}

/// The bid requests as bare data, and the schema they are written with.
fn bid_requests() -> (Vec<Message>, String) {
    let bytes = fs::read(golden("raw/bid_requests.avro")).expect("committed");
    let reader = apache_avro::Reader::new(&bytes[..]).expect("a container");
    let schema = reader.writer_schema().clone();
    let writer = GenericDatumWriter::builder(&schema).build().expect("a schema");
    let datum = |value: Value| writer.write_value_to_vec(value).expect("what was read can be written");
    let messages = reader.map(|value| ("bid_requests", datum(value.expect("a record")))).collect();
    (messages, schema.canonical_form())
}

/// A run's surroundings: topics and a database of its own.
struct Stage {
    root: TempDir,
    kafka: services::Kafka,
    clickhouse: ClickHouseConfig,
    messages: Vec<Message>,
}

impl Stage {
    fn set(seed: u64) -> Option<Self> {
        let server = server::shared()?;
        let kafka = services::Kafka::given_or_start(&services::KafkaSettings::default());
        let tell = |error: services::Error| {
            services::tell(&format!("skipped: live tests of Kafka: {}", error.chain()));
        };
        let kafka = kafka.map_err(tell).ok()?;
        let mut messages = lines("raw/impressions.jsonl", "impressions", 0);
        messages.extend(lines("raw/events.csv", "events", 1));
        let (bids, schema) = bid_requests();
        messages.extend(bids);
        // Producers repeat themselves, and nothing arrives in order.
        let mut dice = StdRng::seed_from_u64(seed);
        let again: Vec<_> = messages.iter().filter(|_| dice.random_bool(0.05)).cloned().collect();
        messages.extend(again);
        messages.shuffle(&mut dice);
        let root = TempDir::new().expect("temporary directory");
        fs::write(root.path().join("bids.avsc"), schema).expect("written");
        let stage = Self { root, kafka, clickhouse: server::config(server), messages };
        stage.configure();
        stage.create_topics();
        Some(stage)
    }

    fn configure(&self) {
        let password = match &self.clickhouse.password {
            advertisex::config::clickhouse::Secret::Text(text) => text.clone(),
            advertisex::config::clickhouse::Secret::Environment(name) => format!("${{{name}}}"),
        };
        let ClickHouseConfig { url, user, database, .. } = &self.clickhouse;
        let text = format!(
            "[kafka]\nbootstrap_servers = {:?}\n\
             [kafka.bid_requests]\nschema_file = {:?}\n\
             [kafka.campaigns]\ntopic = \"campaigns\"\n\
             [clickhouse]\nurl = {url:?}\nuser = {user:?}\npassword = {password:?}\ndatabase = {database:?}\n\
             emission_interval_ms = 200\n",
            self.kafka.bootstrap(),
            self.root.path().join("bids.avsc").display().to_string(),
        );
        fs::write(self.root.path().join("live.toml"), text).expect("written");
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.kafka.bootstrap());
        config
    }

    fn create_topics(&self) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a client");
        let topic = |(name, partitions)| NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topics =
            [("impressions", PARTITIONS), ("events", 2), ("bid_requests", PARTITIONS), ("campaigns", 1)];
        let topics: Vec<_> = topics.into_iter().map(topic).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let made = runtime.block_on(admin.create_topics(&topics, &AdminOptions::new())).expect("an answer");
        made.into_iter().for_each(|topic| _ = topic.expect("a topic"));
    }

    fn produce_campaigns(&self) {
        let text = fs::read_to_string(golden("campaigns.csv")).expect("committed");
        let producer: BaseProducer = self.client().create().expect("a producer");
        for line in text.lines().skip(1) {
            let mut cells = line.split(',');
            let (campaign, advertiser) =
                (cells.next().expect("a campaign"), cells.next().expect("an advertiser"));
            let row = format!("{campaign},{advertiser}");
            producer
                .send(BaseRecord::to("campaigns").key(campaign).payload(&row))
                .expect("room in the queue");
        }
        producer.flush(Duration::from_secs(30)).expect("delivered");
    }

    /// Produces the feeds, in as many pieces as asked for, with pauses between.
    fn produce(&self, pieces: usize, pause: Duration) {
        let producer: BaseProducer = self.client().create().expect("a producer");
        for piece in self.messages.chunks(self.messages.len().div_ceil(pieces)) {
            for (number, (topic, payload)) in piece.iter().enumerate() {
                let partitions = if *topic == "events" { 2 } else { PARTITIONS };
                let record = BaseRecord::<(), [u8]>::to(topic)
                    .payload(payload)
                    .partition(i32::try_from(number).expect("few messages") % partitions);
                producer.send(record).expect("room in the queue");
            }
            producer.flush(Duration::from_secs(30)).expect("delivered");
            thread::sleep(pause);
        }
    }

    fn start(&self, more: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_advertisex"))
            .args(["run", "--config", "live.toml", "--workers", "2", "--epoch-ms", "50"])
            .args(more)
            .current_dir(self.root.path())
            .spawn()
            .expect("the program starts")
    }

    fn run_until_idle(&self) {
        let done = self.start(&["--until-idle-ms", "1500"]).wait().expect("it ends");
        assert!(done.success(), "{done}");
    }

    /// Compares every table with what was computed elsewhere.
    fn check(&self) {
        let clickhouse = ClickHouse::connect(self.clickhouse.clone()).expect("the server");
        for (table, keys) in [
            ("performance_minute", 2),
            ("performance_hour", 6),
            ("attribution_hour", 3),
            ("reach_day", 2),
            ("supply_hour", 4),
            ("conversion_paths", 2),
        ] {
            let expected = fs::read_to_string(golden(&format!("expected/{table}.csv"))).expect("committed");
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
            assert_eq!(found.len(), expected.len(), "rows of {table}");
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found, expected, "{table}");
            }
        }
    }
}

#[test]
fn the_golden_day_through_kafka_is_exact_and_stays_so_over_a_restart() {
    let Some(stage) = Stage::set(1) else { return };
    stage.produce_campaigns();
    stage.produce(1, Duration::ZERO);
    stage.run_until_idle();
    stage.check();
    // Once more, all of it: a start that rebuilds everything, and only duplicates that arrive.
    stage.produce(1, Duration::ZERO);
    stage.run_until_idle();
    stage.check();
}

#[test]
fn a_job_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let seed = rand::random();
    services::tell(&format!("crash test: seed {seed}"));
    let Some(stage) = Stage::set(seed) else { return };
    stage.produce_campaigns();
    let mut dice = StdRng::seed_from_u64(seed);
    thread::scope(|scope| {
        let producing = scope.spawn(|| stage.produce(40, Duration::from_millis(250)));
        while !producing.is_finished() {
            let mut job = stage.start(&[]);
            thread::sleep(Duration::from_millis(dice.random_range(300..2500)));
            job.kill().expect("it runs");
            job.wait().expect("it ends");
        }
    });
    stage.run_until_idle();
    stage.check();
}
