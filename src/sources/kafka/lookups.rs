//! A lookup table as a compacted topic: for each key the last row, and what a new message changes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::LookupTopic;
use crate::formats::lookup::{BadRow, Entry, RowFormat, Table};
use crate::formats::reject::payload;
use crate::formats::{Batch, DecodeError, LookupFault, Origin, Position, RowChange};
use crate::names::SharedNames;

/// The rows in force, by the keys of their messages. Reading the topic again from its beginning
/// rebuilds it; two keys may hold equal rows, which then count twice until one is withdrawn.
#[derive(Debug)]
pub struct LookupRows {
    table: Table,
    format: RowFormat,
    names: SharedNames,
    rows: HashMap<Box<[u8]>, Entry>,
}

impl LookupRows {
    /// An empty table.
    pub fn new(topic: &LookupTopic, names: SharedNames) -> Self {
        Self { table: topic.table, format: topic.format, names, rows: HashMap::new() }
    }

    /// Takes a row in that was read before.
    pub fn restore(&mut self, key: &[u8], row: Entry) {
        self.rows.insert(key.into(), row);
    }

    /// Takes a message in: the changes it makes, or a fault, after which the row before stays.
    ///
    /// # Errors
    /// Only when two names share a key.
    pub fn message(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        topic: &Arc<str>,
        position: Position,
        batch: &mut Batch,
    ) -> Result<(), DecodeError> {
        let Some(key) = key else {
            fault(topic, position, value, "a message of a lookup table needs a key", batch);
            return Ok(());
        };
        let row = match value.map(|value| self.table.message(self.format, value, &self.names)).transpose() {
            Ok(row) => row,
            Err(BadRow::Collision(collision)) => return Err(collision.into()),
            Err(bad) => {
                fault(topic, position, value, &bad.to_string(), batch);
                return Ok(());
            }
        };
        let before = match row.clone() {
            Some(row) => self.rows.insert(key.into(), row),
            None => self.rows.remove(key),
        };
        if before == row {
            return Ok(());
        }
        if let Position::Message { partition, .. } = position {
            let (topic, row) = (Arc::clone(topic), row.clone());
            batch.rows.push(RowChange { topic, partition, key: key.into(), row });
        }
        let split = |entry: Option<Entry>| entry.map_or((None, None), |entry| (entry.rule, entry.dimension));
        let ((rule_before, name_before), (rule, name)) = (split(before), split(row));
        if rule_before != rule {
            batch.lookups.extend(rule_before.map(|row| (row, -1)));
            batch.lookups.extend(rule.map(|row| (row, 1)));
        }
        if name_before != name {
            // The new row of the same id comes behind, and counts.
            batch.dimensions.extend(name_before.map(|row| (row.dimension, row.id, None)));
            batch.dimensions.extend(name.map(|row| (row.dimension, row.id, Some(row.attributes))));
        }
        Ok(())
    }
}

/// Records that a row could not be taken in.
pub fn fault(topic: &Arc<str>, position: Position, row: Option<&[u8]>, hint: &str, batch: &mut Batch) {
    let origin = Origin { file: Arc::clone(topic), position };
    let payload = payload(row.unwrap_or_default());
    batch.lookup_faults.push(LookupFault { origin, payload, hint: hint.to_owned() });
}
