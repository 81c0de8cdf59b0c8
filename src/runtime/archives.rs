//! From what the configuration says of the archive to what the archive needs.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use dataflows::model::time::Epoch;

use crate::archive::{Aged, Archive, ArchiveError, Keeper, Merging, Plan, Retention, Shape, Shard, job};
use crate::config::S3Config;
use crate::config::archive::ArchiveConfig;
use crate::store::{Place, Store};

/// Where files are written, and where they are moved to.
pub type Places = (Arc<Store>, Option<Arc<Store>>);

/// The places of an archive; none when nothing is archived.
///
/// # Errors
/// A directory can't be made, or the settings of a bucket make no sense.
pub fn places(config: &ArchiveConfig, s3: &S3Config) -> Result<Option<Places>, ArchiveError> {
    let open = |place: &Place| {
        let failed = |source| ArchiveError::Store { place: place.to_string(), source };
        Store::open(place, s3).map(Arc::new).map_err(failed)
    };
    let Some(store) = config.place.as_ref().map(open).transpose()? else { return Ok(None) };
    Ok(Some((store, config.cold.as_ref().map(open).transpose()?)))
}

/// When and how the archive is written.
pub fn plan(config: &ArchiveConfig, workers: usize) -> Plan {
    Plan {
        interval: config.interval,
        pending_bytes_max: config.pending_bytes_max,
        merging: Merging {
            file_bytes_max: config.file_bytes_max as u64,
            quiet: config.merge_after,
            shape: Shape { row_group_rows: config.row_group_rows },
        },
        retention: retention(config),
        workers,
    }
}

/// What becomes of old files.
pub fn retention(config: &ArchiveConfig) -> Retention {
    Retention { cold_after: config.cold_after, delete_after: config.delete_after }
}

/// Milliseconds since 1970.
pub fn now() -> Epoch {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Epoch)
}

/// Keeps others away from an archive in a directory: runs of one cluster share it, and who changes it
/// beside them must have it alone. In a bucket nothing can be locked; there the numbers of manifests
/// tell, only later.
///
/// # Errors
/// Somebody has it.
pub fn lock(config: &ArchiveConfig, alone: bool) -> Result<Option<File>, ArchiveError> {
    match &config.place {
        Some(Place::Directory(directory)) => lock_directory(directory, alone).map(Some),
        Some(Place::Bucket { .. }) | None => Ok(None),
    }
}

/// As [`lock`], of the archive in a directory.
///
/// # Errors
/// Somebody has it.
pub fn lock_directory(directory: &Path, alone: bool) -> Result<File, ArchiveError> {
    let path = directory.join("archive.lock");
    let opened = std::fs::create_dir_all(directory)
        .and_then(|()| OpenOptions::new().create(true).write(true).truncate(false).open(&path));
    let locked = opened.map(|file| {
        let locked = if alone { file.try_lock() } else { file.try_lock_shared() };
        (file, locked)
    });
    match locked {
        Ok((file, Ok(()))) => Ok(file),
        Ok((_, Err(TryLockError::WouldBlock))) => {
            Err(ArchiveError::Locked { place: directory.display().to_string() })
        }
        Ok((_, Err(TryLockError::Error(source)))) | Err(source) => Err(ArchiveError::Lock { path, source }),
    }
}

/// Whether ClickHouse holds what an archive does, no more and no less, by the epochs of both. Where
/// nothing was ever published, nothing is missing.
pub fn is_in_step(archived: Epoch, published: Option<Epoch>) -> bool {
    published.is_none_or(|published| published == archived)
}

/// Moves and deletes the files of an archive that are too old by now.
///
/// # Errors
/// See [`ArchiveError`].
pub fn retained(config: &ArchiveConfig, s3: &S3Config) -> Result<Aged, ArchiveError> {
    let Some((store, cold)) = places(config, s3)? else { return Ok(Aged::default()) };
    let _lock = lock(config, true)?;
    let Some(job) = job(&store)? else { return Ok(Aged::default()) };
    let run = format!("retain-{:x}", now());
    let archive = Archive::find(&store, &job, &run, Shard::ONLY, 0)?;
    Keeper::claim(store, cold, archive, &run)?.retain(retention(config), now())
}
