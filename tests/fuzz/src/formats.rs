//! The decoders of what others write.

use std::cell::RefCell;
use std::io::{Cursor, Seek, Write};
use std::sync::{Arc, LazyLock};

use advertisex::config::Config;
use advertisex::formats::avro::{AvroReader, DatumDecoder, WriterSchema};
use advertisex::formats::layout::Layout;
use advertisex::formats::lines::Lines;
use advertisex::formats::lookup::{RowFormat, Table, duration};
use advertisex::formats::parquet::{Kind, ParquetReader, footer};
use advertisex::formats::text::TextDecoder;
use advertisex::formats::timestamp::{TimeFormat, Unit};
use advertisex::formats::{Batch, Position, decimal};
use advertisex::names::Names;
use jiff::tz::Offset;

/// The schema that bid requests have unless another is set.
pub(crate) const SCHEMA: &str = include_str!("../../../config/schemas/bid_request.avsc");

/// The same record as another producer may write it: unions, other units, an enum, a field of its own.
pub(crate) const OTHER_SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "extra", "type": {"type": "map", "values": ["null", "long", {"type": "fixed", "name": "F", "size": 3}]}},
    {"name": "auction_id", "type": ["null", "string", "bytes"]},
    {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "user_id", "type": ["string", "null"]}, {"name": "site", "type": "string"},
    {"name": "device", "type": {"type": "enum", "name": "D", "symbols": ["mobile", "ctv"]}},
    {"name": "bids", "type": ["null", {"type": "array", "items": {"type": "record", "name": "B", "fields": [
        {"name": "campaign_id", "type": "string"}, {"name": "price_cpm", "type": ["double", "float", "int", "string"]}
    ]}}]}]}"#;

const LINE_BYTES_MAX: usize = 300;

static LAYOUTS: LazyLock<[Layout; 3]> = LazyLock::new(|| {
    let sources = Config::load(None).expect("the defaults are valid").sources;
    [sources.impressions.layout, sources.events.layout, sources.bid_requests.layout]
});

static SCHEMAS: LazyLock<[WriterSchema; 2]> = LazyLock::new(|| {
    [SCHEMA, OTHER_SCHEMA].map(|text| WriterSchema::compile(text, &LAYOUTS[2]).expect("a schema"))
});

pub(crate) fn json(bytes: &[u8]) {
    lines(&LAYOUTS[0], bytes);
}

pub(crate) fn csv(bytes: &[u8]) {
    lines(&LAYOUTS[1], bytes);
}

/// Each line becomes an event or a reject, and nothing else.
fn lines(layout: &Layout, bytes: &[u8]) {
    let (mut batch, mut taken) = (Batch::default(), 0);
    let mut decoder = TextDecoder::new(layout, Arc::default());
    let source = Box::new(Cursor::new(bytes.to_vec()));
    let mut lines = Lines::new(source, 0, u64::MAX, LINE_BYTES_MAX);
    while let Some(line) = lines.next_line().expect("in memory") {
        if decoder.wants_header() {
            if decoder.header(line.bytes).is_err() {
                return;
            }
            continue;
        }
        decoder.line(line.bytes, &"t".into(), Position::Byte(line.offset), &mut batch).expect("no collision");
        taken += 1;
        assert!(batch.len() <= taken, "a line became more than one thing");
    }
}

pub(crate) fn avro_file(bytes: &[u8]) {
    let stream = Box::new(Cursor::new(bytes.to_vec()));
    let Ok(mut reader) = AvroReader::new(stream, &LAYOUTS[2], "a".into(), Arc::default()) else { return };
    let mut batch = Batch::default();
    while reader.read(&mut batch, 100).expect("no collision") {
        batch.clear();
    }
}

pub(crate) fn avro_datum(bytes: &[u8]) {
    for schema in &*SCHEMAS {
        let (decoder, mut batch) = (DatumDecoder::new(&LAYOUTS[2], Arc::default()), Batch::default());
        let position = Position::Message { partition: 0, offset: 0 };
        decoder.datum(schema, bytes, &"t".into(), position, &mut batch).expect("no collision");
        assert!(batch.rejects.len() <= 1, "one record is rejected once");
        assert!(batch.rejects.is_empty() || batch.events() == 0, "half a record was accepted");
    }
}

pub(crate) fn avro_schema(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = WriterSchema::compile(text, &LAYOUTS[2]);
    }
}

pub(crate) fn parquet(bytes: &[u8]) {
    thread_local!(static FILE: RefCell<std::fs::File> =
        RefCell::new(tempfile::tempfile().expect("a temporary file")));
    let mut file = FILE.with_borrow(|file| file.try_clone().expect("the same file"));
    file.set_len(0).and_then(|()| file.rewind()).expect("emptied");
    file.write_all(bytes).expect("written");
    let Ok(footer) = footer(&file) else { return };
    for (group, kind) in (0..footer.metadata().num_row_groups()).flat_map(|group| {
        [Kind::Bids, Kind::Impressions, Kind::Clicks, Kind::Conversions].map(|k| (group, k))
    }) {
        let file = file.try_clone().expect("the same file");
        let reader = ParquetReader::new(file, &footer, group, kind, "p".into(), Arc::default());
        let (mut batch, Ok(mut reader)) = (Batch::default(), reader) else { continue };
        while reader.read(&mut batch).unwrap_or(false) {
            batch.clear();
        }
    }
}

pub(crate) fn lookup(bytes: &[u8]) {
    for (table, format) in Table::ALL.into_iter().flat_map(|t| [(t, RowFormat::Csv), (t, RowFormat::Json)]) {
        let _ = table.message(format, bytes, &Names::default());
    }
}

pub(crate) fn scalars(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = duration(text);
    for unit in [Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos] {
        let format = TimeFormat::Rfc3339OrEpoch(unit);
        let _ = (format.text(text), format.number(text));
    }
    let offset = Offset::UTC;
    let _ = TimeFormat::Pattern("%Y%m%d%H%M%S%3f".to_owned(), offset).text(text);
    for scale in [-3, 0, 1, 3, 4, 6] {
        let exact = decimal::parse(text, scale);
        // A whole number needs no rounding, and is what it is.
        if let (Ok(found), Ok(whole), 0..) = (&exact, text.parse::<i64>(), scale) {
            let expected = i128::from(whole) * 10_i128.pow(scale.unsigned_abs());
            assert_eq!(i128::from(*found), expected, "{text} by 10^{scale}");
        }
        if let Ok(value) = text.parse::<f64>() {
            let _ = decimal::from_f64(value, scale);
        }
    }
}
