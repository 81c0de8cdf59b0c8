//! Tables as Parquet: one row group for every 256 Ki rows, zstd.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringDictionaryBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;

use super::cells::{CellSink, Column, ColumnKind, Row};
use crate::names::Names;

const BATCH_ROWS: usize = 1 << 16;
const ROW_GROUP_ROWS: usize = 1 << 18;

/// Writes rows as Parquet.
pub struct ParquetTable<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
    columns: Vec<Cells>,
    rows: usize,
}

enum Cells {
    Int(Int64Builder),
    Text(StringDictionaryBuilder<Int32Type>),
}

impl<W: Write + Send> ParquetTable<W> {
    /// Starts a table.
    pub fn new(out: W, columns: &[Column]) -> Result<Self> {
        let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let fields = columns.iter().map(|column| match column.kind {
            ColumnKind::Int => Field::new(column.name, DataType::Int64, false),
            ColumnKind::Text => Field::new(column.name, text(), false),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))?;
        let columns = columns
            .iter()
            .map(|column| match column.kind {
                ColumnKind::Int => Cells::Int(Int64Builder::with_capacity(BATCH_ROWS)),
                ColumnKind::Text => Cells::Text(StringDictionaryBuilder::new()),
            })
            .collect();
        Ok(Self { writer, schema, columns, rows: 0 })
    }

    /// Adds a row.
    pub fn push(&mut self, row: &impl Row, names: &Names) -> Result<()> {
        row.cells(names, &mut Cursor { columns: &mut self.columns, at: 0 });
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let arrays = self.columns.iter_mut().map(|column| match column {
            Cells::Int(cells) => Arc::new(cells.finish()) as ArrayRef,
            Cells::Text(cells) => Arc::new(cells.finish()) as ArrayRef,
        });
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays.collect())?;
        self.rows = 0;
        self.writer.write(&batch)
    }

    /// Writes what is left, and the footer; gives back what was written to.
    pub fn finish(mut self) -> Result<W> {
        self.flush()?;
        self.writer.into_inner()
    }
}

struct Cursor<'a> {
    columns: &'a mut [Cells],
    at: usize,
}

impl CellSink for Cursor<'_> {
    fn int(&mut self, value: i64) {
        if let Cells::Int(cells) = &mut self.columns[self.at] {
            cells.append_value(value);
        }
        self.at += 1;
    }

    fn text(&mut self, value: &str) {
        if let Cells::Text(cells) = &mut self.columns[self.at] {
            cells.append_value(value);
        }
        self.at += 1;
    }
}
