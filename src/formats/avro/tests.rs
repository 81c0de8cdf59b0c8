use std::io::Cursor as Stream;

use apache_avro::types::{Record, Value};
use apache_avro::{Codec, DeflateSettings, Schema, Writer, ZstandardSettings};

use super::*;
use crate::config::Config;

const SCHEMA: &str = include_str!("../../../config/schemas/bid_request.avsc");

fn bid(price: f64) -> Value {
    Value::Record(vec![
        ("campaign_id".into(), Value::String("c1".into())),
        ("creative_id".into(), Value::String("cr1".into())),
        ("price_cpm".into(), Value::Double(price)),
    ])
}

/// A file of `count` requests with two bids each, in blocks of about 4 KiB.
fn file(codec: Codec, count: usize) -> Vec<u8> {
    let schema = Schema::parse_str(SCHEMA).expect("valid");
    let mut writer = Writer::builder()
        .schema(&schema)
        .writer(Vec::new())
        .codec(codec)
        .block_size(4096)
        .build()
        .expect("writer");
    for n in 0..count {
        let mut record = Record::new(&schema).expect("record");
        record.put("auction_id", format!("auction-{n}"));
        record.put("timestamp", Value::TimestampMillis(1_772_323_200_000 + n as i64));
        record.put("user_id", "u1");
        record.put("site", "s1");
        record.put("country", "DE");
        record.put("device", "mobile");
        record.put("bids", Value::Array(vec![bid(0.0625), bid(4.761)]));
        writer.append_value(record).expect("appended");
    }
    writer.into_inner().expect("written")
}

fn read(bytes: &[u8]) -> Batch {
    let layout = Config::load(None).expect("valid").sources.bid_requests.layout;
    let mut batch = Batch::default();
    let stream = Box::new(Stream::new(bytes.to_vec()));
    let mut reader = AvroReader::new(stream, &layout, "a.avro".into(), Arc::default()).expect("sound header");
    while reader.read(&mut batch, usize::MAX).expect("no collision") {}
    batch
}

fn codecs() -> [Codec; 4] {
    let zstandard = Codec::Zstandard(ZstandardSettings::default());
    [Codec::Null, Codec::Deflate(DeflateSettings::default()), Codec::Snappy, zstandard]
}

#[test]
fn every_codec_is_read_and_prices_are_exact() {
    for codec in codecs() {
        let batch = read(&file(codec, 1000));
        assert_eq!((batch.bids.len(), batch.rejects.len()), (2000, 0), "{codec:?}");
        assert_eq!((batch.bids[0].1.bid.0, batch.bids[1].1.bid.0), (62, 4761));
    }
}

#[test]
fn a_file_cut_inside_a_block_counts_up_to_it() {
    for codec in codecs() {
        let whole = file(codec, 1000);
        let batch = read(&whole[..whole.len() - 20]);
        assert_eq!(batch.rejects.len(), 1);
        assert!(batch.rejects[0].hint.contains("ends inside the block"), "{}", batch.rejects[0].hint);
        assert!(batch.bids.len() > 1000 && batch.bids.len() < 2000);
    }
}

#[test]
fn a_damaged_block_costs_one_reject_and_reading_goes_on() {
    for codec in [Codec::Snappy, Codec::Null, Codec::Deflate(DeflateSettings::default())] {
        let whole = file(codec, 1000);
        let sync = whole[whole.len() - 16..].to_vec();
        let markers: Vec<_> = memchr::memmem::find_iter(&whole, &sync).collect();
        // The head of the third block: its count of records, then its size.
        for damage in [markers[2] + 16, markers[2] + 18, markers[3] + 3] {
            let mut bytes = whole.clone();
            bytes[damage] ^= 0x41;
            let batch = read(&bytes);
            assert!((1..=2).contains(&batch.rejects.len()), "{codec:?}: {:?}", batch.rejects);
            assert!(batch.bids.len() > 1600, "{codec:?}: {}", batch.bids.len());
            assert!(batch.bids.iter().any(|(id, _)| *id == dataflows::model::ids::Id::new("auction-999")));
        }
    }
}

#[test]
fn fields_are_found_by_name_whatever_else_the_schema_holds() {
    let schema = Schema::parse_str(
        r#"{"type":"record","name":"R","fields":[
          {"name":"tree","type":["null",{"type":"record","name":"Tree","fields":[{"name":"next","type":["null","Tree"]}]}]},
          {"name":"bids","type":["null",{"type":"array","items":{"type":"record","name":"B","fields":[
             {"name":"price_cpm","type":["null","string","long","float"]},{"name":"extra","type":{"type":"map","values":"int"}},
             {"name":"campaign_id","type":"string"}]}}]},
          {"name":"user_id","type":["string","null"]},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-micros"}},
          {"name":"device","type":{"type":"enum","name":"D","symbols":["ctv","toaster"]}},
          {"name":"auction_id","type":"string"}]}"#,
    )
    .expect("valid");
    let mut writer = Writer::new(&schema, Vec::new()).expect("writer");
    let union = |at, value| Value::Union(at, Box::new(value));
    let text = |text: &str| Value::String(text.into());
    let mut append = |user: Value, device: u32, price: Value| {
        let leaf = Value::Record(vec![("next".into(), union(0, Value::Null))]);
        let tree = Value::Record(vec![("next".into(), union(1, leaf))]);
        let bid = Value::Record(vec![
            ("price_cpm".into(), price),
            ("extra".into(), Value::Map([("a".to_owned(), Value::Int(1))].into())),
            ("campaign_id".into(), text("c")),
        ]);
        let words = ["ctv", "toaster"];
        let record = Value::Record(vec![
            ("tree".into(), union(1, tree)),
            ("bids".into(), union(1, Value::Array(vec![bid]))),
            ("user_id".into(), user),
            ("timestamp".into(), Value::TimestampMicros(1_999)),
            ("device".into(), Value::Enum(device, words[device as usize].into())),
            ("auction_id".into(), text("a")),
        ]);
        writer.append_value(record).expect("appended");
    };
    let user = || union(0, text("u"));
    append(user(), 0, union(1, text("0.0005")));
    append(user(), 0, union(2, Value::Long(2)));
    append(user(), 0, union(3, Value::Float(0.5)));
    append(user(), 0, union(0, Value::Null));
    append(user(), 0, union(3, Value::Float(f32::NAN)));
    append(user(), 1, union(2, Value::Long(-2)));
    append(user(), 1, union(2, Value::Long(2)));
    // A request may come without a user.
    append(union(1, Value::Null), 0, union(2, Value::Long(7)));
    let batch = read(&writer.into_inner().expect("written"));
    let amounts: Vec<_> = batch.bids.iter().map(|(_, bid)| bid.bid.0).collect();
    assert_eq!(amounts, [0, 2000, 500, 7000]);
    assert_eq!(batch.bids[0].1.ts.millis(), 1);
    let reasons: Vec<_> = batch.rejects.iter().map(|reject| reject.reason).collect();
    use Reason::{BadEnum, BadNumber, MissingField, NegativeMoney};
    assert_eq!(reasons, [MissingField, BadNumber, NegativeMoney, BadEnum]);
}

#[test]
fn records_that_hold_nothing_but_records_without_bytes_take_no_time() {
    let nothing = (1..=38).fold("\"null\"".to_owned(), |inner, level| {
        let again = if level == 1 { "null".to_owned() } else { format!("L{}", level - 1) };
        let fields = format!(r#"{{"name":"a","type":{inner}}},{{"name":"b","type":"{again}"}}"#);
        format!(r#"{{"type":"record","name":"L{level}","fields":[{fields}]}}"#)
    });
    let text = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"nothing","type":{nothing}}}]}}"#);
    let layout = Config::load(None).expect("valid").sources.bid_requests.layout;
    let schema = WriterSchema::compile(&text, &layout).expect("valid");
    let (decoder, mut batch) = (DatumDecoder::new(&layout, Arc::default()), Batch::default());
    let position = crate::formats::Position::Message { partition: 0, offset: 0 };
    decoder.datum(&schema, b"", &"t".into(), position, &mut batch).expect("no collision");
    assert_eq!(batch.rejects.len(), 1);
}
