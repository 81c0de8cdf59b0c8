//! A first checkpoint out of records from elsewhere, such as an archive.

use super::error::CheckpointError;
use super::fed::Records;
use super::manifest::{self, Manifest};
use super::residues::HeldResidues;
use crate::bindings::Positions;
use crate::names::Names;
use crate::store::{Created, Store};

/// A checkpoint in the making. It is there once it is finished, and not before.
pub struct Import<'a> {
    store: &'a Store,
    manifest: Manifest,
}

impl<'a> Import<'a> {
    /// Begins the first checkpoint of a job.
    pub fn new(store: &'a Store, job: &str, run: &str) -> Self {
        let mut manifest = Manifest::new(job, run);
        (manifest.number, manifest.handed_over) = (1, true);
        Self { store, manifest }
    }

    /// Adds a segment.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn add(&mut self, records: &Records, names: &Names) -> Result<(), CheckpointError> {
        let segment = records.segment(&self.manifest.job, names);
        if segment.is_empty() {
            return Ok(());
        }
        let name = format!("segment-{}-import-{:08}.seg", self.manifest.run, self.manifest.segments.len());
        let (bytes, listed) = segment.finish(name, 0);
        self.store.create(&listed.name, bytes)?;
        self.manifest.segments.push(listed);
        Ok(())
    }

    /// Adds what stays published of records that were erased.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn add_residues(&mut self, residues: &HeldResidues) -> Result<(), CheckpointError> {
        let name = format!("residues-{}-import.json", self.manifest.run);
        self.manifest.residues =
            residues.write(name, |name, bytes| self.store.create(name, bytes).map(drop))?;
        Ok(())
    }

    /// Ends it: all that was added was read up to these positions, as of `epoch`.
    ///
    /// # Errors
    /// [`CheckpointError::Fenced`] when there is a checkpoint by now.
    pub fn finish(mut self, epoch: u64, positions: &Positions) -> Result<(), CheckpointError> {
        self.manifest.epoch = epoch;
        self.manifest.set_positions(positions);
        let number = self.manifest.number;
        match self.store.create(&manifest::name(number), self.manifest.bytes())? {
            Created::Yes => Ok(()),
            Created::Taken => Err(CheckpointError::Fenced { place: self.store.place().to_owned(), number }),
        }
    }
}
