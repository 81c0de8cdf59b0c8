//! Where things are kept: objects by name, in a directory or a bucket of an object store.
//!
//! An object is written whole or not at all, and [`Store::create`] writes one only if there is none
//! of its name: two processes can tell by it which of them was first. That holds in directories,
//! and in buckets whose server honours `If-None-Match`, which [`Store::check_create`] finds out.
//!
//! Calls block; each store has a runtime of its own. An object is read and written in one request
//! and held in memory, so it should stay well below [`OBJECT_BYTES_MAX`].

mod address;
mod bucket;
mod error;
mod place;
mod together;

use std::fmt;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error, OBJECT_STORE_COALESCE_DEFAULT, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    coalesce_ranges,
};
use tokio::runtime::{Builder, Runtime};

use crate::config::S3Config;
pub use address::Address;
pub use error::StoreError;
pub use place::{Place, PlaceError};
pub use together::together;

/// A larger object would have to be sent in parts. (Amazon takes five times as much in one request.)
pub const OBJECT_BYTES_MAX: u64 = 1 << 30;

/// Objects by name, written whole or not at all. Names may have slashes in them.
pub struct Store {
    store: Arc<dyn ObjectStore>,
    /// Before the names of all objects.
    prefix: Path,
    /// As people know it.
    place: String,
    is_bucket: bool,
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

/// An object that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

impl Store {
    /// The store at a place. A directory is made when it is missing; a bucket is not spoken to yet.
    ///
    /// # Errors
    /// The directory can't be made or read; the settings of the bucket make no sense.
    pub fn open(place: &Place, s3: &S3Config) -> Result<Self, StoreError> {
        match place {
            Place::Directory(path) => Self::directory(path),
            Place::Bucket { bucket, prefix } => Self::bucket(place.to_string(), bucket, prefix, s3),
        }
    }

    /// The store in a directory, which is made when it is missing.
    ///
    /// # Errors
    /// The directory can't be made or read.
    pub fn directory(path: &FilePath) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        std::fs::create_dir_all(path)
            .map_err(|source| StoreError::Directory { path: path.to_owned(), source })?;
        let store = LocalFileSystem::new_with_prefix(path)
            .map_err(|error| StoreError::new(&place, "", &error))?
            .with_fsync(true);
        // Files are read and written by threads that block, so one that drives them is enough.
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| StoreError::Runtime { place: place.clone(), source })?;
        Ok(Self { store: Arc::new(store), prefix: Path::default(), place, is_bucket: false, runtime })
    }

    fn bucket(place: String, bucket: &str, prefix: &str, s3: &S3Config) -> Result<Self, StoreError> {
        let store = Arc::new(bucket::open(&place, bucket, s3)?);
        let prefix = Path::from(prefix);
        // Connections live on between calls, so somebody must attend to them.
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("store").enable_all().build();
        let runtime = runtime.map_err(|source| StoreError::Runtime { place: place.clone(), source })?;
        Ok(Self { store, prefix, place, is_bucket: true, runtime })
    }

    /// As people know it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Finds out whether [`Self::create`] can be relied on, and so whether the store can be read and
    /// written at all. Leaves nothing behind. `by` is who asks: nobody else may ask by this name.
    ///
    /// # Errors
    /// It can't; or the store fails.
    pub fn check_create(&self, by: &str) -> Result<(), StoreError> {
        if !self.is_bucket {
            return Ok(());
        }
        let name = format!("probe-{by}");
        let unconditional = || StoreError::Unconditional { place: self.place.clone() };
        let tried =
            self.create(&name, b"first".to_vec()).and_then(|_| self.create(&name, b"second".to_vec()));
        let removed = self.remove(&name);
        match tried {
            Ok(Created::Taken) => removed,
            Ok(Created::Yes) => Err(unconditional()),
            // The header that it does not know.
            Err(StoreError::Failed { reason, .. }) if reason.starts_with("NotImplemented") => {
                Err(unconditional())
            }
            Err(error) => Err(error),
        }
    }

    /// Writes an object that must not be there yet.
    ///
    /// # Errors
    /// The store fails. The object may be there all the same.
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> Result<Created, StoreError> {
        match self.put(name, bytes, PutMode::Create) {
            Ok(()) => Ok(Created::Yes),
            Err(Error::AlreadyExists { .. }) => Ok(Created::Taken),
            Err(error) => Err(self.failed(name, &error)),
        }
    }

    /// Writes an object, whether it is there or not.
    ///
    /// # Errors
    /// The store fails. The object may be there all the same.
    pub fn replace(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.put(name, bytes, PutMode::Overwrite).map_err(|error| self.failed(name, &error))
    }

    fn put(&self, name: &str, bytes: Vec<u8>, mode: PutMode) -> Result<(), Error> {
        let (path, options) = (self.path(name), PutOptions { mode, ..Default::default() });
        let put = self.store.put_opts(&path, PutPayload::from(bytes), options);
        self.runtime.block_on(put).map(|_| ())
    }

    /// Reads an object.
    ///
    /// # Errors
    /// It isn't there, or the store fails.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name);
        let read = async { self.store.get(&path).await?.bytes().await };
        self.runtime.block_on(read).map(Vec::from).map_err(|error| self.failed(name, &error))
    }

    /// Reads parts of an object: those that lie close to each other in one request, and some
    /// requests at a time.
    ///
    /// # Errors
    /// It isn't there, is too short, or the store fails.
    pub fn read_ranges(&self, name: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let path = &self.path(name);
        let read = |range: Range<u64>| async move {
            let expected = range.end.saturating_sub(range.start);
            let read = self.store.get_range(path, range).await.map_err(|error| self.failed(name, &error))?;
            // A store answers with what there is.
            let short = || StoreError::Short { place: self.place.clone(), name: name.to_owned() };
            if read.len() as u64 == expected { Ok(read) } else { Err(short()) }
        };
        self.runtime.block_on(coalesce_ranges(ranges, read, OBJECT_STORE_COALESCE_DEFAULT))
    }

    /// The names of the objects that stand in it directly, not below a slash, in order.
    ///
    /// # Errors
    /// The store fails.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        let listed = self.runtime.block_on(self.store.list_with_delimiter(Some(&self.prefix)));
        let listed = listed.map_err(|error| self.failed("", &error))?;
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// All objects whose names start with `under` and a slash, in order; all there are if it is empty.
    ///
    /// # Errors
    /// The store fails.
    pub fn list(&self, under: &str) -> Result<Vec<Object>, StoreError> {
        let path = self.path(under);
        let listed = async {
            use futures_util::TryStreamExt;
            self.store.list(Some(&path)).try_collect::<Vec<_>>().await
        };
        let listed = self.runtime.block_on(listed).map_err(|error| self.failed(under, &error))?;
        let name = |location: &Path| {
            let parts = location.prefix_match(&self.prefix)?;
            Some(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
        };
        let object = |object: &object_store::ObjectMeta| {
            name(&object.location).map(|name| Object { name, bytes: object.size })
        };
        let mut objects: Vec<_> = listed.iter().filter_map(object).collect();
        objects.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }

    /// Removes an object; one that isn't there is no error.
    ///
    /// # Errors
    /// The store fails.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        match self.runtime.block_on(self.store.delete(&self.path(name))) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(name, &error)),
        }
    }

    fn path(&self, name: &str) -> Path {
        name.split('/')
            .filter(|part| !part.is_empty())
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn failed(&self, name: &str, error: &Error) -> StoreError {
        StoreError::new(&self.place, name, error)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.place).finish()
    }
}

#[cfg(test)]
mod tests;
