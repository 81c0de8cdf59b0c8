//! A window on a byte stream that grows only as far as it is asked to and the data really go.

use std::io::{ErrorKind, Read};

const CHUNK: usize = 256 * 1024;

/// The bytes of a stream that are in memory.
pub struct Window {
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    ended: bool,
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window").field("offset", &self.offset).field("held", &self.bytes().len()).finish()
    }
}

impl Window {
    /// A window on a stream whose first byte has this offset in its file.
    pub fn new(source: Box<dyn Read + Send>, offset: u64) -> Self {
        Self { source, buffer: Vec::new(), start: 0, end: 0, offset, ended: false }
    }

    /// The bytes held.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Offset in the file of the first byte held.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Drops the first `count` bytes held.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Reads on; false at the end of the stream.
    pub fn more(&mut self) -> std::io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        // Moving costs more the longer the rest is, so it is done only when half is free.
        if self.start > 0 && self.start >= self.buffer.len() / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let grown = (self.buffer.len() * 2).max(CHUNK);
            self.buffer.resize(grown, 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(false);
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Holds at least `count` bytes, unless the stream ends before.
    pub fn fill(&mut self, count: usize) -> std::io::Result<bool> {
        while self.bytes().len() < count {
            if !self.more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
