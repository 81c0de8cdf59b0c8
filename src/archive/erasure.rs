//! An archive without the records of some users.
//!
//! ```text
//!   1. impressions, bids ─▶ whose they are: which clicks and bids go with the users
//!   2. every file that holds a record of theirs ─▶ the same file without it
//!   3. a manifest that names the new files, and one more: nothing names the old ones any more
//! ```

use std::fmt::Display;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{BooleanArray, RecordBatch, StringArray};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use dataflows::model::ids::Id;
use dataflows::model::time::Epoch;
use dataflows::rules::erasure::Subject;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use xxhash_rust::xxh3::xxh3_64;

use super::encode::{FileWriter, Shape};
use super::error::ArchiveError;
use super::keeper::Keeper;
use super::kind::Kind;
use super::manifest::Entry;
use crate::checkpoint::HeldResidues;
use crate::formats::Batch;

/// Records by kind.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Removed {
    /// Bids.
    pub bids: u64,
    /// Impressions.
    pub impressions: u64,
    /// Clicks.
    pub clicks: u64,
    /// Conversions.
    pub conversions: u64,
}

impl Removed {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.bids + self.impressions + self.clicks + self.conversions
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.bids += other.bids;
        self.impressions += other.impressions;
        self.clicks += other.clicks;
        self.conversions += other.conversions;
    }

    /// All events of a batch.
    pub fn of_batch(batch: &Batch) -> Self {
        Self {
            bids: batch.bids.len() as u64,
            impressions: batch.impressions.len() as u64,
            clicks: batch.clicks.len() as u64,
            conversions: batch.conversions.len() as u64,
        }
    }

    fn of(&mut self, kind: Kind) -> Option<&mut u64> {
        Some(match kind {
            Kind::Bids => &mut self.bids,
            Kind::Impressions => &mut self.impressions,
            Kind::Clicks => &mut self.clicks,
            Kind::Conversions => &mut self.conversions,
            Kind::Rejected => return None,
        })
    }
}

/// Which column tells whose a record is.
fn column(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Bids => Some("auction_id"),
        Kind::Impressions | Kind::Conversions => Some("user_id"),
        Kind::Clicks => Some("impression_id"),
        Kind::Rejected => None,
    }
}

fn concerns(kind: Kind, key: Id, subject: &Subject) -> bool {
    match kind {
        Kind::Bids => subject.auctions.contains(&key),
        Kind::Impressions | Kind::Conversions => subject.users.contains(&key),
        Kind::Clicks => subject.impressions.contains(&key),
        Kind::Rejected => false,
    }
}

impl Keeper {
    /// Looks up which impressions were shown to the users and which auctions were held for them.
    /// `step` hears of each file.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn look_up(&self, subject: &mut Subject, step: &dyn Fn(&Entry)) -> Result<(), ArchiveError> {
        for entry in &self.current.files {
            let columns: &[&str] = match entry.kind {
                Kind::Impressions => &["user_id", "auction_id", "impression_id"],
                Kind::Bids => &["user_id", "auction_id"],
                _ => continue,
            };
            step(entry);
            let file = self.read(entry)?.into();
            self.of(entry, learn(file, columns, subject))?;
        }
        Ok(())
    }

    /// How many records there are of the users.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn count(&self, subject: &Subject, step: &dyn Fn(&Entry)) -> Result<Removed, ArchiveError> {
        let mut removed = Removed::default();
        for entry in &self.current.files {
            if let (Some(column), Some(count)) = (column(entry.kind), removed.of(entry.kind)) {
                step(entry);
                let file = self.read(entry)?.into();
                *count += self.of(entry, theirs(file, entry.kind, column, subject))?;
            }
        }
        Ok(removed)
    }

    /// Removes the records of the users, as of `epoch`, up to which nothing else was read. The files
    /// that held them are gone when this returns.
    ///
    /// # Errors
    /// See [`ArchiveError`]. Done again, it ends what it had begun.
    pub fn erase(
        &mut self,
        subject: &Subject,
        epoch: Epoch,
        residues: &HeldResidues,
        shape: Shape,
        step: &dyn Fn(&Entry),
    ) -> Result<Removed, ArchiveError> {
        let (mut removed, mut files) = (Removed::default(), Vec::new());
        for entry in self.current.files.clone() {
            let (Some(column), Some(count)) = (column(entry.kind), removed.of(entry.kind)) else {
                files.push(entry);
                continue;
            };
            step(&entry);
            let file: Bytes = self.read(&entry)?.into();
            let theirs = self.of(&entry, theirs(file.clone(), entry.kind, column, subject))?;
            *count += theirs;
            match theirs {
                0 => files.push(entry),
                // Nothing is left.
                all if all == entry.rows => {}
                _ => files.push(self.rewrite(entry, file, column, subject, shape)?),
            }
        }
        let mut next = self.current.clone();
        next.epoch = next.epoch.max(epoch);
        next.files = files;
        next.residues = residues.write(self.object("residues"), |name, bytes| self.write(name, bytes))?;
        // Twice, as the last two manifests keep what they name.
        self.commit(next.clone())?;
        self.commit(next)?;
        Ok(removed)
    }

    /// Writes a file without the records of the users.
    fn rewrite(
        &mut self,
        entry: Entry,
        file: Bytes,
        column: &str,
        subject: &Subject,
        shape: Shape,
    ) -> Result<Entry, ArchiveError> {
        let sifted = self.of(&entry, sift(file, entry.kind, column, subject, shape))?;
        let name = self.name(entry.kind, entry.hour());
        let Sifted { bytes, rows, span: (min_ts, max_ts) } = sifted;
        let (length, checksum) = (bytes.len() as u64, xxh3_64(&bytes));
        let written = Entry { name, rows, bytes: length, min_ts, max_ts, checksum, ..entry };
        match (&self.cold, written.cold) {
            (Some(cold), true) => {
                let fail = |source| super::manifest::failed(cold, source);
                cold.create(&written.name, bytes).map(|_| ()).map_err(fail)?;
            }
            _ => self.write(&written.name, bytes)?,
        }
        Ok(written)
    }

    /// What came of a file, which is named if it is at fault.
    fn of<T>(&self, entry: &Entry, result: Result<T, ParquetError>) -> Result<T, ArchiveError> {
        let (place, name) = (|| self.store.place().to_owned(), || entry.name.clone());
        result.map_err(|source| ArchiveError::Parquet { place: place(), name: name(), source })
    }
}

/// Reads some columns of a file, in this order.
fn open(file: Bytes, columns: &[&str]) -> Result<ParquetRecordBatchReader, ParquetError> {
    let file = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let mask = ProjectionMask::columns(file.parquet_schema(), columns.iter().copied());
    file.with_projection(mask).build()
}

fn keys<'a>(rows: &'a RecordBatch, column: &str) -> Result<&'a StringArray, ParquetError> {
    let texts = rows.column_by_name(column).and_then(|column| column.as_string_opt());
    texts.ok_or_else(|| ParquetError::General(format!("there is no text in column {column}")))
}

fn learn(file: Bytes, columns: &[&str], subject: &mut Subject) -> Result<(), ParquetError> {
    for rows in open(file, columns)? {
        let rows = rows.map_err(wrong)?;
        let (users, auctions) = (keys(&rows, "user_id")?, keys(&rows, "auction_id")?);
        let impressions = rows.column_by_name("impression_id").and_then(|ids| ids.as_string_opt::<i32>());
        for row in 0..rows.num_rows() {
            if subject.users.contains(&Id::new(users.value(row))) {
                subject.auctions.insert(Id::new(auctions.value(row)));
                subject.impressions.extend(impressions.map(|ids| Id::new(ids.value(row))));
            }
        }
    }
    Ok(())
}

/// How many records of a file are theirs.
fn theirs(file: Bytes, kind: Kind, column: &str, subject: &Subject) -> Result<u64, ParquetError> {
    let mut count = 0;
    for rows in open(file, &[column])? {
        let rows = rows.map_err(wrong)?;
        let found = keys(&rows, column)?.iter().flatten();
        count += found.filter(|text| concerns(kind, Id::new(text), subject)).count() as u64;
    }
    Ok(count)
}

struct Sifted {
    bytes: Vec<u8>,
    rows: u64,
    span: (i64, i64),
}

fn sift(
    file: Bytes,
    kind: Kind,
    column: &str,
    subject: &Subject,
    shape: Shape,
) -> Result<Sifted, ParquetError> {
    let mut out = FileWriter::new(kind, shape);
    let (mut count, mut span) = (0, (i64::MAX, i64::MIN));
    for rows in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        let rows = rows.map_err(wrong)?;
        let stays = keys(&rows, column)?.iter().map(|text| {
            // What has no key is nobody's.
            Some(text.is_none_or(|text| !concerns(kind, Id::new(text), subject)))
        });
        let stays: BooleanArray = stays.collect();
        let rows = filter_record_batch(&rows, &stays).map_err(wrong)?;
        let times = rows.column_by_name("ts").and_then(|ts| ts.as_primitive_opt::<Int64Type>());
        for ts in times.into_iter().flatten().flatten() {
            span = (span.0.min(ts), span.1.max(ts));
        }
        count += rows.num_rows() as u64;
        if rows.num_rows() > 0 {
            out.write(&rows)?;
        }
    }
    Ok(Sifted { bytes: out.finish()?, rows: count, span })
}

fn wrong(error: impl Display) -> ParquetError {
    ParquetError::General(error.to_string())
}
