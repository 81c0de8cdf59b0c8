//! How a live run goes, in numbers: every metric's name stands here, and nowhere else.
//!
//! Names are `advertisex_<what>_<unit>`, counters end in `_total`; labels come from closed sets, but
//! for topics and partitions, of which the configuration names a few. What is counted is told once
//! per batch or emission, never per record. A cluster's processes show their own parts.

mod anatomy;
mod board;
pub mod otlp;
mod server;
mod shown;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};

use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::{Epoch, EventTime};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::bindings::TopicPartition;
use crate::formats::Batch;

pub use anatomy::Anatomy;
use board::Board;
pub use board::Load;
pub use server::{Server, ServerError};
pub use shown::{Sample, Shown, SinkState};

#[derive(Clone, Debug, Eq, PartialEq, Hash, EncodeLabelSet)]
struct ByFeed {
    feed: &'static str,
}

#[derive(Clone, Debug, Eq, PartialEq, Hash, EncodeLabelSet)]
struct ByReason {
    feed: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Eq, PartialEq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: &'static str,
}

#[derive(Clone, Debug, Eq, PartialEq, Hash, EncodeLabelSet)]
struct ByTable {
    state: &'static str,
    worker: usize,
}

#[derive(Clone, Debug, Eq, PartialEq, Hash, EncodeLabelSet)]
struct ByPartition {
    topic: String,
    partition: i32,
}

type Seconds = Gauge<f64, AtomicU64>;

/// The kinds of events, as they are labelled.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Bids.
    Bids,
    /// Impressions.
    Impressions,
    /// Clicks.
    Clicks,
    /// Conversions.
    Conversions,
}

impl Kind {
    const ALL: [(Kind, &'static str); 4] = [
        (Kind::Bids, "bids"),
        (Kind::Impressions, "impressions"),
        (Kind::Clicks, "clicks"),
        (Kind::Conversions, "conversions"),
    ];

    fn label(self) -> ByKind {
        let named = Self::ALL.iter().find(|(kind, _)| *kind == self);
        ByKind { kind: named.map_or("", |(_, name)| name) }
    }
}

/// A checkpoint that was written.
#[derive(Copy, Clone, Debug)]
pub struct CheckpointWritten {
    /// Up to which epoch it goes.
    pub epoch: Epoch,
    /// The bytes of all its segments.
    pub bytes: u64,
    /// How many segments it has.
    pub segments: usize,
}

/// The state of an arrangement on one worker.
#[derive(Copy, Clone, Debug)]
pub struct StateSize {
    /// Which.
    pub state: &'static str,
    /// The worker.
    pub worker: usize,
    /// Its rows.
    pub rows: usize,
    /// Their bytes, about.
    pub bytes: usize,
}

/// How far the reading of a partition is.
#[derive(Copy, Clone, Debug, Default)]
pub struct Reading {
    /// The greatest event time.
    pub greatest: Option<EventTime>,
    /// Records that wait in the broker, as far as it has told.
    pub behind: Option<i64>,
    /// Whether it does not hold the watermark back.
    pub idle: bool,
}

/// All metrics of a process.
pub struct Telemetry {
    registry: Registry,
    received: Family<ByFeed, Counter>,
    rejected: Family<ByReason, Counter>,
    expired: Family<ByKind, Counter>,
    live: Family<ByKind, Gauge>,
    rows: Family<ByTable, Gauge>,
    bytes: Family<ByTable, Gauge>,
    id_texts: Gauge,
    event_time: Family<ByPartition, Seconds>,
    event_lag: Family<ByPartition, Seconds>,
    idle: Family<ByPartition, Gauge>,
    behind: Family<ByPartition, Gauge>,
    watermark: Seconds,
    watermark_lag: Seconds,
    freeze: Seconds,
    epoch_latency: Histogram,
    step: Histogram,
    published: Seconds,
    checkpoint_age: Seconds,
    checkpoint_bytes: Gauge,
    checkpoint_segments: Gauge,
    memory: Gauge,
    checkpoint_epoch: AtomicU64,
    ready: AtomicBool,
    board: Board,
}

impl Default for Telemetry {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let mut telemetry = Self {
            registry: Registry::with_prefix("advertisex"),
            received: Family::default(),
            rejected: Family::default(),
            expired: Family::default(),
            live: Family::default(),
            rows: Family::default(),
            bytes: Family::default(),
            id_texts: Gauge::default(),
            event_time: Family::default(),
            event_lag: Family::default(),
            idle: Family::default(),
            behind: Family::default(),
            watermark: Seconds::default(),
            watermark_lag: Seconds::default(),
            freeze: Seconds::default(),
            epoch_latency: seconds(),
            step: seconds(),
            published: Seconds::default(),
            checkpoint_age: Seconds::default(),
            checkpoint_bytes: Gauge::default(),
            checkpoint_segments: Gauge::default(),
            memory: Gauge::default(),
            checkpoint_epoch: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            board: Board::default(),
        };
        telemetry.register();
        telemetry
    }
}

impl Telemetry {
    fn register(&mut self) {
        let Self { registry, .. } = self;
        // The names of counters are shown with _total behind.
        registry.register("records_received", "Records received", self.received.clone());
        registry.register("records_rejected", "Records rejected, by reason", self.rejected.clone());
        registry.register(
            "events_expired",
            "Events let go of, as no open window needs them",
            self.expired.clone(),
        );
        registry.register("live_events", "Events held", self.live.clone());
        registry.register("state_rows", "Rows of an arrangement", self.rows.clone());
        registry.register("state_bytes", "Bytes of the rows of an arrangement, about", self.bytes.clone());
        registry.register("id_texts", "Texts of ids that keys don't hold", self.id_texts.clone());
        registry.register(
            "partition_event_time_seconds",
            "Greatest event time of a partition, since 1970",
            self.event_time.clone(),
        );
        registry.register(
            "partition_event_lag_seconds",
            "How far the greatest event time of a partition is behind the clock",
            self.event_lag.clone(),
        );
        registry.register(
            "partition_idle",
            "Whether a partition does not hold the watermark back: 1 if so",
            self.idle.clone(),
        );
        registry.register(
            "partition_lag_records",
            "Records of a partition that wait in the broker",
            self.behind.clone(),
        );
        registry.register("watermark_seconds", "The watermark, since 1970", self.watermark.clone());
        registry.register(
            "watermark_lag_seconds",
            "How far the watermark is behind the clock",
            self.watermark_lag.clone(),
        );
        registry.register(
            "freeze_boundary_seconds",
            "Windows that end here or before are frozen; since 1970",
            self.freeze.clone(),
        );
        registry.register(
            "epoch_seconds",
            "From the end of an epoch until its tables are complete",
            self.epoch_latency.clone(),
        );
        registry.register("step_seconds", "One turn of a worker's dataflow", self.step.clone());
        registry.register(
            "published_epoch_seconds",
            "The last epoch that is published, since 1970",
            self.published.clone(),
        );
        registry.register(
            "checkpoint_age_seconds",
            "How far the last checkpoint is behind the clock",
            self.checkpoint_age.clone(),
        );
        registry.register("checkpoint_bytes", "Bytes of the last checkpoint", self.checkpoint_bytes.clone());
        registry.register(
            "checkpoint_segments",
            "Segments of the last checkpoint",
            self.checkpoint_segments.clone(),
        );
        registry.register("memory_resident_bytes", "Resident memory of the process", self.memory.clone());
    }

    /// A batch was read.
    pub fn batch(&self, batch: &Batch) {
        let [bids, impressions, clicks, conversions] = self.held(batch);
        let mut received = [bids, clicks + conversions, impressions];
        let mut rejected = BTreeMap::<(Feed, Reason), u64>::new();
        for reject in &batch.rejects {
            received[reject.feed as usize] += 1;
            *rejected.entry((reject.feed, reject.reason)).or_default() += 1;
        }
        for (feed, count) in Feed::ALL.into_iter().zip(received) {
            self.received.get_or_create(&ByFeed { feed: feed.as_str() }).inc_by(count as u64);
        }
        for ((feed, reason), count) in rejected {
            let (feed, reason) = (feed.as_str(), reason.as_str());
            self.rejected.get_or_create(&ByReason { feed, reason }).inc_by(count);
        }
        self.board.batch(batch, received);
    }

    /// A batch was taken in, read now or before; returns how many events of each kind it has.
    pub fn held(&self, batch: &Batch) -> [usize; 4] {
        let kinds = [
            (Kind::Bids, batch.bids.len()),
            (Kind::Impressions, batch.impressions.len()),
            (Kind::Clicks, batch.clicks.len()),
            (Kind::Conversions, batch.conversions.len()),
        ];
        for (kind, count) in kinds {
            self.live.get_or_create(&kind.label()).inc_by(count as i64);
            self.board.live(kind as usize, count as i64);
        }
        kinds.map(|(_, count)| count)
    }

    /// Events were let go of.
    pub fn expired(&self, kind: Kind, count: usize) {
        self.expired.get_or_create(&kind.label()).inc_by(count as u64);
        self.live.get_or_create(&kind.label()).dec_by(count as i64);
        self.board.live(kind as usize, -(count as i64));
    }

    /// How large an arrangement is now.
    pub fn state(&self, size: StateSize) {
        let StateSize { state, worker, rows, bytes } = size;
        let of = ByTable { state, worker };
        self.rows.get_or_create(&of).set(rows as i64);
        self.bytes.get_or_create(&of).set(bytes as i64);
        self.board.state(size);
    }

    /// How many texts of ids are kept that keys don't hold.
    pub fn id_texts(&self, texts: usize) {
        self.id_texts.set(texts as i64);
        self.board.id_texts(texts);
    }

    /// How far a partition is.
    pub fn partition(&self, place: &TopicPartition, reading: Reading) {
        let of = ByPartition { topic: place.topic.to_string(), partition: place.partition };
        self.idle.get_or_create(&of).set(i64::from(reading.idle));
        if let Some(behind) = reading.behind {
            self.behind.get_or_create(&of).set(behind);
        }
        self.board.partition(place, reading);
        if let Some(greatest) = reading.greatest {
            self.event_time.get_or_create(&of).set(seconds(greatest));
            self.event_lag.get_or_create(&of).set(lag(seconds(greatest)));
        }
    }

    /// The watermark, if there is one, and what is frozen.
    pub fn horizon(&self, watermark: Option<EventTime>, freeze: EventTime) {
        if let Some(watermark) = watermark {
            self.watermark.set(seconds(watermark));
            self.watermark_lag.set(lag(seconds(watermark)));
        }
        self.freeze.set(seconds(freeze));
        self.board.horizon(watermark, freeze);
    }

    /// An epoch's tables are complete on a worker, so long after its end.
    pub fn epoch(&self, epoch: Epoch, latency: std::time::Duration) {
        self.epoch_latency.observe(latency.as_secs_f64());
        self.board.epoch(epoch, latency);
    }

    /// What a worker's dataflow consists of is shown, too.
    pub fn anatomy(&self, anatomy: std::sync::Arc<std::sync::Mutex<Anatomy>>) {
        self.board.anatomy(anatomy);
    }

    /// How busy a worker was.
    pub fn load(&self, load: Load) {
        self.board.load(load);
    }

    /// How a sink is.
    pub fn sink(&self, sink: SinkState) {
        self.board.sink(sink);
    }

    /// How far event time is, in milliseconds since 1970.
    pub fn watermark(&self) -> Option<i64> {
        self.board.watermark()
    }

    /// What the operator's page shows.
    pub fn board(&self) -> Shown {
        self.board.show(resident_bytes().unwrap_or(0))
    }

    /// What another process of the run shows, and records that it rejected since it told last.
    pub fn other(&self, process: usize, shown: Shown, rejected: Vec<Sample>) {
        self.board.other(process, shown, rejected);
    }

    /// Records that were rejected here since `number`, the latest first, and the number of the last one.
    pub fn rejected_since(&self, number: u64) -> (Vec<Sample>, u64) {
        self.board.rejected_since(number)
    }

    /// The latest rejected records.
    pub fn rejects(&self, feed: Option<&str>, reason: Option<&str>, limit: usize) -> Vec<Sample> {
        self.board.rejects(feed, reason, limit)
    }

    /// A worker's dataflow had a turn of this length.
    pub fn step(&self, length: std::time::Duration) {
        self.step.observe(length.as_secs_f64());
    }

    /// Everything up to here is published: the run is ready when this is told first.
    pub fn published(&self, epoch: Epoch) {
        self.published.set(epoch as f64 / 1e3);
        self.ready.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// A checkpoint was written.
    pub fn checkpoint(&self, written: CheckpointWritten) {
        let CheckpointWritten { epoch, bytes, segments } = written;
        self.checkpoint_epoch.store(epoch, std::sync::atomic::Ordering::Relaxed);
        self.checkpoint_bytes.set(bytes as i64);
        self.checkpoint_segments.set(segments as i64);
        self.board.checkpoint(written);
    }

    /// Everything, as Prometheus reads it.
    pub fn text(&self) -> String {
        self.memory.set(resident_bytes().unwrap_or(0) as i64);
        let epoch = self.checkpoint_epoch.load(std::sync::atomic::Ordering::Relaxed);
        if epoch > 0 {
            self.checkpoint_age.set(lag(epoch as f64 / 1e3));
        }
        let mut text = String::new();
        // A string takes any text.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// Whether the run has caught up with what was there when it started.
    pub fn is_ready(&self) -> bool {
        self.ready.load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn seconds(time: EventTime) -> f64 {
    time.millis() as f64 / 1e3
}

fn now_millis() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as i64
}

/// How long ago a moment was; ahead of the clock it is negative.
fn lag(seconds: f64) -> f64 {
    now_millis() as f64 / 1e3 - seconds
}

/// The process's resident memory; Linux tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests;
