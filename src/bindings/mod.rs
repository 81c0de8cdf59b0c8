//! The binding log: which offsets an epoch was made of, made durable before anything of that epoch
//! leaves the process. Kafka keeps the bytes; with this log the same offsets become the same
//! epochs after a crash, so the same rows come out with the same versions.
//!
//! ```text
//! header            magic ─ version ─ job ─ epoch forgotten last ─ checksum
//! a record per epoch  [length, its check] [epoch, horizon, new topics, ranges] [checksum]
//!                                                              seeded by the checksum before ┘
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

use dataflows::model::horizon::Horizon;
use dataflows::model::time::Epoch;
use serde::{Deserialize, Serialize};

pub use error::{BindingsError, Invalid};

use self::frame::{Found, HEADER_BYTES, Header};
use self::ledger::Ledger;

const FILE: &str = "bindings.log";
const LOCK: &str = "bindings.lock";
/// A log shorter than this is not worth being written anew.
const FORGET_FROM: u64 = if cfg!(test) { 0 } else { 4 << 20 };

/// One partition of one topic.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
pub struct Range {
    /// The partition.
    pub place: TopicPartition,
    /// The first offset.
    pub from: i64,
    /// The first offset no longer in it.
    pub to: i64,
}

/// What one epoch was made of.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The epoch.
    pub epoch: Epoch,
    /// At most one range per partition, each starting where the partition's last one ended. An
    /// empty range is allowed only as the first of its partition: it says where reading starts,
    /// so that a restart before the first message starts at the same place.
    pub ranges: Vec<Range>,
    /// What was frozen when it was read: what is read again must be found too late, or not, as it
    /// was the first time.
    pub horizon: Horizon,
}

/// The binding log of one process, open for appending. It is locked against other processes for
/// as long as it is open.
#[derive(Debug)]
pub struct Bindings {
    path: PathBuf,
    header: Header,
    file: File,
    /// Seeds the next record's checksum.
    chain: u64,
    ledger: Ledger,
    broken: bool,
    /// From which length on the log is written anew.
    forget_from: u64,
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
        if !path.try_exists().map_err(fail)? {
            replace(dir, &path, &Header::new(job, 0).bytes()).map_err(fail)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).open(&path).map_err(fail)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail)?;
        let header = Header::read(&bytes, job, &path)?;
        let Log { bindings, ledger, chain, end } = Log::parse(&bytes, header, &path)?;
        if end < bytes.len() {
            cut(&file, end).map_err(fail)?;
            tracing::warn!(
                path = %path.display(),
                bytes = bytes.len() - end,
                "the last record of the binding log was incomplete and was cut off; its epoch had not been \
                 published"
            );
        }
        let log =
            Self { path, header, file, chain, ledger, broken: false, forget_from: FORGET_FROM, _lock: lock };
        Ok((log, bindings))
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

    /// Forgets the bindings of epochs up to `through`, of which a checkpoint holds what was read; the
    /// last binding stays. Does nothing while the log is small.
    ///
    /// # Errors
    /// The log can't be read or written anew. It is then as it was before.
    pub fn forget(&mut self, through: Epoch) -> Result<(), BindingsError> {
        let fail = |source| BindingsError::Io { path: self.path.clone(), source };
        if self.broken || self.file.metadata().map_err(fail)?.len() < self.forget_from {
            return Ok(());
        }
        let bytes = std::fs::read(&self.path).map_err(fail)?;
        let mut read = Log::parse(&bytes, self.header, &self.path)?;
        let last = self.ledger.last_epoch();
        let stays = |binding: &Binding| binding.epoch > through || Some(binding.epoch) == last;
        let forgotten = read.bindings.iter().rfind(|binding| !stays(binding)).map(|binding| binding.epoch);
        read.bindings.retain(stays);

        let forgotten = forgotten.unwrap_or(self.header.forgotten);
        let header = Header { forgotten, ..self.header };
        let (mut ledger, mut chain) = (Ledger::default(), header.seed());
        let mut bytes = header.bytes().to_vec();
        for binding in &read.bindings {
            let payload = record::encode(binding, &mut ledger);
            let (frame, checksum) = frame::write(&payload, chain).map_err(BindingsError::Invalid)?;
            bytes.extend(frame);
            chain = checksum;
            ledger.apply(binding);
        }
        let dir = self.path.parent().unwrap_or(Path::new("."));
        replace(dir, &self.path, &bytes).map_err(fail)?;
        self.file = OpenOptions::new().read(true).append(true).open(&self.path).map_err(fail)?;
        (self.ledger, self.chain, self.header) = (ledger, chain, header);
        self.forget_from = FORGET_FROM + 2 * bytes.len() as u64;
        Ok(())
    }

    /// For each partition that was ever bound, the offset of the next message to read.
    pub fn positions(&self) -> Positions {
        self.ledger.positions()
    }

    /// Bindings of epochs up to this one may have been forgotten; all behind it are there. A checkpoint
    /// that ends before can't be continued.
    pub fn forgotten(&self) -> Epoch {
        self.header.forgotten
    }

    /// What was frozen in the last epoch bound.
    pub fn horizon(&self) -> Horizon {
        self.ledger.horizon()
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

/// What a log says.
struct Log {
    bindings: Vec<Binding>,
    ledger: Ledger,
    chain: u64,
    /// Where its last whole record ends.
    end: usize,
}

impl Log {
    /// Reads a log whose header was checked.
    fn parse(bytes: &[u8], header: Header, path: &Path) -> Result<Self, BindingsError> {
        let (bindings, ledger) = (Vec::new(), Ledger::default());
        let mut log = Self { bindings, ledger, chain: header.seed(), end: HEADER_BYTES };
        while log.end < bytes.len() {
            match frame::next(bytes, log.end, log.chain) {
                Found::Record { payload, checksum, end } => {
                    let taken = record::decode(payload, &mut log.ledger).and_then(|binding| {
                        log.ledger.check(&binding)?;
                        log.ledger.apply(&binding);
                        Ok(binding)
                    });
                    let at = log.end;
                    let damaged = |what| BindingsError::Inconsistent { path: path.to_owned(), at, what };
                    log.bindings.push(taken.map_err(damaged)?);
                    (log.end, log.chain) = (end, checksum);
                }
                Found::Torn => break,
                Found::Damaged => {
                    return Err(BindingsError::Damaged { path: path.to_owned(), at: log.end });
                }
            }
        }
        Ok(log)
    }
}

/// Writes a log aside and moves it into place, so that there is never half of it.
fn replace(dir: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let aside = dir.join("bindings.log.new");
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
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
