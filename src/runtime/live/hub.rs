//! Where the workers' changes come together to be published.
//!
//! The first worker says up to which epoch the next batch goes; every worker, once it has
//! completed that epoch, brings its changes, and the last one to do so hands the batch over.

use std::sync::{Mutex, MutexGuard, PoisonError};

use dataflows::model::time::Epoch;

use crate::sinks::clickhouse::{Epochs, Publisher, Refused, Upserts};

/// The hub of one process.
pub struct Hub {
    state: Mutex<State>,
    publisher: Publisher,
    workers: usize,
}

struct State {
    /// What is to be brought next; nothing when all of it was.
    wanted: Option<Epochs>,
    brought: usize,
    batch: Option<Upserts>,
    /// Everything up to here was handed over.
    last: Epoch,
}

impl Hub {
    /// A hub behind which everything up to `published` is published already.
    pub fn new(publisher: Publisher, published: Epoch, workers: usize) -> Self {
        let state = State { wanted: None, brought: 0, batch: None, last: published };
        Self { state: Mutex::new(state), publisher, workers }
    }

    /// Asks for the changes up to `epoch`, unless earlier ones are still awaited.
    pub fn want(&self, epoch: Epoch) {
        let mut state = self.state();
        if state.wanted.is_none() && state.batch.is_none() && epoch > state.last {
            state.wanted = Some(Epochs { first: state.last + 1, last: epoch });
        }
    }

    /// The changes that are asked for.
    pub fn wanted(&self) -> Option<Epochs> {
        self.state().wanted
    }

    /// Brings a worker's changes of the epochs wanted.
    pub fn bring(&self, share: Upserts) {
        let mut state = self.state();
        let last = share.epochs.last;
        match &mut state.batch {
            Some(batch) => batch.append(share),
            none => *none = Some(share),
        }
        state.brought += 1;
        if state.brought == self.workers {
            (state.wanted, state.brought, state.last) = (None, 0, last);
        }
    }

    /// Hands over what all workers have brought, if the publisher has room for it.
    pub fn hand_over(&self) {
        let mut state = self.state();
        if state.wanted.is_none()
            && let Some(batch) = state.batch.take()
            && let Err(Refused::Full(batch) | Refused::Ended(batch)) = self.publisher.offer(batch)
        {
            state.batch = Some(*batch);
        }
    }

    /// Whether there is room for more than what was brought by now: else nothing should be read.
    pub fn has_room(&self) -> bool {
        let state = self.state();
        (state.wanted.is_some() || state.batch.is_none()) && self.publisher.has_room()
    }

    /// The publisher.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
