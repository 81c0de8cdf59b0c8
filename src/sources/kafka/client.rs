//! The client library: its settings, and what it reports.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use serde::Deserialize;

use super::error::KafkaSourceError;
use super::status::Status;
use crate::config::KafkaConfig;

/// A consumer that reports to a [`Status`].
pub type Client = BaseConsumer<Reporter>;

/// Takes what the library reports.
#[derive(Debug)]
pub struct Reporter(pub Arc<Status>);

impl ClientContext for Reporter {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Lost connections are told by `Status`, once; the library would tell of every attempt.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "{message}");
            }
            _ => tracing::debug!(facility, "{message}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice(statistics) {
            Ok(Statistics { topics }) => self.0.set_ends(topics.into_iter().map(Topic::ends).collect()),
            Err(error) => tracing::debug!(%error, "the Kafka client's statistics can't be read"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.0.down(reason),
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => self.0.refuse(reason),
            _ => tracing::debug!(reason, "the Kafka client reports: {error}"),
        }
    }
}

/// What is of interest of the library's statistics.
#[derive(Deserialize)]
struct Statistics {
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Topic {
    partitions: HashMap<i32, Ends>,
}

#[derive(Deserialize)]
struct Ends {
    /// Behind the last record that is not of an open transaction; negative while it is not known.
    ls_offset: i64,
}

impl Topic {
    fn ends((name, topic): (String, Topic)) -> (String, HashMap<i32, i64>) {
        let ends = topic.partitions.into_iter().map(|(partition, ends)| (partition, ends.ls_offset));
        (name, ends.filter(|(partition, end)| *partition >= 0 && *end >= 0).collect())
    }
}

impl ConsumerContext for Reporter {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        // Only tools that show lag read these offsets.
        if let Err(error) = result {
            tracing::debug!("the group's offsets were not committed: {error}");
        }
    }
}

/// Starts a consumer that buffers within the limits when it reads `partitions` partitions.
pub fn start(
    config: &KafkaConfig,
    partitions: usize,
    status: Arc<Status>,
) -> Result<Client, KafkaSourceError> {
    let each = |limit: usize| limit / partitions.max(1);
    let bytes = each(config.buffer_bytes);
    let mut client = ClientConfig::new();
    // As each partition has a queue of its own, the limits hold for each.
    client
        .set("queued.max.messages.kbytes", (bytes >> 10).clamp(64, 2_097_151).to_string())
        .set("queued.min.messages", each(config.buffer_messages).clamp(1, 10_000_000).to_string())
        // A longer message is still fetched: this is where asking starts.
        .set("fetch.message.max.bytes", bytes.clamp(64 << 10, 1 << 20).to_string())
        // How soon a queue that was full is filled again; the default of a second would show in latency.
        .set("fetch.queue.backoff.ms", "10")
        // A fetch that brings little costs a broker as much as one that brings much.
        .set("fetch.min.bytes", "65536")
        .set("fetch.wait.max.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        // How much waits in the brokers is told so often.
        .set("statistics.interval.ms", "1000");
    for (key, value) in &config.client {
        client.set(key, value.expose());
    }
    client
        .set("bootstrap.servers", &config.bootstrap_servers)
        .set("group.id", &config.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // An offset that isn't there must stop the run, not be replaced by another.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set_log_level(RDKafkaLogLevel::Info);
    client.create_with_context(Reporter(status)).map_err(|error| match error {
        // The value may be a secret.
        KafkaError::ClientConfig(_, _, key, _) => KafkaSourceError::Client(format!("{key} is not accepted")),
        other => KafkaSourceError::Client(other.to_string()),
    })
}

/// Wakes a worker that waits for messages.
#[derive(Debug, Default)]
pub struct Signal {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Signal {
    /// There is something to read.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_one();
    }

    /// Waits until it was rung since the last wait, or until `deadline`.
    pub fn wait(&self, deadline: Instant) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rung {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return;
            }
            rung = self.bell.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung = false;
    }
}
