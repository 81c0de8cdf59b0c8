//! Where one file is, for those who only read it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Place, Store, StoreError};
use crate::config::S3Config;

/// A file, or what files lie in: on a disk, where it is read like any other, or in a bucket.
#[derive(Clone, Debug)]
pub enum Address {
    /// A path on this machine.
    File(PathBuf),
    /// An object by its name; the store as a whole if that is empty.
    Object(Arc<Store>, String),
}

impl Address {
    /// What lies at a place. A directory need not be there, and is not made; a bucket is not spoken
    /// to yet.
    ///
    /// # Errors
    /// The settings of the bucket make no sense.
    pub fn open(place: &Place, s3: &S3Config) -> Result<Self, StoreError> {
        Ok(match place {
            Place::Directory(path) => Self::File(path.clone()),
            Place::Bucket { .. } => Self::Object(Arc::new(Store::open(place, s3)?), String::new()),
        })
    }

    /// The file `name` in it; there may be slashes in the name.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::File(path) => Self::File(path.join(name)),
            Self::Object(store, above) if above.is_empty() => {
                Self::Object(Arc::clone(store), name.to_owned())
            }
            Self::Object(store, above) => Self::Object(Arc::clone(store), format!("{above}/{name}")),
        }
    }

    /// All of the file.
    ///
    /// # Errors
    /// It isn't there or can't be read.
    pub fn read(&self) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::File(path) => std::fs::read(path).map_err(|error| StoreError::Failed {
                place: path.display().to_string(),
                reason: error.to_string(),
            }),
            Self::Object(store, name) => store.read(name),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Object(store, name) if name.is_empty() => f.write_str(store.place()),
            Self::Object(store, name) => write!(f, "{}/{name}", store.place()),
        }
    }
}
