//! What checkpoints cost: handing records over, writing them, starting from them; and the same
//! records written by other means.
//!
//! `cargo bench --bench checkpoint -- --out FILE`

use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use advertisex::checkpoint::{
    Checkpointer, Fed, Plan as CheckpointPlan, Record, Records, Recovery, RejectCount, Segment, SegmentWriter,
};
use advertisex::config::Config;
use advertisex::formats::Batch;
use advertisex::generate::{Format, Plan, write};
use advertisex::names::{Names, SharedNames};
use advertisex::runtime::job::Job;
use advertisex::sources::files::{SplitReader, discover, plan};
use advertisex::sources::lookups;
use advertisex::store::Store;
use clap::Parser;
use columnar::bytes::indexed;
use columnar::{Borrow, BorrowedOf, Columnar, FromBytes, Index, Len, Push};
use dataflows::model::events::Bid;
use dataflows::model::ids::Id;
use dataflows::model::lookups::LookupRow;
use tempfile::TempDir;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

const JOB: &str = "bench";
/// Events of an epoch: 0.2 s of 50,000 a second.
const EPOCH: usize = 10_000;

/// Measures checkpoints.
#[derive(Parser)]
struct Args {
    /// Auctions in the traffic; 1,350,000 are about five million events.
    #[arg(long, default_value_t = 1_350_000)]
    auctions: u64,
    /// Workers that start from the checkpoint.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Where the results go besides.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Decoded traffic, by epochs.
fn traffic(auctions: u64, names: &SharedNames) -> Outcome<(Vec<Batch>, Vec<LookupRow>)> {
    let (dir, config) = (TempDir::new()?, Config::load(None)?);
    let feeds = dir.path().join("feeds");
    let traffic = Plan { auctions, bids_per_auction: 2.95, ..Plan::default() };
    write(&traffic, Format::Parquet, &feeds, false, &mut |_| ())?;
    let mut epochs = Vec::new();
    for split in plan(&discover(&feeds, &config.sources)?)? {
        let mut reader = SplitReader::open(split, &config.sources, Arc::clone(names));
        let mut more = true;
        while more {
            let mut batch = Batch::default();
            more = reader.read(&mut batch, EPOCH)?;
            epochs.push(batch);
        }
    }
    Ok((epochs, lookups::load(&feeds, names)?))
}

/// Hands everything over and writes it, as fast as it goes.
fn record(epochs: &[Batch], store: &Arc<Store>, names: &SharedNames, report: &mut String) -> Outcome<()> {
    let recovery = Recovery::find(store, JOB, "bench")?;
    let (interval, segment_bytes_max) = (Duration::from_secs(1), 64 << 20);
    let plan = CheckpointPlan { interval, segment_bytes_max, workers: 1, processes: 1 };
    let writer = Checkpointer::start(Arc::clone(store), &recovery, "bench", Arc::clone(names), plan)?;
    writer.ready();
    let events: usize = epochs.iter().map(Batch::events).sum();
    let (mut handing, mut longest) = (Duration::ZERO, Duration::ZERO);
    let began = Instant::now();
    for (epoch, batch) in (1..).zip(epochs) {
        let started = Instant::now();
        let mut records = Records::default();
        records.add(batch);
        writer.feed(Fed { epoch, records, ..Fed::default() });
        let took = started.elapsed();
        (handing, longest) = (handing + took, longest.max(took));
        writer.published(epoch);
        while !writer.has_room() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    writer.stop();
    let wall = began.elapsed();
    if let Some(failure) = writer.failure() {
        return Err(failure.into());
    }
    let written = Recovery::find(store, JOB, "bench")?;
    let bytes: u64 = written.manifest.segments.iter().map(|segment| segment.bytes).sum();
    writeln!(
        report,
        "| events | bytes per event | hand-over, ns per event | longest hand-over of an epoch, ms | written, events/s | MiB/s | segments |\n\
         |-:|-:|-:|-:|-:|-:|-:|\n\
         | {events} | {:.1} | {:.1} | {:.2} | {:.0} | {:.0} | {} |\n",
        bytes as f64 / events as f64,
        handing.as_nanos() as f64 / events as f64,
        longest.as_secs_f64() * 1e3,
        events as f64 / wall.as_secs_f64(),
        bytes as f64 / wall.as_secs_f64() / f64::from(1 << 20),
        written.manifest.segments.len(),
    )?;
    Ok(())
}

/// Starts from what was written: until every table is complete.
fn recover(store: &Arc<Store>, lookups: Vec<LookupRow>, workers: usize, report: &mut String) -> Outcome<()> {
    let recovery = Arc::new(Recovery::find(store, JOB, "bench")?);
    let (events, names) = (recovery.events(), Arc::new(Names::default()));
    let (theirs, store) = (Arc::clone(&recovery), Arc::clone(store));
    let began = Instant::now();
    let guards = timely::execute(timely::Config::process(workers), move |worker| -> Result<(), String> {
        let mut job = Job::new(worker, &lookups);
        let mut batch = Batch::default();
        let mut take = |batch: &Batch, rejects: Vec<RejectCount>| {
            job.feed(batch);
            black_box(rejects);
            worker.step();
            Ok::<_, advertisex::checkpoint::CheckpointError>(())
        };
        while theirs.next(&store, &names, &mut batch, &mut take).map_err(|error| error.to_string())? {}
        job.advance_to(1);
        job.catch_up(worker, || false);
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
        Ok(())
    })?;
    for result in guards.join() {
        result??;
    }
    let took = began.elapsed().as_secs_f64();
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown").trim().to_owned();
    writeln!(
        report,
        "A start from {events} events with {workers} workers took {took:.2} s until every table was complete: \
         {:.0} events/s. Peak memory of this process, which also holds the decoded traffic: {peak}.\n",
        events as f64 / took
    )?;
    Ok(())
}

/// The bids written and read by several means.
fn codecs(epochs: &[Batch], report: &mut String) -> Outcome<()> {
    let bids: Vec<(Id, Bid)> = epochs.iter().flat_map(|batch| &batch.bids).copied().take(1_000_000).collect();
    writeln!(report, "| {} bids | bytes each | encode, M/s | decode, M/s |\n|:-|-:|-:|-:|", bids.len())?;
    let mut row = |name: &str, bytes: usize, encode: Duration, decode: Duration| {
        let rate = |took: Duration| bids.len() as f64 / took.as_secs_f64() / 1e6;
        let each = bytes as f64 / bids.len() as f64;
        writeln!(report, "| {name} | {each:.1} | {:.1} | {:.1} |", rate(encode), rate(decode))
    };

    let started = Instant::now();
    let words: Vec<[u64; 8]> = bids.iter().map(Record::words).collect();
    let mut segment = SegmentWriter::new(JOB);
    segment.add::<(Id, Bid)>(&words);
    let (bytes, listed) = segment.finish("segment".to_owned(), 0);
    let encoded = started.elapsed();
    let words: Vec<u64> = {
        let word = |bytes: &[u8]| bytes.try_into().map(u64::from_ne_bytes).unwrap_or_default();
        bytes.chunks_exact(8).map(word).collect()
    };
    let started = Instant::now();
    let mut segment = Segment::open(words, JOB, &listed).map_err(|damage| damage.what)?;
    let (mut batch, names) = (Batch::default(), Names::default());
    while segment.next(&mut batch, &names).map_err(|fault| format!("{fault:?}"))?.is_some() {}
    row("segment (abomonation, checksums, both checked)", bytes.len(), encoded, started.elapsed())?;
    assert_eq!(batch.bids.len(), bids.len());

    let started = Instant::now();
    let bytes = bincode::serialize(&bids)?;
    let encoded = started.elapsed();
    let started = Instant::now();
    let read: Vec<(Id, Bid)> = bincode::deserialize(&bytes)?;
    row("bincode, no checksum", bytes.len(), encoded, started.elapsed())?;
    assert_eq!(read, bids);

    type Columns = (u64, u64, u64, u64, u64, u64, u64, u64);
    let started = Instant::now();
    let mut columns = <Columns as Columnar>::Container::default();
    for bid in &bids {
        let [a, b, c, d, e, f, g, h] = bid.words();
        columns.push(&(a, b, c, d, e, f, g, h));
    }
    let mut words = Vec::new();
    indexed::encode(&mut words, &columns.borrow());
    let encoded = started.elapsed();
    let started = Instant::now();
    let columns = BorrowedOf::<'_, Columns>::from_bytes(&mut indexed::decode(&words));
    let mut read = Vec::new();
    for at in 0..columns.len() {
        let (a, b, c, d, e, f, g, h) = columns.get(at);
        if let Some(bid) = <(Id, Bid)>::from_words(&[*a, *b, *c, *d, *e, *f, *g, *h]) {
            read.push(bid);
        }
    }
    row("columnar, no checksum", words.len() * 8, encoded, started.elapsed())?;
    assert_eq!(read, bids);
    Ok(())
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let (dir, names) = (TempDir::new()?, Arc::new(Names::default()));
    let (epochs, lookups) = traffic(args.auctions, &names)?;
    let store = Arc::new(Store::directory(&dir.path().join("checkpoint"))?);
    let mut report = String::new();
    record(&epochs, &store, &names, &mut report)?;
    recover(&store, lookups, args.workers, &mut report)?;
    codecs(&epochs, &mut report)?;
    #[allow(clippy::print_stdout, reason = "the result of a bench")]
    {
        println!("{report}");
    }
    if let Some(out) = args.out {
        std::fs::write(out, report)?;
    }
    Ok(())
}
