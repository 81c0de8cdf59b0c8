//! What stops a run that reads from Kafka. Lost brokers and an unreachable registry don't.

use std::sync::Arc;
use std::time::Duration;

use crate::formats::DecodeError;

/// What stops a run that reads from Kafka.
#[derive(Debug, thiserror::Error)]
pub enum KafkaSourceError {
    /// The client library refuses its settings.
    #[error("the Kafka client can't be started: {0}; check [kafka.client]")]
    Client(String),
    /// No broker answered when the source was opened. Worth another try.
    #[error("no Kafka broker at {servers} answered within {} s: {last}", waited.as_secs())]
    Unreachable {
        /// The brokers that were tried.
        servers: String,
        /// For how long.
        waited: Duration,
        /// The last error.
        last: String,
    },
    /// A broker refuses our login or certificate.
    #[error(
        "Kafka at {servers} does not let us in: {what}; check the login and certificates in [kafka.client]"
    )]
    Login {
        /// The brokers that were tried.
        servers: String,
        /// What was said.
        what: String,
    },
    /// A topic isn't there.
    #[error("the Kafka topic {topic} does not exist; create it, or correct its name in the configuration")]
    NoTopic {
        /// The topic.
        topic: Arc<str>,
    },
    /// The brokers refuse to let a topic be read.
    #[error(
        "Kafka refuses access to the topic {topic}: {what}; check [kafka.client] and the topic's permissions"
    )]
    Denied {
        /// The topic.
        topic: Arc<str>,
        /// What the broker said.
        what: String,
    },
    /// Kafka no longer holds what must be read next.
    #[error(
        "Kafka no longer holds offset {wanted} of {topic}/{partition}; the earliest is {earliest}. Retention \
         is shorter than the time this run was away: rebuild the tables by a replay of the archive, and start \
         with a new state directory; raise retention.ms of the topic"
    )]
    Gone {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The offset that must be read.
        wanted: i64,
        /// The first offset there is.
        earliest: i64,
    },
    /// Kafka holds less than was already read.
    #[error(
        "Kafka holds {topic}/{partition} only up to offset {latest}, but it was read up to {wanted}: the topic \
         was created anew, or its brokers lost data. Rebuild the tables by a replay, and start with a new \
         state directory"
    )]
    Lost {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The offset that must be there.
        wanted: i64,
        /// The end of what is there.
        latest: i64,
    },
    /// A partition that was read is no longer there.
    #[error(
        "{topic}/{partition} was read before, but the topic has no such partition any more: it was created \
         anew. Rebuild the tables by a replay, and start with a new state directory"
    )]
    NoPartition {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// The caller asks for a partition of another worker, or one that does not exist.
    #[error(
        "{topic}/{partition} is not read by this worker; the number of workers has changed, or the topic"
    )]
    NotOwned {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// The registry wants another login.
    #[error("the schema registry at {url} answers {status}; check kafka.registry.user and password")]
    RegistryDenied {
        /// Its address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The client library can't go on.
    #[error("the Kafka client failed: {0}")]
    Fatal(String),
    /// The numbers could not be told apart.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}
