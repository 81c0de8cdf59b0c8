//! What a worker tells of itself, now and then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::expiry::Gone;
use dataflows::model::time::Epoch;
use dataflows::size::{Size, sizes};

use crate::names::Names;
use crate::runtime::job::Job;
use crate::telemetry::{Kind, Load, StateSize, Telemetry};

/// The time from one look at the state to the next.
const SAMPLE: Duration = Duration::from_secs(1);

/// The gauges of one worker.
pub struct Gauges {
    telemetry: Arc<Telemetry>,
    worker: usize,
    /// Epochs that were closed and are not complete, and when that was.
    closed: VecDeque<(Epoch, Instant)>,
    sampled: Option<Instant>,
    /// Since it was sampled last: how long its dataflow worked, and how many records it read.
    busy: Duration,
    records: usize,
    process: usize,
}

impl Gauges {
    /// Those of a worker.
    pub fn new(telemetry: &Arc<Telemetry>, process: usize, worker: usize) -> Self {
        Self {
            telemetry: Arc::clone(telemetry),
            worker,
            closed: VecDeque::new(),
            sampled: None,
            busy: Duration::ZERO,
            records: 0,
            process,
        }
    }

    /// The worker reads no more into an epoch.
    pub fn closed(&mut self, epoch: Epoch) {
        self.closed.push_back((epoch, Instant::now()));
    }

    /// A turn of the dataflow began then.
    pub fn stepped(&mut self, began: Instant) {
        let length = began.elapsed();
        self.busy += length;
        self.telemetry.step(length);
    }

    /// The worker has read so many records.
    pub fn read(&mut self, records: usize) {
        self.records += records;
    }

    /// Events were let go of.
    pub fn expired(&self, gone: &Gone) {
        let Gone { bids, impressions, clicks, conversions } = *gone;
        self.telemetry.expired(Kind::Bids, bids);
        self.telemetry.expired(Kind::Impressions, impressions);
        self.telemetry.expired(Kind::Clicks, clicks);
        self.telemetry.expired(Kind::Conversions, conversions);
    }

    /// Looks at the job, and at the texts of the process.
    pub fn look(&mut self, job: &mut Job, names: &Names) {
        while let Some((epoch, since)) =
            self.closed.pop_front_if(|(epoch, _)| job.outputs().is_complete(*epoch))
        {
            self.telemetry.epoch(epoch, since.elapsed());
        }
        if self.sampled.is_some_and(|sampled| sampled.elapsed() < SAMPLE) {
            return;
        }
        if let Some(since) = self.sampled.replace(Instant::now()) {
            let seconds = since.elapsed().as_secs_f64();
            let (busy, records) = (std::mem::take(&mut self.busy), std::mem::take(&mut self.records));
            self.telemetry.load(Load {
                process: self.process,
                worker: self.worker,
                busy: (busy.as_secs_f64() / seconds).min(1.0),
                records_per_s: records as f64 / seconds,
            });
        }
        self.telemetry.id_texts(names.ids());
        let Some((_, traces, outputs)) = job.held() else { return };
        for Size { name: state, rows, bytes } in sizes(traces, outputs) {
            self.telemetry.state(StateSize { state, worker: self.worker, rows, bytes });
        }
    }
}
