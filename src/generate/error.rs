//! What can go wrong.

use std::io;
use std::path::PathBuf;

use super::plan::PlanError;

/// Why no traffic was written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The plan can't be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The output directory holds something.
    #[error("{dir} is not empty; name another directory, or ask to replace it")]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The output directory holds something that is no generated traffic, and won't be replaced.
    #[error("{dir} holds {entry}, which was not generated; remove it yourself or name another directory")]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// What it holds.
        entry: String,
    },
    /// The output is not a directory, or has no name of its own.
    #[error("{dir} can't be an output directory; name one that doesn't exist yet")]
    NotADirectory {
        /// What was named.
        dir: PathBuf,
    },
    /// The file system refused.
    #[error("can't write {path}")]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The Parquet writer refused.
    #[error("can't write {file}")]
    Parquet {
        /// The file's name.
        file: &'static str,
        /// What it said.
        source: parquet::errors::ParquetError,
    },
    /// Whoever takes the records wants no more.
    #[error("the traffic was not taken")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}
