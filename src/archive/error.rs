//! Why an archive can't be written or read.

use crate::store::StoreError;

/// Why an archive can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Where it lies.
    #[error("the archive in {place} can't be read or written")]
    Store {
        /// Where.
        place: String,
        /// Why.
        source: StoreError,
    },
    /// A file that a manifest names.
    #[error("{address} can't be read; if a run has merged or moved it meanwhile, start again")]
    File {
        /// Which.
        address: String,
        /// Why.
        source: StoreError,
    },
    /// A manifest isn't what was written.
    #[error(
        "{name} of the archive in {place} is damaged: {what}; restore it from a copy, or remove it, and \
         the one before it is used"
    )]
    Damaged {
        /// Where.
        place: String,
        /// Which.
        name: String,
        /// How.
        what: String,
    },
    /// The rows of lookup topics aren't what was written.
    #[error("{name} of the archive in {place} is damaged at byte {at}: {what}; restore it from a copy")]
    DamagedRows {
        /// Where.
        place: String,
        /// Which.
        name: String,
        /// Where in it.
        at: usize,
        /// How.
        what: &'static str,
    },
    /// A file can't be written as Parquet, or isn't what was written.
    #[error("{name} of the archive in {place} can't be read or written as Parquet")]
    Parquet {
        /// Where.
        place: String,
        /// Which.
        name: String,
        /// Why.
        source: parquet::errors::ParquetError,
    },
    /// Another job's.
    #[error("the archive in {place} is of job {found:?}, not {job:?}; each job needs an archive of its own")]
    OtherJob {
        /// Where.
        place: String,
        /// Its job.
        found: String,
        /// This one.
        job: String,
    },
    /// Written by another version of this program.
    #[error("the archive in {place} has version {found}, and this program reads {expected}")]
    Version {
        /// Where.
        place: String,
        /// Its version.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// Another run has written here since this one started.
    #[error(
        "another run writes to the archive in {place}: its manifest {number} is not ours; this run ends, as \
         two would undo each other's work"
    )]
    Fenced {
        /// Where.
        place: String,
        /// The manifest.
        number: u64,
    },
    /// The first process of this run has not taken over what this process sees.
    #[error(
        "the archive in {place} is not the one that process 0 has taken over: another run has taken its place, \
         or archive.directory is not the same for all processes"
    )]
    NotShared {
        /// Where.
        place: String,
    },
    /// The manifests changed again and again while they were read.
    #[error("the archive in {place} changes faster than it can be read; try again")]
    Restless {
        /// Where.
        place: String,
    },
    /// Files lie in a colder place that isn't configured any more.
    #[error(
        "the archive in {place} has files in {cold}, but archive.cold_directory or cold_url is another; set \
         it to {cold}, or move the files and say where they are"
    )]
    OtherCold {
        /// Where.
        place: String,
        /// Where its cold files are.
        cold: String,
    },
    /// Somebody else uses it.
    #[error("the archive in {place} is in use by a run; stop that first")]
    Locked {
        /// Where.
        place: String,
    },
    /// It can't be locked.
    #[error("can't lock {}", path.display())]
    Lock {
        /// The lock's file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No thread.
    #[error("can't start the thread that writes the archive")]
    Thread(#[source] std::io::Error),
}

impl ArchiveError {
    /// Whether another attempt can succeed.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Store { source, .. } if source.may_pass())
    }
}
