//! Lines of a stream, in bounded memory. Carriage returns and a byte order mark are taken off,
//! empty lines are passed over.

use std::io::Read;

use super::reject::PAYLOAD_BYTES_MAX;
use super::window::Window;

/// One line.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Line<'a> {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// The line without its end; of a line over the limit, its first bytes.
    pub bytes: &'a [u8],
    /// Whether it is over the limit and was cut.
    pub cut: bool,
}

/// Reads the lines that *start* in a range of a file.
#[derive(Debug)]
pub struct Lines {
    window: Window,
    end: u64,
    line_bytes_max: usize,
    /// Bytes of the window that the line given out last has used.
    used: usize,
    /// Whether the first bytes belong to a line of the range before.
    inside: bool,
    head: Vec<u8>,
}

impl Lines {
    /// The lines that start in `start..end`. When `start` is not 0, the stream must begin at the
    /// byte before it, which tells whether a line starts there.
    pub fn new(source: Box<dyn Read + Send>, start: u64, end: u64, line_bytes_max: usize) -> Self {
        let window = Window::new(source, start.saturating_sub(1));
        Self { window, end, line_bytes_max, used: 0, inside: start > 0, head: Vec::new() }
    }

    /// How far the stream has been read.
    pub fn offset(&self) -> u64 {
        self.window.offset() + self.used as u64
    }

    /// The next line.
    pub fn next_line(&mut self) -> std::io::Result<Option<Line<'_>>> {
        if std::mem::take(&mut self.inside) {
            self.skip_line()?;
        }
        loop {
            self.window.consume(std::mem::take(&mut self.used));
            let offset = self.window.offset();
            if offset >= self.end {
                return Ok(None);
            }
            let Some((len, used)) = self.find_end()? else {
                self.head = self.window.bytes()[..PAYLOAD_BYTES_MAX.min(self.window.bytes().len())].to_vec();
                self.skip_line()?;
                return Ok(Some(Line { offset, bytes: &self.head, cut: true }));
            };
            if used == 0 {
                return Ok(None);
            }
            self.used = used;
            let skip = if offset == 0 && self.window.bytes().starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let bytes = &self.window.bytes()[skip.min(len)..len];
            if !bytes.is_empty() {
                // Borrowed once more, as the borrow above would otherwise last for the whole loop.
                let bytes = &self.window.bytes()[skip.min(len)..len];
                return Ok(Some(Line { offset, bytes, cut: false }));
            }
        }
    }

    /// The length of the line at the front, without and with its end; `None` if it is too long.
    fn find_end(&mut self) -> std::io::Result<Option<(usize, usize)>> {
        let mut searched = 0;
        loop {
            let bytes = self.window.bytes();
            let found = memchr::memchr(b'\n', &bytes[searched..]).map(|at| searched + at);
            let whole = bytes.len();
            if let Some(at) = found {
                let len = if at > 0 && bytes[at - 1] == b'\r' { at - 1 } else { at };
                return Ok((len <= self.line_bytes_max).then_some((len, at + 1)));
            }
            if whole > self.line_bytes_max.saturating_add(1) {
                return Ok(None);
            }
            searched = whole;
            if !self.window.more()? {
                let bytes = self.window.bytes();
                let len = if bytes.ends_with(b"\r") { whole - 1 } else { whole };
                return Ok((len <= self.line_bytes_max).then_some((len, whole)));
            }
        }
    }

    fn skip_line(&mut self) -> std::io::Result<()> {
        loop {
            let held = self.window.bytes().len();
            if let Some(at) = memchr::memchr(b'\n', self.window.bytes()) {
                self.window.consume(at + 1);
                return Ok(());
            }
            self.window.consume(held);
            if !self.window.more()? {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], start: usize, end: usize, max: usize) -> Vec<(u64, Vec<u8>, bool)> {
        let source = std::io::Cursor::new(text[start.saturating_sub(1)..].to_vec());
        let mut lines = Lines::new(Box::new(source), start as u64, end as u64, max);
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().expect("in memory") {
            all.push((line.offset, line.bytes.to_vec(), line.cut));
        }
        all
    }

    #[test]
    fn every_line_belongs_to_exactly_one_range() {
        let text = b"\xef\xbb\xbfone\r\n\r\ntwo\n\nthree\nfour";
        let whole = read(text, 0, text.len(), 100);
        let words: Vec<_> =
            whole.iter().map(|(_, bytes, _)| std::str::from_utf8(bytes).expect("ascii")).collect();
        assert_eq!(words, ["one", "two", "three", "four"]);
        for middle in 0..=text.len() {
            for second in middle..=text.len() {
                let mut parts = read(text, 0, middle, 100);
                parts.extend(read(text, middle, second, 100));
                parts.extend(read(text, second, text.len(), 100));
                assert_eq!(parts, whole, "cut at {middle} and {second}");
            }
        }
    }

    #[test]
    fn a_line_over_the_limit_is_cut_and_the_next_is_whole() {
        let mut text = vec![b'x'; 1_000_000];
        text.extend(b"\nnext\r\nlast");
        let lines = read(&text, 0, text.len(), 5);
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[0].1.len(), lines[0].2), (PAYLOAD_BYTES_MAX, true));
        assert_eq!(lines[1], (1_000_001, b"next".to_vec(), false));
        assert_eq!(read(b"12345\n123456\n", 0, 13, 5).iter().filter(|line| line.2).count(), 1);
    }
}
