//! Why a checkpoint can't be written or read.

use super::segment::Damage;
use crate::names::Collision;
use crate::store::StoreError;

/// Why a checkpoint can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Where it lies.
    #[error("checkpoint: {0}")]
    Store(#[from] StoreError),
    /// An object isn't what was written.
    #[error(
        "{name} of the checkpoint in {place} is damaged at byte {}: {}; restore it from a copy; \
         without one, start anew from Kafka with an empty state directory and checkpoint, another job name and \
         another database", damage.at, damage.what
    )]
    Damaged {
        /// Where.
        place: String,
        /// Which.
        name: String,
        /// How.
        damage: Damage,
    },
    /// Another job's.
    #[error("the checkpoint in {place} is of job {found:?}, not {job:?}; each job needs a place of its own")]
    OtherJob {
        /// Where.
        place: String,
        /// Its job.
        found: String,
        /// This one.
        job: String,
    },
    /// Written by another version of this program.
    #[error("the checkpoint in {place} has version {found}, and this program reads {expected}")]
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
        "another run writes checkpoints of this job to {place}: its manifest {number} is not ours; this run \
         ends, as two would undo each other's work"
    )]
    Fenced {
        /// Where.
        place: String,
        /// The manifest.
        number: u64,
    },
    /// This process looks elsewhere than the first.
    #[error(
        "manifest {number}, which the first process has just written, is not in {place}; all processes need \
         the same checkpoint.directory, on a disk or in a store that they share"
    )]
    NotShared {
        /// Where this process looks.
        place: String,
        /// The manifest.
        number: u64,
    },
    /// Two names share a key.
    #[error(transparent)]
    Collision(#[from] Collision),
    /// No thread.
    #[error("can't start the thread that writes checkpoints")]
    Thread(#[source] std::io::Error),
}

impl CheckpointError {
    /// Whether another attempt can succeed.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Store(error) if error.may_pass())
    }
}
