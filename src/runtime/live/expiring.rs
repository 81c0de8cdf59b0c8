//! A horizon that takes effect on one worker: what is expired is found piece by piece, beside the
//! reading, while the epoch stays open in which it is to go.

use dataflows::expiry::{Expiry, Gone, Kept};
use dataflows::model::horizon::Horizon;
use dataflows::model::time::Epoch;

use crate::runtime::job::Job;

/// Rows looked at between two steps of the dataflow: some milliseconds.
const ROWS_PER_TURN: usize = 1 << 15;

/// The expiry of one worker.
#[derive(Default)]
pub struct Expiring {
    /// What is in force.
    horizon: Horizon,
    /// The epoch in which it is so first, while not everything has gone.
    since: Option<Epoch>,
    walk: Option<Expiry>,
}

/// A horizon that has taken effect.
pub struct Expired {
    /// Which.
    pub horizon: Horizon,
    /// All records that are kept beyond their time.
    pub kept: Kept,
    /// How many went.
    pub gone: Gone,
}

impl Expiring {
    /// A horizon that is in force already.
    pub fn resume(&mut self, horizon: Horizon) {
        self.horizon = horizon;
    }

    /// Says what is in force from `epoch` on, which was just begun.
    pub fn begin(&mut self, epoch: Epoch, horizon: Horizon) {
        if horizon != self.horizon {
            (self.horizon, self.since) = (horizon, Some(epoch));
        }
    }

    /// Whether the present epoch must stay open.
    pub fn is_busy(&self) -> bool {
        self.since.is_some()
    }

    /// Goes on, once all before the epoch is complete. Returns what came of it at the end.
    pub fn work(&mut self, job: &mut Job) -> Option<Expired> {
        let before = self.since? - 1;
        let (inputs, traces, outputs) = job.held()?;
        if self.walk.is_none() && outputs.is_complete(before) {
            self.walk = Some(Expiry::begin(traces, self.horizon, before));
        }
        if !self.walk.as_mut()?.work(inputs, ROWS_PER_TURN) {
            return None;
        }
        self.since = None;
        let (kept, gone) = self.walk.take()?.finish();
        Some(Expired { horizon: self.horizon, kept, gone })
    }
}
