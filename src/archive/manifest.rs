//! The manifest: which files there are, and up to which offsets of Kafka they go.
//!
//! Manifests are numbered and never changed, as those of checkpoints: who finds the next number
//! taken has met another run. Each process of a cluster, a shard, has manifests of its own; the
//! archive is what the newest of all shards name.

use std::sync::Arc;

use dataflows::model::time::{Epoch, EventTime, Hour};
use serde::{Deserialize, Serialize};

use super::error::ArchiveError;
use super::kind::Kind;
use crate::bindings::{Positions, TopicPartition};
use crate::checkpoint::{Damage, HeldResidues, HeldRows, Listed, rows_of, seal, unseal, unseal_listed};
use crate::store::{Store, StoreError};

const VERSION: u32 = 1;
const PREFIX: &str = "manifest-";
const SUFFIX: &str = ".json";

/// A file of the archive.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name, folders included.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// The hour of event time, counted from 1970.
    pub hour: u32,
    /// Rows.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// The least event time, in milliseconds.
    pub min_ts: i64,
    /// The greatest.
    pub max_ts: i64,
    /// The last epoch that it has records of.
    pub epoch: Epoch,
    /// XXH3 of all of it.
    pub checksum: u64,
    /// How often its rows were merged into a larger file.
    pub level: u8,
    /// Whether it lies in the colder place.
    #[serde(default)]
    pub cold: bool,
}

impl Entry {
    /// The hour.
    pub fn hour(&self) -> Hour {
        Hour(self.hour)
    }

    /// Whether it may hold an event of a range of times.
    pub fn overlaps(&self, since: Option<EventTime>, until: Option<EventTime>) -> bool {
        since.is_none_or(|since| self.max_ts >= since.millis())
            && until.is_none_or(|until| self.min_ts < until.millis())
    }
}

/// An archive, or a shard's part of it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// Whose it is.
    pub job: String,
    /// The process that wrote it.
    pub shard: u32,
    /// Its number.
    pub number: u64,
    /// The run that wrote it.
    pub run: String,
    /// All that was read behind `begins` and up to this epoch is in the files.
    pub epoch: Epoch,
    /// What was read up to this epoch was read before there was an archive; 0: nothing was.
    pub begins: Epoch,
    /// Where cold files lie.
    pub cold: Option<String>,
    /// Up to where each partition is archived that this shard has read.
    positions: Vec<Position>,
    /// The rows of the lookup topics, of these partitions.
    pub lookups: Option<Listed>,
    /// The files.
    pub files: Vec<Entry>,
    /// What stays published of records that were erased; of the first shard only.
    #[serde(default)]
    pub residues: Option<Listed>,
    /// There is no such shard any more: the first has what it left. Its number stays taken, as the
    /// process that wrote it may still live.
    #[serde(default)]
    pub left: bool,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct Position {
    topic: Arc<str>,
    partition: i32,
    next: i64,
}

/// The name of a manifest.
pub fn name(shard: u32, number: u64) -> String {
    format!("{PREFIX}{shard}-{number:010}{SUFFIX}")
}

/// Shard and number of a manifest, by its name.
pub fn parse(name: &str) -> Option<(u32, u64)> {
    let (shard, number) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((shard.parse().ok()?, number.parse().ok()?))
}

impl Manifest {
    /// An empty archive, before the first manifest.
    pub fn new(job: &str, shard: u32, run: &str) -> Self {
        Self { version: VERSION, job: job.to_owned(), shard, run: run.to_owned(), ..Self::default() }
    }

    /// Up to where each partition is archived.
    pub fn positions(&self) -> Positions {
        let place = |position: &Position| {
            let topic = Arc::clone(&position.topic);
            (TopicPartition { topic, partition: position.partition }, position.next)
        };
        self.positions.iter().map(place).collect()
    }

    /// Says up to where each partition is archived.
    pub fn set_positions(&mut self, positions: &Positions) {
        let position = |(place, next): (&TopicPartition, &i64)| {
            let topic = Arc::clone(&place.topic);
            Position { topic, partition: place.partition, next: *next }
        };
        self.positions = positions.iter().map(position).collect();
    }

    /// Every object in its place of origin that it consists of.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().filter(|file| !file.cold).map(|file| &*file.name);
        files.chain(self.lookups.iter().chain(&self.residues).map(|listed| &*listed.name))
    }

    /// Every object in the colder place.
    pub fn cold_objects(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter(|file| file.cold).map(|file| &*file.name)
    }

    /// As written.
    pub fn bytes(&self) -> Vec<u8> {
        seal(self)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn read(store: &Store, shard: u32, number: u64) -> Result<Self, ArchiveError> {
        let (name, place) = (name(shard, number), || store.place().to_owned());
        let bytes = store.read(&name).map_err(|source| failed(store, source))?;
        let damaged =
            |what: &str| ArchiveError::Damaged { place: place(), name: name.clone(), what: what.to_owned() };
        let found: Self = unseal(&bytes).map_err(|damage| damaged(damage.what))?;
        if found.version != VERSION {
            return Err(ArchiveError::Version { place: place(), found: found.version, expected: VERSION });
        }
        if (found.shard, found.number) != (shard, number) {
            return Err(damaged("it is another manifest under this name"));
        }
        Ok(found)
    }
}

/// The store failed.
pub fn failed(store: &Store, source: StoreError) -> ArchiveError {
    ArchiveError::Store { place: store.place().to_owned(), source }
}

/// The rows of lookup topics that an object holds.
///
/// # Errors
/// See [`ArchiveError`].
pub fn lookup_rows(store: &Store, listed: &Listed) -> Result<HeldRows, ArchiveError> {
    let bytes = store.read(&listed.name).map_err(|source| failed(store, source))?;
    rows_of(&bytes, listed).map_err(|damage| damaged(store, listed, damage))
}

/// What stays published of records that were erased.
///
/// # Errors
/// See [`ArchiveError`].
pub fn residues(store: &Store, manifests: &[Manifest]) -> Result<HeldResidues, ArchiveError> {
    let Some(listed) = manifests.iter().find_map(|manifest| manifest.residues.as_ref()) else {
        return Ok(HeldResidues::default());
    };
    let bytes = store.read(&listed.name).map_err(|source| failed(store, source))?;
    unseal_listed(&bytes, listed).map_err(|damage| damaged(store, listed, damage))
}

fn damaged(store: &Store, listed: &Listed, Damage { at, what }: Damage) -> ArchiveError {
    let (place, name) = (store.place().to_owned(), listed.name.clone());
    ArchiveError::DamagedRows { place, name, at, what }
}
