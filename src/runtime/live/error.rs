//! Why a live run ends.

use std::path::PathBuf;

use dataflows::model::time::Epoch;

use crate::archive::ArchiveError;
use crate::bindings::BindingsError;
use crate::checkpoint::CheckpointError;
use crate::runtime::cluster::{ClusterError, Lost};
use crate::runtime::history::HistoryError;
use crate::sinks::clickhouse::ClickHouseError;
use crate::sinks::topic::TopicError;
use crate::sources::kafka::KafkaSourceError;
use crate::store::Place;
use crate::telemetry::ServerError;
use crate::telemetry::otlp::ExportError;

/// Why a live run ended.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The configuration names no Kafka.
    #[error("the configuration has no kafka.bootstrap_servers, so there is nothing to read; set it")]
    NoKafka,
    /// The state directory.
    #[error("can't make the state directory {path}")]
    State {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An erasure was cut short.
    #[error(
        "an erasure was cut short ({path}), and what it has left half done must not be gone on from; end it with \
         `advertisex erase` and the same --config, --state and --job, then start again"
    )]
    Erasing {
        /// The mark of it.
        path: PathBuf,
    },
    /// ClickHouse has published what this directory's binding log does not know.
    #[error(
        "ClickHouse holds epoch {published} of job {job:?}, but the binding log in {path} ends before; \
         use the log that belongs to it, or another job name and database"
    )]
    ForeignLog {
        /// The job.
        job: String,
        /// The frontier in ClickHouse.
        published: Epoch,
        /// The state directory.
        path: PathBuf,
    },
    /// The binding log.
    #[error(transparent)]
    Bindings(#[from] BindingsError),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaSourceError),
    /// ClickHouse.
    #[error(transparent)]
    ClickHouse(#[from] ClickHouseError),
    /// The topic of rejects.
    #[error(transparent)]
    Rejects(#[from] TopicError),
    /// Publishing met a fault that no waiting mends.
    #[error("publishing to ClickHouse has ended: {reason}")]
    Publishing {
        /// Which.
        reason: String,
    },
    /// The numbers don't add up.
    #[error(
        "{feed}, minute {minute} (epoch milliseconds): received is not accepted + duplicate + rejected; \
         nothing of this epoch was published, please report this"
    )]
    Imbalance {
        /// The feed.
        feed: &'static str,
        /// The minute.
        minute: i64,
    },
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is no archive to begin with.
    #[error("{0} is no archive: it holds no manifest")]
    NoArchive(Place),
    /// The archive was begun late.
    #[error(
        "the archive in {place} lacks what was read up to epoch {begins}, before there was an archive: the \
         tables would lack it, too; start from Kafka, or from a checkpoint"
    )]
    PartOfArchive {
        /// Where it is.
        place: Place,
        /// Where it begins.
        begins: Epoch,
    },
    /// A file of the archive isn't what was written.
    #[error("{path}: {hint}; restore the file from a copy")]
    ArchiveFile {
        /// Which.
        path: String,
        /// What is wrong.
        hint: String,
    },
    /// The input of a hand-over.
    #[error(transparent)]
    Source(#[from] crate::sources::files::SourceError),
    /// There is something in ClickHouse already.
    #[error(
        "ClickHouse holds epoch {published} of job {job:?}, so a hand-over from an archive could not tell what \
         is old there; name an empty database, or another job"
    )]
    NotEmpty {
        /// The job.
        job: String,
        /// The frontier in ClickHouse.
        published: Epoch,
    },
    /// ClickHouse is behind the checkpoint.
    #[error(
        "the checkpoint in {place} goes up to epoch {checkpoint} of job {job:?}, but ClickHouse holds only \
         {published}; restore the database that belongs to it, or start with another job name and state"
    )]
    Behind {
        /// The job.
        job: String,
        /// The frontier in ClickHouse.
        published: Epoch,
        /// The checkpoint's epoch.
        checkpoint: Epoch,
        /// Where it lies.
        place: String,
    },
    /// The binding log does not continue the checkpoint.
    #[error(
        "the binding log in {path} does not continue the checkpoint of epoch {checkpoint}: {what}; both must \
         be of one run, restore them together"
    )]
    Torn {
        /// The state directory.
        path: PathBuf,
        /// The checkpoint's epoch.
        checkpoint: Epoch,
        /// Where the gap is.
        what: String,
    },
    /// A lookup topic was taken out of the configuration.
    #[error(
        "the checkpoint holds rows of the lookup topic {topic}, which the configuration does not name any \
         more; empty the topic first, or start with another job name and state"
    )]
    NoLookup {
        /// The topic.
        topic: String,
    },
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] ServerError),
    /// Sending metrics.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The dashboards.
    #[error(transparent)]
    Serve(#[from] crate::serve::http::ServerError),
    /// A thread could not be started.
    #[error("can't start a thread")]
    Thread(#[source] std::io::Error),
    /// A worker thread ended unexpectedly.
    #[error("a worker failed: {0}")]
    Worker(String),
    /// The processes don't come together.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A process has gone.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// Another process has failed.
    #[error("process {process} failed: {reason}")]
    Elsewhere {
        /// Which.
        process: usize,
        /// Why.
        reason: String,
    },
    /// The first process has ended the run over a failure, its own or another's.
    #[error("the run was ended by process 0: {reason}")]
    Ended {
        /// Which.
        reason: String,
    },
}

impl From<HistoryError> for LiveError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Source(error) => error.into(),
            HistoryError::Archive(error) => error.into(),
            HistoryError::NoArchive(place) => Self::NoArchive(place),
        }
    }
}
