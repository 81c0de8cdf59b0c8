//! Writes rows into the tables of a generation in the making, in any process of a replay.
//!
//! The process that makes the tables tells all others their [`Label`]; the rows of all go into the
//! same tables, and each insert has a token that no other one has.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use dataflows::model::time::Epoch;
use serde::{Deserialize, Serialize};

use super::client::ClickHouse;
use super::error::ClickHouseError;
use super::publish::Pen;
use super::published::Published;
use super::upserts::{Epochs, Writer};
use crate::config::clickhouse::ClickHouseConfig;
use crate::names::Names;

/// Which tables they are, and what their rows hold.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// The job whose tables they replace.
    pub job: String,
    /// The version of all rows.
    pub version: Epoch,
    /// What the names of the tables end in; no other attempt has the same.
    pub mark: String,
}

impl Label {
    pub(super) fn new(job: &str, version: Epoch) -> Self {
        let mark = format!("_next_{:016x}", rand::random::<u64>());
        Self { job: job.to_owned(), version, mark }
    }
}

/// Where one process of a replay writes its rows through.
#[derive(Debug)]
pub struct Staging {
    writes: ClickHouse,
    /// The process.
    shard: u32,
    label: OnceLock<Label>,
    stop: Arc<AtomicBool>,
}

impl Staging {
    /// For the process with this number; the server is not asked yet. Once `stop` is set, writes
    /// end soon with [`ClickHouseError::Stopped`].
    ///
    /// # Errors
    /// The client can't be set up.
    pub fn new(
        config: &ClickHouseConfig,
        shard: u32,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, ClickHouseError> {
        Ok(Self { writes: ClickHouse::new(config.clone())?, shard, label: OnceLock::new(), stop })
    }

    /// The tables, once they are known.
    pub fn label(&self) -> Option<&Label> {
        self.label.get()
    }

    /// Says which tables they are; the first word counts.
    pub fn set_label(&self, label: Label) {
        let _ = self.label.set(label);
    }

    /// The database that the tables are in.
    pub fn database(&self) -> &str {
        &self.writes.config().database
    }

    /// Writes rows of a table, in inserts as large as the configuration allows; each is tried as
    /// often as those of a live run are. Keys are unique over all rows that any process ever writes.
    ///
    /// # Errors
    /// A fault that no waiting mends, or [`ClickHouseError::Stopped`], also where nobody has said
    /// which tables they are: the run has ended before it began.
    pub fn write<R: Published>(
        &self,
        rows: impl Iterator<Item = R>,
        names: &Names,
    ) -> Result<(), ClickHouseError> {
        let Label { job, version, mark } = self.label.get().ok_or(ClickHouseError::Stopped)?;
        let upserts: Vec<_> = rows.filter_map(R::upsert).collect();
        // Each call has a writer of its own, as inserts are named by their place within the call.
        let writer = Writer::of_rows(&**job, self.shard);
        let pen = Pen {
            clickhouse: &self.writes,
            writer: &writer,
            names,
            suffix: mark,
            limits: self.writes.config().limits(),
            backoff: self.writes.config().backoff(),
            stop: &self.stop,
            tell: &tell,
        };
        pen.table::<R::Table>(Epochs { first: *version, last: *version }, &upserts)
    }
}

/// What is logged of attempts that fail.
pub(super) fn tell(failed: u32, _: Instant, error: &ClickHouseError) {
    // Once at the start of an outage.
    if failed == 1 {
        tracing::warn!(%error, "ClickHouse can't be written to; trying again until it can");
    }
}
