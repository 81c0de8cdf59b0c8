//! What the operator's page shows, as each process of a run tells it.

use std::borrow::Cow;
use std::collections::VecDeque;

use dataflows::model::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};

use super::anatomy::Picture;
use super::now_millis;
use crate::formats::Reject;

/// Bytes that are kept of a rejected record.
const SAMPLE_BYTES: usize = 1 << 10;

/// How an epoch went.
#[derive(Copy, Clone, Debug, Serialize, Deserialize)]
pub(super) struct EpochTook {
    pub(super) epoch: Epoch,
    /// From its end until the last worker had its tables complete.
    pub(super) latency_ms: f64,
    pub(super) records: u64,
}

/// A rejected record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    pub(super) feed: Cow<'static, str>,
    pub(super) reason: Cow<'static, str>,
    pub(super) origin: String,
    pub(super) place: i32,
    pub(super) position: u64,
    pub(super) record: u64,
    pub(super) time: Option<i64>,
    pub(super) payload: String,
    pub(super) hint: String,
    #[serde(skip)]
    pub(super) number: u64,
}

/// How a sink is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SinkState {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Whether it takes what it is given.
    pub healthy: bool,
    /// If not, why.
    pub message: String,
    /// Up to which epoch it holds everything.
    pub epoch: Epoch,
    /// How far that is behind the clock.
    pub behind_ms: i64,
}

impl SinkState {
    /// A sink that holds everything up to `epoch`; a message says what is in its way.
    pub fn new(name: &'static str, message: String, epoch: Epoch) -> Self {
        let behind_ms = if epoch > 0 { now_millis() - epoch as i64 } else { 0 };
        Self { name: name.into(), healthy: message.is_empty(), message, epoch, behind_ms }
    }

    /// The same of another process: together they are as far as the one that is behind.
    fn join(&mut self, other: Self) {
        if self.healthy && !other.healthy {
            (self.healthy, self.message) = (false, other.message);
        }
        self.epoch = self.epoch.min(other.epoch);
        self.behind_ms = self.behind_ms.max(other.behind_ms);
    }
}

/// Everything that the board shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    pub(super) partitions: Vec<PartitionShown>,
    pub(super) feeds: Vec<FeedShown>,
    pub(super) epochs: EpochsShown,
    pub(super) watermark: Option<i64>,
    pub(super) watermark_lag_ms: Option<i64>,
    pub(super) freeze: i64,
    pub(super) live_events: LiveShown,
    pub(super) id_texts: usize,
    pub(super) memory_bytes: u64,
    pub(super) state: Vec<StateShown>,
    pub(super) checkpoint: Option<CheckpointShown>,
    pub(super) sinks: Vec<SinkState>,
    pub(super) workers_load: Vec<LoadShown>,
    pub(super) rejects: Vec<RejectsShown>,
    pub(super) graph: Picture,
}

impl Shown {
    /// Adds what another process of the run shows. What the first one decides for all stays as it is.
    pub(super) fn join(&mut self, other: Self) {
        let Self { partitions, feeds, live_events, id_texts, memory_bytes, state, sinks, .. } = self;
        partitions.extend(other.partitions);
        for (feed, more) in feeds.iter_mut().zip(other.feeds) {
            feed.received += more.received;
            feed.rejected += more.rejected;
            feed.rate += more.rate;
        }
        live_events.bids += other.live_events.bids;
        live_events.impressions += other.live_events.impressions;
        live_events.clicks += other.live_events.clicks;
        live_events.conversions += other.live_events.conversions;
        *id_texts += other.id_texts;
        *memory_bytes += other.memory_bytes;
        state.extend(other.state);
        for sink in other.sinks {
            match sinks.iter_mut().find(|known| known.name == sink.name) {
                Some(known) => known.join(sink),
                None => sinks.push(sink),
            }
        }
        self.workers_load.extend(other.workers_load);
        for more in other.rejects {
            let same = |known: &&mut RejectsShown| (&known.feed, &known.reason) == (&more.feed, &more.reason);
            match self.rejects.iter_mut().find(same) {
                Some(known) => known.count += more.count,
                None => self.rejects.push(more),
            }
        }
        self.graph.join(other.graph);
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PartitionShown {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) event_time: Option<i64>,
    pub(super) event_lag_ms: Option<i64>,
    /// Records that wait in the broker.
    pub(super) behind: Option<i64>,
    pub(super) idle: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FeedShown {
    pub(super) feed: Cow<'static, str>,
    pub(super) received: u64,
    pub(super) rejected: u64,
    pub(super) rate: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EpochsShown {
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) max_ms: Option<f64>,
    pub(super) history: Vec<EpochTook>,
}

impl EpochsShown {
    pub(super) fn new(epochs: &VecDeque<EpochTook>) -> Self {
        let mut latencies: Vec<f64> = epochs.iter().map(|took| took.latency_ms).collect();
        latencies.sort_by(f64::total_cmp);
        let quantile = |part: f64| {
            let at = (latencies.len() as f64 * part).ceil() as usize;
            latencies.get(at.max(1) - 1).copied()
        };
        Self {
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            max_ms: quantile(1.0),
            history: epochs.iter().copied().collect(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LiveShown {
    pub(super) bids: i64,
    pub(super) impressions: i64,
    pub(super) clicks: i64,
    pub(super) conversions: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StateShown {
    pub(super) arrangement: Cow<'static, str>,
    pub(super) worker: usize,
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CheckpointShown {
    pub(super) epoch: Epoch,
    pub(super) age_ms: i64,
    pub(super) bytes: u64,
    pub(super) segments: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LoadShown {
    pub(super) process: usize,
    pub(super) worker: usize,
    pub(super) busy: f64,
    pub(super) records_per_s: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RejectsShown {
    pub(super) feed: Cow<'static, str>,
    pub(super) reason: Cow<'static, str>,
    pub(super) count: u64,
}

impl Sample {
    pub(super) fn new(reject: &Reject, number: u64) -> Self {
        let kept = crate::sinks::clickhouse::Reject::from(reject.clone());
        Self {
            feed: kept.feed.as_str().into(),
            reason: kept.reason.as_str().into(),
            origin: kept.origin.to_string(),
            place: kept.place,
            position: kept.position,
            record: kept.record,
            time: kept.time.map(EventTime::millis),
            payload: String::from_utf8_lossy(&kept.payload[..kept.payload.len().min(SAMPLE_BYTES)])
                .into_owned(),
            hint: kept.hint,
            number,
        }
    }
}
