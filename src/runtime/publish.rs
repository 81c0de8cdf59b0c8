//! Writes finished tables as files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::thread;

use super::parts::{Parts, Windows};
use super::report::TableReport;
use crate::names::Names;
use crate::sinks::cells::Digest;
use crate::sinks::directory::{DirectoryError, PendingDirectory};
use crate::sinks::order::NameOrder;
use crate::sinks::parquet::ParquetTable;
use crate::sinks::tables::TableRow;
use crate::sinks::text::CsvTable;

/// The format of table files.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum TableFormat {
    /// Comma-separated text with a header.
    #[default]
    Csv,
    /// Parquet, zstd-compressed.
    Parquet,
}

/// Why tables can't be written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The output directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The file system refused.
    #[error("can't write table {table}; is the disk full?")]
    Io {
        /// The table.
        table: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The Parquet writer refused.
    #[error("can't write table {table} as Parquet")]
    Parquet {
        /// The table.
        table: &'static str,
        /// Why.
        source: parquet::errors::ParquetError,
    },
}

/// What a published table is made with.
#[derive(Copy, Clone)]
pub struct Publisher<'a> {
    /// Where the files go.
    pub directory: &'a PendingDirectory,
    /// The format of the files.
    pub format: TableFormat,
    /// The texts of the keys.
    pub names: &'a Names,
    /// The order of the names.
    pub order: &'a NameOrder,
}

/// The parts of all workers, table by table.
macro_rules! table {
    ($parts:expr, $table:ident) => {
        $parts.iter_mut().map(|part| std::mem::take(&mut part.$table)).collect::<Vec<_>>()
    };
}

impl Publisher<'_> {
    /// Writes every table from the workers' parts.
    pub fn publish(self, mut parts: Vec<Parts>) -> Result<Vec<TableReport>, PublishError> {
        let hour = table!(parts, performance_hour);
        // The hourly table is larger than all others together, so it has a thread to itself.
        thread::scope(|scope| {
            let hour = scope.spawn(move || self.write(hour));
            let mut reports = vec![
                self.write(table!(parts, performance_minute))?,
                self.write(table!(parts, attribution_hour))?,
                self.write(table!(parts, reach_day))?,
                self.write(table!(parts, supply_hour))?,
                self.write(table!(parts, quality_minute))?,
                self.write(table!(parts, conversion_paths))?,
            ];
            let hour = hour.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            reports.insert(1, hour);
            Ok(reports)
        })
    }

    fn write<R: TableRow>(self, parts: Vec<Windows<R>>) -> Result<TableReport, PublishError> {
        let name = R::TABLE;
        let mut digest = Digest::default();
        let rows =
            merge(parts, |row| row.key(self.order, self.names)).inspect(|row| digest.add(row, self.names));
        let io = |source| PublishError::Io { table: name, source };
        match self.format {
            TableFormat::Csv => {
                let mut table = CsvTable::new(self.create::<R>("csv")?, &R::columns());
                for row in rows {
                    table.push(&row, self.names).map_err(io)?;
                }
                table.finish().map_err(io)?;
            }
            TableFormat::Parquet => {
                let parquet = |source| PublishError::Parquet { table: name, source };
                let out = BufWriter::new(self.create::<R>("parquet")?);
                let mut table = ParquetTable::new(out, &R::columns()).map_err(parquet)?;
                for row in rows {
                    table.push(&row, self.names).map_err(parquet)?;
                }
                table.finish().map_err(parquet)?.flush().map_err(io)?;
            }
        }
        Ok(TableReport { table: name, rows: digest.rows(), digest: digest.hex() })
    }

    fn create<R: TableRow>(&self, extension: &str) -> Result<File, PublishError> {
        Ok(self.directory.create(&format!("{}.{extension}", R::TABLE))?)
    }
}

/// Merges sorted parts, of which there are few.
fn merge<P, R, K: Ord>(parts: Vec<P>, key: impl Fn(&R) -> K) -> impl Iterator<Item = R>
where
    P: IntoIterator<Item = R>,
{
    let mut parts: Vec<_> = parts.into_iter().map(IntoIterator::into_iter).collect();
    let mut heads: Vec<Option<(K, R)>> =
        parts.iter_mut().map(|part| part.next().map(|row| (key(&row), row))).collect();
    std::iter::from_fn(move || {
        let least = (0..heads.len())
            .filter(|&i| heads[i].is_some())
            .min_by(|&a, &b| heads[a].as_ref().map(|h| &h.0).cmp(&heads[b].as_ref().map(|h| &h.0)))?;
        let next = parts[least].next().map(|row| (key(&row), row));
        std::mem::replace(&mut heads[least], next).map(|(_, row)| row)
    })
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn sorted_parts_merge_into_a_sorted_whole() {
        let merged: Vec<i32> = merge(vec![vec![1, 4, 9], vec![], vec![2, 3, 10]], |row| *row).collect();
        assert_eq!(merged, [1, 2, 3, 4, 9, 10]);
    }
}
