//! Writes to a Kafka topic, without waiting: what was sent is asked about later. Creates and
//! deletes topics too.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::config::KafkaConfig;

/// Why a topic can't be written to.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The client could not be set up.
    #[error("can't set up the Kafka producer: {0}; see [kafka] and [kafka.client] of the config")]
    Setup(String),
    /// No broker answers, or it will not create or delete a topic.
    #[error("Kafka at {brokers} does not create or delete topics: {reason}")]
    Admin {
        /// The addresses.
        brokers: String,
        /// What was said.
        reason: String,
    },
    /// The broker will not take a message, however often it is asked.
    #[error(
        "Kafka does not take messages for topic {topic}: {reason}; does it exist, and may we write to it?"
    )]
    Refused {
        /// The topic.
        topic: String,
        /// What the broker said.
        reason: String,
    },
    /// Nothing was heard in time.
    #[error("Kafka did not take the message for topic {topic} within {seconds} s; is a broker up?")]
    Late {
        /// The topic.
        topic: String,
        /// How long was waited.
        seconds: u64,
    },
}

/// How long brokers may take to create or delete topics.
const ADMIN_PATIENCE: Duration = Duration::from_secs(15);

/// What became of messages.
#[derive(Debug, Default)]
struct Deliveries(Mutex<Option<String>>);

impl ClientContext for Deliveries {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(reason, "the Kafka producer reports: {error}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            refused.get_or_insert_with(|| error.to_string());
        }
    }
}

/// A topic that is written to.
pub struct Topic {
    name: String,
    producer: ThreadedProducer<Deliveries>,
}

impl Topic {
    /// Sets the producer up; the brokers may come later.
    ///
    /// # Errors
    /// [`TopicError::Setup`].
    pub fn open(config: &KafkaConfig, name: &str) -> Result<Self, TopicError> {
        let mut client = client(config);
        client
            .set("enable.idempotence", "true")
            // A broker that is away is waited for.
            .set("message.timeout.ms", "0")
            .set("linger.ms", "20")
            .set("compression.type", "zstd");
        let producer = client.create_with_context(Deliveries::default()).map_err(setup)?;
        Ok(Self { name: name.to_owned(), producer })
    }

    /// Sends a message; false when the queue is full: try again later.
    ///
    /// # Errors
    /// [`TopicError::Refused`], also of an earlier message.
    pub fn send(&self, key: Option<&str>, payload: &[u8]) -> Result<bool, TopicError> {
        let mut record = BaseRecord::<str, [u8]>::to(&self.name).payload(payload);
        if let Some(key) = key {
            record = record.key(key);
        }
        match self.producer.send(record) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(self.refused(error.to_string())),
        }
    }

    /// Whether everything that was sent is written.
    ///
    /// # Errors
    /// [`TopicError::Refused`].
    pub fn is_written(&self) -> Result<bool, TopicError> {
        match self.producer.context().0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(reason) => Err(self.refused(reason)),
            None => Ok(self.producer.in_flight_count() == 0),
        }
    }

    /// Waits until everything that was sent is written.
    ///
    /// # Errors
    /// [`TopicError::Refused`], or [`TopicError::Late`].
    pub fn flush(&self, within: Duration) -> Result<(), TopicError> {
        // What it would say is asked for next.
        let _ = self.producer.flush(within);
        if self.is_written()? {
            return Ok(());
        }
        Err(TopicError::Late { topic: self.name.clone(), seconds: within.as_secs() })
    }

    fn refused(&self, reason: String) -> TopicError {
        TopicError::Refused { topic: self.name.clone(), reason }
    }
}

fn client(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (key, value) in &config.client {
        client.set(key, value.expose());
    }
    client.set("bootstrap.servers", &config.bootstrap_servers);
    client
}

fn setup(error: KafkaError) -> TopicError {
    match error {
        // The value may be a secret.
        KafkaError::ClientConfig(_, _, key, _) => TopicError::Setup(format!("{key} is not accepted")),
        other => TopicError::Setup(other.to_string()),
    }
}

/// Creates topics, by name and number of partitions, with the replication that the broker has as
/// its default.
///
/// # Errors
/// [`TopicError::Setup`], or [`TopicError::Admin`], also for a topic that exists.
pub fn create_topics(config: &KafkaConfig, topics: &[(&str, i32)]) -> Result<(), TopicError> {
    let topics: Vec<_> = topics
        .iter()
        .map(|(name, partitions)| NewTopic::new(name, *partitions, TopicReplication::Fixed(-1)))
        .collect();
    administer(config, async |admin, options| admin.create_topics(&topics, options).await)
}

/// Deletes topics with all that is in them.
///
/// # Errors
/// As [`create_topics`], also for a topic that doesn't exist.
pub fn delete_topics(config: &KafkaConfig, topics: &[&str]) -> Result<(), TopicError> {
    administer(config, async |admin, options| admin.delete_topics(topics, options).await)
}

type Admin = AdminClient<DefaultClientContext>;

fn administer(
    config: &KafkaConfig,
    ask: impl AsyncFnOnce(&Admin, &AdminOptions) -> Result<Vec<TopicResult>, KafkaError>,
) -> Result<(), TopicError> {
    let failed = |reason: String| TopicError::Admin { brokers: config.bootstrap_servers.clone(), reason };
    let admin: Admin = client(config).create().map_err(setup)?;
    let options = AdminOptions::new().request_timeout(Some(ADMIN_PATIENCE));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let answers = runtime.block_on(ask(&admin, &options)).map_err(|error| failed(error.to_string()))?;
    match answers.into_iter().find_map(Result::err) {
        Some((topic, code)) => Err(failed(format!("{topic}: {code}"))),
        None => Ok(()),
    }
}
