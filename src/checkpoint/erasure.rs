//! A checkpoint without some of its records: all that is not theirs is written anew, and what named
//! them goes.

use std::sync::Arc;
use std::time::Duration;

use dataflows::model::time::Epoch;

use super::error::CheckpointError;
use super::fed::Records;
use super::keeper::Keeper;
use super::manifest::Manifest;
use super::recovery::{self, Recovery};
use super::residues::HeldResidues;
use super::segment::Listed;
use crate::formats::Batch;
use crate::names::Names;
use crate::store::Store;

/// Writes checkpoints for who changes what was read, while no run does.
pub struct Rewriter {
    keeper: Keeper,
    store: Arc<Store>,
    segment_bytes_max: u64,
}

impl Rewriter {
    /// Claims the store for `run`, behind `recovery`: a run that still lives notices, and ends.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn claim(
        store: Arc<Store>,
        recovery: &Recovery,
        run: &str,
        segment_bytes_max: usize,
    ) -> Result<Self, CheckpointError> {
        store.check_create(run)?;
        let sizes = (1, Duration::ZERO, segment_bytes_max);
        let keeper = Keeper::claim(Arc::clone(&store), recovery, run, sizes)?;
        Ok(Self { keeper, store, segment_bytes_max: segment_bytes_max as u64 })
    }

    /// The manifest that the store was claimed with.
    pub fn manifest(&self) -> &Manifest {
        self.keeper.manifest()
    }

    /// Writes all records anew that `retain` leaves in a batch, as the checkpoint of `epoch`. The
    /// objects that held the others are removed, as no manifest names them any more.
    ///
    /// # Errors
    /// See [`CheckpointError`]. What was there before counts then.
    pub fn write_without(
        &mut self,
        epoch: Epoch,
        residues: &HeldResidues,
        retain: &dyn Fn(&mut Batch),
    ) -> Result<(), CheckpointError> {
        let mut next = self.keeper.manifest().clone();
        next.segments = self.sift(&next, &next.segments, "segment", retain)?;
        next.kept = self.sift(&next, &next.kept, "kept", retain)?;
        next.epoch = epoch;
        let name = self.keeper.object("residues", "json");
        next.residues = residues.write(name, |name, bytes| self.store.create(name, bytes).map(drop))?;
        // Twice, as the last two manifests keep what they name.
        self.keeper.commit(next.clone())?;
        self.keeper.commit(next)
    }

    fn sift(
        &mut self,
        manifest: &Manifest,
        list: &[Listed],
        what: &str,
        retain: &dyn Fn(&mut Batch),
    ) -> Result<Vec<Listed>, CheckpointError> {
        let (mut all, mut names) = (Records::default(), Names::default());
        let (mut batch, mut written) = (Batch::default(), Vec::new());
        for listed in list {
            if all.bytes() as u64 + listed.bytes > self.segment_bytes_max {
                self.put(&mut all, &mut names, what, &mut written)?;
            }
            let mut segment = recovery::open(&self.store, &manifest.job, listed)?;
            let horizon = manifest.horizon_of(listed);
            let read = (&*self.store, listed, &horizon);
            while let Some(rejects) = recovery::next(read, &mut segment, &mut batch, &names)? {
                retain(&mut batch);
                all.add(&batch);
                rejects.into_iter().for_each(|count| all.count(count));
            }
        }
        self.put(&mut all, &mut names, what, &mut written)?;
        Ok(written)
    }

    fn put(
        &mut self,
        records: &mut Records,
        names: &mut Names,
        what: &str,
        written: &mut Vec<Listed>,
    ) -> Result<(), CheckpointError> {
        let job = &self.keeper.manifest().job;
        let segment = std::mem::take(records).segment(job, &std::mem::take(names));
        if !segment.is_empty() {
            let (bytes, listed) = segment.finish(self.keeper.object(what, "seg"), 1);
            self.store.create(&listed.name, bytes)?;
            written.push(listed);
        }
        Ok(())
    }
}
