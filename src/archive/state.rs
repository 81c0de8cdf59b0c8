//! What an archive consists of, as it is found.

use std::collections::BTreeMap;

use super::error::ArchiveError;
use super::manifest::{self, Manifest, failed, lookup_rows};
use crate::bindings::Positions;
use crate::checkpoint::HeldRows;
use crate::store::Store;

/// How often the manifests are listed anew when one vanishes while it is read.
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
    /// What this process goes on from; its number is that of its last manifest.
    pub manifest: Manifest,
    /// Up to where each partition is archived, by whichever process.
    pub positions: Positions,
    /// The rows of lookup topics.
    pub rows: HeldRows,
    /// Which process this is.
    pub shard: Shard,
    /// The greatest number of a manifest of this process, which need not be the one found.
    pub latest: u64,
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
        let (found, latest) = newest(store)?;
        if let Some(other) = found.iter().find(|manifest| manifest.job != job) {
            let (place, found, job) = (store.place().to_owned(), other.job.clone(), job.to_owned());
            return Err(ArchiveError::OtherJob { place, found, job });
        }
        let mut mine = Manifest::new(job, shard.number, run);
        mine.begins = begins;
        let kept = || found.iter().filter(|manifest| shard.keeps(manifest.shard));
        if let Some(own) = kept().find(|manifest| manifest.shard == shard.number).or(kept().next()) {
            (mine.epoch, mine.begins, mine.cold) = (own.epoch, own.begins, own.cold.clone());
        } else if let Some(other) = found.first() {
            mine.begins = other.begins;
        }
        let mut rows = HeldRows::new();
        for manifest in &found {
            if let Some(listed) = &manifest.lookups {
                rows.extend(lookup_rows(store, listed)?);
            }
        }
        mine.files = kept().flat_map(|manifest| manifest.files.clone()).collect();
        sort(&mut mine);
        let positions = furthest(&found);
        let latest = latest.get(&shard.number).copied().unwrap_or(0);
        Ok(Self { manifest: mine, positions, rows, shard, latest, found })
    }
}

/// The newest sound manifest of each shard, and the greatest number of each.
pub fn newest(store: &Store) -> Result<(Vec<Manifest>, BTreeMap<u32, u64>), ArchiveError> {
    for attempt in 1.. {
        match newest_now(store) {
            Err(error) if error.may_pass() && attempt < ATTEMPTS => {
                tracing::debug!("{error}; listing the manifests again");
            }
            done => return done,
        }
    }
    Err(ArchiveError::Restless { place: store.place().to_owned() })
}

fn newest_now(store: &Store) -> Result<(Vec<Manifest>, BTreeMap<u32, u64>), ArchiveError> {
    let names = store.names().map_err(|source| failed(store, source))?;
    let mut numbers: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (shard, number) in names.iter().filter_map(|name| manifest::parse(name)) {
        numbers.entry(shard).or_default().push(number);
    }
    let (mut found, mut latest) = (Vec::new(), BTreeMap::new());
    for (shard, mut numbers) in numbers {
        numbers.sort_unstable();
        latest.extend(numbers.last().map(|number| (shard, *number)));
        while let Some(number) = numbers.pop() {
            match Manifest::read(store, shard, number) {
                Ok(manifest) => {
                    found.push(manifest);
                    break;
                }
                // The one before names fewer offsets, and files that are all still there.
                Err(error @ ArchiveError::Damaged { .. }) if !numbers.is_empty() => {
                    tracing::warn!("{error}; trying the manifest before");
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok((found, latest))
}

/// The job whose archive this is; none when there is no archive.
///
/// # Errors
/// See [`ArchiveError`].
pub fn job(store: &Store) -> Result<Option<String>, ArchiveError> {
    Ok(newest(store)?.0.into_iter().next().map(|manifest| manifest.job))
}

/// Up to where each partition is archived.
pub fn furthest(manifests: &[Manifest]) -> Positions {
    let mut positions = Positions::new();
    for (place, next) in manifests.iter().flat_map(Manifest::positions) {
        let known = positions.entry(place).or_insert(next);
        *known = next.max(*known);
    }
    positions
}

/// Files in order of kind and hour, each once.
pub fn sort(manifest: &mut Manifest) {
    manifest.files.sort_by(|a, b| (a.hour, a.kind, &a.name).cmp(&(b.hour, b.kind, &b.name)));
    manifest.files.dedup_by(|a, b| a.name == b.name);
}
