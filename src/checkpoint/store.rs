//! Where checkpoints lie: a directory, or a bucket of an object store.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Runtime;

use super::error::CheckpointError;

/// Objects by name, written whole or not at all.
pub struct Store {
    store: Arc<dyn ObjectStore>,
    /// Before the names of all objects.
    prefix: Path,
    /// As people know it.
    place: String,
    runtime: Runtime,
}

/// Whether an object was written.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Created {
    /// It is there now.
    Yes,
    /// There was one of this name before.
    Taken,
}

impl Store {
    /// The store in a directory, which is made when it is missing.
    ///
    /// # Errors
    /// The directory can't be made or read.
    pub fn directory(path: PathBuf) -> Result<Self, CheckpointError> {
        let place = path.display().to_string();
        let io = |source| CheckpointError::Directory { path: path.clone(), source };
        std::fs::create_dir_all(&path).map_err(io)?;
        let store = LocalFileSystem::new_with_prefix(&path)
            .map_err(|source| CheckpointError::Store { place: place.clone(), source })?
            .with_fsync(true);
        // Files are read and written by threads that block, so one that drives them is enough.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
        Ok(Self { store: Arc::new(store), prefix: Path::default(), place, runtime })
    }

    /// As people know it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Writes an object that must not be there yet.
    ///
    /// # Errors
    /// The store fails. The object may be there all the same.
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> Result<Created, CheckpointError> {
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        let path = self.path(name);
        let put = self.store.put_opts(&path, PutPayload::from(bytes), options);
        match self.runtime.block_on(put) {
            Ok(_) => Ok(Created::Yes),
            Err(Error::AlreadyExists { .. }) => Ok(Created::Taken),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// It isn't there, or the store fails.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        let path = self.path(name);
        let read = async { self.store.get(&path).await?.bytes().await };
        self.runtime.block_on(read).map(|bytes| bytes.to_vec()).map_err(|source| self.failed(source))
    }

    /// The names of all objects, in order.
    ///
    /// # Errors
    /// The store fails.
    pub fn names(&self) -> Result<Vec<String>, CheckpointError> {
        let listed = self.runtime.block_on(self.store.list_with_delimiter(Some(&self.prefix)));
        let listed = listed.map_err(|source| self.failed(source))?;
        let mut names: Vec<_> = listed
            .objects
            .iter()
            .filter_map(|object| object.location.filename())
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes an object; one that isn't there is no error.
    ///
    /// # Errors
    /// The store fails.
    pub fn remove(&self, name: &str) -> Result<(), CheckpointError> {
        match self.runtime.block_on(self.store.delete(&self.path(name))) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.failed(source)),
        }
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }

    fn failed(&self, source: Error) -> CheckpointError {
        CheckpointError::Store { place: self.place.clone(), source }
    }
}
