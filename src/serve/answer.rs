//! Groups as rows of cells, in the order and the part that were asked for.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::groups::{Group, GroupKey, Groups};
use super::labels::Labels;
use super::query::{Page, Query, QueryError};
use super::shape::{Kind, Step, TableId};

/// What a column of an answer holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum CellKind {
    /// Milliseconds since 1970.
    Time,
    /// Text.
    Text,
    /// A whole number, or nothing.
    Int,
    /// A quotient, or nothing.
    Float,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing to say.
    None,
    /// A whole number or a moment.
    Int(i64),
    /// A quotient.
    Float(f64),
    /// Text.
    Text(String),
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::None => serializer.serialize_none(),
            Cell::Int(number) => serializer.serialize_i64(*number),
            Cell::Float(number) => serializer.serialize_f64(*number),
            Cell::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl Cell {
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Cell::Int(one), Cell::Int(other)) => one.cmp(other),
            (Cell::Float(one), Cell::Float(other)) => one.total_cmp(other),
            (Cell::Text(one), Cell::Text(other)) => one.cmp(other),
            // Nothing stands before something, so that it comes last where the greatest comes first.
            (Cell::None, Cell::None) => Ordering::Equal,
            (Cell::None, _) => Ordering::Less,
            _ => Ordering::Greater,
        }
    }
}

/// The columns of a query's rows, in order.
pub fn columns(query: &Query) -> Vec<(&'static str, CellKind)> {
    let shape = query.table.shape();
    let time = (query.step != Step::All).then_some(("time", CellKind::Time));
    time.into_iter()
        .chain(query.columns().map(|(_, name, _)| (name, CellKind::Text)))
        .chain(shape.measures.iter().map(|name| (*name, CellKind::Int)))
        .chain(shape.ratios.iter().map(|ratio| (ratio.name, CellKind::Float)))
        .collect()
}

/// A row as JSON: column and cell.
pub struct Row<'a>(pub &'a [(&'static str, CellKind)], pub &'a [Cell]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.1.len()))?;
        for ((name, _), cell) in self.0.iter().zip(self.1) {
            map.serialize_entry(name, cell)?;
        }
        map.end()
    }
}

/// Texts of values, each looked up once.
pub struct Texts<'a> {
    labels: &'a Labels,
    known: HashMap<(usize, u64), String>,
}

impl<'a> Texts<'a> {
    /// Texts of a run's values.
    pub fn new(labels: &'a Labels) -> Self {
        Self { labels, known: HashMap::new() }
    }

    fn of(&mut self, column: usize, kind: Kind, value: u64) -> String {
        let labels = self.labels;
        self.known.entry((column, value)).or_insert_with(|| labels.text(kind, value)).clone()
    }

    /// The cells of a group's key.
    pub fn key(&mut self, query: &Query, (start, key): &GroupKey) -> Vec<Cell> {
        let time = (query.step != Step::All).then_some(Cell::Int(*start));
        let names = query.columns().map(|(at, _, kind)| Cell::Text(self.of(at, kind, key[at])));
        time.into_iter().chain(names).collect()
    }

    /// The cells of a group.
    pub fn row(&mut self, query: &Query, key: &GroupKey, group: &Group) -> Vec<Cell> {
        let mut cells = self.key(query, key);
        cells.extend(numbers(query, group));
        cells
    }
}

/// The measures and ratios of a group.
pub fn numbers(query: &Query, group: &Group) -> impl Iterator<Item = Cell> {
    let shape = query.table.shape();
    let measures = group.measures(query);
    let ratios: Vec<_> = shape.ratios.iter().map(|ratio| ratio.of(&measures)).collect();
    let ints = measures.into_iter().map(|number| number.map_or(Cell::None, Cell::Int));
    ints.chain(ratios.into_iter().map(|number| number.map_or(Cell::None, Cell::Float)))
}

/// All rows together, as JSON shows them.
pub fn sums(query: &Query, total: &Group) -> serde_json::Map<String, serde_json::Value> {
    let columns = columns(query);
    let first = columns.len() - query.table.shape().measures.len() - query.table.shape().ratios.len();
    let numbers = numbers(query, total).map(|cell| serde_json::to_value(cell).unwrap_or_default());
    columns[first..].iter().map(|(name, _)| (*name).to_owned()).zip(numbers).collect()
}

/// The rows of a query.
pub struct Rows {
    /// Their columns.
    pub columns: Vec<(&'static str, CellKind)>,
    /// Their cells.
    pub cells: Vec<Vec<Cell>>,
}

/// Whether a table's rows have a column, as they are.
fn has(table: TableId, name: &str) -> bool {
    columns(&Query::everything(table)).iter().any(|(column, _)| *column == name)
}

/// Those groups, in the order and the part that were asked for.
///
/// # Errors
/// It is to be sorted by a column that there isn't.
pub fn rows(groups: &Groups, page: &Page, limit: usize, labels: &Labels) -> Result<Rows, QueryError> {
    let query = groups.query();
    let columns = columns(query);
    let mut order = Vec::with_capacity(page.sort.len());
    for (name, descends) in &page.sort {
        match columns.iter().position(|(column, _)| column == name) {
            Some(at) => order.push((at, *descends)),
            // All rows are alike in what this answer sums over.
            None if has(query.table, name) => {}
            None => {
                let names: Vec<_> = columns.iter().map(|(column, _)| *column).collect();
                let message = format!("there is no column {name:?} to sort by, but {}", names.join(", "));
                return Err(QueryError { parameter: "sort".to_owned(), message });
            }
        }
    }
    let mut texts = Texts::new(labels);
    // Cells are made of what is compared, and of the rows of this part.
    let mut all: Vec<_> = groups
        .iter()
        .map(|(key, group)| {
            let row = if order.is_empty() { Vec::new() } else { texts.row(query, key, group) };
            let compared: Vec<_> = order.iter().map(|(at, _)| row[*at].clone()).collect();
            (compared, key, group)
        })
        .collect();
    all.sort_by(|(one, one_key, _), (other, other_key, _)| {
        let by_columns = order.iter().zip(one.iter().zip(other)).fold(
            Ordering::Equal,
            |so_far, ((_, descends), (one, other))| {
                so_far.then_with(|| if *descends { other.order(one) } else { one.order(other) })
            },
        );
        // Ties are told apart by the key, so that pages neither overlap nor leave gaps.
        by_columns.then_with(|| one_key.cmp(other_key))
    });
    let part = all.into_iter().skip(page.offset).take(page.limit.unwrap_or(limit));
    let cells = part.map(|(_, key, group)| texts.row(query, key, group)).collect();
    Ok(Rows { columns, cells })
}
