use std::io::Write;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};

use super::*;

/// A file of these columns, in row groups of three rows.
pub fn file(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    written(columns, WriterProperties::builder().set_max_row_group_row_count(Some(3)))
}

fn written(columns: Vec<(&str, ArrayRef)>, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let nullable = columns.into_iter().map(|(name, column)| (name, column, true));
    let rows = RecordBatch::try_from_iter_with_nullable(nullable).expect("same lengths");
    let properties = properties.build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).expect("writer");
    writer.write(&rows).expect("written");
    writer.into_inner().expect("closed")
}

fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn read(bytes: &[u8], kind: Kind) -> Result<Batch, String> {
    let mut file = tempfile::tempfile().expect("temporary");
    file.write_all(bytes).expect("written");
    let footer = footer(&file)?;
    let mut batch = Batch::default();
    for group in 0..footer.metadata().num_row_groups() {
        let file = file.try_clone().expect("cloned");
        let mut reader = ParquetReader::new(file, &footer, group, kind, "p".into(), Arc::default())?;
        while reader.read(&mut batch).map_err(|error| error.to_string())? {}
    }
    Ok(batch)
}

#[test]
fn impressions_are_read_by_column_name_and_bad_rows_are_rejected_by_position() {
    let long = "x".repeat(200);
    let ids = [Some("a"), Some("b"), None, Some(""), Some("e"), Some(&*long), Some("g")];
    let bytes = file(vec![
        ("extra", text(&[Some("z"); 7])),
        ("cost_micros", Arc::new(Int64Array::from(vec![1, 2, 3, 4, -5, 6, 7]))),
        ("impression_id", text(&ids)),
        ("auction_id", text(&[Some("auction"); 7])),
        ("user_id", text(&[Some("u"); 7])),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![1_999, 2, 3, 4, 5, 6, -1_000_000]))),
        (
            "campaign_id",
            text(&[Some("c1"), Some("c2"), Some("c1"), Some("c2"), Some("c1"), Some("c1"), Some("c1")]),
        ),
        ("device", text(&[None, Some("ctv"), None, None, None, Some("toaster"), None])),
        ("viewable", Arc::new(BooleanArray::from(vec![Some(true), None, None, None, None, None, None]))),
    ]);
    let batch = read(&bytes, Kind::Impressions).expect("readable");
    assert_eq!(batch.impressions.len(), 2);
    let first = batch.impressions[0];
    assert_eq!((first.0, first.1.ts.millis(), first.1.viewable), (Id::new("a"), 1, true));
    assert_eq!(batch.impressions[1].1.dims.device, Device::Ctv);
    assert_eq!(batch.impressions[1].1.dims.campaign, Name::new("c2"));
    let rejects: Vec<_> =
        batch.rejects.iter().map(|reject| (reject.origin.position, reject.reason)).collect();
    use Reason::{BadTimestamp, MissingField, NegativeMoney, TooLong};
    let expected =
        [(2, MissingField), (3, MissingField), (4, NegativeMoney), (5, TooLong), (6, BadTimestamp)];
    assert_eq!(rejects, expected.map(|(row, reason)| (Position::Row(row), reason)));
    assert!(String::from_utf8_lossy(&batch.rejects[2].payload).contains("cost_micros=-5"));
}

#[test]
fn the_other_kinds_are_read_too() {
    let ts = || -> ArrayRef { Arc::new(Int64Array::from(vec![5, 6])) };
    let word = |word| text(&[Some(word), Some(word)]);
    let clicks = file(vec![("click_id", word("k")), ("impression_id", word("i")), ("ts", ts())]);
    assert_eq!(read(&clicks, Kind::Clicks).expect("readable").clicks.len(), 2);
    let bids =
        file(vec![("auction_id", word("a")), ("campaign_id", word("c")), ("ts", ts()), ("bid_micros", ts())]);
    assert_eq!(read(&bids, Kind::Bids).expect("readable").bids[1].1.bid.0, 6);
    let conversions = file(vec![
        ("conversion_id", word("v")),
        ("user_id", word("u")),
        ("advertiser_id", word("a-long-advertiser")),
        ("ts", ts()),
    ]);
    assert_eq!(read(&conversions, Kind::Conversions).expect("readable").conversions[0].1.value.0, 0);
}

#[test]
fn a_file_of_another_shape_is_refused_with_its_columns() {
    let bytes = file(vec![("click_id", text(&[Some("k")])), ("ts", text(&[Some("k")]))]);
    let error = read(&bytes, Kind::Clicks).expect_err("refused");
    assert_eq!(error, "column \"impression_id\" is absent; the columns are: click_id, ts");
    let ids = || text(&[Some("k")]);
    let bytes = file(vec![("click_id", ids()), ("impression_id", ids()), ("ts", ids())]);
    let error = read(&bytes, Kind::Clicks).expect_err("refused");
    assert!(error.contains("column \"ts\" holds Utf8;"), "{error}");
}

#[test]
fn what_is_no_flat_column_of_its_type_is_never_decoded() {
    let ids = || text(&[Some("k")]);
    let list =
        arrow_array::ListArray::from_iter_primitive::<arrow_array::types::Int64Type, _, _>([Some([Some(1)])]);
    let bytes = arrow_array::FixedSizeBinaryArray::try_from_iter([[7u8]].into_iter()).expect("bytes");
    for (column, holds) in [(Arc::new(list) as ArrayRef, "List"), (Arc::new(bytes), "FixedSizeBinary")] {
        for name in ["impression_id", "ts"] {
            let other = if name == "ts" { "impression_id" } else { "ts" };
            let other_column: ArrayRef =
                if name == "ts" { ids() } else { Arc::new(Int64Array::from(vec![1])) };
            let bytes = file(vec![("click_id", ids()), (name, column.clone()), (other, other_column)]);
            let error = read(&bytes, Kind::Clicks).expect_err("refused");
            assert!(error.starts_with(&format!("column \"{name}\" holds {holds}")), "{error}");
        }
    }
}

/// Clicks of one moment, of ids that are as long as ids can be.
fn constant(rows: usize) -> Vec<(&'static str, ArrayRef)> {
    let id = "x".repeat(128);
    let ids: ArrayRef = Arc::new(StringArray::from(vec![&*id; rows]));
    vec![("click_id", ids.clone()), ("impression_id", ids), ("ts", Arc::new(Int64Array::from(vec![5; rows])))]
}

#[test]
fn columns_of_equal_values_are_read_however_small_they_pack() {
    let rows = 200_000;
    let zstd = || WriterProperties::builder().set_compression(Compression::ZSTD(Default::default()));
    let plain = || zstd().set_dictionary_enabled(false);
    // The last is a page of 25 MB, packed to some KB.
    let one = || plain().set_data_page_size_limit(1 << 30).set_data_page_row_count_limit(1 << 30);
    let delta = || plain().set_encoding(Encoding::PLAIN);
    let texts = |encoding| {
        ["click_id", "impression_id"].into_iter().fold(delta(), |builder, column| {
            builder.set_column_encoding(parquet::schema::types::ColumnPath::from(column), encoding)
        })
    };
    let (common, lengths) = (Encoding::DELTA_BYTE_ARRAY, Encoding::DELTA_LENGTH_BYTE_ARRAY);
    for properties in [zstd(), plain(), texts(common), texts(lengths), one()] {
        let bytes = written(constant(rows), properties);
        assert!(bytes.len() < 100_000, "{}", bytes.len());
        let batch = read(&bytes, Kind::Clicks).expect("readable");
        assert_eq!((batch.clicks.len(), batch.rejects.len()), (rows, 0));
    }
}

#[test]
fn a_column_that_leaves_its_dictionary_is_read_the_same() {
    let names: Vec<_> = (0..30_000).map(|row| format!("campaign-{}", row % 20_000)).collect();
    let names = names.iter().map(|name| Some(&**name)).collect::<Vec<_>>();
    let numbers = || -> ArrayRef { Arc::new(Int64Array::from_iter_values(0..30_000)) };
    let ids = text(&vec![Some("a"); 30_000]);
    let columns = vec![
        ("auction_id", ids),
        ("campaign_id", text(&names)),
        ("ts", numbers()),
        ("bid_micros", numbers()),
    ];
    let bytes = written(columns, WriterProperties::builder().set_dictionary_page_size_limit(100_000));
    let batch = read(&bytes, Kind::Bids).expect("readable");
    let found = batch.bids.iter().map(|bid| bid.1.dims.campaign);
    assert!(found.eq(names.iter().map(|name| Name::new(name.unwrap_or_default()))));
}

#[test]
fn two_kilobytes_that_claim_a_dictionary_of_gigabytes_are_refused() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/findings/parquet-dictionary-of-endless-values");
    let mut bytes = std::fs::read(path).expect("readable");
    let error = read(&bytes, Kind::Bids).expect_err("refused");
    let page = "the row group is damaged: the page at byte 115 of column ts";
    assert_eq!(error, format!("{page} has a header that can't be read"));
    // The same number, which the library cut to 32 bits, written as it should be.
    let claimed = [0xc4; 8];
    let at = bytes.windows(8).position(|window| window == claimed).expect("the claim");
    let values = 608_735_522u64 << 1;
    for (place, byte) in bytes[at..at + 9].iter_mut().enumerate() {
        *byte = (values >> (7 * place)) as u8 | 0x80;
    }
    bytes[at + 8] = 0;
    let error = read(&bytes, Kind::Bids).expect_err("refused");
    assert_eq!(error, format!("{page} claims 608735522 values in 88 bytes"));
}
