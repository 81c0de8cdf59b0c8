//! The file of a table, in either format: encoded piece by piece, by several workers at once, and
//! written in order.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;

use super::cells::{Both, Digest};
use super::clickhouse::ClickHouseError;
use super::csv::{self, Lines};
use super::directory::{DirectoryError, PendingDirectory};
use super::parquet::{ParquetFile, ROW_GROUP_ROWS, RowGroup, RowGroupEncoder};
use super::tables::TableRow;
use super::texts::Texts;

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
    /// Rows that were put aside on disk can't be read back.
    #[error("can't read back the rows that were put aside on disk")]
    PutAside {
        /// Why.
        source: std::io::Error,
    },
    /// ClickHouse.
    #[error(transparent)]
    ClickHouse(#[from] ClickHouseError),
    /// The Parquet writer refused.
    #[error("can't write table {table} as Parquet")]
    Parquet {
        /// The table.
        table: &'static str,
        /// Why.
        source: parquet::errors::ParquetError,
    },
}

/// A piece of a table, as it goes into the file.
pub enum Encoded {
    /// Lines.
    Csv(Vec<u8>),
    /// Row groups.
    Parquet(Vec<RowGroup>),
}

/// How the rows of a file are encoded.
pub enum Encoder {
    /// As lines.
    Csv,
    /// As row groups.
    Parquet(RowGroupEncoder),
}

impl Encoder {
    /// Rows of a piece at least, where there are so many: few enough to stay in the cache, and of
    /// Parquet enough for a row group.
    pub fn piece_rows(&self) -> usize {
        match self {
            Self::Csv => 1 << 14,
            Self::Parquet(_) => 1 << 16,
        }
    }

    /// Encodes rows that are in order, and digests them.
    pub fn encode<R: TableRow>(&self, rows: &[&R], texts: &Texts) -> Result<(Encoded, Digest), PublishError> {
        let mut lines = Lines::default();
        let encoded = match self {
            Self::Csv => {
                for row in scattered(rows) {
                    row.cells(texts, &mut lines);
                    lines.end_line();
                }
                None
            }
            Self::Parquet(encoder) => {
                let fail = |source| PublishError::Parquet { table: R::TABLE, source };
                let groups = rows.chunks(ROW_GROUP_ROWS);
                Some(
                    groups
                        .map(|rows| row_group(encoder, rows, texts, &mut lines).map_err(fail))
                        .collect::<Result<_, _>>()?,
                )
            }
        };
        let (bytes, digest) = lines.finish();
        Ok((encoded.map_or(Encoded::Csv(bytes), Encoded::Parquet), digest))
    }
}

/// Rows that lie anywhere in memory. Some of them are read ahead together, so that the waiting for
/// memory is done once for all of them.
fn scattered<'a, R: TableRow>(rows: &'a [&'a R]) -> impl Iterator<Item = &'a R> {
    rows.chunks(16).flat_map(|near| {
        black_box(near.iter().fold(0, |read, row| read ^ row.window()));
        near.iter().copied()
    })
}

fn row_group<R: TableRow>(
    encoder: &RowGroupEncoder,
    rows: &[&R],
    texts: &Texts,
    lines: &mut Lines,
) -> parquet::errors::Result<RowGroup> {
    let mut group = encoder.start()?;
    for row in scattered(rows) {
        row.cells(texts, &mut Both(lines, &mut group));
        lines.end_line();
        lines.clear();
        group.end_row()?;
    }
    group.finish()
}

/// The file of a table.
pub enum TableFile {
    /// CSV.
    Csv(File),
    /// Parquet.
    Parquet(Box<ParquetFile>),
}

impl TableFile {
    /// Creates the file of the table of `R`.
    pub fn create<R: TableRow>(
        directory: &PendingDirectory,
        format: TableFormat,
    ) -> Result<(Self, Encoder), PublishError> {
        let (table, columns) = (R::TABLE, R::columns());
        match format {
            TableFormat::Csv => {
                let mut file = directory.create(&format!("{table}.csv"))?;
                let header = csv::header(&columns);
                file.write_all(&header).map_err(|source| PublishError::Io { table, source })?;
                Ok((Self::Csv(file), Encoder::Csv))
            }
            TableFormat::Parquet => {
                let file = directory.create(&format!("{table}.parquet"))?;
                let (file, encoder) = ParquetFile::new(file, &columns)
                    .map_err(|source| PublishError::Parquet { table, source })?;
                Ok((Self::Parquet(Box::new(file)), Encoder::Parquet(encoder)))
            }
        }
    }

    /// Appends a piece of `table`.
    pub fn append(&mut self, piece: Encoded, table: &'static str) -> Result<(), PublishError> {
        match (self, piece) {
            (Self::Csv(file), Encoded::Csv(lines)) => {
                file.write_all(&lines).map_err(|source| PublishError::Io { table, source })
            }
            (Self::Parquet(file), Encoded::Parquet(groups)) => groups
                .into_iter()
                .try_for_each(|group| file.append(group))
                .map_err(|source| PublishError::Parquet { table, source }),
            _ => unreachable!("a file's encoder makes pieces of the file's format"),
        }
    }

    /// Writes what belongs behind the last row.
    pub fn finish(&mut self, table: &'static str) -> Result<(), PublishError> {
        match self {
            Self::Csv(_) => Ok(()),
            Self::Parquet(file) => file.finish().map_err(|source| PublishError::Parquet { table, source }),
        }
    }
}
