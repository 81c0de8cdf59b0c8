//! What the processes of a run tell each other.
//!
//! ```text
//!   every process ── reports ──▶ process 0 ── orders ──▶ every process
//! ```

use dataflows::model::time::Epoch;
use serde::{Deserialize, Serialize};

use crate::bindings::{Binding, TopicPartition};
use crate::checkpoint::{Errand, Manifest};
use crate::sinks::clickhouse::Epochs;

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
    /// From the writer of checkpoints to the keeper.
    Errand(Errand),
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
    /// Nothing will be read any more.
    pub drained: bool,
}

/// What the processes are to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Start from here.
    Open(Box<Opening>),
    /// Read into this epoch from now on.
    Tick(Epoch),
    /// Publish these epochs: they are bound.
    Emit(Epochs),
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
