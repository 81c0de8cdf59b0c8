//! The footer of a file, checked before it is followed. The library follows it as it is, and panics
//! at a place before the first byte.

use std::ops::Range;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::ChunkReader;

use super::Kind;

/// Reads the footer of a file.
///
/// # Errors
/// It can't be read, or what it says can't be true of this file.
pub fn footer(file: &impl ChunkReader) -> Result<ArrowReaderMetadata, String> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let found = ArrowReaderMetadata::load(file, options).map_err(|error| error.to_string());
    let found = found.and_then(|found| check(found.metadata(), file.len()).map(|()| found));
    found.map_err(|what| format!("the Parquet footer can't be read: {what}"))
}

/// Where the columns of a row group lie that a reader of a kind reads.
pub fn chunks(footer: &ArrowReaderMetadata, group: usize, kind: Kind) -> Vec<Range<u64>> {
    let is_read = |name: String| kind.columns().iter().any(|(read, _)| *read == name);
    let columns = footer.metadata().row_group(group).columns().iter();
    let read = columns.filter(|column| is_read(column.column_path().string()));
    read.map(|column| column.byte_range()).map(|(start, bytes)| start..start + bytes).collect()
}

/// All columns lie within the file, and its rows can be counted.
fn check(metadata: &ParquetMetaData, length: u64) -> Result<(), String> {
    let mut rows = 0i64;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let added = Some(group.num_rows()).filter(|more| *more >= 0).and_then(|more| rows.checked_add(more));
        rows = added.ok_or_else(|| format!("row group {number} claims {} rows", group.num_rows()))?;
        if let Some(column) = group.columns().iter().find(|column| !lies_within(column, length)) {
            let column = column.column_path().string();
            return Err(format!("column {column} of row group {number} lies outside of the file"));
        }
    }
    Ok(())
}

fn lies_within(column: &ColumnChunkMetaData, length: u64) -> bool {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let end = u64::try_from(start).ok().zip(u64::try_from(column.compressed_size()).ok());
    end.and_then(|(start, bytes)| start.checked_add(bytes)).is_some_and(|end| end <= length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a file of clicks whose four row groups are changed so.
    fn said(rows: i64, bytes: i64, offset: i64) -> Result<(), String> {
        let ids: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::StringArray::from(vec!["k"; 12]));
        let file = super::super::tests::file(vec![("click_id", ids)]);
        let length = file.len() as u64;
        let found = parquet::file::metadata::ParquetMetaDataReader::new()
            .parse_and_finish(&bytes::Bytes::from(file))
            .expect("a footer");
        let mut builder = found.into_builder();
        let change = |group: parquet::file::metadata::RowGroupMetaData| {
            let column = group.column(0).clone().into_builder();
            let size = bytes + group.column(0).compressed_size();
            let column = column.set_total_compressed_size(size).set_dictionary_page_offset(Some(offset));
            let column = column.build().expect("a column");
            let group = group.into_builder().set_num_rows(rows).set_column_metadata(vec![column]);
            group.build().expect("a row group")
        };
        let groups = builder.take_row_groups().into_iter().map(change).collect();
        check(&builder.set_row_groups(groups).build(), length)
    }

    #[test]
    fn a_footer_that_points_out_of_the_file_or_claims_endless_rows_is_refused() {
        assert_eq!(said(3, 0, 4), Ok(()));
        for (rows, bytes, offset) in
            [(3, 0, -4), (3, -1_000, 4), (3, 1_000_000, 4), (3, i64::MAX / 2, i64::MAX), (3, 0, 1_000_000)]
        {
            let said = said(rows, bytes, offset).expect_err("refused");
            assert_eq!(said, "column click_id of row group 0 lies outside of the file");
        }
        assert_eq!(said(-1, 0, 4), Err("row group 0 claims -1 rows".to_owned()));
        assert_eq!(said(i64::MAX, 0, 4), Err(format!("row group 1 claims {} rows", i64::MAX)));
    }
}
