//! Rows of published tables as upserts, so that a replay writes what a live run does.

use dataflows::model::lookups::Model;

use super::tables::{self, Table};
use super::upserts::Upsert;
use crate::sinks::tables as rows;
use crate::sinks::tables::TableRow;

/// An upsert of a table.
pub type UpsertOf<T> = Upsert<<T as Table>::Key, <T as Table>::Value>;

/// A published row that has a table in ClickHouse.
pub trait Published: TableRow {
    /// The table.
    type Table: Table;

    /// The upsert that writes this row. Where one upsert writes several rows, the first of them
    /// gives it, and the others give none.
    fn upsert(self) -> Option<UpsertOf<Self::Table>>;
}

/// Rows that are a key and its sum.
macro_rules! sums {
    ($($table:ident),+) => {
        $(impl Published for rows::$table {
            type Table = tables::$table;

            fn upsert(self) -> Option<UpsertOf<Self::Table>> {
                let (key, sum) = self;
                Some((key, Some(sum)))
            }
        })+
    };
}

sums!(PerformanceMinute, PerformanceHour, AttributionHour, ReachDay, SupplyHour);

impl Published for rows::QualityMinute {
    type Table = tables::QualityMinute;

    fn upsert(self) -> Option<UpsertOf<Self::Table>> {
        Some(((self.minute, self.feed), Some(self.counts)))
    }
}

impl Published for rows::ConversionPath {
    type Table = tables::ConversionPaths;

    fn upsert(self) -> Option<UpsertOf<Self::Table>> {
        (self.model == Model::ALL[0]).then_some((self.conversion, Some(self.steps)))
    }
}
