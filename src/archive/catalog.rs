//! An archive as its readers see it: what the newest manifests name, and nothing else.

use std::path::Path;
use std::sync::Arc;

use dataflows::model::time::Epoch;

use super::error::ArchiveError;
use super::manifest::{self, Entry, Manifest};
use super::rejected::read_rejected;
use super::state::{self, Found};
use crate::bindings::Positions;
use crate::checkpoint::{HeldResidues, HeldRows, RejectCount};
use crate::config::S3Config;
use crate::store::{Address, Place, Store, StoreError};

/// What an archive holds.
#[derive(Debug)]
pub struct Catalog {
    /// The job whose it is.
    pub job: String,
    /// All that was read behind `begins` and up to this epoch is in the files.
    pub epoch: Epoch,
    /// What was read up to this epoch was read before there was an archive; 0: nothing was.
    pub begins: Epoch,
    /// Where in Kafka reading goes on.
    pub positions: Positions,
    /// The rows of lookup topics.
    pub rows: HeldRows,
    /// What stays published of records that were erased.
    pub residues: HeldResidues,
    /// The files, in order of hour and kind.
    pub files: Vec<Entry>,
    root: Address,
    cold: Option<Address>,
}

impl Catalog {
    /// The archive at a place; none when it holds no manifest. Files are not looked at.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn open(place: &Place, s3: &S3Config) -> Result<Option<Self>, ArchiveError> {
        let failed = |source: StoreError| ArchiveError::Store { place: place.to_string(), source };
        let root = Address::open(place, s3).map_err(failed)?;
        let store = match &root {
            Address::File(path) if !holds_manifest(path) => return Ok(None),
            Address::File(path) => Arc::new(Store::directory(path).map_err(failed)?),
            Address::Object(store, _) => Arc::clone(store),
        };
        let Found { manifests: found, positions, rows, residues, .. } = Found::read(&store)?;
        let Some(first) = found.first() else { return Ok(None) };
        if let Some(other) = found.iter().find(|other| other.job != first.job) {
            let (place, found, job) = (store.place().to_owned(), other.job.clone(), first.job.clone());
            return Err(ArchiveError::OtherJob { place, found, job });
        }
        let mut files: Vec<Entry> = found.iter().flat_map(|manifest| manifest.files.clone()).collect();
        state::sort(&mut files);
        let cold = found.iter().find_map(|manifest| Some((manifest, manifest.cold.as_ref()?)));
        let cold = cold.map(|(manifest, cold)| colder(place, manifest, cold, s3)).transpose()?;
        Ok(Some(Self {
            job: first.job.clone(),
            epoch: state::epoch(&found),
            begins: found.iter().map(|manifest| manifest.begins).max().unwrap_or_default(),
            positions,
            rows,
            residues,
            files,
            root,
            cold,
        }))
    }

    /// Where a file lies.
    pub fn address(&self, entry: &Entry) -> Address {
        match &self.cold {
            Some(cold) if entry.cold => cold.join(&entry.name),
            _ => self.root.join(&entry.name),
        }
    }

    /// The counts that a file of rejects holds.
    ///
    /// # Errors
    /// The file can't be read, or isn't what an archive writes.
    pub fn rejected(&self, entry: &Entry) -> Result<Vec<RejectCount>, ArchiveError> {
        let address = self.address(entry);
        let bytes =
            address.read().map_err(|source| ArchiveError::File { address: address.to_string(), source })?;
        read_rejected(bytes.into()).map_err(|source| ArchiveError::Parquet {
            place: self.root.to_string(),
            name: entry.name.clone(),
            source,
        })
    }
}

/// What can't be listed is no archive; who reads it as something else says what is wrong.
fn holds_manifest(directory: &Path) -> bool {
    let is_manifest = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| manifest::parse(&entry.file_name().to_string_lossy()).is_some())
    };
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.any(is_manifest))
}

/// The colder place that a manifest names.
fn colder(place: &Place, manifest: &Manifest, cold: &str, s3: &S3Config) -> Result<Address, ArchiveError> {
    let damaged = |what| ArchiveError::Damaged {
        place: place.to_string(),
        name: manifest::name(manifest.shard, manifest.number),
        what,
    };
    let cold = Place::parse(cold).map_err(|error| damaged(format!("its colder place: {error}")))?;
    Address::open(&cold, s3).map_err(|source| ArchiveError::Store { place: cold.to_string(), source })
}
