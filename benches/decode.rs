//! How fast each format is decoded: bytes as stored and records per second, through the same
//! reader that a replay uses, on one thread.
//!
//! `cargo bench --bench decode`; with `-- --quick` it takes seconds instead of minutes.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use advertisex::config::{Config, SourcesConfig};
use advertisex::formats::Batch;
use advertisex::formats::parquet::Kind;
use advertisex::generate::{Format, Plan, write};
use advertisex::names::Names;
use advertisex::sources::files::{Contents, SourceError, Split, SplitReader, discover, plan};
use criterion::{Criterion, Throughput};
use dataflows::model::reject::Feed;
use tempfile::TempDir;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

const AUCTIONS: u64 = 50_000;
/// As in a replay.
const BATCH_EVENTS: usize = 8192;

/// One kind of file, cut as a replay cuts it.
struct Subject {
    name: &'static str,
    splits: Vec<Split>,
    bytes: u64,
    /// Events and rejects.
    records: u64,
}

/// Reads all splits of a subject.
fn decode(splits: &[Split], config: &SourcesConfig) -> Result<u64, SourceError> {
    let names = Arc::new(Names::default());
    let (mut batch, mut records) = (Batch::default(), 0);
    for split in splits {
        let mut reader = SplitReader::open(split.clone(), config, Arc::clone(&names));
        loop {
            batch.clear();
            let more = reader.read(&mut batch, BATCH_EVENTS)?;
            records += black_box(&batch).len() as u64;
            if !more {
                break;
            }
        }
    }
    Ok(records)
}

fn subject(contents: Contents) -> &'static str {
    match contents {
        Contents::Raw(Feed::Impressions) => "impressions, JSON",
        Contents::Raw(Feed::Events) => "events, CSV",
        Contents::Raw(Feed::BidRequests) => "bid requests, Avro deflate",
        Contents::Canonical(Kind::Bids) => "bids, Parquet",
        Contents::Canonical(Kind::Impressions) => "impressions, Parquet",
        Contents::Canonical(Kind::Clicks) => "clicks, Parquet",
        Contents::Canonical(Kind::Conversions) => "conversions, Parquet",
    }
}

/// Writes the traffic in one format; a subject for each of its files.
fn subjects(format: Format, dir: &Path, config: &SourcesConfig) -> Outcome<Vec<Subject>> {
    let traffic = Plan { auctions: AUCTIONS, ..Plan::default() };
    write(&traffic, format, dir, false, &mut |_| ())?;
    let mut subjects = Vec::new();
    for file in discover(dir, config)? {
        let splits = plan(std::slice::from_ref(&file))?;
        let records = decode(&splits, config)?;
        subjects.push(Subject { name: subject(file.contents), splits, bytes: file.bytes, records });
    }
    Ok(subjects)
}

fn measure(criterion: &mut Criterion, subject: &Subject, config: &SourcesConfig) {
    let mut group = criterion.benchmark_group(subject.name);
    // A pass takes up to a second: the default of 100 samples would take minutes a file.
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for (unit, throughput) in
        [("bytes", Throughput::Bytes(subject.bytes)), ("records", Throughput::Elements(subject.records))]
    {
        group.throughput(throughput);
        group.bench_function(unit, |bencher| bencher.iter(|| decode(&subject.splits, config)));
    }
    group.finish();
}

fn main() -> Outcome<()> {
    let config = Config::load(None)?.sources;
    let dir = TempDir::new()?;
    let mut criterion = Criterion::default().configure_from_args();
    for (format, name) in [(Format::Raw, "raw"), (Format::Parquet, "parquet")] {
        for subject in subjects(format, &dir.path().join(name), &config)? {
            measure(&mut criterion, &subject, &config);
        }
    }
    criterion.final_summary();
    Ok(())
}
