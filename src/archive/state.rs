//! What an archive consists of, as it is found.
//!
//! ```text
//!   shard 0:  files ─ partition p up to 20 ─ rows of p    p was moved to another process, which
//!   shard 1:  files ─ partition p up to 30 ─ rows of p    goes on behind 20: the furthest is right
//! ```

use std::collections::{BTreeMap, HashSet};

use super::error::ArchiveError;
use super::manifest::{self, Entry, Manifest, failed, lookup_rows};
use crate::bindings::Positions;
use crate::checkpoint::{HeldResidues, HeldRows};
use crate::store::Store;

/// How often the manifests are listed anew when something vanishes while it is read.
const ATTEMPTS: usize = 5;

/// Which process of how many.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Shard {
    /// Its number, from 0.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

impl Shard {
    /// The only process.
    pub const ONLY: Shard = Shard { number: 0, of: 1 };

    /// Whether what a shard wrote is this one's to keep in order: what a greater cluster left goes
    /// to the first.
    pub fn keeps(self, shard: u32) -> bool {
        shard == self.number || self.number == 0 && shard >= self.of
    }
}

/// An archive as one process finds it.
#[derive(Debug)]
pub struct Archive {
    /// What this process goes on from: the files that are its own, and the partitions in which
    /// nobody is further.
    pub manifest: Manifest,
    /// Up to where each partition is archived, by whichever process.
    pub positions: Positions,
    /// The rows of lookup topics, of all partitions.
    pub rows: HeldRows,
    /// What stays published of records that were erased.
    pub residues: HeldResidues,
    /// Which process this is.
    pub shard: Shard,
    /// The greatest number of a manifest of each process, which need not be the one found.
    pub latest: BTreeMap<u32, u64>,
    /// The newest manifests of all processes, this one's too.
    pub found: Vec<Manifest>,
}

impl Archive {
    /// The archive of `job`; an empty one when there is none. What was read up to `begins` is not
    /// in an archive that is new.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn find(
        store: &Store,
        job: &str,
        run: &str,
        shard: Shard,
        begins: u64,
    ) -> Result<Self, ArchiveError> {
        let Found { manifests: found, latest, positions, rows, residues } = Found::read(store)?;
        if let Some(other) = found.iter().find(|manifest| manifest.job != job) {
            let (place, found, job) = (store.place().to_owned(), other.job.clone(), job.to_owned());
            return Err(ArchiveError::OtherJob { place, found, job });
        }
        let mut mine = Manifest::new(job, shard.number, run);
        // Partitions may have come from whoever was last.
        mine.epoch = epoch(&found);
        let kept: Vec<&Manifest> = found.iter().filter(|manifest| shard.keeps(manifest.shard)).collect();
        mine.begins = kept.first().copied().or(found.first()).map_or(begins, |known| known.begins);
        mine.cold = kept.iter().find_map(|manifest| manifest.cold.clone());
        mine.files = kept.iter().flat_map(|manifest| manifest.files.clone()).collect();
        sort(&mut mine.files);
        if shard.number == 0 {
            mine.residues = found.iter().find_map(|found| found.residues.clone());
        }
        let mut own = furthest(kept);
        own.retain(|place, next| positions.get(place) == Some(next));
        mine.set_positions(&own);
        Ok(Self { manifest: mine, positions, rows, residues, shard, latest, found })
    }
}

/// All that manifests say, taken together.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest sound manifest of each shard that there still is. Each file is named by one only.
    pub manifests: Vec<Manifest>,
    /// The greatest number of each shard's.
    pub latest: BTreeMap<u32, u64>,
    /// Up to where each partition is archived.
    pub positions: Positions,
    /// The rows of lookup topics.
    pub rows: HeldRows,
    /// What stays published of records that were erased.
    pub residues: HeldResidues,
}

impl Found {
    /// Reads them, again and again while they change meanwhile.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn read(store: &Store) -> Result<Self, ArchiveError> {
        for attempt in 1.. {
            match Self::read_now(store) {
                Err(error) if error.may_pass() && attempt < ATTEMPTS => {
                    tracing::debug!("{error}; listing the manifests again");
                }
                done => return done,
            }
        }
        Err(ArchiveError::Restless { place: store.place().to_owned() })
    }

    fn read_now(store: &Store) -> Result<Self, ArchiveError> {
        let names = store.names().map_err(|source| failed(store, source))?;
        let mut numbers: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (shard, number) in names.iter().filter_map(|name| manifest::parse(name)) {
            numbers.entry(shard).or_default().push(number);
        }
        let mut found = Self::default();
        for (shard, mut numbers) in numbers {
            numbers.sort_unstable();
            found.latest.extend(numbers.last().map(|number| (shard, *number)));
            found.manifests.extend(newest(store, shard, numbers)?.filter(|manifest| !manifest.left));
        }
        // What a shard has left is still in its manifest if the first one was killed amid taking it.
        let mut named = HashSet::new();
        for manifest in &mut found.manifests {
            manifest.files.retain(|file| named.insert(file.name.clone()));
        }
        found.positions = furthest(&found.manifests);
        found.rows = rows(store, &found.manifests, &found.positions)?;
        found.residues = manifest::residues(store, &found.manifests)?;
        Ok(found)
    }
}

/// The newest sound manifest of a shard, of those with these numbers, which are in order.
fn newest(store: &Store, shard: u32, mut numbers: Vec<u64>) -> Result<Option<Manifest>, ArchiveError> {
    while let Some(number) = numbers.pop() {
        match Manifest::read(store, shard, number) {
            Ok(manifest) => return Ok(Some(manifest)),
            // The one before names fewer offsets, and files that are all still there.
            Err(error @ ArchiveError::Damaged { .. }) if !numbers.is_empty() => {
                tracing::warn!("{error}; trying the manifest before");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The rows of lookup topics: those of a partition as the shard has them that is furthest in it. What
/// another one has, which read the partition before, may have been withdrawn since.
fn rows(store: &Store, manifests: &[Manifest], positions: &Positions) -> Result<HeldRows, ArchiveError> {
    let mut rows = HeldRows::new();
    for manifest in manifests {
        let Some(listed) = &manifest.lookups else { continue };
        let own = manifest.positions();
        let held = lookup_rows(store, listed)?.into_iter();
        rows.extend(held.filter(|((place, _), _)| own.get(place) == positions.get(place)));
    }
    Ok(rows)
}

/// The job whose archive this is; none when there is no archive.
///
/// # Errors
/// See [`ArchiveError`].
pub fn job(store: &Store) -> Result<Option<String>, ArchiveError> {
    Ok(Found::read(store)?.manifests.into_iter().next().map(|manifest| manifest.job))
}

/// Up to this epoch all that was read is archived, by whichever shard.
pub fn epoch(manifests: &[Manifest]) -> u64 {
    manifests.iter().map(|manifest| manifest.epoch).min().unwrap_or_default()
}

/// Up to where each partition is archived.
fn furthest<'a>(manifests: impl IntoIterator<Item = &'a Manifest>) -> Positions {
    let mut positions = Positions::new();
    for (place, next) in manifests.into_iter().flat_map(Manifest::positions) {
        let known = positions.entry(place).or_insert(next);
        *known = next.max(*known);
    }
    positions
}

/// Files in order of kind and hour, each once.
pub fn sort(files: &mut Vec<Entry>) {
    files.sort_by(|a, b| (a.hour, a.kind, &a.name).cmp(&(b.hour, b.kind, &b.name)));
    files.dedup_by(|a, b| a.name == b.name);
}
