//! Configuration in two stages: as typed ([`raw`]), then validated ([`Config`], all that the
//! program needs). Every default is in the embedded `config/default.toml`.

pub mod archive;
pub mod clickhouse;
mod client;
mod kafka;
mod locate;
pub mod metrics;
mod raw;
mod s3;
pub mod serve;
pub mod time;
mod validate;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::archive::ArchiveConfig;
use self::clickhouse::ClickHouseConfig;
use self::metrics::MetricsConfig;
use self::serve::ServeConfig;
use self::time::TimeConfig;
use crate::formats::layout::Layout;
use crate::store::Place;

pub use client::Secret;
pub use kafka::{Encoding, FeedTopic, KafkaConfig, LookupTopic, RegistryConfig, Start};
pub use s3::S3Config;

const DEFAULTS: &str = include_str!("../../config/default.toml");
const LAPTOP: &str = include_str!("../../config/examples/laptop.toml");

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the feeds are and how they are written.
    pub sources: SourcesConfig,
    /// How a replay runs.
    pub replay: ReplayConfig,
    /// Where the live feeds come from; none when no server is named.
    pub kafka: Option<KafkaConfig>,
    /// Where the tables go when the job runs live.
    pub clickhouse: ClickHouseConfig,
    /// What a live run keeps so that it can start again.
    pub checkpoint: CheckpointConfig,
    /// How buckets are reached, where a place is one.
    pub s3: S3Config,
    /// How the processes of a cluster find and lose each other.
    pub cluster: ClusterConfig,
    /// How the processes of a local cluster are watched over.
    pub supervisor: SupervisorConfig,
    /// Watermarks, and how long numbers can be corrected when the job runs live.
    pub time: TimeConfig,
    /// Where a live run shows how it goes.
    pub metrics: MetricsConfig,
    /// What a live run shows to people and programs, and to whom.
    pub serve: ServeConfig,
    /// Where and how accepted events are archived.
    pub archive: ArchiveConfig,
}

/// How the processes of a cluster find and lose each other.
#[derive(Copy, Clone, Debug, Default)]
pub struct ClusterConfig {
    /// How long they wait until all are connected.
    pub connect: Duration,
    /// A process that does not answer for this long, not even its system, is given up.
    pub silence: Duration,
}

/// How the processes of a local cluster are watched over.
#[derive(Copy, Clone, Debug)]
pub struct SupervisorConfig {
    /// How long processes may take to end once they are told to.
    pub stop_timeout: Duration,
    /// How often all are started again,
    pub restarts_max: usize,
    /// within which time.
    pub restart_window: Duration,
    /// The pause before the first of these; each next is twice as long,
    pub restart_min: Duration,
    /// up to this.
    pub restart_max: Duration,
}

/// What a live run keeps so that it can start again.
#[derive(Clone, Debug)]
pub struct CheckpointConfig {
    /// Where; beside the binding log when it isn't said.
    pub place: Option<Place>,
    /// The time from one checkpoint to the next.
    pub interval: Duration,
    /// A segment is about this large at most.
    pub segment_bytes_max: usize,
}

/// Where the feeds are and how they are written.
#[derive(Clone, Debug)]
pub struct SourcesConfig {
    /// Impressions.
    pub impressions: SourceConfig,
    /// Clicks and conversions.
    pub events: SourceConfig,
    /// Bid requests.
    pub bid_requests: SourceConfig,
    /// Parquet files of canonical events.
    pub history: HistoryConfig,
    /// A longer line is rejected.
    pub line_bytes_max: usize,
}

/// One feed.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Patterns on file names.
    pub files: Vec<String>,
    /// How its records are written.
    pub layout: Layout,
}

/// Patterns on the names of Parquet files.
#[derive(Clone, Debug)]
pub struct HistoryConfig {
    /// Files of bids.
    pub bids: Vec<String>,
    /// Files of impressions.
    pub impressions: Vec<String>,
    /// Files of clicks.
    pub clicks: Vec<String>,
    /// Files of conversions.
    pub conversions: Vec<String>,
}

/// How a replay runs.
#[derive(Clone, Debug)]
pub struct ReplayConfig {
    /// Worker threads; 0 takes every core.
    pub workers: usize,
    /// Events a worker reads before it closes an epoch; above 0.
    pub epoch_events: usize,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {} can't be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a configuration.
    #[error("{file}:{line}: {message}")]
    Invalid {
        /// The file, or `default.toml`.
        file: String,
        /// The line at fault, from 1.
        line: usize,
        /// The key, and what would be right.
        message: String,
    },
}

impl Config {
    /// The defaults, overridden by a file.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(file) = file else { return Self::parse("default.toml", "") };
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
        Self::parse(&file.display().to_string(), &text)
    }

    /// The configuration that results from a file, defaults included, as TOML. Secrets that the file
    /// itself holds are masked.
    pub fn effective(file: &Path) -> Result<String, ConfigError> {
        Self::load(Some(file))?;
        let own = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
        let mut all: toml::Table = toml::from_str(DEFAULTS).unwrap_or_default();
        merge(&mut all, toml::from_str(&own).unwrap_or_default());
        client::mask(&mut all);
        clickhouse::cover(&mut all);
        Ok(all.to_string())
    }

    /// With the services of `deploy/compose.yaml`.
    ///
    /// # Errors
    /// None, as tests see to.
    pub fn laptop() -> Result<Self, ConfigError> {
        Self::parse("config/examples/laptop.toml", LAPTOP)
    }

    /// The defaults, overridden by a text; `file` is its name in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let invalid = |line, message| ConfigError::Invalid { file: file.to_owned(), line, message };
        // Alone first: only here does the parser know the lines of the file.
        let own: toml::Table = toml::from_str::<raw::Config>(text)
            .and_then(|_| toml::from_str(text))
            .map_err(|error| invalid(locate::line_at(text, &error), locate::explain(&error)))?;
        let mut all: toml::Table = toml::from_str(DEFAULTS)
            .map_err(|error| invalid(locate::line_at(DEFAULTS, &error), locate::explain(&error)))?;
        merge(&mut all, own);
        let raw: raw::Config =
            all.try_into().map_err(|error: toml::de::Error| invalid(1, error.to_string()))?;
        validate::config(raw).map_err(|wrong| {
            let line = locate::line_of(text, &wrong.key).unwrap_or(1);
            invalid(line, format!("{}: {}", wrong.key, wrong.expected))
        })
    }
}

/// Tables are merged, everything else is replaced.
fn merge(under: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
