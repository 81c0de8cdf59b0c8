//! Traffic to try things with: believable, as large as asked for, and the same bytes for the same
//! [`Plan`] on every machine.
//!
//! ```text
//!   Plan ──> world  who takes part, and when
//!             │
//!             v
//!           stream + journey  events in order of arrival
//!             │
//!             ├──> raw      impressions.jsonl, events.csv, bid_requests.avro, bad records; or messages
//!             ├──> parquet  canonical events, one file per kind
//!             └──> Traffic  structured records
//! ```
//!
//! Both formats describe the same events in the same order; only the raw feeds hold bad records.
//! Records that arrive twice or contradict each other are in both.

mod dice;
mod error;
mod event;
mod journey;
mod output;
mod parquet;
mod plan;
mod raw;
mod sink;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod traffic;
mod world;
mod written;

use std::path::Path;

pub use error::GenerateError;
pub use plan::{Format, IdStyle, Plan, PlanError};
pub use raw::Take;
pub use traffic::{BidOffer, Record, Traffic};
pub use written::{Counts, Planted, Written, WrittenFile};

use output::{OutputFile, Pending};
use sink::Sink;
use stream::Stream;

/// Progress is told after this many auctions.
const PROGRESS_AUCTIONS: u64 = 10_000;

/// Writes the traffic of a plan, and the table of its campaigns, into a new directory `dir`.
///
/// The directory appears whole or not at all. One that exists has to be empty; with `force`, one
/// that holds nothing but generated files is replaced. `progress` is told how many auctions are
/// done, now and then. Memory doesn't grow with the length of the traffic.
pub fn write(
    plan: &Plan,
    format: Format,
    dir: &Path,
    force: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Written, GenerateError> {
    plan.check()?;
    let pending = Pending::begin(dir, force)?;
    let sink: Box<dyn Sink> = match format {
        Format::Raw => Box::new(raw::RawSink::create(plan, pending.dir())?),
        Format::Parquet => Box::new(parquet::ParquetSink::create(plan, pending.dir())?),
    };
    let mut written = write_events(plan, sink, progress)?;
    let mut campaigns = OutputFile::create(pending.dir(), "campaigns.csv")?;
    campaigns.write(campaigns_csv(plan).as_bytes())?;
    campaigns.finish()?;
    written.files = pending.commit(force)?;
    written.bytes = written.files.iter().map(|file| file.bytes).sum();
    Ok(written)
}

/// Hands the raw records of a plan to `take`, one message each, in order of arrival; ends with the
/// first error that it returns.
pub fn send<'a>(plan: &Plan, take: &'a mut Take<'a>) -> Result<Written, GenerateError> {
    plan.check()?;
    write_events(plan, Box::new(raw::MessageSink::new(plan, take)), &mut |_| ())
}

fn write_events(
    plan: &Plan,
    mut sink: Box<dyn Sink + '_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Written, GenerateError> {
    let mut written = Written::default();
    let mut stream = Stream::new(plan);
    let (mut bad, mut told) = (0, 0);
    while let Some((arrival, event)) = stream.next_event() {
        let done = stream.auctions_done();
        while bad < plan.bad_records && done >= planted_after(plan, bad) {
            sink.bad(bad, arrival, &mut written.planted)?;
            bad += 1;
        }
        sink.event(&event)?;
        written.received.add(&event);
        written.held_max = written.held_max.max(stream.held() as u64);
        if done >= told + PROGRESS_AUCTIONS {
            told = done;
            progress(done);
        }
    }
    sink.finish()?;
    progress(stream.auctions_done());
    let distinct = stream.distinct();
    written.orphan_clicks = distinct.orphans;
    written.flood_clicks = distinct.flood_clicks;
    written.distinct = distinct.into();
    Ok(written)
}

/// After how many auctions a bad record is written: they are spread evenly, and the last one
/// comes before the end of the traffic.
fn planted_after(plan: &Plan, nth: u32) -> u64 {
    let share = u128::from(plan.auctions) * u128::from(nth + 1) / u128::from(plan.bad_records + 1);
    share as u64
}

/// The table of a plan's campaigns as CSV, a lookup table of the system.
pub fn campaigns_csv(plan: &Plan) -> String {
    world::World::new(plan).campaigns_csv()
}
