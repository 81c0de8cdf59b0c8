//! Generated traffic through Kafka into ClickHouse, watched from outside: what is shown was read
//! from ClickHouse.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clickhouse::Row;
use dataflows::model::reject::Feed;
use serde::Deserialize;

use super::{LiveError, Options, run};
use crate::config::{Config, KafkaConfig, LookupTopic};
use crate::formats::lookup::{RowFormat, Table};
use crate::generate::{self, GenerateError, Plan, campaigns_csv};
use crate::runtime::cluster::Cluster;
use crate::sinks::clickhouse::{ClickHouse, ClickHouseError};
use crate::sinks::topic::{Topic, TopicError, create_topics, delete_topics};

/// The database of the demo, which it drops and makes anew.
pub const DATABASE: &str = "advertisex_demo";
const JOB: &str = "demo";
const PARTITIONS: i32 = 3;
const EPOCH: Duration = Duration::from_millis(200);
/// How often ClickHouse is asked.
const GLANCE: Duration = Duration::from_secs(1);
/// How long the last messages may take to their topics, and from there into the tables.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a demo is made of.
#[derive(Clone, Debug)]
pub struct LiveDemo {
    /// The traffic.
    pub plan: Plan,
    /// Records a second.
    pub rate: u64,
    /// Worker threads.
    pub workers: usize,
    /// Where the binding log lies; emptied first.
    pub state: PathBuf,
}

/// Why a live demo came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LiveDemoError {
    /// The state directory.
    #[error("can't empty the state directory {path}")]
    State {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The live run.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// Kafka, as one who writes.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// ClickHouse.
    #[error(transparent)]
    ClickHouse(#[from] ClickHouseError),
    /// The traffic.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Something was lost on the way, or is late.
    #[error("{sent} records were sent, but after {seconds} s the tables know of {received}")]
    Missing {
        /// Records sent.
        sent: u64,
        /// Records in `quality_minute`.
        received: u64,
        /// How long was waited.
        seconds: u64,
    },
    /// It was interrupted.
    #[error("interrupted; what was published by then is in the database {DATABASE}")]
    Interrupted,
}

/// What ClickHouse shows, all campaigns together.
#[derive(Clone, Debug, Deserialize, Row)]
pub struct Shown {
    /// Records, those rejected or repeated included.
    pub received: u64,
    /// The newest epoch that a row is of.
    version: u64,
    /// Everything up to this epoch is there.
    frontier: u64,
    /// Bids.
    pub bids: u64,
    /// Auctions won.
    pub wins: u64,
    /// Impressions.
    pub impressions: u64,
    /// Valid clicks.
    pub clicks: u64,
    /// Conversions of the default model.
    pub conversions: u64,
    /// Spend, micros.
    pub spend_micros: i64,
    /// Revenue, micros.
    pub revenue_micros: i64,
}

const SHOWN: &str = "SELECT \
    ifNull((SELECT toUInt64(sum(received)) FROM quality_minute_live), 0) AS received, \
    ifNull((SELECT max(version) FROM quality_minute), 0) AS version, \
    ifNull((SELECT max(epoch) FROM frontier), 0) AS frontier, \
    toUInt64(sum(bids)) AS bids, toUInt64(sum(wins)) AS wins, toUInt64(sum(impressions)) AS impressions, \
    toUInt64(sum(clicks)) AS clicks, toUInt64(sum(conversions)) AS conversions, \
    toInt64(sum(spend_micros)) AS spend_micros, toInt64(sum(revenue_micros)) AS revenue_micros \
    FROM performance_minute_live";

/// What became of a feed, as ClickHouse shows it.
#[derive(Clone, Debug, Deserialize, Row)]
pub struct FeedShown {
    /// Its name.
    pub feed: String,
    /// Records that arrived.
    pub received: u64,
    /// Records that count.
    pub accepted: u64,
    /// Records that lost to another of the same identity.
    pub duplicate: u64,
    /// Records rejected.
    pub rejected: u64,
}

const FEEDS: &str = "SELECT toString(feed) AS feed, toUInt64(sum(received)) AS received, \
    toUInt64(sum(accepted)) AS accepted, toUInt64(sum(duplicate)) AS duplicate, \
    toUInt64(sum(q.rejected)) AS rejected FROM quality_minute_live AS q GROUP BY feed ORDER BY feed";

/// One look at a running demo.
#[derive(Clone, Debug)]
pub struct Glance {
    /// Since its start.
    pub after: Duration,
    /// Records sent by then.
    pub sent: u64,
    /// What ClickHouse showed.
    pub shown: Shown,
}

/// Sends the traffic of a plan to Kafka and runs live until ClickHouse shows all of it; `see` gets
/// a look each second. The config says where Kafka and ClickHouse are; topics (of which none is
/// left) and database are the demo's own. `plain` reads messages as the defaults say.
///
/// # Errors
/// See [`LiveDemoError`].
pub fn demo(
    config: &Config,
    plain: Config,
    demo: &LiveDemo,
    stop: &Arc<AtomicBool>,
    see: impl FnMut(&Glance),
) -> Result<Vec<FeedShown>, LiveDemoError> {
    let config = own(config, plain)?;
    let kafka = config.kafka.as_ref().ok_or(LiveError::NoKafka)?;
    let clickhouse = ClickHouse::connect(config.clickhouse.clone())?;
    clickhouse.drop_database()?;
    clickhouse.create_schema()?;
    empty(&demo.state)?;
    let names: Vec<&str> =
        kafka.feeds.iter().map(|feed| &*feed.topic).chain(kafka.lookups.iter().map(|l| &*l.topic)).collect();
    let topics: Vec<(&str, i32)> = names.iter().map(|name| (*name, PARTITIONS)).collect();
    create_topics(kafka, &topics)?;
    let done = play(&config, kafka, demo, stop, &clickhouse, see);
    // Should it fail, what went wrong before says more.
    let deleted = delete_topics(kafka, &names);
    done?;
    deleted?;
    Ok(clickhouse.call("read the quality", clickhouse.database().query(FEEDS).fetch_all())?)
}

/// The config with topics and a database that no one else has.
fn own(config: &Config, plain: Config) -> Result<Config, LiveError> {
    let mut own = Config::clone(config);
    let kafka = own.kafka.as_mut().ok_or(LiveError::NoKafka)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let name = |what: &str| format!("{DATABASE}_{now}_{what}");
    // The generator's messages are as the defaults have them, whatever this config reads otherwise.
    kafka.feeds = plain.kafka.ok_or(LiveError::NoKafka)?.feeds;
    for feed in &mut kafka.feeds {
        feed.topic = name(feed.layout.feed.as_str());
    }
    kafka.lookups =
        vec![LookupTopic { topic: name("campaigns"), table: Table::Campaigns, format: RowFormat::Csv }];
    kafka.rejects_topic = None;
    DATABASE.clone_into(&mut own.clickhouse.database);
    Ok(own)
}

fn empty(state: &Path) -> Result<(), LiveDemoError> {
    match std::fs::remove_dir_all(state) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(LiveDemoError::State { path: state.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn play(
    config: &Config,
    kafka: &KafkaConfig,
    demo: &LiveDemo,
    stop: &Arc<AtomicBool>,
    clickhouse: &ClickHouse,
    mut see: impl FnMut(&Glance),
) -> Result<(), LiveDemoError> {
    let options = Options {
        job: JOB.to_owned(),
        state: demo.state.clone(),
        from_archive: None,
        cluster: Cluster::alone(demo.workers),
        epoch: EPOCH,
        until_idle: None,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let end = Arc::clone(&options.stop);
    let sent = AtomicU64::new(0);
    let began = Instant::now();
    thread::scope(|scope| {
        let running = scope.spawn(|| run(config, &options));
        let sending = scope.spawn(|| send(kafka, demo, &end, &sent));
        let watched = loop {
            thread::sleep(GLANCE);
            let (over, sent_now) = (sending.is_finished(), sent.load(Ordering::SeqCst));
            let shown: Shown = match clickhouse.call("look", clickhouse.database().query(SHOWN).fetch_one()) {
                Ok(shown) => shown,
                Err(error) => break Err(error.into()),
            };
            see(&Glance { after: began.elapsed(), sent: sent_now, shown: shown.clone() });
            if over && shown.received == sent_now && shown.frontier >= shown.version {
                break Ok(());
            }
            if stop.load(Ordering::SeqCst) {
                break Err(LiveDemoError::Interrupted);
            }
            if running.is_finished() {
                // Its own error is the one that is told.
                break Ok(());
            }
            let expected = Duration::from_secs_f64(sent_now as f64 / demo.rate as f64) + PATIENCE;
            if over && began.elapsed() > expected {
                let (received, seconds) = (shown.received, began.elapsed().as_secs());
                break Err(LiveDemoError::Missing { sent: sent_now, received, seconds });
            }
        };
        end.store(true, Ordering::SeqCst);
        let sent = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        watched?;
        sent
    })
}

/// Sends campaigns and traffic at the demo's rate, until there is no more or `end` is set.
fn send(
    kafka: &KafkaConfig,
    demo: &LiveDemo,
    end: &AtomicBool,
    sent: &AtomicU64,
) -> Result<(), LiveDemoError> {
    let lookups = kafka.lookups.iter().map(|lookup| Topic::open(kafka, &lookup.topic));
    for campaigns in lookups {
        let campaigns = campaigns?;
        for row in campaigns_csv(&demo.plan).lines().skip(1) {
            put(&campaigns, row.split(',').next(), row.as_bytes(), end)?;
        }
        campaigns.flush(PATIENCE)?;
    }
    let topics = kafka.feeds.iter().map(|feed| Ok((feed.layout.feed, Topic::open(kafka, &feed.topic)?)));
    let topics: Vec<(Feed, Topic)> = topics.collect::<Result<_, TopicError>>()?;
    let began = Instant::now();
    let mut take = |feed: Feed, payload: &[u8], records: u64| {
        for (_, topic) in topics.iter().filter(|(of, _)| *of == feed) {
            put(topic, None, payload, end)?;
        }
        let now = sent.fetch_add(records, Ordering::SeqCst) + records;
        let due = Duration::from_secs_f64(now as f64 / demo.rate as f64);
        let ahead = due.saturating_sub(began.elapsed());
        if ahead > Duration::from_millis(5) {
            thread::sleep(ahead);
        }
        if end.load(Ordering::SeqCst) { Err("the demo has ended".into()) } else { Ok(()) }
    };
    generate::send(&demo.plan, &mut take)?;
    for (_, topic) in &topics {
        topic.flush(PATIENCE)?;
    }
    Ok(())
}

/// Sends one message, as soon as there is room for it.
fn put(topic: &Topic, key: Option<&str>, payload: &[u8], end: &AtomicBool) -> Result<(), TopicError> {
    while !topic.send(key, payload)? && !end.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
