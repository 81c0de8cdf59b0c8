//! The mark that an erasure is under way: who is meant, and what was done by now.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use dataflows::model::time::Epoch;
use serde::{Deserialize, Serialize};

use super::receipt::Receipt;
use super::{Asked, EraseError};

/// The file, in the state directory.
pub const MARK: &str = "erasure.json";

/// An erasure that has begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Who is meant. It goes with the mark.
    pub asked: Asked,
    /// The epoch in which what moves is published; before that is known, the last one before it.
    pub epoch: Epoch,
    /// What was found at first: done again, less may be left to be found.
    pub receipt: Option<Receipt>,
}

impl Mark {
    /// Of one that begins when all up to `published` is published.
    pub fn new(asked: &Asked, published: Epoch) -> Self {
        Self { asked: asked.clone(), epoch: published, receipt: None }
    }

    /// Notes what was found or done by now.
    pub fn note(&mut self, epoch: Epoch, receipt: &Receipt, state: &Path) -> Result<(), EraseError> {
        (self.epoch, self.receipt) = (epoch, Some(receipt.clone()));
        self.write(state)
    }

    /// The mark in a state directory, if there is one.
    pub fn find(state: &Path) -> Result<Option<Self>, EraseError> {
        let path = state.join(MARK);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| EraseError::File { path: path.clone(), source })?,
        };
        let mark = serde_json::from_slice(&bytes);
        mark.map(Some).map_err(|error| EraseError::File { path, source: error.into() })
    }

    /// Writes it, whole or not at all; it is on the disk when this returns.
    pub fn write(&self, state: &Path) -> Result<(), EraseError> {
        let path = state.join(MARK);
        let written = || {
            let mut file = tempfile::NamedTempFile::new_in(state)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            fs::File::open(state)?.sync_all()
        };
        written().map_err(|source| EraseError::File { path: path.clone(), source })
    }

    /// All is done.
    pub fn remove(self, state: &Path) -> Result<(), EraseError> {
        let path = state.join(MARK);
        fs::remove_file(&path).map_err(|source| EraseError::File { path, source })
    }
}
