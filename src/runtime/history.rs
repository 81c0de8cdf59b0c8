//! What a replay reads: the files of a directory, or those that an archive's manifest names, and of
//! these only what may lie in the range of times asked for.
//!
//! ```text
//!   manifest or folder ─▶ files ─▶ by hour (manifest) ─▶ row groups ─▶ by statistics ─▶ splits
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use dataflows::model::lookups::LookupRow;
use dataflows::model::time::EventTime;
use parquet::file::statistics::Statistics;

use super::job::TimeRange;
use crate::archive::{ArchiveError, Catalog, Entry, Kind};
use crate::checkpoint::{HeldResidues, RejectCount};
use crate::config::Config;
use crate::formats::timestamp::Unit;
use crate::sources::files::{Compression, Contents, InputFile, Part, SourceError, Split, discover, plan};
use crate::store::{Place, together};

/// Input that was not read, as all of it lies outside of the range of times.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Skipped {
    /// Files of an archive.
    pub files: usize,
    /// Row groups of the other files.
    pub row_groups: usize,
}

/// What there is to read.
#[derive(Debug, Default)]
pub struct History {
    /// How many files.
    pub files: usize,
    /// Their pieces.
    pub splits: Vec<Split>,
    /// When the hour begins that a file is of, by its name; only of an archive.
    pub hours: BTreeMap<Arc<str>, EventTime>,
    /// What is passed over.
    pub skipped: Skipped,
    /// Rejects that an archive holds as counts.
    pub rejected: Vec<RejectCount>,
    /// Lookup rows that an archive holds.
    pub lookups: Vec<LookupRow>,
    /// What stays published of records that were erased from an archive.
    pub residues: HeldResidues,
}

/// Why the input can't be listed.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Files.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A bucket without one.
    #[error(
        "{0} holds no manifest of an archive, and nothing else is read from buckets; correct the prefix, or \
         copy the files into a directory"
    )]
    NoArchive(Place),
}

impl History {
    /// An archive, or the files in a directory.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn find(input: &Place, config: &Config, range: &TimeRange) -> Result<Self, HistoryError> {
        match (Catalog::open(input, &config.s3)?, input) {
            (Some(archive), _) => Self::of_archive(&archive, range),
            (None, Place::Directory(dir)) => Self::of_files(&discover(dir, &config.sources)?, range),
            (None, Place::Bucket { .. }) => Err(HistoryError::NoArchive(input.clone())),
        }
    }

    /// All of an archive that may lie in a range of times.
    ///
    /// # Errors
    /// A file of counts can't be read, or a bucket.
    pub fn of_archive(archive: &Catalog, range: &TimeRange) -> Result<Self, HistoryError> {
        // Rejects whose time can't be told are counted at the very first minute, and stay.
        let timeless = |file: &Entry| file.kind == Kind::Rejected && file.hour == 0;
        let overlaps = |file: &&Entry| timeless(file) || file.overlaps(range.since, range.until);
        let read: Vec<&Entry> = archive.files.iter().filter(overlaps).collect();
        let inputs: Vec<InputFile> = read.iter().filter_map(|file| input(archive, file)).collect();
        let mut history = Self::of_files(&inputs, range)?;
        let hour = |file: &Entry| EventTime::from_millis(file.hour().start_millis());
        let hours = read.iter().filter_map(|file| Some((input(archive, file)?.name, hour(file)?)));
        history.hours = hours.collect();
        history.skipped.files =
            archive.files.iter().filter(|file| file.kind != Kind::Rejected).count() - inputs.len();
        let counts: Vec<&Entry> = read.into_iter().filter(|file| file.kind == Kind::Rejected).collect();
        let counts = together(&counts, |file| archive.rejected(file))?;
        let inside = |count: &RejectCount| {
            let at = EventTime::from_millis(count.minute.start_millis());
            count.minute.0 == 0 || at.is_none_or(|at| range.contains(at))
        };
        history.rejected = counts.into_iter().flatten().filter(inside).collect();
        history.lookups = archive.rows.values().filter_map(|row| row.rule).collect();
        history.residues = archive.residues.clone();
        history.residues.residues.retain(|residue| {
            EventTime::from_millis(residue.start_millis()).is_none_or(|start| range.contains(start))
        });
        Ok(history)
    }

    fn of_files(files: &[InputFile], range: &TimeRange) -> Result<Self, HistoryError> {
        let (mut splits, all) = (plan(files)?, range.is_everything());
        let before = splits.len();
        splits.retain(|split| all || may_overlap(split, range));
        let skipped = Skipped { files: 0, row_groups: before - splits.len() };
        Ok(Self { files: files.len(), splits, skipped, ..Self::default() })
    }
}

fn input(archive: &Catalog, file: &Entry) -> Option<InputFile> {
    let address = archive.address(file);
    let name = address.to_string().into();
    let (contents, compression) = (Contents::Canonical(file.kind.events()?), Compression::None);
    Some(InputFile { address, name, bytes: file.bytes, contents, compression })
}

/// Whether a piece may hold an event of the range. Only of a row group with statistics can that be
/// told without reading it.
fn may_overlap(split: &Split, range: &TimeRange) -> bool {
    let Part::RowGroup { group, footer } = &split.part else { return true };
    let group = footer.metadata().row_group(*group);
    let column = group.columns().iter().find(|column| column.column_path().string() == "ts");
    let unit = footer.schema().field_with_name("ts").ok().and_then(|field| unit(field.data_type()));
    let (Some(column), Some(unit)) = (column, unit) else { return true };
    let Some(Statistics::Int64(statistics)) = column.statistics() else { return true };
    let time = |count: Option<&i64>| count.and_then(|count| unit.event_time(*count));
    let (Some(min), Some(max)) = (time(statistics.min_opt()), time(statistics.max_opt())) else {
        return true;
    };
    range.since.is_none_or(|since| max >= since) && range.until.is_none_or(|until| min < until)
}

fn unit(kind: &arrow_schema::DataType) -> Option<Unit> {
    use arrow_schema::{DataType, TimeUnit};
    Some(match kind {
        DataType::Int64 | DataType::Timestamp(TimeUnit::Millisecond, _) => Unit::Millis,
        DataType::Timestamp(TimeUnit::Second, _) => Unit::Seconds,
        DataType::Timestamp(TimeUnit::Microsecond, _) => Unit::Micros,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Unit::Nanos,
        _ => return None,
    })
}
