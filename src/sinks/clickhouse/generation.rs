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
use super::publish::Pen;
use super::published::Published;
use super::retry::until_done;
use super::swap::{Swapped, is_mark};
use super::upserts::{Epochs, Writer};
use crate::config::clickhouse::ClickHouseConfig;
use crate::names::Names;
use crate::sinks::tables::Shape;

/// The tables of a generation in the making.
#[derive(Debug)]
pub struct Generation {
    /// What is asked of the server, which may take its time.
    server: ClickHouse,
    /// Where rows are written through.
    writes: ClickHouse,
    job: String,
    version: Epoch,
    /// What the names of its tables end in; no other attempt has the same.
    pub(super) mark: String,
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
    /// ([`ClickHouse::finish_swap`]). Rows will hold as of `version`.
    ///
    /// `server` is asked to make, count and exchange tables; rows are written as `config` says.
    /// Once `stop` is set, the work ends soon with [`ClickHouseError::Stopped`].
    ///
    /// # Errors
    /// What the server said.
    pub fn begin(
        server: ClickHouse,
        config: &ClickHouseConfig,
        (job, version): (&str, Epoch),
        stop: Arc<AtomicBool>,
    ) -> Result<Self, ClickHouseError> {
        let writes = ClickHouse::new(config.clone())?;
        let mark = format!("_next_{:016x}", rand::random::<u64>());
        let generation = Self { server, writes, job: job.to_owned(), version, mark, stop };
        generation.drop_unfinished()?;
        for Shape { table, .. } in Shape::all() {
            let sql = format!("CREATE TABLE {table}{} AS {table}", generation.mark);
            generation.server.statement("create a table of a new generation", &sql)?;
        }
        Ok(generation)
    }

    /// Writes rows of a table, in inserts as large as the configuration allows; each is tried as
    /// often as those of a live run are. Keys are unique over all rows ever written.
    ///
    /// # Errors
    /// A fault that no waiting mends, or [`ClickHouseError::Stopped`].
    pub fn write<R: Published>(
        &self,
        rows: impl Iterator<Item = R>,
        names: &Names,
    ) -> Result<(), ClickHouseError> {
        let upserts: Vec<_> = rows.filter_map(R::upsert).collect();
        // Each call has a writer of its own, as inserts are named by their place within the call.
        let writer = Writer::new(&*self.job, 0);
        let pen = Pen {
            clickhouse: &self.writes,
            writer: &writer,
            names,
            suffix: &self.mark,
            limits: self.writes.config().limits(),
            backoff: self.writes.config().backoff(),
            stop: &self.stop,
            tell: &tell,
        };
        pen.table::<R::Table>(Epochs { first: self.version, last: self.version }, &upserts)
    }

    /// Counts the rows of a table.
    ///
    /// # Errors
    /// [`ClickHouseError::Miscounted`] when they are not `written`, or what the server said.
    pub fn count(&self, table: &'static str, written: u64) -> Result<(), ClickHouseError> {
        let sql = format!("SELECT count() FROM {table}{} FINAL", self.mark);
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
            self.mark
        );
        self.insist(|| self.server.call("compare counts", self.server.database().query(&sql).fetch_all()))
    }

    /// Puts the tables in place of the published ones, and drops those. `rows` are those of each
    /// table. Once this has begun, the next start finishes it, if this one can't.
    ///
    /// # Errors
    /// What the server said. It is then open whether the swap is done; the next start sees to it.
    pub fn swap(&self, rows: &[(&'static str, u64)]) -> Result<Swapped, ClickHouseError> {
        let number = self.insist(|| self.server.next_generation())?;
        let planned =
            self.insist(|| self.server.plan_swap((number, &*self.mark), (&*self.job, self.version), rows))?;
        self.insist(|| {
            self.server.insert_generation(&planned, &format!("generation/{number}{}", self.mark))
        })?;
        let began = Instant::now();
        self.insist(|| self.server.exchange_all(&planned))?;
        let took = began.elapsed();
        self.insist(|| self.server.end_swap(&planned))?;
        Ok(Swapped { number, epoch: self.version, took })
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

fn tell(failed: u32, _: Instant, error: &ClickHouseError) {
    // Once at the start of an outage.
    if failed == 1 {
        tracing::warn!(%error, "ClickHouse can't be written to; trying again until it can");
    }
}
