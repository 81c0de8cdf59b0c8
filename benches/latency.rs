//! How long a small epoch takes on one worker that already holds some history: from the first
//! event handed to the job until every table is complete.
//!
//! `cargo bench --bench latency -- --out FILE` prints one line of JSON, and records it in FILE.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use advertisex::config::Config;
use advertisex::formats::Batch;
use advertisex::generate::{Format, Plan, write};
use advertisex::names::Names;
use advertisex::runtime::job::Job;
use advertisex::sources::files::{SplitReader, discover, plan};
use advertisex::sources::lookups;
use dataflows::model::lookups::LookupRow;
use tempfile::TempDir;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Enough for all epochs: an auction leaves about three events.
const AUCTIONS: u64 = 450_000;
const WARM_EVENTS: usize = 200_000;
const EPOCH_EVENTS: usize = 1_000;
const EPOCHS: usize = 1_000;

/// Events and lookups, decoded.
struct Traffic {
    events: Batch,
    lookups: Vec<LookupRow>,
}

impl Traffic {
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

    /// About the events `from..to`, in order of arrival: of each kind its share.
    fn slice(&self, from: usize, to: usize) -> Batch {
        let Batch { bids, impressions, clicks, conversions, .. } = &self.events;
        let total = self.events.events();
        Batch {
            bids: share(bids, from, to, total),
            impressions: share(impressions, from, to, total),
            clicks: share(clicks, from, to, total),
            conversions: share(conversions, from, to, total),
            ..Batch::default()
        }
    }
}

fn share<T: Copy>(records: &[T], from: usize, to: usize, total: usize) -> Vec<T> {
    let at = |place: usize| records.len() * place / total;
    records[at(from)..at(to)].to_vec()
}

/// How long each epoch took, and how many events they held.
struct Taken {
    latencies: Vec<Duration>,
    events: usize,
}

fn run(traffic: Traffic) -> Taken {
    timely::execute_directly(move |worker| {
        let mut job = Job::new(worker, &traffic.lookups);
        job.feed(&traffic.slice(0, WARM_EVENTS));
        job.advance_to(1);
        job.catch_up(worker, || false);

        let mut taken = Taken { latencies: Vec::with_capacity(EPOCHS), events: 0 };
        for epoch in 0..EPOCHS {
            let from = WARM_EVENTS + epoch * EPOCH_EVENTS;
            let batch = traffic.slice(from, from + EPOCH_EVENTS);
            let started = Instant::now();
            job.feed(&batch);
            job.advance_to(job.epoch() + 1);
            job.catch_up(worker, || false);
            taken.latencies.push(started.elapsed());
            taken.events += batch.events();
        }
        taken
    })
}

fn report(taken: Taken) -> serde_json::Value {
    let Taken { mut latencies, events } = taken;
    let seconds = latencies.iter().sum::<Duration>().as_secs_f64();
    latencies.sort_unstable();
    let millis = |rank: usize| {
        let latency = latencies.get(rank.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default();
        (latency.as_secs_f64() * 1e6).round() / 1e3
    };
    serde_json::json!({
        "bench": "latency",
        "workers": 1,
        "warm_events": WARM_EVENTS,
        "epochs": EPOCHS,
        "events_per_epoch": events / EPOCHS,
        "p50_ms": millis(EPOCHS / 2),
        "p99_ms": millis(EPOCHS * 99 / 100),
        "max_ms": millis(EPOCHS - 1),
        "events_per_second": (events as f64 / seconds).round(),
    })
}

/// The file named by `--out`; what cargo adds is passed over.
fn out_file() -> Option<PathBuf> {
    let mut args = std::env::args().skip_while(|arg| arg != "--out");
    args.nth(1).map(PathBuf::from)
}

fn main() -> Outcome<()> {
    let traffic = Traffic::generate()?;
    let needed = WARM_EVENTS + EPOCHS * EPOCH_EVENTS;
    if traffic.events.events() < needed {
        return Err(format!("{needed} events are needed; raise AUCTIONS").into());
    }
    let line = report(run(traffic)).to_string();
    writeln!(std::io::stdout(), "{line}")?;
    if let Some(file) = out_file() {
        std::fs::write(file, line + "\n")?;
    }
    Ok(())
}
