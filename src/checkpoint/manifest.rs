//! The manifest: of which objects a checkpoint consists, and where reading goes on behind it.
//!
//! Manifests are numbered and never changed. Writing the next one fails if it is there already:
//! who finds that has met another run, and ends. The last line is the checksum of all before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dataflows::model::horizon::Horizon;
use dataflows::model::time::Epoch;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::CheckpointError;
use super::residues::HeldResidues;
use super::segment::{Damage, Listed};
use crate::bindings::{Positions, TopicPartition};
use crate::formats::lookup::Entry;
use crate::store::Store;

/// 2: there is a horizon. 3: each process has records of its own that are kept, each segment its own
/// texts.
const VERSION: u32 = 3;
const PREFIX: &str = "manifest-";
const SUFFIX: &str = ".json";

/// A checkpoint.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// Whose it is.
    pub job: String,
    /// Its number.
    pub number: u64,
    /// The run that wrote it.
    pub run: String,
    /// All that was read up to and including this epoch is in the segments.
    pub epoch: Epoch,
    /// It came from an archive, not from what was published: a start publishes all of it.
    #[serde(default)]
    pub handed_over: bool,
    /// Where reading goes on.
    positions: Vec<Position>,
    /// The rows of the lookup topics.
    pub lookups: Option<Listed>,
    /// The records.
    pub segments: Vec<Listed>,
    /// What was frozen at the epoch: of the segments, what it lets go of is not there any more.
    #[serde(default)]
    pub horizon: Horizon,
    /// The records that are there all the same.
    #[serde(default)]
    pub kept: Vec<Listed>,
    /// What stays published of records that were erased.
    #[serde(default)]
    pub residues: Option<Listed>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct Position {
    topic: Arc<str>,
    partition: i32,
    next: i64,
}

/// The rows in force of the lookup topics, by where they come from and their messages' keys.
pub type HeldRows = BTreeMap<(TopicPartition, Box<[u8]>), Entry>;

#[derive(Serialize, Deserialize)]
struct HeldRow {
    topic: Arc<str>,
    partition: i32,
    key: String,
    row: Entry,
}

/// The name of a manifest.
pub fn name(number: u64) -> String {
    format!("{PREFIX}{number:010}{SUFFIX}")
}

/// The numbers of all manifests in a store, in order.
///
/// # Errors
/// The store fails.
pub fn numbers(store: &Store) -> Result<Vec<u64>, CheckpointError> {
    let number = |name: &String| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok();
    Ok(store.names()?.iter().filter_map(number).collect())
}

impl Manifest {
    /// An empty checkpoint, before the first.
    pub fn new(job: &str, run: &str) -> Self {
        Self { version: VERSION, job: job.to_owned(), run: run.to_owned(), ..Self::default() }
    }

    /// Where reading goes on.
    pub fn positions(&self) -> Positions {
        let place = |position: &Position| {
            let topic = Arc::clone(&position.topic);
            (TopicPartition { topic, partition: position.partition }, position.next)
        };
        self.positions.iter().map(place).collect()
    }

    /// Says where reading goes on.
    pub fn set_positions(&mut self, positions: &Positions) {
        let position = |(place, next): (&TopicPartition, &i64)| {
            let topic = Arc::clone(&place.topic);
            Position { topic, partition: place.partition, next: *next }
        };
        self.positions = positions.iter().map(position).collect();
    }

    /// Every object that it consists of.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        let records = self.segments.iter().chain(&self.kept);
        records.chain(&self.lookups).chain(&self.residues).map(|listed| &*listed.name)
    }

    /// The horizon behind which records of a segment are not there any more.
    pub fn horizon_of(&self, listed: &Listed) -> Horizon {
        if self.kept.contains(listed) { Horizon::default() } else { self.horizon }
    }

    /// As written.
    pub fn bytes(&self) -> Vec<u8> {
        seal(self)
    }

    /// Reads a manifest of `job`.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn read(store: &Store, number: u64, job: &str) -> Result<Self, CheckpointError> {
        let (name, place) = (name(number), store.place());
        let found: Self = unseal(&store.read(&name)?).map_err(|damage| damaged(store, &name, damage))?;
        if found.version != VERSION {
            let (place, found) = (place.to_owned(), found.version);
            return Err(CheckpointError::Version { place, found, expected: VERSION });
        }
        if found.job != job {
            let (place, job) = (place.to_owned(), job.to_owned());
            return Err(CheckpointError::OtherJob { place, found: found.job, job });
        }
        if found.number != number {
            return Err(damaged(
                store,
                &name,
                Damage { at: 0, what: "it is another manifest under this name" },
            ));
        }
        Ok(found)
    }
}

/// The rows of lookup topics as an object.
pub fn write_rows(rows: &HeldRows, name: String) -> (Vec<u8>, Listed) {
    let held: Vec<HeldRow> = rows
        .iter()
        .map(|((place, key), row)| HeldRow {
            topic: Arc::clone(&place.topic),
            partition: place.partition,
            key: STANDARD.encode(key),
            row: row.clone(),
        })
        .collect();
    seal_listed(&held, name)
}

/// Reads the residues that a manifest names.
///
/// # Errors
/// See [`CheckpointError`].
pub fn read_residues(store: &Store, manifest: &Manifest) -> Result<HeldResidues, CheckpointError> {
    let Some(listed) = &manifest.residues else { return Ok(HeldResidues::default()) };
    let bytes = super::recovery::read(store, &listed.name)?;
    unseal_listed(&bytes, listed).map_err(|damage| damaged(store, &listed.name, damage))
}

/// Reads the rows of lookup topics.
///
/// # Errors
/// See [`CheckpointError`].
pub fn read_rows(store: &Store, listed: &Listed) -> Result<HeldRows, CheckpointError> {
    let bytes = super::recovery::read(store, &listed.name)?;
    rows_of(&bytes, listed).map_err(|damage| damaged(store, &listed.name, damage))
}

/// The rows in the bytes of such an object.
///
/// # Errors
/// What is wrong with it.
pub fn rows_of(bytes: &[u8], listed: &Listed) -> Result<HeldRows, Damage> {
    let held: Vec<HeldRow> = unseal_listed(bytes, listed)?;
    let row = |HeldRow { topic, partition, key, row }: HeldRow| {
        let key = STANDARD.decode(key).map_err(|_| Damage { at: 0, what: "a key is no base 64" })?;
        Ok(((TopicPartition { topic, partition }, key.into()), row))
    };
    held.into_iter().map(row).collect()
}

/// An object of the store that isn't what was written.
pub fn damaged(store: &Store, name: &str, damage: Damage) -> CheckpointError {
    CheckpointError::Damaged { place: store.place().to_owned(), name: name.to_owned(), damage }
}

/// A value as an object: JSON, and behind it a line with its checksum.
pub fn seal(value: &impl Serialize) -> Vec<u8> {
    // None of these types can fail to be written.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    let checksum = xxh3_64(&bytes);
    bytes.extend(format!("{checksum:016x}\n").bytes());
    bytes
}

/// The value of an object, if its checksum holds.
///
/// # Errors
/// What is wrong with it.
pub fn unseal<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, Damage> {
    const LINE: usize = 17;
    let at = bytes.len().saturating_sub(LINE);
    let (body, line) = bytes.split_at(at);
    if format!("{:016x}\n", xxh3_64(body)).as_bytes() != line {
        return Err(Damage { at, what: "its checksum is not that of its contents" });
    }
    serde_json::from_slice(body).map_err(|_| Damage { at: 0, what: "it does not say what it should" })
}

/// A value as an object, and what a manifest names of it.
pub fn seal_listed(value: &impl Serialize, name: String) -> (Vec<u8>, Listed) {
    let bytes = seal(value);
    let (length, checksum) = (bytes.len() as u64, xxh3_64(&bytes));
    (bytes, Listed::other(name, length, checksum))
}

/// The value of an object, if it is the one that a manifest names.
///
/// # Errors
/// What is wrong with it.
pub fn unseal_listed<T: for<'a> Deserialize<'a>>(bytes: &[u8], listed: &Listed) -> Result<T, Damage> {
    if xxh3_64(bytes) != listed.checksum {
        return Err(Damage { at: 0, what: "its checksum is not the one in the manifest" });
    }
    unseal(bytes)
}
