//! What a worker tells of itself, now and then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::expiry::Gone;
use dataflows::model::time::Epoch;
use dataflows::size::{Size, sizes};

use crate::names::Names;
use crate::runtime::job::Job;
use crate::telemetry::{Kind, StateSize, Telemetry};

/// The time from one look at the state to the next.
const SAMPLE: Duration = Duration::from_secs(1);

/// The gauges of one worker.
pub struct Gauges {
    telemetry: Arc<Telemetry>,
    worker: usize,
    /// Epochs that were closed and are not complete, and when that was.
    closed: VecDeque<(Epoch, Instant)>,
    sampled: Option<Instant>,
}

impl Gauges {
    /// Those of a worker.
    pub fn new(telemetry: &Arc<Telemetry>, worker: usize) -> Self {
        Self { telemetry: Arc::clone(telemetry), worker, closed: VecDeque::new(), sampled: None }
    }

    /// The worker reads no more into an epoch.
    pub fn closed(&mut self, epoch: Epoch) {
        self.closed.push_back((epoch, Instant::now()));
    }

    /// A turn of the dataflow began then.
    pub fn stepped(&mut self, began: Instant) {
        self.telemetry.step(began.elapsed());
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
        while let Some((_, since)) = self.closed.pop_front_if(|(epoch, _)| job.outputs().is_complete(*epoch))
        {
            self.telemetry.epoch(since.elapsed());
        }
        if self.sampled.is_some_and(|sampled| sampled.elapsed() < SAMPLE) {
            return;
        }
        self.sampled = Some(Instant::now());
        self.telemetry.id_texts(names.ids());
        let Some((_, traces, outputs)) = job.held() else { return };
        for Size { name: state, rows, bytes } in sizes(traces, outputs) {
            self.telemetry.state(StateSize { state, worker: self.worker, rows, bytes });
        }
    }
}
