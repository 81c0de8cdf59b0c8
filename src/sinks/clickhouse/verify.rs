//! Whether the tables of a server are those of the schema.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::Deserialize;

/// What matters of a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TableShape {
    /// Its name.
    pub name: String,
    /// Names and types of its columns.
    pub columns: Vec<(String, String)>,
    /// Its engine with arguments.
    pub engine: String,
    /// What its rows are unique by.
    pub sorting_key: String,
    /// What its parts are kept apart by; empty for nothing.
    pub partition_key: String,
}

/// A table that is not what it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "table {database}.{table}: {what} is {found}, but should be {expected}; rename or drop the table and run \
     `advertisex schema` to see its definition, or set clickhouse.database to a database of its own"
)]
pub struct Mismatch {
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// `column spend_micros`, `the engine`, …
    pub what: String,
    /// What there is.
    pub found: String,
    /// What is needed.
    pub expected: String,
}

/// A row of `system.tables`.
#[derive(Debug, Deserialize, Row)]
pub(super) struct FoundTable {
    name: String,
    engine_full: String,
    sorting_key: String,
    partition_key: String,
}

/// A row of `system.columns`.
#[derive(Debug, Deserialize, Row)]
pub(super) struct FoundColumn {
    table: String,
    name: String,
    r#type: String,
}

/// Compares what was found with what is expected, and stops at the first difference. Columns of
/// your own are fine as long as they have a default; so are other codecs, settings and indexes.
pub(super) fn compare(
    database: &str,
    expected: &[TableShape],
    tables: &[FoundTable],
    columns: &[FoundColumn],
) -> Result<(), Mismatch> {
    for shape in expected {
        let wrong = |what: &str, found: &str, expected: &str| {
            let words = |text: &str| if text.is_empty() { "absent".to_owned() } else { text.to_owned() };
            Err(Mismatch {
                database: database.to_owned(),
                table: shape.name.clone(),
                what: what.to_owned(),
                found: words(found),
                expected: words(expected),
            })
        };
        let Some(table) = tables.iter().find(|table| table.name == shape.name) else {
            return wrong("the table", "", "there");
        };
        let own = columns.iter().filter(|column| column.table == shape.name);
        let found: BTreeMap<&str, &str> = own.map(|column| (&*column.name, &*column.r#type)).collect();
        for (name, r#type) in &shape.columns {
            match found.get(name.as_str()) {
                Some(found) if found == r#type => {}
                found => return wrong(&format!("column {name}"), found.unwrap_or(&""), r#type),
            }
        }
        if !same_engine(&table.engine_full, &shape.engine) {
            let engine = table.engine_full.split_inclusive(')').next().unwrap_or_default();
            return wrong("the engine", engine, &shape.engine);
        }
        if table.sorting_key != shape.sorting_key {
            return wrong("the sorting key (ORDER BY)", &table.sorting_key, &shape.sorting_key);
        }
        if table.partition_key != shape.partition_key {
            return wrong("the partition key", &table.partition_key, &shape.partition_key);
        }
    }
    Ok(())
}

/// `ReplacingMergeTree(version)` is also had as `Replicated…` or `Shared…`, with a path and a
/// replica before the arguments.
fn same_engine(full: &str, expected: &str) -> bool {
    let own = ["", "Replicated", "Shared"].iter().find_map(|prefix| {
        full.strip_prefix(prefix)
            .map(|rest| (prefix, rest))
            .filter(|(_, rest)| rest.starts_with("ReplacingMergeTree("))
    });
    let Some((prefix, rest)) = own else { return false };
    if prefix.is_empty() {
        return rest.starts_with(expected);
    }
    let arguments = expected.trim_start_matches("ReplacingMergeTree(");
    rest.split_inclusive(')').next().is_some_and(|call| call.ends_with(&format!(", {arguments}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::clickhouse::schema;

    fn as_found(shapes: &[TableShape]) -> (Vec<FoundTable>, Vec<FoundColumn>) {
        let tables = shapes.iter().map(|shape| FoundTable {
            name: shape.name.clone(),
            engine_full: format!("{} ORDER BY x", shape.engine),
            sorting_key: shape.sorting_key.clone(),
            partition_key: shape.partition_key.clone(),
        });
        let columns = shapes.iter().flat_map(|shape| {
            shape.columns.iter().map(|(name, r#type)| FoundColumn {
                table: shape.name.clone(),
                name: name.clone(),
                r#type: r#type.clone(),
            })
        });
        (tables.collect(), columns.collect())
    }

    #[test]
    fn the_schema_is_itself() {
        let shapes = schema::tables();
        let (tables, columns) = as_found(&shapes);
        assert_eq!(compare("ads", &shapes, &tables, &columns), Ok(()));
    }

    #[test]
    fn each_difference_is_named() {
        let shapes = schema::tables();
        let found = |change: &dyn Fn(&mut Vec<FoundTable>, &mut Vec<FoundColumn>)| {
            let (mut tables, mut columns) = as_found(&shapes);
            change(&mut tables, &mut columns);
            compare("ads", &shapes, &tables, &columns).expect_err("different").to_string()
        };
        let error = found(&|_, columns| columns[2].r#type = "UInt8".to_owned());
        let start = "table ads.performance_minute: column bids is UInt8, but should be Int64; rename or drop";
        assert!(error.starts_with(start), "{error}");
        let error = found(&|_, columns| drop(columns.remove(2)));
        assert!(error.contains("column bids is absent, but should be Int64"), "{error}");
        let error = found(&|tables, _| drop(tables.remove(0)));
        assert!(error.contains("the table is absent, but should be there"), "{error}");
        let error = found(&|tables, _| tables[0].engine_full = "MergeTree ORDER BY x".to_owned());
        assert!(error.contains("the engine is MergeTree ORDER BY x, but should be Repl"), "{error}");
        let error = found(&|tables, _| tables[0].sorting_key = "minute".to_owned());
        assert!(error.contains("(ORDER BY) is minute, but should be campaign_id, minute"), "{error}");
        let error = found(&|tables, _| tables[0].partition_key.clear());
        assert!(error.contains("the partition key is absent, but should be toYYYYMM(minute)"), "{error}");
    }

    #[test]
    fn replicated_tables_will_do() {
        let own = "ReplacingMergeTree(version, is_deleted)";
        assert!(same_engine("ReplacingMergeTree(version, is_deleted) PARTITION BY m", own));
        assert!(same_engine(
            "SharedReplacingMergeTree('/p/{uuid}', '{replica}', version, is_deleted) X",
            own
        ));
        assert!(same_engine("ReplicatedReplacingMergeTree('/p', '{replica}', version, is_deleted)", own));
        assert!(!same_engine("ReplicatedReplacingMergeTree('/p', '{replica}', version)", own));
        assert!(!same_engine("ReplacingMergeTree(version)", own));
        assert!(!same_engine("SummingMergeTree", own));
    }
}
