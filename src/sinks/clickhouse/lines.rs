//! The rows of a table in ClickHouse as lines of CSV, as a replay writes them: equal rows are equal
//! lines, so that both have one digest.

use super::client::ClickHouse;
use super::error::ClickHouseError;
use crate::sinks::cells::{Column, ColumnKind};
use crate::sinks::tables::Shape;

impl ClickHouse {
    /// Reads the living rows of a table, in order of the key if that is asked for.
    ///
    /// # Errors
    /// What the server said.
    pub fn lines(
        &self,
        shape: &Shape,
        in_order: bool,
        mut take: impl FnMut(&str),
    ) -> Result<(), ClickHouseError> {
        let sql = select(shape, in_order);
        let rows = async {
            let mut rows = self.database().query(&sql).fetch::<String>()?;
            while let Some(line) = rows.next().await? {
                take(&line);
            }
            Ok(())
        };
        self.call(&format!("read {}", shape.table), rows)
    }
}

fn select(shape: &Shape, in_order: bool) -> String {
    let cells: Vec<_> = shape.columns.iter().map(cell).collect();
    let table = shape.table;
    let mut sql = format!("SELECT arrayStringConcat([{}], ',') FROM {table} FINAL", cells.join(", "));
    if in_order {
        let keys: Vec<_> = shape.columns[..shape.keys].iter().map(|column| column.name).collect();
        sql.push_str(&format!(" ORDER BY {}", keys.join(", ")));
    }
    // The client takes ? for a place to fill.
    sql.replace('?', "??")
}

fn cell(Column { name, kind }: &Column) -> String {
    match (*name, kind) {
        ("minute" | "hour" | "day", ColumnKind::Int) => {
            format!("toString(toUnixTimestamp64Second({name}) * 1000)")
        }
        (_, ColumnKind::Int) => format!("toString({name})"),
        (_, ColumnKind::Text) => format!(
            "if(match(toString({name}), '[,\"\\n\\r]'), \
             concat('\"', replaceAll(toString({name}), '\"', '\"\"'), '\"'), toString({name}))"
        ),
    }
}
