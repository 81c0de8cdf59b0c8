//! A new generation of the facts: tables of the same shape beside the published ones, which are
//! filled while everybody reads the others, counted, and exchanged with them ([`swap`](super::swap)).
//!
//! ```text
//!   reach_day                       ◀── readers, all the time
//!   reach_day_next_91c2…  ◀── rows in bounded inserts      (then counted, exchanged, dropped)
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clickhouse::Row;
use dataflows::model::time::Epoch;
use serde::Deserialize;

use super::client::ClickHouse;
use super::error::ClickHouseError;
use super::retry::until_done;
use super::staging::{Label, tell};
use super::swap::{Swapped, is_mark};
use crate::sinks::tables::Shape;

/// The tables of a generation in the making.
#[derive(Debug)]
pub struct Generation {
    /// What is asked of the server, which may take its time.
    server: ClickHouse,
    pub(super) label: Label,
    stop: Arc<AtomicBool>,
}

/// Records of a feed by `quality_minute`: of the published one, and of that of a generation.
#[derive(Clone, Debug, Eq, PartialEq, Row, Deserialize)]
pub struct Received {
    /// The feed.
    pub feed: String,
    /// As published.
    pub published: i64,
    /// By the new generation.
    pub next: i64,
}

impl Generation {
    /// Makes the tables, all of them empty, as those of the published ones are. What earlier
    /// attempts have left is dropped first, so that no swap may be pending
    /// ([`ClickHouse::finish_swap`]). Rows will hold as of `version`; who writes them, in this
    /// process or in others, needs the generation's [`label`](Self::label).
    ///
    /// Once `stop` is set, the work ends soon with [`ClickHouseError::Stopped`].
    ///
    /// # Errors
    /// What the server said.
    pub fn begin(
        server: ClickHouse,
        (job, version): (&str, Epoch),
        stop: Arc<AtomicBool>,
    ) -> Result<Self, ClickHouseError> {
        let generation = Self { server, label: Label::new(job, version), stop };
        generation.drop_unfinished()?;
        for Shape { table, .. } in Shape::all() {
            let sql = format!("CREATE TABLE {table}{} AS {table}", generation.label.mark);
            generation.server.statement("create a table of a new generation", &sql)?;
        }
        Ok(generation)
    }

    /// What its tables are called.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Counts the rows of a table.
    ///
    /// # Errors
    /// [`ClickHouseError::Miscounted`] when they are not `written`, or what the server said.
    pub fn count(&self, table: &'static str, written: u64) -> Result<(), ClickHouseError> {
        let sql = format!("SELECT count() FROM {table}{} FINAL", self.label.mark);
        let count = || self.server.call("count rows", self.server.database().query(&sql).fetch_one::<u64>());
        match self.insist(count)? {
            found if found == written => Ok(()),
            found => Err(ClickHouseError::Miscounted { table, written, found }),
        }
    }

    /// How many records of each feed are published, and how many this generation was made of.
    /// No rule changes that: where the second number is less, records are missing.
    ///
    /// # Errors
    /// What the server said.
    pub fn received(&self) -> Result<Vec<Received>, ClickHouseError> {
        let sql = format!(
            "SELECT feed, sum(published) AS published, sum(next) AS next FROM ( \
             SELECT toString(feed) AS feed, received AS published, 0 AS next FROM quality_minute FINAL \
             UNION ALL \
             SELECT toString(feed) AS feed, 0 AS published, received AS next FROM quality_minute{} FINAL \
             ) GROUP BY feed ORDER BY feed",
            self.label.mark
        );
        self.insist(|| self.server.call("compare counts", self.server.database().query(&sql).fetch_all()))
    }

    /// Puts the tables in place of the published ones, and drops those. `rows` are those of each
    /// table. Once this has begun, the next start finishes it, if this one can't.
    ///
    /// # Errors
    /// What the server said. It is then open whether the swap is done; the next start sees to it.
    pub fn swap(&self, rows: &[(&'static str, u64)]) -> Result<Swapped, ClickHouseError> {
        let Label { job, version, mark } = &self.label;
        let number = self.insist(|| self.server.next_generation())?;
        let planned = self.insist(|| self.server.plan_swap((number, mark), (job, *version), rows))?;
        self.insist(|| self.server.insert_generation(&planned, &format!("generation/{number}{mark}")))?;
        let began = Instant::now();
        self.insist(|| self.server.exchange_all(&planned))?;
        let took = began.elapsed();
        self.insist(|| self.server.end_swap(&planned))?;
        Ok(Swapped { number, epoch: *version, took })
    }

    /// Drops the tables, which nobody will want.
    pub fn abandon(&self) {
        // If it can't be done, the next generation does it.
        let _ = self.drop_unfinished();
    }

    /// The server.
    pub fn server(&self) -> &ClickHouse {
        &self.server
    }

    fn drop_unfinished(&self) -> Result<(), ClickHouseError> {
        let sql =
            "SELECT name FROM system.tables WHERE database = {database:String} AND name LIKE '%_next_%'";
        let query = self.server.database().query(sql).param("database", &self.server.config().database);
        let names: Vec<String> = self.server.call("list the tables", query.fetch_all())?;
        let ours = |name: &&String| {
            Shape::all().iter().any(|shape| name.strip_prefix(shape.table).is_some_and(is_mark))
        };
        names.iter().filter(ours).try_for_each(|name| self.server.drop_table(name))
    }

    fn insist<T>(&self, attempt: impl FnMut() -> Result<T, ClickHouseError>) -> Result<T, ClickHouseError> {
        until_done(self.server.config().backoff(), &self.stop, tell, attempt)
    }
}
