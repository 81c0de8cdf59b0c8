//! A row as a sequence of cells, so that each table is written down once and every format reads it.

use dataflows::model::ids::Name;
use xxhash_rust::xxh3::xxh3_128;

/// The highest bit of each of eight bytes.
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

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

/// The text of a cell.
#[derive(Copy, Clone, Debug)]
pub struct Text<'a> {
    /// Its bytes, UTF-8.
    pub bytes: &'a [u8],
    /// Whether it stands in CSV as it is, without quotes.
    pub plain: bool,
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl<'a> Text<'a> {
    /// A text that may need quotes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, plain: !bytes.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) }
    }

    /// A word of our own, which needs none.
    pub fn word(word: &'a str) -> Self {
        Self { bytes: word.as_bytes(), plain: true }
    }
}

/// A text of up to seven bytes, which is copied as one number: a name that holds its own text.
#[derive(Copy, Clone, Debug)]
pub struct Short(Name);

impl Short {
    /// The text of a name, if it is short.
    #[inline]
    pub fn of_name(name: Name) -> Option<Self> {
        name.is_inline().then_some(Self(name))
    }

    /// The length of the text.
    fn len(self) -> usize {
        (self.0.raw() & 7) as usize
    }

    /// Appends the text.
    #[inline]
    pub fn append_to(self, out: &mut Vec<u8>) {
        self.append(self.0.raw(), self.len(), out);
    }

    /// Appends the text as a cell of CSV and a comma behind it, if it needs no quotes.
    #[inline]
    pub fn append_cell_to(self, out: &mut Vec<u8>) -> bool {
        let (packed, len) = (self.0.raw(), self.len());
        // In place of what is behind the text, bytes that need none.
        let text = packed | (!HIGH_BITS >> (8 * len));
        // What needs quotes is less than a hyphen. Less that, such a byte gets its highest bit, and so does
        // one that has it: who is in doubt looks closer.
        let doubtful = (text.wrapping_sub(u64::from_ne_bytes([b'-'; 8])) | text) & HIGH_BITS != 0;
        if doubtful && !self.text(|text| text.plain) {
            return false;
        }
        let comma = u64::from(b',') << (56 - 8 * len);
        self.append(packed & !0xff | comma, len + 1, out);
        true
    }

    fn append(self, bytes: u64, len: usize, out: &mut Vec<u8>) {
        let end = out.len() + len;
        out.extend_from_slice(&bytes.to_be_bytes());
        out.truncate(end);
    }

    /// Reads the text.
    pub fn text<T>(self, read: impl FnOnce(Text<'_>) -> T) -> T {
        read(Text::new(&self.0.raw().to_be_bytes()[..self.len()]))
    }
}

/// Receives the cells of rows, column by column.
pub trait CellSink {
    /// The next cell is an integer.
    fn int(&mut self, value: i64);
    /// The next cell is text.
    fn text(&mut self, text: Text<'_>);

    /// The next cell is a short text.
    fn short(&mut self, text: Short) {
        text.text(|text| self.text(text));
    }

    /// The next cells are integers.
    fn ints<const N: usize>(&mut self, values: [i64; N]) {
        values.into_iter().for_each(|value| self.int(value));
    }

    /// The next cell is the window, which a row mostly shares with the row before it.
    fn window(&mut self, start_millis: i64) {
        self.int(start_millis);
    }
}

/// Hands each cell to two.
pub struct Both<'a, A, B>(pub &'a mut A, pub &'a mut B);

impl<A: CellSink, B: CellSink> CellSink for Both<'_, A, B> {
    fn int(&mut self, value: i64) {
        self.0.int(value);
        self.1.int(value);
    }

    fn text(&mut self, text: Text<'_>) {
        self.0.text(text);
        self.1.text(text);
    }

    fn short(&mut self, text: Short) {
        self.0.short(text);
        self.1.short(text);
    }

    fn ints<const N: usize>(&mut self, values: [i64; N]) {
        self.0.ints(values);
        self.1.ints(values);
    }

    fn window(&mut self, start_millis: i64) {
        self.0.window(start_millis);
        self.1.window(start_millis);
    }
}

/// An order-independent digest of a table: the sum of the 128-bit hashes (XXH3) of its rows as
/// lines of CSV, without their line ends.
///
/// It depends on names and numbers only, so equal tables have equal digests whatever the run,
/// the format or the number of workers.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Digest {
    sum: u128,
    rows: u64,
}

impl Digest {
    /// Adds one row.
    pub fn add_line(&mut self, line: &[u8]) {
        self.add(Self { sum: xxh3_128(line), rows: 1 });
    }

    /// Adds the rows of another part of the table.
    pub fn add(&mut self, other: Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.rows += other.rows;
    }

    /// A digest of so many rows that was written as text; none if it wasn't.
    pub fn read(hex: &str, rows: u64) -> Option<Self> {
        u128::from_str_radix(hex, 16).ok().map(|sum| Self { sum, rows })
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
