//! Opening a source: which partitions there are, which are ours, and where each starts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::Client;
use super::error::KafkaSourceError;
use crate::bindings::{Positions, TopicPartition};
use crate::config::Start;

/// How long one request may take.
pub const REQUEST: Duration = Duration::from_secs(5);
/// How long brokers are tried when a source is opened.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// A worker's share of the partitions.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Share {
    /// The worker's number, from 0.
    pub worker: usize,
    /// How many workers there are, in all processes.
    pub workers: usize,
}

impl Share {
    /// Whether a partition is this worker's.
    pub fn owns(self, partition: i32) -> bool {
        partition >= 0 && partition as usize % self.workers.max(1) == self.worker
    }
}

/// How many partitions a topic has.
///
/// # Errors
/// When the topic isn't there or may not be read, and when no broker answers.
pub fn partition_count(client: &Client, topic: &Arc<str>, servers: &str) -> Result<i32, KafkaSourceError> {
    retry(servers, || {
        let metadata = client.fetch_metadata(Some(topic), REQUEST)?;
        let found = metadata.topics().iter().find(|found| found.name() == &**topic);
        let code = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
        match (found, code) {
            (Some(found), None) if !found.partitions().is_empty() => Ok(found.partitions().len() as i32),
            (_, Some(code)) => Err(KafkaError::MetadataFetch(code)),
            _ => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)),
        }
    })
    .map_err(|failure| failure.of_topic(topic))
}

/// Where each of these partitions starts. `positions` know those that were read before; of the
/// others a new partition of a topic that is being read starts at its beginning, a table of
/// lookups always does, and the rest start as configured.
pub fn starts(
    client: &Client,
    places: &[(TopicPartition, bool)],
    positions: &Positions,
    start: Start,
    servers: &str,
) -> Result<Vec<i64>, KafkaSourceError> {
    let mut starts = Vec::new();
    for (place, is_lookup) in places {
        let start = if *is_lookup || !positions.is_empty() { Start::Earliest } else { start };
        starts.push(match positions.get(place) {
            Some(&next) => next,
            None => resolve(client, place, start, servers)?,
        });
    }
    Ok(starts)
}

fn resolve(
    client: &Client,
    place: &TopicPartition,
    start: Start,
    servers: &str,
) -> Result<i64, KafkaSourceError> {
    let TopicPartition { topic, partition } = place;
    retry(servers, || {
        let (low, high) = client.fetch_watermarks(topic, *partition, REQUEST)?;
        let millis = match start {
            Start::Earliest => return Ok(low),
            Start::Latest => return Ok(high),
            Start::TimestampMs(millis) => millis,
        };
        let mut times = TopicPartitionList::new();
        times.add_partition_offset(topic, *partition, Offset::Offset(millis))?;
        let found = client.offsets_for_times(times, REQUEST)?;
        match found.find_partition(topic, *partition).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => Ok(offset),
            // Everything is older.
            _ => Ok(high),
        }
    })
    .map_err(|failure| failure.of_topic(topic))
}

/// A request that failed for good.
struct Failure {
    error: KafkaError,
    servers: String,
    waited: Duration,
}

impl Failure {
    fn of_topic(self, topic: &Arc<str>) -> KafkaSourceError {
        let topic = Arc::clone(topic);
        match self.error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                KafkaSourceError::NoTopic { topic }
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                KafkaSourceError::Denied { topic, what: self.error.to_string() }
            }
            _ => KafkaSourceError::Unreachable {
                servers: self.servers,
                waited: self.waited,
                last: self.error.to_string(),
            },
        }
    }
}

/// Tries until it succeeds, is refused, or patience ends. A topic just created is not known to all
/// brokers at once, so that too is tried for a moment.
fn retry<T>(servers: &str, mut request: impl FnMut() -> Result<T, KafkaError>) -> Result<T, Failure> {
    let started = Instant::now();
    loop {
        let error = match request() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let waited = started.elapsed();
        let over = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => true,
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                waited > Duration::from_secs(2)
            }
            _ => waited > PATIENCE,
        };
        if over {
            return Err(Failure { error, servers: servers.to_owned(), waited });
        }
        std::thread::sleep(PAUSE);
    }
}
