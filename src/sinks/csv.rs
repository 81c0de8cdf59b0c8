//! Rows as lines of CSV (RFC 4180, `\n` line ends, quotes only where needed).

use super::cells::{CellSink, Column, Digest, Short, Text};

/// The line that names the columns.
pub fn header(columns: &[Column]) -> Vec<u8> {
    let names: Vec<_> = columns.iter().map(|column| column.name).collect();
    format!("{}\n", names.join(",")).into_bytes()
}

/// Bytes of an integer and the comma behind it, at most.
const CELL: usize = "-9223372036854775808,".len();

/// Lines, and the digest of all that were ended.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the present line starts.
    start: usize,
    digest: Digest,
    /// The last window, and how it is written.
    window: (i64, Vec<u8>),
}

impl Lines {
    /// Ends the present line.
    pub fn end_line(&mut self) {
        self.bytes.pop(); // the comma behind the last cell
        self.digest.add_line(&self.bytes[self.start..]);
        self.bytes.push(b'\n');
        self.start = self.bytes.len();
    }

    /// Forgets the lines, for which only the digest was of interest.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    /// The lines, and their digest.
    pub fn finish(self) -> (Vec<u8>, Digest) {
        (self.bytes, self.digest)
    }
}

impl CellSink for Lines {
    fn int(&mut self, value: i64) {
        self.ints([value]);
    }

    fn ints<const N: usize>(&mut self, values: [i64; N]) {
        // Put together apart, so that the line looks for room once.
        let mut cells = [[0; CELL]; N];
        let cells = cells.as_flattened_mut();
        let mut len = 0;
        for value in values {
            match value {
                // Most measures of most rows.
                0..=9 => {
                    cells[len] = b'0' + value as u8;
                    len += 1;
                }
                _ => {
                    let mut digits = itoa::Buffer::new();
                    let digits = digits.format(value).as_bytes();
                    cells[len..len + digits.len()].copy_from_slice(digits);
                    len += digits.len();
                }
            }
            cells[len] = b',';
            len += 1;
        }
        self.bytes.extend_from_slice(&cells[..len]);
    }

    fn text(&mut self, text: Text<'_>) {
        if text.plain {
            self.bytes.extend_from_slice(text.bytes);
        } else {
            self.bytes.push(b'"');
            for byte in text.bytes {
                if *byte == b'"' {
                    self.bytes.push(b'"');
                }
                self.bytes.push(*byte);
            }
            self.bytes.push(b'"');
        }
        self.bytes.push(b',');
    }

    fn short(&mut self, short: Short) {
        if !short.append_cell_to(&mut self.bytes) {
            short.text(|text| self.text(text));
        }
    }

    fn window(&mut self, start_millis: i64) {
        let (last, written) = &mut self.window;
        if *last != start_millis || written.is_empty() {
            (*last, *written) = (start_millis, format!("{start_millis},").into_bytes());
        }
        self.bytes.extend_from_slice(written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::model::ids::Name;

    #[test]
    fn only_what_must_be_is_quoted() {
        let mut lines = Lines::default();
        lines.window(0);
        lines.text(Text::from("a,b"));
        lines.int(-7);
        lines.end_line();
        lines.window(0);
        lines.text(Text::from("say \"hi\""));
        lines.int(1_234);
        lines.end_line();
        lines.window(60_000);
        lines.text(Text::from(""));
        lines.int(9);
        lines.end_line();
        let (bytes, digest) = lines.finish();
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert_eq!(text, "0,\"a,b\",-7\n0,\"say \"\"hi\"\"\",1234\n60000,,9\n");
        let mut expected = Digest::default();
        text.lines().rev().for_each(|line| expected.add_line(line.as_bytes()));
        assert_eq!(digest, expected);
    }

    #[test]
    fn a_short_text_is_written_as_any_other() {
        let cells = [
            ("", ""),
            ("c793", "c793"),
            ("a,b", "\"a,b\""),
            ("\"", "\"\"\"\""),
            ("\n", "\"\n\""),
            ("\r", "\"\r\""),
            ("-.!#", "-.!#"),
            ("\0", "\0"),
            ("ünï", "ünï"),
            ("seven..", "seven.."),
            ("seven,.", "\"seven,.\""),
        ];
        for (word, cell) in cells {
            let (mut short, mut any) = (Lines::default(), Lines::default());
            short.short(Short::of_name(Name::new(word)).expect("it is short"));
            any.text(Text::from(word));
            let expected = format!("{cell},");
            for lines in [short, any] {
                assert_eq!(String::from_utf8_lossy(&lines.finish().0), expected, "{word:?}");
            }
        }
    }
}
