use arrow_array::{ArrayRef, StringArray};
use parquet::basic::Compression;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr, WriterVersion};
use parquet::file::reader::{FileReader, SerializedFileReader};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn properties(encoding: Encoding, version: WriterVersion) -> WriterPropertiesPtr {
    let builder = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(encoding);
    Arc::new(builder.set_writer_version(version).set_compression(Compression::SNAPPY).build())
}

fn file(texts: Vec<Option<String>>, properties: &WriterPropertiesPtr, nullable: bool) -> Vec<u8> {
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    let rows = arrow_array::RecordBatch::try_from_iter_with_nullable([("site", texts, nullable)]);
    let rows = rows.expect("rows");
    let properties = Some(properties.as_ref().clone());
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), properties);
    let writer = writer.as_mut().expect("a writer");
    writer.write(&rows).expect("written");
    writer.finish().expect("closed");
    writer.inner().clone()
}

fn pages(file: Vec<u8>) -> (Checked, Vec<Page>) {
    let reader = SerializedFileReader::new(bytes::Bytes::from(file)).expect("a file");
    let group = reader.get_row_group(0).expect("a row group");
    let pages = group.get_column_page_reader(0).expect("pages").map(|page| page.expect("a page"));
    (Checked::of(reader.metadata().row_group(0).column(0)), pages.collect())
}

#[test]
fn lengths_are_those_that_were_written() {
    for seed in 0..40u64 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let nullable: bool = dice.random();
        let longest = [0, 1, 9, 700][dice.random_range(0..4)];
        let texts: Vec<_> = (0..dice.random_range(1..700))
            .map(|_| (!nullable || dice.random()).then(|| "x".repeat(dice.random_range(0..=longest))))
            .collect();
        let expected: u64 = texts.iter().flatten().map(|text| text.len() as u64).sum();
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let write = |encoding| file(texts.clone(), &properties(encoding, version), nullable);
            let (mut checked, found) = pages(write(Encoding::DELTA_BYTE_ARRAY));
            found.iter().for_each(|page| checked.page(page).expect("in order"));
            assert_eq!(checked.bytes, expected, "seed {seed}");
            let (checked, found) = pages(write(Encoding::DELTA_LENGTH_BYTE_ARRAY));
            let lengths =
                lengths(values(&found[0], checked.nullable).expect("values"), 700).expect("lengths");
            let written: Vec<_> = texts.iter().flatten().map(|text| text.len() as i32).collect();
            assert_eq!(lengths.0, written, "seed {seed}");
        }
    }
}

#[test]
fn texts_that_repeat_each_other_take_only_so_much() {
    let of = |length| {
        let texts = vec![Some("x".repeat(length)); ROWS];
        let properties = properties(Encoding::DELTA_BYTE_ARRAY, WriterVersion::PARQUET_2_0);
        let (mut checked, found) = pages(file(texts, &properties, true));
        found.iter().try_for_each(|page| checked.page(page))
    };
    assert_eq!(of(4096), Ok(()));
    assert_eq!(of(4097), Err("its texts take too much memory, as they repeat each other"));
}

#[test]
fn more_lengths_than_the_page_has_values_are_not_read() {
    let header = [0x80, 0x01, 0x04, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x00, 0, 0, 0, 0];
    assert_eq!(lengths(&header, 100), None);
    let header = [0x80, 0x01, 0x04, 0x03, 0x0a, 0x00, 0, 0, 0, 0];
    assert_eq!(lengths(&header, 100), Some((vec![5, 5, 5], 10)));
    assert_eq!(lengths(&header, 2), None);
    for length in 0..header.len() {
        assert_eq!(lengths(&header[..length], 100), None, "cut at {length}");
    }
    // No block, blocks of no numbers, and numbers of 33 bits.
    for (at, with) in [(2, 0), (0, 0x81), (6, 33)] {
        let mut header = header;
        header[at] = with;
        assert_eq!(lengths(&header, 100), None, "byte {at}");
    }
}
