//! What the processes of a run tell each other.
//!
//! ```text
//!   every process ── reports ──▶ process 0 ── orders ──▶ every process
//! ```

use dataflows::model::horizon::Horizon;
use dataflows::model::lookups::LookupRow;
use dataflows::model::time::Epoch;
use dataflows::rules::horizon::Seen;
use serde::{Deserialize, Serialize};

use super::hub::Wanted;
use crate::bindings::{Binding, TopicPartition};
use crate::checkpoint::{Errand, Manifest};
use crate::serve::update::Update;
use crate::telemetry::{Sample, Shown};

/// What goes from process to process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Letter {
    /// To the first.
    Report {
        /// By whom.
        from: usize,
        /// What.
        report: Report,
    },
    /// From the first.
    Order(Order),
}

/// What has happened in a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// Epochs were closed.
    Closed(Closed),
    /// All changes up to this epoch were handed to the publisher.
    Handed(Epoch),
    /// All changes up to this epoch are in ClickHouse.
    Inserted(Epoch),
    /// Of all partitions read here up to this epoch the archive knows where it begins; a checkpoint may
    /// go as far.
    Anchored(Epoch),
    /// From the writer of checkpoints to the keeper.
    Errand(Errand),
    /// What has changed in the tables, to be shown.
    Changed(Box<Update>),
    /// How the process is, to be shown, and records that it rejected since it told last.
    Board {
        /// How it is.
        shown: Box<Shown>,
        /// The rejected records.
        rejected: Vec<Sample>,
    },
    /// Someone has asked for the end.
    Stop,
    /// Something failed that no waiting mends.
    Failed(String),
}

/// Epochs that no worker of a process reads into any more.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// All before this one.
    pub before: Epoch,
    /// What was read into them, of those that were not told yet.
    pub bindings: Vec<Binding>,
    /// How far the partitions are.
    pub seen: Vec<(TopicPartition, Seen)>,
    /// Changes of the rules that say how far numbers look back.
    pub rules: Vec<(LookupRow, isize)>,
    /// Nothing will be read any more.
    pub drained: bool,
    /// There was no room for more: that nothing was read does not mean that nothing is there.
    pub held_back: bool,
}

/// An epoch to read into.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// Its number.
    pub epoch: Epoch,
    /// What is frozen in it.
    pub horizon: Horizon,
}

/// What the processes are to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Start from here.
    Open(Box<Opening>),
    /// Read into this epoch from now on.
    Tick(Opened),
    /// Publish these epochs: they are bound.
    Emit(Wanted),
    /// All up to this epoch is published, by all processes, and may be archived.
    Published(Epoch),
    /// From the keeper to the writers of checkpoints.
    Errand(Errand),
    /// Read no more, and finish what was read.
    Drain,
    /// End; with a reason, because of a failure.
    End(Option<String>),
}

/// Where a run starts: all that the first process knows from its disk and from ClickHouse.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// The checkpoint, as this run has claimed it.
    pub claim: Manifest,
    /// What was bound since.
    pub history: Vec<Binding>,
    /// Where reading goes on behind both.
    pub positions: Vec<(TopicPartition, i64)>,
    /// Everything up to here was published before.
    pub published: Epoch,
    /// The first epoch of this start.
    pub first: Epoch,
}

impl Opening {
    /// The horizon of what is published.
    pub fn published_horizon(&self) -> Horizon {
        let past = self.history.iter().rfind(|binding| binding.epoch <= self.published);
        past.map_or(self.claim.horizon, |binding| binding.horizon)
    }

    /// The first epoch of this start, in which nothing expires yet.
    pub fn opened(&self) -> Opened {
        let horizon = self.history.last().map_or(self.claim.horizon, |binding| binding.horizon);
        Opened { epoch: self.first, horizon }
    }
}
