//! `[archive]`: where accepted events are archived, in what shape and for how long.

use std::path::PathBuf;
use std::time::Duration;

use super::raw;
use super::validate::{Wrong, wrong};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where and how accepted events are archived.
#[derive(Clone, Debug)]
pub struct ArchiveConfig {
    /// Where; none when there is to be no archive.
    pub directory: Option<PathBuf>,
    /// The time from one set of files to the next.
    pub interval: Duration,
    /// Rows of a row group at most.
    pub row_group_rows: usize,
    /// A file is about this large at most.
    pub file_bytes_max: usize,
    /// So much waits in memory before files are written early.
    pub pending_bytes_max: usize,
    /// The files of an hour become one when nothing came for it for this long.
    pub merge_after: Duration,
    /// Where old files are moved to.
    pub cold_directory: Option<PathBuf>,
    /// From which age on.
    pub cold_after: Option<Duration>,
    /// From which age on files are deleted.
    pub delete_after: Option<Duration>,
}

pub(super) fn validate(raw: raw::Archive) -> Result<ArchiveConfig, Wrong> {
    for (key, value, least) in [
        ("archive.interval_ms", raw.interval_ms, 1),
        ("archive.row_group_rows", raw.row_group_rows as u64, 1),
        ("archive.file_bytes_max", raw.file_bytes_max as u64, 1 << 16),
        ("archive.pending_bytes_max", raw.pending_bytes_max as u64, 1 << 16),
    ] {
        if value < least {
            return wrong(key, format!("a number of at least {least} is expected"));
        }
    }
    if raw.cold_after_days > 0 && raw.cold_directory.is_empty() {
        return wrong("archive.cold_directory", "a directory is expected, as cold_after_days is set");
    }
    if raw.delete_after_days > 0 && raw.delete_after_days <= raw.cold_after_days {
        return wrong("archive.delete_after_days", "more days than cold_after_days are expected");
    }
    let path = |text: String| (!text.is_empty()).then(|| PathBuf::from(text));
    let age = |days: u32| (days > 0).then(|| DAY * days);
    Ok(ArchiveConfig {
        directory: path(raw.directory),
        interval: Duration::from_millis(raw.interval_ms),
        row_group_rows: raw.row_group_rows,
        file_bytes_max: raw.file_bytes_max,
        pending_bytes_max: raw.pending_bytes_max,
        merge_after: Duration::from_millis(raw.merge_after_ms),
        cold_directory: path(raw.cold_directory),
        cold_after: age(raw.cold_after_days),
        delete_after: age(raw.delete_after_days),
    })
}
