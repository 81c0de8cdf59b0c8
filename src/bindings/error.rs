//! Why a binding log can't be used.

use std::path::PathBuf;
use std::sync::Arc;

use dataflows::model::time::Epoch;

/// Why a binding log can't be opened or added to.
#[derive(Debug, thiserror::Error)]
pub enum BindingsError {
    /// The system refuses.
    #[error("the binding log {} can't be read or written; check the disk and start again", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process uses it.
    #[error("{} is locked: another process runs on this state directory; stop it, or use another one", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The header is damaged, or this is no binding log.
    #[error(
        "{} is no binding log, or its header is damaged; restore it from a copy, or move the state \
         directory away and rebuild the tables by a replay", path.display()
    )]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// Another version of the program wrote it.
    #[error("{} has format version {found}, this program reads {expected}; run the version that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: u32,
        /// What is read here.
        expected: u32,
    },
    /// Another job wrote it.
    #[error("{} belongs to another job than {job:?}; give each job its own state directory", path.display())]
    OtherJob {
        /// The file.
        path: PathBuf,
        /// The job that wants it.
        job: String,
    },
    /// A record before the last one is bad.
    #[error(
        "{} is damaged at byte {at}, and records follow: published epochs can't be told any more; restore \
         it from a copy, or move the state directory away and rebuild the tables by a replay", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the bad record starts.
        at: usize,
    },
    /// A sound record contradicts those before it.
    #[error("{} contradicts itself at byte {at}: {what}", path.display())]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// Where the record starts.
        at: usize,
        /// The contradiction.
        what: Invalid,
    },
    /// The binding does not continue the log. The caller is at fault.
    #[error("the binding can't be added: {0}")]
    Invalid(Invalid),
    /// An earlier write failed.
    #[error("{} could not be written before; the process must start again", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
    },
}

/// What is wrong with a binding.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// Epochs must strictly increase.
    #[error("epoch {epoch} does not come after epoch {last}")]
    Epoch {
        /// The epoch at fault.
        epoch: Epoch,
        /// The last one bound.
        last: Epoch,
    },
    /// A range must start where the last one of its partition ended.
    #[error("{topic}/{partition} is read from offset {from}, but was read up to {expected}")]
    Gap {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// Where the range starts.
        from: i64,
        /// Where it should.
        expected: i64,
    },
    /// Empty, backwards, or negative.
    #[error("{topic}/{partition}: the offsets {from}..{to} are not a range")]
    Range {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The first offset.
        from: i64,
        /// The first no longer in it.
        to: i64,
    },
    /// What is frozen stays frozen.
    #[error("epoch {epoch} has a horizon that lies before that of an earlier epoch")]
    Horizon {
        /// The epoch at fault.
        epoch: Epoch,
    },
    /// Two ranges of one partition.
    #[error("{topic}/{partition} is bound twice in one epoch")]
    Twice {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// Too much for one record.
    #[error("a record of {bytes} bytes is too long")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The bytes of a record make no sense, though its checksum holds.
    #[error("the record can't be read")]
    Unreadable,
}
