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
    retry(client, topic, servers, || {
        let metadata = client.fetch_metadata(Some(topic), REQUEST)?;
        let found = metadata.topics().iter().find(|found| found.name() == &**topic);
        let code = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
        match (found, code) {
            (Some(found), None) if !found.partitions().is_empty() => Ok(found.partitions().len() as i32),
            (_, Some(code)) => Err(KafkaError::MetadataFetch(code)),
            _ => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)),
        }
    })
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
    retry(client, topic, servers, || {
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
}

/// Tries until it succeeds, is refused, or patience ends. A topic just created is not known to all
/// brokers at once, so that too is tried for a moment.
fn retry<T>(
    client: &Client,
    topic: &Arc<str>,
    servers: &str,
    mut request: impl FnMut() -> Result<T, KafkaError>,
) -> Result<T, KafkaSourceError> {
    let started = Instant::now();
    loop {
        let error = match request() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let (waited, topic, servers) = (started.elapsed(), Arc::clone(topic), servers.to_owned());
        if let Some(what) = refusal(client) {
            return Err(KafkaSourceError::Login { servers, what });
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return Err(KafkaSourceError::Denied { topic, what: error.to_string() });
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
                if waited > Duration::from_secs(2) =>
            {
                return Err(KafkaSourceError::NoTopic { topic });
            }
            _ if waited > PATIENCE => {
                return Err(KafkaSourceError::Unreachable { servers, waited, last: error.to_string() });
            }
            _ => {}
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether a broker has refused our login or certificate; to a request that only looks as if none
/// could be reached.
fn refusal(client: &Client) -> Option<String> {
    // Messages are in the partitions' own queues: all that comes here is events.
    while client.poll(Duration::ZERO).is_some() {}
    client.context().0.refused()
}
