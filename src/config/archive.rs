//! `[archive]`: where accepted events are archived, in what shape and for how long.

use std::time::Duration;

use super::raw;
use super::validate::{Wrong, place, wrong};
use crate::store::{OBJECT_BYTES_MAX, Place};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where and how accepted events are archived.
#[derive(Clone, Debug)]
pub struct ArchiveConfig {
    /// Where; none when there is to be no archive.
    pub place: Option<Place>,
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
    pub cold: Option<Place>,
    /// From which age on.
    pub cold_after: Option<Duration>,
    /// From which age on files are deleted.
    pub delete_after: Option<Duration>,
}

impl ArchiveConfig {
    /// The setting that says where it is.
    pub(super) fn key(&self) -> &'static str {
        match self.place {
            Some(Place::Bucket { .. }) => "archive.url",
            _ => "archive.directory",
        }
    }
}

pub(super) fn validate(raw: &raw::Archive) -> Result<ArchiveConfig, Wrong> {
    for (key, value, least) in [
        ("archive.interval_ms", raw.interval_ms, 1),
        ("archive.row_group_rows", raw.row_group_rows as u64, 1),
        ("archive.pending_bytes_max", raw.pending_bytes_max as u64, 1 << 16),
    ] {
        if value < least {
            return wrong(key, format!("a number of at least {least} is expected"));
        }
    }
    // A file is an object, written in one request.
    let bytes = 1 << 16..=OBJECT_BYTES_MAX / 2;
    if !bytes.contains(&(raw.file_bytes_max as u64)) {
        let expected = format!("{} to {} bytes are expected", bytes.start(), bytes.end());
        return wrong("archive.file_bytes_max", expected);
    }
    let hot = place(("archive.directory", &raw.directory), ("archive.url", &raw.url))?;
    let cold = place(("archive.cold_directory", &raw.cold_directory), ("archive.cold_url", &raw.cold_url))?;
    let cold_key = if raw.cold_url.is_empty() { "archive.cold_directory" } else { "archive.cold_url" };
    if raw.cold_after_days > 0 && cold.is_none() {
        return wrong(cold_key, "this or cold_url is expected, as cold_after_days is set");
    }
    // Either would take the other's files for its own leftovers.
    if let (Some(hot), Some(cold)) = (&hot, &cold)
        && (hot.holds(cold) || cold.holds(hot))
    {
        return wrong(cold_key, "a place apart from the archive's is expected, none within the other");
    }
    if raw.delete_after_days > 0 && raw.delete_after_days <= raw.cold_after_days {
        return wrong("archive.delete_after_days", "more days than cold_after_days are expected");
    }
    let age = |days: u32| (days > 0).then(|| DAY * days);
    Ok(ArchiveConfig {
        place: hot,
        interval: Duration::from_millis(raw.interval_ms),
        row_group_rows: raw.row_group_rows,
        file_bytes_max: raw.file_bytes_max,
        pending_bytes_max: raw.pending_bytes_max,
        merge_after: Duration::from_millis(raw.merge_after_ms),
        cold,
        cold_after: age(raw.cold_after_days),
        delete_after: age(raw.delete_after_days),
    })
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError};
    use crate::store::Place;

    fn load(text: &str) -> Result<Config, String> {
        let text = format!("[archive]\n{text}");
        Config::parse("my.toml", &text).map_err(|error: ConfigError| error.to_string())
    }

    #[test]
    fn an_archive_lies_in_a_directory_or_in_a_bucket_and_so_do_its_cold_files() {
        let archive = load("").expect("valid").archive;
        assert!(archive.place.is_none() && archive.cold.is_none());
        let place = |text| Some(Place::parse(text).expect("a place"));
        for (text, hot, cold) in [
            ("directory = 'a'\ncold_directory = 'c'", "a", "c"),
            ("url = 's3://ads/a/'\ncold_url = 's3://ads/c'", "s3://ads/a", "s3://ads/c"),
            ("directory = 'a'\ncold_url = 's3://cold'\ncold_after_days = 2", "a", "s3://cold"),
        ] {
            let archive = load(text).expect(text).archive;
            assert_eq!((archive.place, archive.cold), (place(hot), place(cold)), "{text}");
        }
    }

    #[test]
    fn places_that_make_no_sense_are_refused() {
        for (text, message) in [
            ("url = 's3://A'", "my.toml:2: archive.url: \"A\" is no bucket"),
            ("url = 'a'", "my.toml:2: archive.url: s3://bucket/prefix is expected"),
            (
                "url = 's3://ads'\ndirectory = 'a'",
                "my.toml:3: archive.directory: either a directory or a url",
            ),
            ("cold_url = 'gs://ads'", "my.toml:2: archive.cold_url: only directories and s3://"),
            ("cold_url = 's3://ads'\ncold_directory = 'a'", "my.toml:3: archive.cold_directory: either"),
            ("cold_after_days = 1", "archive.cold_directory: this or cold_url is expected"),
            ("url = 's3://ads'\ncold_url = 's3://ads/cold'", "my.toml:3: archive.cold_url: a place apart"),
            ("directory = 'x/a'\ncold_directory = 'x'", "my.toml:3: archive.cold_directory: a place apart"),
            ("file_bytes_max = 1_073_741_824", "archive.file_bytes_max: 65536 to 536870912 bytes"),
            (
                "url = 's3://ads/x'\n[checkpoint]\nurl = 's3://ads/x/'",
                "my.toml:2: archive.url: another place than that of the checkpoint",
            ),
        ] {
            let error = load(text).expect_err(text);
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
