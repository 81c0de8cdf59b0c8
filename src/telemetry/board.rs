//! What the operator's page shows: the latest of what the metrics count, with its history.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::{Epoch, EventTime};

use super::anatomy::{Anatomies, Anatomy, Picture};
use super::shown::{
    CheckpointShown, EpochTook, EpochsShown, FeedShown, LiveShown, LoadShown, PartitionShown, RejectsShown,
    Sample, Shown, SinkState, StateShown,
};
use super::{CheckpointWritten, Reading, StateSize, now_millis};
use crate::bindings::TopicPartition;
use crate::formats::Batch;

/// Epochs whose latency is shown.
const EPOCHS: usize = 120;
/// Rejected records that are kept of each feed and reason.
const SAMPLES: usize = 16;
/// How long a rate looks back.
const RATE: Duration = Duration::from_secs(10);

/// How busy a worker was, and how much it read, since it last said so.
#[derive(Copy, Clone, Debug)]
pub struct Load {
    /// Which process.
    pub process: usize,
    /// Which worker, of all.
    pub worker: usize,
    /// The part of the time in which its dataflow worked.
    pub busy: f64,
    /// Records it read per second.
    pub records_per_s: f64,
}

#[derive(Default)]
struct Inner {
    partitions: BTreeMap<(String, i32), Reading>,
    state: BTreeMap<(&'static str, usize), (usize, usize)>,
    epochs: VecDeque<EpochTook>,
    read: u64,
    read_before: u64,
    received: [u64; Feed::ALL.len()],
    rejected: [[u64; Reason::ALL.len()]; Feed::ALL.len()],
    rates: VecDeque<(Instant, [u64; Feed::ALL.len()])>,
    samples: BTreeMap<(Feed, Reason), VecDeque<Sample>>,
    sampled: u64,
    loads: BTreeMap<usize, Load>,
    watermark: Option<i64>,
    freeze: i64,
    checkpoint: Option<CheckpointWritten>,
    sink: Option<SinkState>,
    live: [i64; 4],
    id_texts: usize,
    anatomies: Anatomies,
    /// What the other processes told last.
    others: BTreeMap<usize, Shown>,
}

/// The board.
#[derive(Default)]
pub struct Board(Mutex<Inner>);

impl Board {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn batch(&self, batch: &Batch, received: [usize; 3]) {
        let inner = &mut *self.inner();
        inner.read += received.iter().sum::<usize>() as u64;
        inner.received.iter_mut().zip(received).for_each(|(sum, more)| *sum += more as u64);
        for reject in &batch.rejects {
            inner.rejected[reject.feed as usize][reject.reason as usize] += 1;
        }
        for reject in batch.rejects.iter().rev().take(SAMPLES).rev() {
            inner.sampled += 1;
            let samples = inner.samples.entry((reject.feed, reject.reason)).or_default();
            samples.truncate(SAMPLES - 1);
            samples.push_front(Sample::new(reject, inner.sampled));
        }
        let now = Instant::now();
        if inner.rates.back().is_none_or(|(at, _)| now - *at >= RATE / 10) {
            inner.rates.push_back((now, inner.received));
            while inner.rates.front().is_some_and(|(at, _)| now - *at > RATE) && inner.rates.len() > 2 {
                inner.rates.pop_front();
            }
        }
    }

    pub(super) fn live(&self, kind: usize, more: i64) {
        self.inner().live[kind] += more;
    }

    pub(super) fn state(&self, StateSize { state, worker, rows, bytes }: StateSize) {
        self.inner().state.insert((state, worker), (rows, bytes));
    }

    pub(super) fn id_texts(&self, texts: usize) {
        self.inner().id_texts = texts;
    }

    pub(super) fn partition(&self, place: &TopicPartition, reading: Reading) {
        let key = (place.topic.to_string(), place.partition);
        self.inner().partitions.insert(key, reading);
    }

    /// Takes in what another process shows, and records that it rejected since it told last.
    pub(super) fn other(&self, process: usize, shown: Shown, rejected: Vec<Sample>) {
        let inner = &mut *self.inner();
        inner.others.insert(process, shown);
        for mut sample in rejected.into_iter().rev() {
            let (feed, reason) = (Feed::ALL.into_iter(), Reason::ALL.into_iter());
            let feed = feed.into_iter().find(|feed| feed.as_str() == sample.feed);
            let reason = reason.into_iter().find(|reason| reason.as_str() == sample.reason);
            let (Some(feed), Some(reason)) = (feed, reason) else { continue };
            inner.sampled += 1;
            sample.number = inner.sampled;
            let samples = inner.samples.entry((feed, reason)).or_default();
            samples.truncate(SAMPLES - 1);
            samples.push_front(sample);
        }
    }

    pub(super) fn horizon(&self, watermark: Option<EventTime>, freeze: EventTime) {
        let inner = &mut *self.inner();
        inner.watermark = watermark.map(EventTime::millis).max(inner.watermark);
        inner.freeze = freeze.millis();
    }

    /// Several workers tell of one epoch: the slowest counts.
    pub(super) fn epoch(&self, epoch: Epoch, latency: Duration) {
        let inner = &mut *self.inner();
        let latency_ms = latency.as_secs_f64() * 1e3;
        let records = inner.read - inner.read_before;
        match inner.epochs.iter_mut().rev().find(|took| took.epoch == epoch) {
            Some(took) => took.latency_ms = took.latency_ms.max(latency_ms),
            None => {
                inner.read_before = inner.read;
                inner.epochs.push_back(EpochTook { epoch, latency_ms, records });
                if inner.epochs.len() > EPOCHS {
                    inner.epochs.pop_front();
                }
            }
        }
    }

    pub(super) fn load(&self, load: Load) {
        self.inner().loads.insert(load.worker, load);
    }

    pub(super) fn checkpoint(&self, written: CheckpointWritten) {
        self.inner().checkpoint = Some(written);
    }

    pub(super) fn sink(&self, sink: SinkState) {
        self.inner().sink = Some(sink);
    }

    pub(super) fn anatomy(&self, anatomy: Arc<Mutex<Anatomy>>) {
        self.inner().anatomies.push(anatomy);
    }

    pub(super) fn watermark(&self) -> Option<i64> {
        self.inner().watermark
    }

    /// Records that were rejected here since `number`, the latest first, and the number of the last one.
    pub(super) fn rejected_since(&self, number: u64) -> (Vec<Sample>, u64) {
        let samples = self.rejects(None, None, usize::MAX);
        let last = samples.first().map_or(number, |sample| sample.number);
        (samples.into_iter().take_while(|sample| sample.number > number).collect(), last)
    }

    /// The latest rejected records, of a feed or reason if that is said.
    pub(super) fn rejects(&self, feed: Option<&str>, reason: Option<&str>, limit: usize) -> Vec<Sample> {
        let inner = self.inner();
        let kinds = inner.samples.iter().filter(|((of, why), _)| {
            feed.is_none_or(|feed| of.as_str() == feed) && reason.is_none_or(|reason| why.as_str() == reason)
        });
        let mut samples: Vec<_> = kinds.flat_map(|(_, samples)| samples).cloned().collect();
        samples.sort_by_key(|sample| std::cmp::Reverse(sample.number));
        samples.truncate(limit);
        samples
    }

    /// Everything at once.
    pub(super) fn show(&self, memory: u64) -> Shown {
        let inner = self.inner();
        let now = now_millis();
        let age = |millis: i64| now - millis;
        let rate = |feed: usize| match (inner.rates.front(), inner.rates.back()) {
            // Nothing may have come since: then the rate sinks.
            (Some((since, before)), Some(_)) if since.elapsed() <= 2 * RATE => {
                let seconds = since.elapsed().as_secs_f64().max(1.0);
                (inner.received[feed] - before[feed]) as f64 / seconds
            }
            _ => 0.0,
        };
        let feeds = Feed::ALL.into_iter().enumerate().map(|(at, feed)| FeedShown {
            feed: feed.as_str().into(),
            received: inner.received[at],
            rejected: inner.rejected[at].iter().sum(),
            rate: rate(at),
        });
        let rejects = Feed::ALL.into_iter().flat_map(|feed| {
            let reasons = Reason::ALL.into_iter().zip(inner.rejected[feed as usize]);
            let some = reasons.filter(|(_, count)| *count > 0);
            some.map(move |(reason, count)| RejectsShown {
                feed: feed.as_str().into(),
                reason: reason.as_str().into(),
                count,
            })
        });
        let partitions = inner.partitions.iter().map(|((topic, partition), reading)| PartitionShown {
            topic: topic.clone(),
            partition: *partition,
            event_time: reading.greatest.map(EventTime::millis),
            event_lag_ms: reading.greatest.map(|time| age(time.millis())),
            behind: reading.behind,
            idle: reading.idle,
        });
        let state = inner.state.iter().map(|((arrangement, worker), (rows, bytes))| StateShown {
            arrangement: (*arrangement).into(),
            worker: *worker,
            rows: *rows,
            bytes: *bytes,
        });
        let loads = inner.loads.values().map(|load| LoadShown {
            process: load.process,
            worker: load.worker,
            busy: load.busy,
            records_per_s: load.records_per_s,
        });
        let [bids, impressions, clicks, conversions] = inner.live;
        let shown = Shown {
            partitions: partitions.collect(),
            feeds: feeds.collect(),
            epochs: EpochsShown::new(&inner.epochs),
            watermark: inner.watermark,
            watermark_lag_ms: inner.watermark.map(age),
            freeze: inner.freeze,
            live_events: LiveShown { bids, impressions, clicks, conversions },
            id_texts: inner.id_texts,
            memory_bytes: memory,
            state: state.collect(),
            checkpoint: inner.checkpoint.map(|written| CheckpointShown {
                epoch: written.epoch,
                age_ms: age(written.epoch as i64),
                bytes: written.bytes,
                segments: written.segments,
            }),
            sinks: inner.sink.iter().cloned().collect(),
            workers_load: loads.collect(),
            rejects: rejects.collect(),
            graph: Picture::default(),
        };
        let (anatomies, others) = (inner.anatomies.clone(), inner.others.clone());
        drop(inner);
        // Workers must not wait for it.
        let mut shown = Shown { graph: Picture::of(&anatomies), ..shown };
        others.into_values().for_each(|other| shown.join(other));
        shown
    }
}
