//! Tables as Parquet, zstd-compressed. Row groups are encoded apart from the file, by whoever has
//! the rows, and then appended to it.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::cells::{CellSink, Column, ColumnKind, Short, Text};

/// Rows of a row group at most.
pub const ROW_GROUP_ROWS: usize = 1 << 18;

/// Rows that are gathered before they are encoded.
const BATCH_ROWS: usize = 1 << 14;

/// An encoded row group.
pub type RowGroup = Vec<ArrowColumnChunk>;

/// A Parquet file that row groups are appended to.
pub struct ParquetFile(SerializedFileWriter<BufWriter<File>>);

impl ParquetFile {
    /// Starts a file, and tells how its row groups are encoded.
    pub fn new(out: File, columns: &[Column]) -> Result<(Self, RowGroupEncoder)> {
        let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let fields = columns.iter().map(|column| match column.kind {
            ColumnKind::Int => Field::new(column.name, DataType::Int64, false),
            ColumnKind::Text => Field::new(column.name, text(), false),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let properties = Some(properties(columns)?);
        let writer = ArrowWriter::try_new(BufWriter::new(out), Arc::clone(&schema), properties)?;
        let (writer, factory) = writer.into_serialized_writer()?;
        Ok((Self(writer), RowGroupEncoder { factory, schema }))
    }

    /// Appends a row group.
    pub fn append(&mut self, group: RowGroup) -> Result<()> {
        let mut writer = self.0.next_row_group()?;
        for column in group {
            column.append_to_row_group(&mut writer)?;
        }
        writer.close()?;
        Ok(())
    }

    /// Writes the footer.
    pub fn finish(&mut self) -> Result<()> {
        self.0.finish()?;
        Ok(self.0.flush()?)
    }
}

fn properties(columns: &[Column]) -> Result<WriterProperties> {
    let mut properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?));
    for (at, column) in columns.iter().enumerate() {
        let path = ColumnPath::from(column.name);
        // Rows are in the order of the first column, so its bounds help a reader to skip row groups; those
        // of the others are nearly the same in every group.
        if at > 0 {
            properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        // A dictionary looks every value up. Counts are small, and packed they take as few bits; amounts
        // hardly ever repeat.
        if column.kind == ColumnKind::Int {
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(properties.build())
}

/// Makes the row groups of one file.
pub struct RowGroupEncoder {
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
}

impl RowGroupEncoder {
    /// Starts a row group.
    pub fn start(&self) -> Result<RowGroupBuilder<'_>> {
        let cells = self.schema.fields().iter().map(|field| match field.data_type() {
            DataType::Int64 => Cells::Int(Vec::with_capacity(BATCH_ROWS)),
            _ => Cells::Text { ends: vec![0], bytes: Vec::new() },
        });
        Ok(RowGroupBuilder {
            schema: &self.schema,
            writers: self.factory.create_column_writers(0)?,
            columns: cells.collect(),
            next: 0,
            rows: 0,
        })
    }
}

/// A row group in the making.
pub struct RowGroupBuilder<'a> {
    schema: &'a Schema,
    writers: Vec<ArrowColumnWriter>,
    columns: Vec<Cells>,
    /// The column of the next cell.
    next: usize,
    rows: usize,
}

enum Cells {
    Int(Vec<i64>),
    Text { ends: Vec<i32>, bytes: Vec<u8> },
}

impl Cells {
    /// The cells as an array; leaves none behind.
    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Int(cells) => {
                let cells = std::mem::replace(cells, Vec::with_capacity(BATCH_ROWS));
                Arc::new(Int64Array::from(cells))
            }
            Self::Text { ends, bytes } => {
                let ends = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                Arc::new(StringArray::try_new(ends, std::mem::take(bytes).into(), None)?)
            }
        })
    }
}

impl RowGroupBuilder<'_> {
    /// Ends the present row.
    pub fn end_row(&mut self) -> Result<()> {
        self.next = 0;
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.rows = 0;
        let columns = self.schema.fields().iter().zip(&mut self.columns);
        for ((field, cells), writer) in columns.zip(&mut self.writers) {
            for leaf in compute_leaves(field, &cells.finish()?)? {
                writer.write(&leaf)?;
            }
        }
        Ok(())
    }

    /// Encodes what is left.
    pub fn finish(mut self) -> Result<RowGroup> {
        self.flush()?;
        self.writers.into_iter().map(ArrowColumnWriter::close).collect()
    }
}

impl CellSink for RowGroupBuilder<'_> {
    fn int(&mut self, value: i64) {
        if let Cells::Int(cells) = &mut self.columns[self.next] {
            cells.push(value);
        }
        self.next += 1;
    }

    fn text(&mut self, text: Text<'_>) {
        if let Cells::Text { ends, bytes } = &mut self.columns[self.next] {
            bytes.extend_from_slice(text.bytes);
            ends.push(bytes.len() as i32);
        }
        self.next += 1;
    }

    fn short(&mut self, short: Short) {
        if let Cells::Text { ends, bytes } = &mut self.columns[self.next] {
            short.append_to(bytes);
            ends.push(bytes.len() as i32);
        }
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int32Type, Int64Type};
    use dataflows::model::ids::Name;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    const COLUMNS: [Column; 3] = [
        Column { name: "hour", kind: ColumnKind::Int },
        Column { name: "site", kind: ColumnKind::Text },
        Column { name: "spend_micros", kind: ColumnKind::Int },
    ];

    fn row(n: i64) -> (i64, String, i64) {
        (n / 1000, format!("sïte{}", n % 7), n * 1_000_003 % 65_537 - 100)
    }

    #[test]
    fn what_was_written_is_read() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("table.parquet");
        let (mut file, encoder) =
            ParquetFile::new(File::create(&path).expect("creates"), &COLUMNS).expect("starts");
        // The second group is encoded before the first one is appended; both are several batches.
        let group = |rows: std::ops::Range<i64>| {
            let mut group = encoder.start().expect("starts");
            for (n, (hour, site, spend)) in rows.map(|n| (n, row(n))) {
                group.window(hour);
                match n % 2 {
                    0 => group.text(Text::from(&*site)),
                    _ => group.short(Short::of_name(Name::new(&site)).expect("it is short")),
                }
                group.int(spend);
                group.end_row().expect("encodes");
            }
            group.finish().expect("encodes")
        };
        let (second, first) = (group(40_000..90_000), group(0..40_000));
        file.append(first).expect("appends");
        file.append(second).expect("appends");
        file.finish().expect("ends");

        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("opens"));
        let builder = builder.expect("a Parquet file");
        assert_eq!(builder.metadata().num_row_groups(), 2);
        let mut expected = (0..90_000).map(row);
        for batch in builder.build().expect("reads") {
            let batch = batch.expect("reads");
            let sites = batch.column(1).as_dictionary::<Int32Type>();
            let sites = sites.downcast_dict::<StringArray>().expect("text");
            let int = |column: usize| batch.column(column).as_primitive::<Int64Type>().values().to_vec();
            for ((hour, site), spend) in int(0).into_iter().zip(sites).zip(int(2)) {
                assert_eq!(expected.next(), Some((hour, site.expect("no null").to_owned(), spend)));
            }
        }
        assert_eq!(expected.next(), None);
    }
}
