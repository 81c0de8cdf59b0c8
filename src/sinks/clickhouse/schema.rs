//! The schema: `config/schemas/clickhouse_*.sql`, statement by statement, and what it declares.

use super::verify::TableShape;

const FACTS: &str = include_str!("../../../config/schemas/clickhouse_facts.sql");
const RECORDS: &str = include_str!("../../../config/schemas/clickhouse_records.sql");
const VIEWS: &str = include_str!("../../../config/schemas/clickhouse_views.sql");

/// The version of the schema; a change of a table's shape raises it.
pub const SCHEMA_VERSION: u32 = 2;

/// The whole schema as a script for `clickhouse client --multiquery`: what
/// [`create_schema`](super::ClickHouse::create_schema) runs.
///
/// `database` is an identifier (checked by the configuration).
pub fn schema_text(database: &str) -> String {
    let mark = mark_version();
    format!(
        "-- AdvertiseX schema for ClickHouse, version {SCHEMA_VERSION}. Every statement may be run again.\n\n\
         {};\n\nUSE {database};\n\n{FACTS}\n{RECORDS}\n{VIEWS}\n\
         -- Which schema this is.\n{mark};\n",
        create_database(database)
    )
}

/// The statement that makes the database.
pub(super) fn create_database(database: &str) -> String {
    format!("CREATE DATABASE IF NOT EXISTS {database}")
}

/// The statement that drops the database.
pub(super) fn drop_database(database: &str) -> String {
    format!("DROP DATABASE IF EXISTS {database} SYNC")
}

/// The statements that make the tables.
pub(super) fn create_tables() -> Vec<String> {
    [statements(FACTS), statements(RECORDS)].concat()
}

/// The statements that make or renew the views.
pub(super) fn create_views() -> Vec<String> {
    statements(VIEWS)
}

/// The statement that notes the schema's version, once.
pub(super) fn mark_version() -> String {
    format!(
        "INSERT INTO schema_version (name, version) SELECT 'advertisex', {SCHEMA_VERSION} \
         WHERE {SCHEMA_VERSION} NOT IN (SELECT version FROM schema_version WHERE name = 'advertisex')"
    )
}

/// The tables that the schema declares.
pub(super) fn tables() -> Vec<TableShape> {
    create_tables().iter().filter_map(|statement| declared(statement)).collect()
}

/// The statements of a file, without the comments. A `;` ends a line only where a statement ends.
fn statements(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    let code = code.join("\n");
    code.split(";\n")
        .map(|part| part.trim().trim_end_matches(';').to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

/// What a `CREATE TABLE` of our own files declares. They have one column a line, and each clause
/// behind the columns on its own line.
fn declared(statement: &str) -> Option<TableShape> {
    let mut lines = statement.lines().map(str::trim);
    let name = lines.next()?.strip_prefix("CREATE TABLE IF NOT EXISTS ")?.to_owned();
    let columns = lines.by_ref().skip(1).take_while(|line| *line != ")").filter_map(column).collect();
    let clauses: Vec<&str> = lines.collect();
    let clause = |label: &str| clauses.iter().find_map(|line| line.strip_prefix(label));
    let plain = |text: &str| text.trim_start_matches('(').trim_end_matches(')').to_owned();
    Some(TableShape {
        name,
        columns,
        engine: clause("ENGINE = ")?.trim_end_matches(';').to_owned(),
        sorting_key: plain(clause("ORDER BY ")?),
        partition_key: clause("PARTITION BY ").unwrap_or_default().to_owned(),
    })
}

/// The name and type of a column's line.
fn column(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.trim_end_matches(',').split_once(' ')?;
    let ends = [rest.find(" CODEC("), rest.find(" DEFAULT ")];
    let end = ends.into_iter().flatten().min().unwrap_or(rest.len());
    Some((name.to_owned(), rest[..end].trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_is_understood() {
        let tables = tables();
        assert_eq!(tables.len(), create_tables().len());
        let minute = tables.iter().find(|table| table.name == "performance_minute").expect("declared");
        assert_eq!(minute.columns[0], ("minute".to_owned(), "DateTime64(0, 'UTC')".to_owned()));
        assert_eq!(minute.columns.len(), 13);
        assert_eq!(minute.engine, "ReplacingMergeTree(version, is_deleted)");
        assert_eq!(minute.sorting_key, "campaign_id, minute");
        assert_eq!(minute.partition_key, "toYYYYMM(minute)");
    }

    #[test]
    fn versions_of_a_row_meet_in_one_partition() {
        for table in tables() {
            let in_key = |column: &str| table.sorting_key.split(", ").any(|key| key == column);
            let words = table.partition_key.split(|c: char| !c.is_alphanumeric() && c != '_');
            let used = table.columns.iter().filter(|(name, _)| words.clone().any(|word| word == name));
            used.for_each(|(name, _)| assert!(in_key(name), "{}: {name}", table.name));
        }
    }

    #[test]
    fn the_script_holds_every_statement() {
        let script = schema_text("ads");
        for statement in [create_tables(), create_views(), vec![mark_version()]].concat() {
            assert!(script.contains(&statement), "{statement}");
        }
        assert!(script.contains("CREATE DATABASE IF NOT EXISTS ads;") && script.contains("USE ads;"));
    }
}
