//! A row as a sequence of cells, so that each table is written down once and every format (and
//! the digest) reads it.

use dataflows::model::ids::{Id, Name};
use xxhash_rust::xxh3::xxh3_128;

use crate::names::Names;

/// What a column holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum ColumnKind {
    /// A 64-bit integer.
    Int,
    /// Text.
    Text,
}

/// A column of a published table.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
}

/// Receives the cells of rows, column by column.
pub trait CellSink {
    /// The next cell is an integer.
    fn int(&mut self, value: i64);
    /// The next cell is text.
    fn text(&mut self, value: &str);
}

/// A row of a published table.
pub trait Row {
    /// The cells, in the order of the table's columns.
    fn cells(&self, names: &Names, sink: &mut impl CellSink);
}

/// Gives a name's text to a sink.
pub fn name(names: &Names, key: Name, sink: &mut impl CellSink) {
    names.with_name(key, |text| sink.text(text));
}

/// Gives an id's text to a sink.
pub fn id(names: &Names, key: Id, sink: &mut impl CellSink) {
    names.with_id(key, |text| sink.text(text));
}

/// An order-independent digest of a table: the sum of its rows' 128-bit hashes.
///
/// It depends on names and numbers only, so equal tables have equal digests whatever the run,
/// the format or the number of workers.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    sum: u128,
    rows: u64,
    scratch: Vec<u8>,
}

impl Digest {
    /// Adds one row.
    pub fn add(&mut self, row: &impl Row, names: &Names) {
        self.scratch.clear();
        row.cells(names, &mut Scratch(&mut self.scratch));
        self.sum = self.sum.wrapping_add(xxh3_128(&self.scratch));
        self.rows += 1;
    }

    /// Rows added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest, as 32 hexadecimal digits.
    pub fn hex(&self) -> String {
        format!("{:032x}", self.sum)
    }
}

/// Bytes that no other row has: lengths stand before texts.
struct Scratch<'a>(&'a mut Vec<u8>);

impl CellSink for Scratch<'_> {
    fn int(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, value: &str) {
        self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
    }
}
