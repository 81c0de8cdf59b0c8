//! Where a replay's tables go: into a directory, or into tables of ClickHouse beside those that are
//! published.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::filling::Filling;
use super::replay::{ReplayError, write_report};
use super::report::RunReport;
use crate::sinks::clickhouse::Staging;
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
    /// Into a generation of the tables in ClickHouse, which then takes the place of the published
    /// one. Rejects are only counted.
    Generation(Arc<Filling>),
}

impl Output {
    /// Whether it may be written to.
    pub(super) fn check(&self) -> Result<(), DirectoryError> {
        match self {
            Self::Directory { path, force, .. } => PendingDirectory::check(path, *force),
            Self::Generation(_) => Ok(()),
        }
    }

    /// What all processes must have in common of it.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Directory { format, .. } => format!("{format:?}"),
            Self::Generation(filling) => format!("into {}", filling.staging().database()),
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
            Self::Generation(filling) => Opened::Generation(Arc::clone(filling)),
        })
    }
}

/// An output that was started.
pub(super) enum Opened {
    Directory(PendingDirectory, TableFormat),
    Generation(Arc<Filling>),
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
            Self::Generation(filling) => Place::Staging(filling.staging()),
        }
    }

    /// Where rows may wait on disk.
    pub fn scratch(&self) -> PathBuf {
        match self {
            Self::Directory(directory, _) => directory.path().to_owned(),
            Self::Generation(_) => std::env::temp_dir(),
        }
    }

    /// Where rows are written in ClickHouse, if they are.
    pub fn staging(&self) -> Option<Arc<Staging>> {
        match self {
            Self::Directory(..) => None,
            Self::Generation(filling) => Some(Arc::clone(filling.staging())),
        }
    }

    /// Puts the whole in place, once all processes have written their parts. On the first one only.
    pub fn publish(self, report: &RunReport) -> Result<(), ReplayError> {
        match self {
            Self::Directory(directory, _) => {
                write_report(&directory, report)?;
                directory.publish()?;
                Ok(())
            }
            Self::Generation(filling) => filling.put_in_place(report),
        }
    }

    /// Leaves what the first process has put in place.
    pub fn leave(self) {
        if let Self::Directory(directory, _) = self {
            directory.leave();
        }
    }
}

/// Where tables are written.
#[derive(Copy, Clone, Debug)]
pub enum Place<'a> {
    /// Into files.
    Directory(&'a PendingDirectory, TableFormat),
    /// Into ClickHouse.
    Staging(&'a Arc<Staging>),
}
