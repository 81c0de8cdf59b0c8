//! Where a replay's tables go: into a directory, or into tables of ClickHouse beside those that are
//! published.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::sinks::clickhouse::Generation;
use crate::sinks::directory::{DirectoryError, PendingDirectory};
use crate::sinks::table_file::TableFormat;

/// Where the tables go.
#[derive(Clone, Debug)]
pub enum Output {
    /// Into files, all of which appear together with the rejects and `run.json`, or not at all.
    Directory {
        /// The directory.
        path: PathBuf,
        /// The format of the tables.
        format: TableFormat,
        /// Replace what is there.
        force: bool,
    },
    /// Into a generation of the tables in ClickHouse, which the caller then puts in place. Rejects
    /// are only counted. For one process.
    Generation(Arc<Generation>),
}

impl Output {
    /// Whether it may be written to.
    pub(super) fn check(&self) -> Result<(), DirectoryError> {
        match self {
            Self::Directory { path, force, .. } => PendingDirectory::check(path, *force),
            Self::Generation(_) => Ok(()),
        }
    }

    /// The format of the files.
    pub(super) fn format(&self) -> Option<TableFormat> {
        match self {
            Self::Directory { format, .. } => Some(*format),
            Self::Generation(_) => None,
        }
    }

    /// Starts it; with several processes, `part` is the number of the run and that of the process.
    pub(super) fn open(&self, part: Option<(u64, usize)>) -> Result<Opened, DirectoryError> {
        Ok(match self {
            Self::Directory { path, format, force } => {
                let directory = match part {
                    None => PendingDirectory::new(path, *force)?,
                    Some((run, process)) => PendingDirectory::shared(path, *force, run, process)?,
                };
                Opened::Directory(directory, *format)
            }
            Self::Generation(generation) => Opened::Generation(Arc::clone(generation)),
        })
    }
}

/// An output that was started.
pub(super) enum Opened {
    Directory(PendingDirectory, TableFormat),
    Generation(Arc<Generation>),
}

impl Opened {
    /// Where rejects are written.
    pub fn rejects(&self) -> Result<Box<dyn Write + Send>, DirectoryError> {
        Ok(match self {
            Self::Directory(directory, _) => Box::new(BufWriter::new(directory.create("rejects.jsonl")?)),
            Self::Generation(_) => Box::new(io::sink()),
        })
    }

    /// Where tables are written.
    pub fn place(&self) -> Place<'_> {
        match self {
            Self::Directory(directory, format) => Place::Directory(directory, *format),
            Self::Generation(generation) => Place::Generation(generation),
        }
    }

    /// What is to be put in place at the end, if it is a directory.
    pub fn into_directory(self) -> Option<PendingDirectory> {
        match self {
            Self::Directory(directory, _) => Some(directory),
            Self::Generation(_) => None,
        }
    }
}

/// Where tables are written.
#[derive(Copy, Clone, Debug)]
pub enum Place<'a> {
    /// Into files.
    Directory(&'a PendingDirectory, TableFormat),
    /// Into ClickHouse.
    Generation(&'a Arc<Generation>),
}
