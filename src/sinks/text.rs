//! Tables as CSV.

use std::io::{self, Write};

use super::cells::{CellSink, Column, Row};
use crate::names::Names;

const FLUSH_AT: usize = 1 << 18;

/// Writes rows as CSV (RFC 4180, `\n` line ends, quotes only where needed).
pub struct CsvTable<W> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> CsvTable<W> {
    /// Starts a table with its header line.
    pub fn new(out: W, columns: &[Column]) -> Self {
        let mut table = Self { out, buffer: Vec::with_capacity(FLUSH_AT + 4096) };
        for column in columns {
            Line(&mut table.buffer).text(column.name);
        }
        table.end_line();
        table
    }

    fn end_line(&mut self) {
        self.buffer.pop(); // the comma behind the last cell
        self.buffer.push(b'\n');
    }

    /// Adds a row.
    pub fn push(&mut self, row: &impl Row, names: &Names) -> io::Result<()> {
        row.cells(names, &mut Line(&mut self.buffer));
        self.end_line();
        if self.buffer.len() >= FLUSH_AT {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.out.flush()
    }
}

struct Line<'a>(&'a mut Vec<u8>);

impl CellSink for Line<'_> {
    fn int(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.0.extend_from_slice(digits.format(value).as_bytes());
        self.0.push(b',');
    }

    fn text(&mut self, value: &str) {
        if value.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
            self.0.push(b'"');
            for byte in value.bytes() {
                if byte == b'"' {
                    self.0.push(b'"');
                }
                self.0.push(byte);
            }
            self.0.push(b'"');
        } else {
            self.0.extend_from_slice(value.as_bytes());
        }
        self.0.push(b',');
    }
}
