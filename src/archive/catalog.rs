//! An archive as its readers see it: what the newest manifests name, and nothing else.

use std::path::{Path, PathBuf};

use dataflows::model::time::Epoch;

use super::error::ArchiveError;
use super::manifest::{self, Entry};
use super::state::{self, Found};
use crate::bindings::Positions;
use crate::checkpoint::HeldRows;
use crate::store::Store;

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
    /// The files, in order of hour and kind.
    pub files: Vec<Entry>,
    root: PathBuf,
    cold: Option<PathBuf>,
}

impl Catalog {
    /// The archive in a directory; none when it holds no manifest.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn open(directory: &Path) -> Result<Option<Self>, ArchiveError> {
        let is_manifest = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| manifest::parse(&entry.file_name().to_string_lossy()).is_some())
        };
        // What can't be listed is no archive; who reads it as something else says what is wrong.
        if !std::fs::read_dir(directory).is_ok_and(|mut entries| entries.any(is_manifest)) {
            return Ok(None);
        }
        let store = Store::directory(directory)
            .map_err(|source| ArchiveError::Store { place: directory.display().to_string(), source })?;
        let Found { manifests: found, positions, rows, .. } = Found::read(&store)?;
        let Some(first) = found.first() else { return Ok(None) };
        if let Some(other) = found.iter().find(|other| other.job != first.job) {
            let (place, found, job) = (store.place().to_owned(), other.job.clone(), first.job.clone());
            return Err(ArchiveError::OtherJob { place, found, job });
        }
        let mut files: Vec<Entry> = found.iter().flat_map(|manifest| manifest.files.clone()).collect();
        files.sort_by(|a, b| (a.hour, a.kind, &a.name).cmp(&(b.hour, b.kind, &b.name)));
        Ok(Some(Self {
            job: first.job.clone(),
            epoch: state::epoch(&found),
            begins: found.iter().map(|manifest| manifest.begins).max().unwrap_or_default(),
            positions,
            rows,
            files,
            root: directory.to_owned(),
            cold: found.iter().find_map(|manifest| manifest.cold.clone()).map(PathBuf::from),
        }))
    }

    /// Where it lies, as people know it.
    pub fn place(&self) -> String {
        self.root.display().to_string()
    }

    /// Where a file lies.
    pub fn path(&self, entry: &Entry) -> PathBuf {
        match &self.cold {
            Some(cold) if entry.cold => cold.join(&entry.name),
            _ => self.root.join(&entry.name),
        }
    }
}
