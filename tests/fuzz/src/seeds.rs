//! Inputs to start from.

use std::fs;
use std::sync::Arc;

use advertisex::archive;
use advertisex::bindings::{Binding, Bindings, Range, TopicPartition};
use advertisex::checkpoint::{Manifest, Records};
use advertisex::config::Config;
use advertisex::formats::Batch;
use advertisex::generate::{Format, Plan, write};
use advertisex::names::Names;
use advertisex::sources::files::{SplitReader, discover, plan};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use dataflows::model::horizon::Horizon;
use parquet::arrow::ArrowWriter;
use parquet::basic::Encoding;
use parquet::file::properties::WriterProperties;

use crate::Target;
use crate::formats::{OTHER_SCHEMA, SCHEMA};
use crate::own::JOB;

/// The inputs of a target.
pub(crate) fn of(target: Target) -> Vec<Vec<u8>> {
    match target {
        Target::Segment => segments(),
        Target::Manifest => vec![Manifest::new(JOB, "run").bytes(), manifest()],
        Target::Bindings => bindings(),
        Target::Archive => vec![archive::Manifest::new(JOB, 0, "run").bytes(), archive_manifest()],
        Target::Json => {
            golden("impressions.jsonl").split(|byte| *byte == b'\n').take(20).map(<[u8]>::to_vec).collect()
        }
        Target::Csv => csv(),
        Target::AvroFile => {
            vec![golden("bid_requests.avro")[..4_000].to_vec(), golden("bid_requests.avro")[..900].to_vec()]
        }
        Target::AvroDatum => vec![datum()],
        Target::AvroSchema => vec![SCHEMA.into(), OTHER_SCHEMA.into()],
        Target::Parquet => parquet(),
        Target::Lookup => texts(&[
            "c1,adv1,\"Spring, early\"",
            "user,u1",
            "site,s1",
            "adv1,30d,1d,7d,linear",
            "s1,The News,news",
            r#"{"campaign_id":"c1","advertiser_id":"adv1","name":null}"#,
            r#"{"creative_id":"a","format":"video","name":"Clip"}"#,
        ]),
        Target::Scalars => texts(&[
            "2026-03-01T00:20:30.055Z",
            "2026-03-01T00:20:30+02:00",
            "1772323200000",
            "20130606000104008",
            "7.486e0",
            "-0.0000015",
            "9223372036854775807",
            "1e309",
            "30d",
            "12h",
            "0",
        ]),
    }
}

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn golden(name: &str) -> Vec<u8> {
    let path = crate::project().join("tests/golden/raw").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn csv() -> Vec<Vec<u8>> {
    let text = golden("events.csv");
    let mut lines = text.split(|byte| *byte == b'\n');
    let header = lines.next().unwrap_or_default();
    lines.take(20).map(|line| [header, line].join(&b'\n')).collect()
}

/// Of some generated traffic, as Parquet files and as records.
fn traffic() -> (Vec<Vec<u8>>, Batch) {
    let dir = tempfile::tempdir().expect("a directory");
    let (feeds, config) = (dir.path().join("feeds"), Config::load(None).expect("valid"));
    let plan_of = Plan { auctions: 12, ..Plan::default() };
    write(&plan_of, Format::Parquet, &feeds, false, &mut |_| ()).expect("traffic");
    let mut batch = Batch::default();
    for split in plan(&discover(&feeds, &config.sources).expect("feeds")).expect("files") {
        let mut reader = SplitReader::open(split, &config.sources, Arc::default());
        while reader.read(&mut batch, 1_000).expect("sound") {}
    }
    let files = fs::read_dir(&feeds).expect("a directory").flatten().map(|entry| entry.path());
    let parquet = files.filter(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    (parquet.map(|path| fs::read(path).expect("readable")).collect(), batch)
}

/// Our own files, and clicks whose texts are written as differences.
fn parquet() -> Vec<Vec<u8>> {
    let differences = [Encoding::DELTA_BYTE_ARRAY, Encoding::DELTA_LENGTH_BYTE_ARRAY].map(clicks);
    traffic().0.into_iter().chain(differences).collect()
}

fn clicks(encoding: Encoding) -> Vec<u8> {
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values((0..40).map(|id| format!("id-{}", id * id))));
    let times: ArrayRef = Arc::new(Int64Array::from_iter_values(0..40));
    let columns = [("click_id", ids.clone()), ("impression_id", ids), ("ts", times)];
    let columns = columns.map(|(name, column)| (name, column, true));
    let rows = RecordBatch::try_from_iter_with_nullable(columns).expect("same lengths");
    let properties = WriterProperties::builder().set_dictionary_enabled(false);
    let properties = ["click_id", "impression_id"]
        .into_iter()
        .fold(properties, |properties, column| properties.set_column_encoding(column.into(), encoding));
    let mut writer =
        ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties.build())).expect("a writer");
    writer.write(&rows).expect("written");
    writer.into_inner().expect("closed")
}

/// Whole files, and short inputs that become frames of each kind once they are sealed.
fn segments() -> Vec<Vec<u8>> {
    let mut records = Records::default();
    records.add(&traffic().1);
    let segment = records.segment(JOB, &Names::default());
    let frames = [(0u8, 8usize), (1, 12), (2, 5), (3, 8), (4, 2)];
    let short = frames.map(|(kind, words)| [vec![kind, 1, words as u8], vec![0; words * 8]].concat());
    let mut all = vec![segment.finish("s".to_owned(), 0).0];
    all.extend(short);
    all.push(b"\x05\x01\x02\x00\x05\x00\x00\x00a name\x00\x00\x00\x00\x00".to_vec());
    all
}

fn manifest() -> Vec<u8> {
    let listed =
        r#"{"name":"a","bytes":40,"checksum":7,"level":0,"records":[0,0,0,0,0,0],"latest":[0,0,0,0,0,0]}"#;
    format!(
        r#"{{"version":3,"job":"{JOB}","number":1,"run":"run","epoch":5,"positions":
           [{{"topic":"t","partition":0,"next":7}}],"lookups":{listed},"segments":[{listed}]}}"#
    )
    .into_bytes()
}

fn archive_manifest() -> Vec<u8> {
    let file = r#"{"name":"a","kind":"clicks","hour":492294,"rows":1,"bytes":9,"min_ts":5,"max_ts":6,"epoch":5,
           "checksum":7,"level":0,"cold":true}"#;
    format!(
        r#"{{"version":1,"job":"{JOB}","shard":0,"number":1,"run":"run","epoch":5,"begins":0,"cold":null,
           "positions":[{{"topic":"t","partition":0,"next":7}}],"lookups":null,"files":[{file}]}}"#
    )
    .into_bytes()
}

fn bindings() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = Bindings::open(dir.path(), JOB).expect("a new log");
    let range = |from, to| Range { place: TopicPartition { topic: "t".into(), partition: 0 }, from, to };
    for (epoch, range) in [(1, range(0, 0)), (2, range(0, 300)), (300, range(300, 70_000))] {
        log.append(&Binding { epoch, ranges: vec![range], horizon: Horizon::default() }).expect("appended");
    }
    // A short one becomes records once it is sealed: an epoch, a new topic, a range; and a horizon.
    let short = vec![10, 1, 0, 1, 1, b't', 1, 0, 0, 0, 0, 9, 2, 1, 5, 5, 5, 5, 5, 0, 0];
    vec![fs::read(dir.path().join("bindings.log")).expect("it is there"), short]
}

/// A request with one bid.
fn datum() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut text = |text: &str| {
        bytes.push((text.len() * 2) as u8);
        bytes.extend(text.as_bytes());
    };
    text("a1");
    bytes.extend([0x80, 0xa0, 0xb0, 0xd8, 0x94, 0x67]);
    for part in ["u1", "s1", "DE", "ctv"] {
        bytes.push((part.len() * 2) as u8);
        bytes.extend(part.as_bytes());
    }
    bytes.push(2);
    for part in ["c1", "k1"] {
        bytes.push((part.len() * 2) as u8);
        bytes.extend(part.as_bytes());
    }
    bytes.extend(1.5f64.to_le_bytes());
    bytes.push(0);
    bytes
}
