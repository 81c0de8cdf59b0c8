//! How fast the graphs take in events that are already decoded: one epoch, one worker, from
//! building the dataflow until every table is complete.
//!
//! The catalogue is built whole each time; what a subject leaves out gets no input and costs
//! nothing, so the subjects add one graph after the other.
//!
//! `cargo bench --bench graphs`; with `-- --quick` it takes seconds instead of minutes.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use advertisex::config::Config;
use advertisex::formats::Batch;
use advertisex::generate::{Format, Plan, write};
use advertisex::names::Names;
use advertisex::sources::files::{SplitReader, discover, plan};
use advertisex::sources::lookups;
use criterion::{Criterion, Throughput};
use dataflows::graphs::catalogue::{Session, build};
use dataflows::model::lookups::LookupRow;
use differential_dataflow::ExchangeData;
use tempfile::TempDir;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

const AUCTIONS: u64 = 20_000;

/// What is fed, and the graphs that have to work on it.
struct Subject {
    name: &'static str,
    bids: bool,
    impressions: bool,
    clicks: bool,
    conversions: bool,
}

const NOTHING: Subject =
    Subject { name: "", bids: false, impressions: false, clicks: false, conversions: false };

const SUBJECTS: [Subject; 6] = [
    Subject { name: "bids (auctions)", bids: true, ..NOTHING },
    Subject { name: "impressions (impressions, reach, touches)", impressions: true, ..NOTHING },
    Subject { name: "bids and impressions (+ wins)", bids: true, impressions: true, ..NOTHING },
    Subject {
        name: "impressions and clicks (+ dedup, join, flood)",
        impressions: true,
        clicks: true,
        ..NOTHING
    },
    Subject {
        name: "impressions, clicks and conversions (+ attribution, booking)",
        bids: false,
        ..EVERYTHING
    },
    EVERYTHING,
];

const EVERYTHING: Subject =
    Subject { name: "the whole job", bids: true, impressions: true, clicks: true, conversions: true };

/// Events and lookups, decoded.
struct Day {
    events: Batch,
    lookups: Vec<LookupRow>,
}

impl Day {
    fn generate() -> Outcome<Self> {
        let (dir, config, names) = (TempDir::new()?, Config::load(None)?, Arc::new(Names::default()));
        let feeds = dir.path().join("feeds");
        let traffic = Plan { auctions: AUCTIONS, ..Plan::default() };
        write(&traffic, Format::Parquet, &feeds, false, &mut |_| ())?;
        let mut events = Batch::default();
        for split in plan(&discover(&feeds, &config.sources)?)? {
            SplitReader::open(split, &config.sources, Arc::clone(&names)).read(&mut events, usize::MAX)?;
        }
        Ok(Self { events, lookups: lookups::load(&feeds, &names)? })
    }

    fn events_of(&self, subject: &Subject) -> usize {
        let count = |fed: bool, len: usize| if fed { len } else { 0 };
        count(subject.bids, self.events.bids.len())
            + count(subject.impressions, self.events.impressions.len())
            + count(subject.clicks, self.events.clicks.len())
            + count(subject.conversions, self.events.conversions.len())
    }
}

fn feed<D: ExchangeData>(input: &mut Session<D>, records: &[D], fed: bool) {
    if fed {
        records.iter().for_each(|record| input.update(record.clone(), 1));
    }
}

/// Runs one epoch.
fn run(day: Arc<Day>, subject: &'static Subject) {
    timely::execute_directly(move |worker| {
        let (mut inputs, outputs) = worker.dataflow(build);
        day.lookups.iter().for_each(|row| inputs.lookups.update(*row, 1));
        feed(&mut inputs.bids, &day.events.bids, subject.bids);
        feed(&mut inputs.impressions, &day.events.impressions, subject.impressions);
        feed(&mut inputs.clicks, &day.events.clicks, subject.clicks);
        feed(&mut inputs.conversions, &day.events.conversions, subject.conversions);
        inputs.advance_to(1);
        while !outputs.is_complete(0) {
            worker.step();
        }
        black_box(&outputs.probe);
    });
}

fn main() -> Outcome<()> {
    let day = Arc::new(Day::generate()?);
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("one epoch");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    for subject in &SUBJECTS {
        group.throughput(Throughput::Elements(day.events_of(subject) as u64));
        group.bench_function(subject.name, |bencher| bencher.iter(|| run(Arc::clone(&day), subject)));
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
