//! The binding log: which offsets an epoch was made of, made durable before anything of that epoch
//! leaves the process. Kafka keeps the bytes; with this log the same offsets become the same
//! epochs after a crash, so the same rows come out with the same versions.
//!
//! ```text
//! header            magic ─ version ─ job ─ checksum
//! a record per epoch  [length, its check] [epoch, new topics, ranges] [checksum]
//!                                                     seeded by the checksum before ┘
//! ```
//!
//! As each checksum is seeded by the one before, a record that is lost, doubled or moved is
//! noticed. Only the last record can be torn by a crash, because [`Bindings::append`] returns when
//! the record is on the disk: a bad last record is cut off, damage before it is refused.

mod error;
mod frame;
mod ledger;
mod record;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dataflows::model::time::Epoch;

pub use error::{BindingsError, Invalid};

use self::frame::{Found, HEADER_BYTES, Header};
use self::ledger::Ledger;

const FILE: &str = "bindings.log";
const LOCK: &str = "bindings.lock";

/// One partition of one topic.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

/// For each partition the offset of the next message to read.
pub type Positions = BTreeMap<TopicPartition, i64>;

/// A run of offsets of one partition. Some of the offsets may hold no message, as compaction and
/// transactions leave gaps.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Range {
    /// The partition.
    pub place: TopicPartition,
    /// The first offset.
    pub from: i64,
    /// The first offset no longer in it.
    pub to: i64,
}

/// What one epoch was made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binding {
    /// The epoch.
    pub epoch: Epoch,
    /// At most one range per partition, each starting where the partition's last one ended. An
    /// empty range is allowed only as the first of its partition: it says where reading starts,
    /// so that a restart before the first message starts at the same place.
    pub ranges: Vec<Range>,
}

/// The binding log of one process, open for appending. It is locked against other processes for
/// as long as it is open.
#[derive(Debug)]
pub struct Bindings {
    path: PathBuf,
    file: File,
    /// Seeds the next record's checksum.
    chain: u64,
    ledger: Ledger,
    broken: bool,
    /// Locked; released when it is closed.
    _lock: File,
}

impl Bindings {
    /// Opens the log in the directory `dir`, which must exist, for the job `job`; creates it when
    /// there is none. Returns it with all the bindings it holds, oldest first.
    ///
    /// A last record that is incomplete or bad was never acknowledged, and is cut off with a
    /// warning.
    ///
    /// # Errors
    /// When another process holds the log; when it belongs to another job or version; when it is
    /// damaged before its last record; when the disk fails. The log is then left as it is.
    pub fn open(dir: &Path, job: &str) -> Result<(Self, Vec<Binding>), BindingsError> {
        let path = dir.join(FILE);
        let fail = |source| BindingsError::Io { path: path.clone(), source };
        let lock = lock(&dir.join(LOCK))?;
        let header = Header::new(job);
        if !path.try_exists().map_err(fail)? {
            create(dir, &path, &header).map_err(fail)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).open(&path).map_err(fail)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail)?;
        let mut chain = header.check(&bytes, job, &path)?;

        let (mut ledger, mut bindings) = (Ledger::default(), Vec::new());
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            match frame::next(&bytes, at, chain) {
                Found::Record { payload, checksum, end } => {
                    let taken = record::decode(payload, &mut ledger).and_then(|binding| {
                        ledger.check(&binding)?;
                        ledger.apply(&binding);
                        Ok(binding)
                    });
                    let damaged = |what| BindingsError::Inconsistent { path: path.clone(), at, what };
                    bindings.push(taken.map_err(damaged)?);
                    (at, chain) = (end, checksum);
                }
                Found::Torn => {
                    cut(&file, at).map_err(fail)?;
                    tracing::warn!(
                        path = %path.display(),
                        bytes = bytes.len() - at,
                        "the last record of the binding log was incomplete and was cut off; \
                         its epoch had not been published"
                    );
                    break;
                }
                Found::Damaged => return Err(BindingsError::Damaged { path, at }),
            }
        }
        Ok((Self { path, file, chain, ledger, broken: false, _lock: lock }, bindings))
    }

    /// Adds a binding. When this returns, it survives a crash of the machine.
    ///
    /// # Errors
    /// [`BindingsError::Invalid`] when the binding does not continue the log: nothing was written.
    /// When writing fails, it is unknown how much of the record is on the disk: this log takes no
    /// more, and the process must end and open it again.
    pub fn append(&mut self, binding: &Binding) -> Result<(), BindingsError> {
        if self.broken {
            return Err(BindingsError::Broken { path: self.path.clone() });
        }
        self.ledger.check(binding).map_err(BindingsError::Invalid)?;
        let payload = record::encode(binding, &mut self.ledger);
        let (frame, checksum) = frame::write(&payload, self.chain).map_err(|invalid| {
            // The ledger has taken topics in that no record names.
            self.broken = true;
            BindingsError::Invalid(invalid)
        })?;
        let written = self.file.write_all(&frame).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            self.broken = true;
            return Err(BindingsError::Io { path: self.path.clone(), source });
        }
        self.chain = checksum;
        self.ledger.apply(binding);
        Ok(())
    }

    /// For each partition that was ever bound, the offset of the next message to read.
    pub fn positions(&self) -> Positions {
        self.ledger.positions()
    }

    /// The last epoch bound.
    pub fn last_epoch(&self) -> Option<Epoch> {
        self.ledger.last_epoch()
    }
}

fn lock(path: &Path) -> Result<File, BindingsError> {
    let fail = |source| BindingsError::Io { path: path.to_owned(), source };
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BindingsError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(fail(source)),
    }
}

/// Writes an empty log aside and moves it into place, so that there is never half a header.
fn create(dir: &Path, path: &Path, header: &Header) -> std::io::Result<()> {
    let aside = dir.join("bindings.log.new");
    let mut file = File::create(&aside)?;
    file.write_all(&header.bytes())?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    File::open(dir)?.sync_all()
}

fn cut(file: &File, at: usize) -> std::io::Result<()> {
    file.set_len(at as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
