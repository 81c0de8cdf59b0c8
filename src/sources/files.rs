//! A directory of files as a source, and those of an archive in a bucket.
//!
//! ```text
//! discover ──> [InputFile] ──> plan ──> [Split] ──> SplitReader ──> Batch   (any thread)
//! ```
//!
//! A file that can't be read, or not to its end, becomes one reject that says why; the others go
//! on. Only what concerns the whole run is a [`SourceError`], and so is a bucket that can't be read:
//! the next object would fare no better, and tables that lack what may be there tomorrow help nobody.

mod discover;
mod plan;
mod reader;
mod stored;

use std::path::PathBuf;
use std::sync::Arc;

use dataflows::model::reject::Feed;

use crate::formats::DecodeError;
use crate::formats::parquet::Kind;
use crate::store::{Address, StoreError};

pub use discover::discover;
pub use plan::{Part, Split, plan};
pub use reader::SplitReader;

/// What stops a run that reads files.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The input directory can't be listed.
    #[error("the input directory {} can't be read", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing to read.
    #[error("no input in {}: looked for {looked_for}", dir.display())]
    Nothing {
        /// The directory.
        dir: PathBuf,
        /// The patterns.
        looked_for: String,
    },
    /// An object of a bucket.
    #[error("{address} can't be read; if a run has merged or moved it meanwhile, start again")]
    Object {
        /// Which.
        address: Address,
        /// Why.
        source: StoreError,
    },
    /// The numbers could not be told apart.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// A file to read.
#[derive(Clone, Debug)]
pub struct InputFile {
    /// Where it is. Feeds as they arrive lie on a disk.
    pub address: Address,
    /// The name under which its rejects are reported.
    pub name: Arc<str>,
    /// Its size, as stored.
    pub bytes: u64,
    /// What it holds.
    pub contents: Contents,
    /// How it is compressed as a whole.
    pub compression: Compression,
}

/// What a file holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Contents {
    /// A feed as it arrives.
    Raw(Feed),
    /// Canonical events in Parquet.
    Canonical(Kind),
}

impl Contents {
    /// The feed in which its records are counted.
    pub fn feed(self) -> Feed {
        match self {
            Contents::Raw(feed) => feed,
            Contents::Canonical(kind) => kind.feed(),
        }
    }
}

/// How a file is compressed as a whole.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one or more members.
    Gzip,
    /// Zstandard.
    Zstd,
}

#[cfg(test)]
mod tests;
