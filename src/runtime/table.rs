//! One table on its way into its file, or into ClickHouse.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::assembly::{Assembly, Piece};
use super::output::Place;
use super::report::TableReport;
use crate::sinks::cells::Digest;
use crate::sinks::clickhouse::{Published, Staging};
use crate::sinks::csv::Lines;
use crate::sinks::table_file::{Encoded, Encoder, PublishError, TableFile};
use crate::sinks::texts::Texts;

/// Rows of a piece at least that goes into ClickHouse, which likes few large inserts.
const INSERT_ROWS: usize = 1 << 16;

/// A table: what the workers bring of it, and what is written of it.
pub struct Table<R> {
    /// Where the rows come together.
    pub assembly: Assembly<R>,
    target: Target,
}

enum Target {
    File { encoder: Encoder, written: Mutex<Written> },
    Staging { staging: Arc<Staging>, digest: Mutex<Digest> },
}

struct Written {
    file: TableFile,
    pieces: InOrder<Encoded>,
    digest: Digest,
}

impl<R: Published> Table<R> {
    /// Starts a table of which `workers` have a share each.
    pub fn new(place: Place<'_>, workers: usize) -> Result<Self, PublishError> {
        Ok(match place {
            Place::Directory(directory, format) => {
                let (file, encoder) = TableFile::create::<R>(directory, format)?;
                Self::in_file(file, encoder, workers)
            }
            Place::Staging(staging) => {
                let (staging, digest) = (Arc::clone(staging), Mutex::default());
                let target = Target::Staging { staging, digest };
                Self { assembly: Assembly::new(workers, INSERT_ROWS), target }
            }
        })
    }

    /// A table that goes into a file.
    pub fn in_file(file: TableFile, encoder: Encoder, workers: usize) -> Self {
        let written = Written { file, pieces: InOrder::default(), digest: Digest::default() };
        let assembly = Assembly::new(workers, encoder.piece_rows());
        Self { assembly, target: Target::File { encoder, written: Mutex::new(written) } }
    }

    /// Writes a piece.
    pub fn publish(&self, piece: Piece<R>, texts: &Texts) -> Result<(), PublishError> {
        match &self.target {
            Target::File { encoder, written } => append(piece, encoder, written, texts),
            Target::Staging { staging, digest } => {
                let sum = digest_of(&piece, texts);
                staging.write(piece.rows.into_iter().flatten(), texts.names())?;
                digest.lock().unwrap_or_else(PoisonError::into_inner).add(sum);
                Ok(())
            }
        }
    }

    /// Ends the table, of which all pieces were published.
    pub fn finish(&self) -> Result<TableReport, PublishError> {
        let digest = match &self.target {
            Target::File { written, .. } => {
                let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
                written.file.finish(R::TABLE)?;
                written.digest
            }
            Target::Staging { digest, .. } => *digest.lock().unwrap_or_else(PoisonError::into_inner),
        };
        Ok(TableReport { table: R::TABLE, rows: digest.rows(), digest: digest.hex() })
    }
}

/// The digest of a piece; it depends on no order.
fn digest_of<R: Published>(piece: &Piece<R>, texts: &Texts) -> Digest {
    let mut lines = Lines::default();
    for row in piece.rows.iter().flatten() {
        row.cells(texts, &mut lines);
        lines.end_line();
        lines.clear();
    }
    lines.finish().1
}

/// Puts the rows of a piece in order and encodes them; writes what is next in the file, be it this
/// piece or not.
fn append<R: Published>(
    piece: Piece<R>,
    encoder: &Encoder,
    written: &Mutex<Written>,
    texts: &Texts,
) -> Result<(), PublishError> {
    let rows = R::in_order(piece.rows.iter().flatten().collect(), texts);
    let (encoded, digest) = encoder.encode(&rows, texts)?;
    drop(rows);
    drop(piece.rows);

    let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
    let Written { file, pieces, digest: sum } = &mut *written;
    sum.add(digest);
    pieces.put(piece.number, encoded);
    while let Some(next) = pieces.next() {
        file.append(next, R::TABLE)?;
    }
    Ok(())
}

/// Gives out numbered things in order, in whatever order they come.
#[derive(Debug)]
struct InOrder<T> {
    next: u64,
    early: BTreeMap<u64, T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self { next: 0, early: BTreeMap::new() }
    }
}

impl<T> InOrder<T> {
    fn put(&mut self, number: u64, thing: T) {
        self.early.insert(number, thing);
    }

    fn next(&mut self) -> Option<T> {
        let thing = self.early.remove(&self.next)?;
        self.next += 1;
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_any_order_goes_out_in_order() {
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]] {
            let (mut pieces, mut out) = (InOrder::default(), Vec::new());
            for number in order {
                pieces.put(number, number);
                out.extend(std::iter::from_fn(|| pieces.next()));
            }
            assert_eq!(out, [0, 1, 2, 3], "{order:?}");
        }
    }
}
