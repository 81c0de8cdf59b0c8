//! Where the workers' changes come together to be published.
//!
//! The first process says up to which epoch the next batch goes; every worker, once it has
//! completed that epoch, brings its changes, and the last one to do so hands the batch over.

use std::sync::{Mutex, MutexGuard, PoisonError};

use dataflows::model::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};

use crate::serve::update::Update;
use crate::sinks::clickhouse::{Epochs, Publisher, Refused, Upserts};
use crate::sinks::rejects_topic;
use crate::sinks::topic::{Topic, TopicError};

/// The hub of one process.
pub struct Hub {
    state: Mutex<State>,
    publisher: Publisher,
    /// Where rejects go besides.
    rejects: Option<Topic>,
    workers: usize,
    /// Whether what is brought is shown, too.
    shows: bool,
}

struct State {
    /// What is held when the run starts, of so many workers.
    held: (Option<Update>, usize),
    /// What is to be shown.
    updates: Vec<Update>,
    /// What is to be brought next; nothing when all of it was.
    wanted: Option<Wanted>,
    brought: usize,
    batch: Option<Upserts>,
    /// How many of its rejects were sent to their topic.
    sent: usize,
    /// Everything up to here was brought.
    last: Epoch,
    /// Everything up to here was handed over.
    handed: Epoch,
}

/// What is to be brought.
#[derive(Copy, Clone, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// The changes of these epochs.
    pub epochs: Epochs,
    /// Windows that end here or before are left out.
    pub freeze: EventTime,
}

impl Hub {
    /// A hub behind which everything up to `published` is published already.
    pub fn new(publisher: Publisher, rejects: Option<Topic>, published: Epoch, workers: usize) -> Self {
        let state = State {
            held: (None, 0),
            updates: Vec::new(),
            wanted: None,
            brought: 0,
            batch: None,
            sent: 0,
            last: published,
            handed: published,
        };
        Self { state: Mutex::new(state), publisher, rejects, workers, shows: false }
    }

    /// The same; what is brought is shown, too.
    pub fn showing(self) -> Self {
        Self { shows: true, ..self }
    }

    /// Whether what is brought is shown, too.
    pub fn shows(&self) -> bool {
        self.shows
    }

    /// Brings what a worker holds at the start; once all have, it is shown.
    pub fn show(&self, held: Update) {
        let mut state = self.state();
        match &mut state.held.0 {
            Some(all) => all.append(held),
            none => *none = Some(held),
        }
        state.held.1 += 1;
        if state.held.1 == self.workers {
            let all = state.held.0.take();
            state.updates.extend(all);
        }
    }

    /// What is to be shown and was not told yet.
    pub fn updates(&self) -> Vec<Update> {
        std::mem::take(&mut self.state().updates)
    }

    /// Asks for the changes of these epochs, which follow those that were asked for last and were
    /// handed over.
    pub fn want(&self, wanted: Wanted) {
        self.state().wanted = Some(wanted);
    }

    /// Everything up to this epoch was handed over.
    pub fn handed(&self) -> Epoch {
        self.state().handed
    }

    /// The changes that are asked for.
    pub fn wanted(&self) -> Option<Wanted> {
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
            let update = state.batch.as_ref().filter(|_| self.shows).map(Update::from);
            state.updates.extend(update);
        }
    }

    /// Hands over what all workers have brought, if the publisher has room for it. Rejects are in
    /// their topic before: once the frontier has passed them, nobody would send them again.
    ///
    /// # Errors
    /// The topic can't be written to.
    pub fn hand_over(&self) -> Result<(), TopicError> {
        let mut state = self.state();
        if state.wanted.is_some() || !self.rejects_are_written(&mut state)? {
            return Ok(());
        }
        if let Some(batch) = state.batch.take() {
            match self.publisher.offer(batch) {
                Ok(()) => (state.sent, state.handed) = (0, state.last),
                Err(Refused::Full(batch) | Refused::Ended(batch)) => state.batch = Some(*batch),
            }
        }
        Ok(())
    }

    fn rejects_are_written(&self, state: &mut State) -> Result<bool, TopicError> {
        let (Some(topic), Some(batch)) = (&self.rejects, &state.batch) else { return Ok(true) };
        for (reject, _) in &batch.rejects[state.sent..] {
            if !topic.send(Some(&rejects_topic::key(reject)), &rejects_topic::message(reject))? {
                return Ok(false);
            }
            state.sent += 1;
        }
        topic.is_written()
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
