//! The exchange of a new generation with the published tables.
//!
//! ```text
//!   filled, counted ─▶ planned ─▶ EXCHANGE, table by table ─▶ swapped ─▶ old tables dropped
//!                      (a row per table in `generation`, all in one insert)
//! ```
//!
//! ClickHouse exchanges the names of two tables at once, but no more of them than two. So what is
//! to be done is noted first, with the UUID of each new table, which it keeps under any name: from
//! then on anyone can tell which tables are exchanged, and does the rest. A crash before the note
//! leaves the published tables as they were, and one behind it is finished by the next start.
//!
//! One process at a time may do this: the lock of the archive keeps others away.

use std::collections::HashMap;
use std::time::Duration;

use dataflows::model::time::Epoch;

use super::client::ClickHouse;
use super::error::ClickHouseError;
use super::rows::GenerationRow;
use crate::sinks::tables::Shape;

/// A generation that is in place.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Swapped {
    /// Its number, from 1.
    pub number: u64,
    /// The version of its rows.
    pub epoch: Epoch,
    /// How long it took from the first table to the last.
    pub took: Duration,
}

/// Whether this is what the names of a generation's tables end in.
pub(super) fn is_mark(end: &str) -> bool {
    let digits = end.strip_prefix("_next_");
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl ClickHouse {
    /// Finishes the swap of a generation that was cut short; returns its number, or nothing when
    /// none was. Readers meet no blank table. Nobody else may do so meanwhile: hold the archive's
    /// lock.
    ///
    /// # Errors
    /// [`ClickHouseError::NoGeneration`] when its tables are gone, or what the server said.
    pub fn finish_swap(&self) -> Result<Option<u64>, ClickHouseError> {
        let sql = "SELECT ?fields FROM generation FINAL WHERE number = (SELECT max(number) FROM generation)";
        let rows: Vec<GenerationRow> =
            self.call("read the generations", self.database().query(sql).fetch_all())?;
        let Some(GenerationRow { number, .. }) = rows.first() else { return Ok(None) };
        if rows.iter().all(|row| row.is_swapped == 1) {
            // It may have been cut short only now.
            self.drop_old(&rows)?;
            return Ok(None);
        }
        self.exchange_all(&rows)?;
        self.end_swap(&rows)?;
        tracing::info!(generation = number, "finished the swap of a generation that was cut short");
        Ok(Some(*number))
    }

    /// The number of the next generation.
    pub(super) fn next_generation(&self) -> Result<u64, ClickHouseError> {
        let query = self.database().query("SELECT max(number) + 1 FROM generation");
        self.call("read the generations", query.fetch_one())
    }

    /// What there is to note before a swap; `rows` are those of each table.
    pub(super) fn plan_swap(
        &self,
        (number, mark): (u64, &str),
        (job, epoch): (&str, Epoch),
        rows: &[(&'static str, u64)],
    ) -> Result<Vec<GenerationRow>, ClickHouseError> {
        let uuids = self.uuids()?;
        let written_at = jiff::Timestamp::now().as_millisecond();
        let planned = rows.iter().map(|(table, row_count)| {
            let next_name = format!("{table}{mark}");
            let uuid = uuids.get(&next_name).cloned().ok_or_else(|| gone(number, &next_name))?;
            let (table_name, job) = ((*table).to_owned(), job.to_owned());
            let (row_count, is_swapped) = (*row_count, 0);
            Ok(GenerationRow {
                number,
                table_name,
                next_name,
                uuid,
                row_count,
                job,
                epoch,
                is_swapped,
                written_at,
            })
        });
        planned.collect()
    }

    /// Exchanges the tables that are not yet, one right after another.
    pub(super) fn exchange_all(&self, rows: &[GenerationRow]) -> Result<(), ClickHouseError> {
        let uuids = self.uuids()?;
        let mut statements = Vec::new();
        for GenerationRow { number, table_name, next_name, uuid, .. } in rows {
            check_names(*number, table_name, next_name)?;
            match (uuids.get(table_name), uuids.get(next_name)) {
                (Some(published), _) if published == uuid => {}
                (Some(_), Some(next)) if next == uuid => {
                    statements.push((next_name, format!("EXCHANGE TABLES {table_name} AND {next_name}")));
                }
                _ => return Err(gone(*number, next_name)),
            }
        }
        for (next_name, sql) in statements {
            // A second exchange would undo the first: under one id the server runs one at a time, so
            // that one whose answer was lost is over when it is looked at again.
            let exchange = self.database().query_raw(&sql).with_setting("query_id", next_name);
            self.call("exchange tables", exchange.execute())?;
        }
        Ok(())
    }

    /// Notes that all tables are exchanged, and drops the old ones.
    pub(super) fn end_swap(&self, rows: &[GenerationRow]) -> Result<(), ClickHouseError> {
        let written_at = jiff::Timestamp::now().as_millisecond();
        let swapped: Vec<_> =
            rows.iter().map(|row| GenerationRow { is_swapped: 1, written_at, ..row.clone() }).collect();
        let token = rows.first().map_or(String::new(), |row| format!("swapped/{}", row.uuid));
        self.insert_generation(&swapped, &token)?;
        self.drop_old(rows)
    }

    fn drop_old(&self, rows: &[GenerationRow]) -> Result<(), ClickHouseError> {
        rows.iter().try_for_each(|row| {
            check_names(row.number, &row.table_name, &row.next_name)?;
            self.drop_table(&row.next_name)
        })
    }

    /// Drops a table of a generation. Queries that read it are not disturbed.
    pub(super) fn drop_table(&self, name: &str) -> Result<(), ClickHouseError> {
        let sql = format!("DROP TABLE IF EXISTS {name}");
        // The server's guard against dropping what is large means tables that somebody reads.
        let query = self.database().query_raw(&sql).with_setting("max_table_size_to_drop", "0");
        self.call("drop a table of a generation", query.execute())
    }

    /// The UUID of every table.
    fn uuids(&self) -> Result<HashMap<String, String>, ClickHouseError> {
        let sql = "SELECT name, toString(uuid) FROM system.tables WHERE database = {database:String}";
        let query = self.database().query(sql).param("database", &self.config().database);
        let rows: Vec<(String, String)> = self.call("list the tables", query.fetch_all())?;
        Ok(rows.into_iter().collect())
    }
}

/// What stands in a table goes into no statement before it is known to be a name of ours.
fn check_names(number: u64, table: &str, next: &str) -> Result<(), ClickHouseError> {
    let is_fact = Shape::all().iter().any(|shape| shape.table == table);
    match next.strip_prefix(table) {
        Some(end) if is_fact && is_mark(end) => Ok(()),
        _ => Err(ClickHouseError::NoGeneration {
            number,
            what: format!("it names {next:?} as what {table:?} is to be"),
        }),
    }
}

fn gone(number: u64, next: &str) -> ClickHouseError {
    ClickHouseError::NoGeneration { number, what: format!("its table {next} is gone") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_taken_for_tables_of_a_generation() {
        assert!(check_names(1, "reach_day", "reach_day_next_0123456789abcdef").is_ok());
        for (table, next) in [
            ("reach_day", "reach_day"),
            ("reach_day", "supply_hour_next_0123456789abcdef"),
            ("reach_day", "reach_day_next_0123456789abcde; DROP"),
            ("frontier", "frontier_next_0123456789abcdef"),
        ] {
            assert!(check_names(1, table, next).is_err(), "{table} {next}");
        }
    }
}
