//! The columns of each table, for who reads tables as text.

use super::{
    AttributionHour, ConversionPath, PerformanceHour, PerformanceMinute, QualityMinute, ReachDay, SupplyHour,
    TableRow,
};
use crate::sinks::cells::Column;

/// A table's columns.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its name.
    pub table: &'static str,
    /// All columns, those of the key first.
    pub columns: Vec<Column>,
    /// How many columns are the key.
    pub keys: usize,
}

impl Shape {
    fn of<R: TableRow>(keys: usize) -> Self {
        Self { table: R::TABLE, columns: R::columns(), keys }
    }

    /// Every table.
    pub fn all() -> Vec<Self> {
        vec![
            Self::of::<PerformanceMinute>(2),
            Self::of::<PerformanceHour>(6),
            Self::of::<AttributionHour>(3),
            Self::of::<ReachDay>(2),
            Self::of::<SupplyHour>(4),
            Self::of::<QualityMinute>(2),
            Self::of::<ConversionPath>(2),
        ]
    }
}
