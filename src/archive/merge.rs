//! Files of one kind and hour merged into one, row by row in order.
//!
//! The files are in memory as they are stored, and of each the rows of one batch: a merge takes
//! about as much memory as the files are long, twice.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_select::interleave::interleave_record_batch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use super::encode::{FileWriter, Shape, order};
use super::kind::Kind;

/// Rows of a file in memory, and rows written at a time.
const ROWS: usize = 4096;

/// Merges whole files of a kind, each in order, into one.
///
/// # Errors
/// A file is no Parquet, or has other columns than its kind has.
pub fn merge(kind: Kind, files: Vec<Vec<u8>>, shape: Shape) -> Result<Vec<u8>, ParquetError> {
    let mut runs = Vec::new();
    for file in files {
        runs.extend(Run::open(kind, file.into())?);
    }
    let mut out = FileWriter::new(kind, shape);
    let mut picked: Vec<(usize, usize)> = Vec::new();
    while let Some(least) = least(&runs) {
        picked.push((least, runs[least].row));
        runs[least].row += 1;
        let over = runs[least].row == runs[least].rows.num_rows();
        if over || picked.len() == ROWS {
            let batches: Vec<_> = runs.iter().map(|run| &run.rows).collect();
            out.write(&interleave_record_batch(&batches, &picked)?)?;
            picked.clear();
        }
        if over && !runs[least].refill()? {
            runs.remove(least);
        }
    }
    out.finish()
}

/// A file that is being read, in order.
struct Run {
    reader: ParquetRecordBatchReader,
    rows: RecordBatch,
    row: usize,
    /// The columns that rows are in order of.
    order: Vec<usize>,
}

impl Run {
    /// None of a file without rows.
    fn open(kind: Kind, file: Bytes) -> Result<Option<Self>, ParquetError> {
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(ROWS).build()?;
        let Some(rows) = reader.next().transpose()? else { return Ok(None) };
        let order = order(kind).iter().map(|name| rows.schema_ref().index_of(name));
        let order = order.collect::<Result<Vec<_>, _>>()?;
        let wrong = |what: &str| ParquetError::General(format!("a column that rows are ordered by {what}"));
        if rows.column(order[0]).as_primitive_opt::<Int64Type>().is_none() {
            return Err(wrong("holds no 64-bit integers"));
        }
        if order[1..].iter().any(|at| rows.column(*at).as_string_opt::<i32>().is_none()) {
            return Err(wrong("holds no text"));
        }
        Ok(Some(Self { reader, rows, row: 0, order }))
    }

    fn refill(&mut self) -> Result<bool, ParquetError> {
        let Some(rows) = self.reader.next().transpose()? else { return Ok(false) };
        (self.rows, self.row) = (rows, 0);
        Ok(true)
    }

    fn ts(&self) -> i64 {
        self.rows.column(self.order[0]).as_primitive::<Int64Type>().value(self.row)
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.order[1..].iter().map(|at| self.rows.column(*at).as_string::<i32>().value(self.row))
    }
}

/// The run whose next row comes first; of equal rows, that of the first run.
fn least(runs: &[Run]) -> Option<usize> {
    let by_row = |a: &usize, b: &usize| {
        let (a, b) = (&runs[*a], &runs[*b]);
        a.ts().cmp(&b.ts()).then_with(|| a.texts().cmp(b.texts()))
    };
    (0..runs.len()).min_by(by_row)
}
