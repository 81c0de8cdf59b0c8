//! The published tables: their columns, rows and order.

mod facts;
mod paths;
mod quality;
mod shape;

pub use facts::{AttributionHour, PerformanceHour, PerformanceMinute, ReachDay, SupplyHour};
pub use paths::ConversionPath;
pub use quality::QualityMinute;
pub use shape::Shape;

use super::cells::{CellSink, Column, ColumnKind};
use super::texts::Texts;

/// A row that has its place in a table.
pub trait TableRow: Send + 'static {
    /// The table's name.
    const TABLE: &'static str;

    /// The columns, key columns first.
    fn columns() -> Vec<Column>;
    /// The number of the window that the row's key starts with; rows of one window stand together.
    fn window(&self) -> u32;
    /// Rows in the order of the table.
    fn in_order<'a>(rows: Vec<&'a Self>, texts: &Texts) -> Vec<&'a Self>;
    /// The cells, in the order of the columns.
    fn cells(&self, texts: &Texts, sink: &mut impl CellSink);
}

fn columns(texts_and_ints: &[(&'static str, ColumnKind)]) -> Vec<Column> {
    texts_and_ints.iter().map(|&(name, kind)| Column { name, kind }).collect()
}

const INT: ColumnKind = ColumnKind::Int;
const TEXT: ColumnKind = ColumnKind::Text;
