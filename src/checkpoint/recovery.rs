//! Reads a checkpoint back.

use std::sync::{Mutex, PoisonError};

use dataflows::model::horizon::{Freezes, Horizon};
use dataflows::model::time::Minute;
use dataflows::rules::horizon::Expires;

use super::error::CheckpointError;
use super::manifest::{self, HeldRows, Manifest, damaged, read_residues, read_rows};
use super::records::RejectCount;
use super::residues::HeldResidues;
use super::segment::{Damage, Listed, LoadFault, Segment};
use crate::formats::Batch;
use crate::names::Names;
use crate::store::{Store, StoreError};

/// A checkpoint, to be read by the workers together.
pub struct Recovery {
    /// What it consists of.
    pub manifest: Manifest,
    /// The rows of lookup topics.
    pub rows: HeldRows,
    /// What stays published of records that were erased.
    pub residues: HeldResidues,
    /// The greatest number of a manifest, which need not be this one's.
    pub latest: u64,
    /// What no worker has taken yet.
    left: Mutex<Vec<Listed>>,
}

impl Recovery {
    /// The last checkpoint of `job`; an empty one when there is none. A damaged one, that is one whose
    /// manifest or one of the objects that only it names isn't what was written, is passed over with a
    /// warning: whether the one before will do is for the binding log to tell.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn find(store: &Store, job: &str, run: &str) -> Result<Self, CheckpointError> {
        let mut numbers = manifest::numbers(store)?;
        let (mut manifest, latest) = (None, numbers.last().copied().unwrap_or(0));
        while let Some(number) = numbers.pop() {
            let before = numbers.last().copied();
            match Manifest::read(store, number, job).and_then(|found| verify_new(store, found, before)) {
                Ok(found) => {
                    manifest = Some(found);
                    break;
                }
                Err(error @ CheckpointError::Damaged { .. }) if !numbers.is_empty() => {
                    tracing::warn!("{error}; trying the checkpoint before");
                }
                Err(error) => return Err(error),
            }
        }
        let manifest = manifest.unwrap_or_else(|| Manifest::new(job, run));
        let rows = manifest.lookups.as_ref().map(|listed| read_rows(store, listed)).transpose()?;
        let residues = read_residues(store, &manifest)?;
        let left = Mutex::new(manifest.segments.iter().chain(&manifest.kept).cloned().collect());
        Ok(Self { manifest, rows: rows.unwrap_or_default(), residues, latest, left })
    }

    /// The share that one of the processes takes in of the checkpoint that the first one found and
    /// claimed with `claim`.
    ///
    /// # Errors
    /// This process looks at another place than the first; see [`CheckpointError`].
    pub fn share(
        store: &Store,
        claim: &Manifest,
        process: usize,
        processes: usize,
    ) -> Result<Self, CheckpointError> {
        let number = claim.number;
        if Manifest::read(store, number, &claim.job).ok().as_ref() != Some(claim) {
            return Err(CheckpointError::NotShared { place: store.place().to_owned(), number });
        }
        let rows = claim.lookups.as_ref().map(|listed| read_rows(store, listed)).transpose()?;
        let mut segments: Vec<Listed> = claim.segments.iter().chain(&claim.kept).cloned().collect();
        segments.sort_by_key(|listed| std::cmp::Reverse(listed.bytes));
        let left = segments.into_iter().skip(process).step_by(processes.max(1)).collect();
        Ok(Self {
            manifest: claim.clone(),
            rows: rows.unwrap_or_default(),
            residues: read_residues(store, claim)?,
            latest: number,
            left: Mutex::new(left),
        })
    }

    /// How many events it holds.
    pub fn events(&self) -> u64 {
        self.manifest.segments.iter().flat_map(|listed| &listed.records[..4]).sum()
    }

    /// A segment that nobody has taken, as its parts come: for each, its events in `batch` and its
    /// counts of rejects go to `take`. False when none is left.
    ///
    /// # Errors
    /// The segment can't be read, isn't what was written, or `take` fails.
    pub fn next<E: From<CheckpointError>>(
        &self,
        store: &Store,
        names: &Names,
        batch: &mut Batch,
        mut take: impl FnMut(&Batch, Vec<RejectCount>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(listed) = self.left.lock().unwrap_or_else(PoisonError::into_inner).pop() else {
            return Ok(false);
        };
        let mut segment = open(store, &self.manifest.job, &listed)?;
        let horizon = self.manifest.horizon_of(&listed);
        loop {
            match next((store, &listed, &horizon), &mut segment, batch, names)? {
                Some(rejects) => take(batch, rejects)?,
                None => return Ok(true),
            }
        }
    }
}

/// Verifies what a manifest names and the one before, if there is one, doesn't: that one does without
/// it. What both name is verified as it is read; were it damaged, the one before would not help.
fn verify_new(store: &Store, found: Manifest, before: Option<u64>) -> Result<Manifest, CheckpointError> {
    let Some(Ok(before)) = before.map(|before| Manifest::read(store, before, &found.job)) else {
        return Ok(found);
    };
    let is_new = |listed: &&Listed| before.objects().all(|name| name != listed.name);
    let segments = found.segments.iter().chain(&found.kept);
    segments.filter(is_new).try_for_each(|listed| open(store, &found.job, listed).map(drop))?;
    found.lookups.iter().filter(is_new).try_for_each(|listed| read_rows(store, listed).map(drop))?;
    Ok(found)
}

/// The next part of a segment, as of a horizon: its events in `batch`, its texts in `names`, and its
/// counts of rejects.
pub fn next(
    (store, listed, horizon): (&Store, &Listed, &Horizon),
    segment: &mut Segment,
    batch: &mut Batch,
    names: &Names,
) -> Result<Option<Vec<RejectCount>>, CheckpointError> {
    batch.clear();
    let taken = segment.next(batch, names).map_err(|fault| match fault {
        LoadFault::Damage(damage) => damaged(store, &listed.name, damage),
        LoadFault::Collision(collision) => collision.into(),
    })?;
    Ok(taken.map(|mut rejects| {
        drop_expired(horizon, batch, &mut rejects);
        rejects
    }))
}

/// Drops what is not there any more, and the counts of rejects in frozen minutes.
fn drop_expired(horizon: &Horizon, batch: &mut Batch, rejects: &mut Vec<RejectCount>) {
    batch.bids.retain(|(_, bid)| !bid.is_expired(horizon));
    batch.impressions.retain(|(_, impression)| !impression.is_expired(horizon));
    batch.clicks.retain(|(_, click)| !click.is_expired(horizon));
    batch.conversions.retain(|(_, conversion)| !conversion.is_expired(horizon));
    rejects.retain(|count| count.minute == Minute(0) || !count.minute.is_frozen(horizon.freeze));
}

/// Reads a segment and verifies it.
pub fn open(store: &Store, job: &str, listed: &Listed) -> Result<Segment, CheckpointError> {
    verify(store, job, listed, &read(store, &listed.name)?)
}

/// Reads an object that a manifest names.
pub fn read(store: &Store, name: &str) -> Result<Vec<u8>, CheckpointError> {
    store.read(name).map_err(|error| match error {
        StoreError::Missing { .. } => damaged(store, name, Damage { at: 0, what: "it is missing" }),
        error => error.into(),
    })
}

/// Verifies a segment that was read, or is still to be written.
pub fn verify(store: &Store, job: &str, listed: &Listed, bytes: &[u8]) -> Result<Segment, CheckpointError> {
    let mut words = vec![0u64; bytes.len() / size_of::<u64>()];
    let whole = words.len() * size_of::<u64>();
    bytemuck::cast_slice_mut(&mut words).copy_from_slice(&bytes[..whole]);
    let opened = match whole == bytes.len() {
        true => Segment::open(words, job, listed),
        false => Err(Damage { at: whole, what: "it has another length than the manifest says" }),
    };
    opened.map_err(|damage| damaged(store, &listed.name, damage))
}
