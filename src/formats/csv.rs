//! Delimited text. Every record is one line, so a stray quote can spoil only its own line; the
//! price is that a quoted field can't hold a line break.

use std::borrow::Cow;

use super::layout::{CsvShape, Field, Format, Layout};
use super::slots::{Slot, Slots};

/// A header that lacks what the source needs.
#[derive(Debug, thiserror::Error)]
#[error("column {missing:?} is not in the header; the columns are: {found}")]
pub struct HeaderError {
    missing: String,
    found: String,
}

/// Reads the mapped columns of delimited lines.
#[derive(Debug)]
pub struct CsvDecoder {
    shape: CsvShape,
    mapping: Vec<(Field, String)>,
    /// For each column the set of fields it serves.
    columns: Vec<u32>,
    reader: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl CsvDecoder {
    /// A decoder for the columns of a layout; a header, if there is one, is given later.
    pub fn new(layout: &Layout) -> Self {
        let shape = match &layout.format {
            Format::Csv(shape) => shape.clone(),
            _ => CsvShape { delimiter: b',', quote: Some(b'"'), header: true, columns: Vec::new() },
        };
        let reader = csv_core::ReaderBuilder::new()
            .delimiter(shape.delimiter)
            .quote(shape.quote.unwrap_or(b'"'))
            .quoting(shape.quote.is_some())
            .terminator(csv_core::Terminator::Any(b'\n'))
            .build();
        let mut decoder = Self {
            mapping: layout.fields.clone(),
            columns: Vec::new(),
            reader,
            text: Vec::new(),
            ends: vec![0; 64],
            shape,
        };
        decoder.columns = decoder.columns_of(&decoder.shape.columns);
        decoder
    }

    /// Whether a header is still to be given.
    pub fn wants_header(&self) -> bool {
        self.shape.header && self.columns.is_empty()
    }

    /// Finds the columns by the names in the header.
    pub fn header(&mut self, line: &str, required: &[Field]) -> Result<(), HeaderError> {
        let mut names = Vec::new();
        let parsed = self.split(line, |_, name| names.push(name.to_owned()));
        if parsed.is_err() {
            names.clear();
        }
        let columns = self.columns_of(&names);
        for &field in required {
            if columns.iter().all(|fields| fields & field.bit() == 0) {
                let source = self.mapping.iter().find(|(mapped, _)| *mapped == field);
                let missing = source.map_or(field.as_str(), |(_, name)| name).to_owned();
                return Err(HeaderError { missing, found: names.join(", ") });
            }
        }
        self.columns = columns;
        Ok(())
    }

    fn columns_of(&self, names: &[String]) -> Vec<u32> {
        let fields_of = |name: &String| {
            self.mapping
                .iter()
                .filter(|(_, source)| source == name)
                .fold(0, |set, (field, _)| set | field.bit())
        };
        names.iter().map(fields_of).collect()
    }

    /// Fills the slots from one line; the error says what is wrong with the line.
    pub fn slots<'a>(&'a mut self, line: &'a str, slots: &mut Slots<'a>) -> Result<(), String> {
        let columns = std::mem::take(&mut self.columns);
        let wanted = columns.len();
        let count = if self.needs_quotes(line) {
            self.unquote(line)
        } else {
            let mut count = 0;
            for value in cells(line, self.shape.delimiter) {
                set(slots, columns.get(count), Cow::Borrowed(value));
                count += 1;
            }
            Ok(count)
        };
        if let Ok(count) = count
            && self.needs_quotes(line)
        {
            let mut start = 0;
            for (column, &end) in self.ends[..count].iter().enumerate() {
                let value = String::from_utf8_lossy(&self.text[start..end]);
                set(slots, columns.get(column), Cow::Owned(value.into_owned()));
                start = end;
            }
        }
        self.columns = columns;
        match count? {
            count if count == wanted => Ok(()),
            count => Err(format!("{wanted} columns are expected, {count} were found")),
        }
    }

    fn needs_quotes(&self, line: &str) -> bool {
        self.shape.quote.is_some_and(|quote| memchr::memchr(quote, line.as_bytes()).is_some())
    }

    /// Splits a line that may hold quotes, giving each value to `each`.
    fn split(&mut self, line: &str, mut each: impl FnMut(usize, &str)) -> Result<(), String> {
        let count = self.unquote(line)?;
        let mut start = 0;
        for (column, &end) in self.ends[..count].iter().enumerate() {
            each(column, &String::from_utf8_lossy(&self.text[start..end]));
            start = end;
        }
        Ok(())
    }

    /// Splits a line into `text` and `ends`, taking quotes off; returns the number of columns.
    fn unquote(&mut self, line: &str) -> Result<usize, String> {
        use csv_core::ReadRecordResult::{InputEmpty, OutputEndsFull, OutputFull, Record};
        self.reader.reset();
        // Unquoting never makes a line longer.
        self.text.resize(self.text.len().max(line.len() + 1), 0);
        let (mut read, mut written, mut columns) = (0, 0, 0);
        loop {
            let rest = &line.as_bytes()[read..];
            // The line break stands alone, to tell whether the parser was still inside quotes.
            let input = if rest.is_empty() { b"\n".as_slice() } else { rest };
            let (result, used, out, ends) =
                self.reader.read_record(input, &mut self.text[written..], &mut self.ends[columns..]);
            (written, columns) = (written + out, columns + ends);
            match result {
                Record => return Ok(columns),
                InputEmpty if rest.is_empty() => return Err("a quote is opened but not closed".to_owned()),
                InputEmpty => {}
                OutputFull => self.text.resize(self.text.len() * 2 + 16, 0),
                OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                csv_core::ReadRecordResult::End => return Ok(columns),
            }
            read = (read + used).min(line.len());
        }
    }
}

/// The values of a line without quotes.
fn cells(line: &str, delimiter: u8) -> impl Iterator<Item = &str> {
    let mut from = Some(0);
    let mut stops = memchr::memchr_iter(delimiter, line.as_bytes());
    std::iter::from_fn(move || {
        let start = from?;
        let end = stops.next();
        from = end.map(|end| end + 1);
        // An ASCII delimiter never stands inside another character.
        line.get(start..end.unwrap_or(line.len()))
    })
}

fn set<'a>(slots: &mut Slots<'a>, fields: Option<&u32>, value: Cow<'a, str>) {
    let Some(&fields @ 1..) = fields else { return };
    // Text has no booleans of its own.
    let slot = match &*value {
        "" => Slot::Missing,
        "true" | "1" if fields == Field::Viewable.bit() => Slot::Bool(true),
        "false" | "0" if fields == Field::Viewable.bit() => Slot::Bool(false),
        _ => Slot::Text(value),
    };
    slots.set_all(fields, slot);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::layout::Kinds;
    use crate::formats::timestamp::{TimeFormat, Unit};

    fn decoder(quote: Option<u8>) -> CsvDecoder {
        CsvDecoder::new(&Layout {
            feed: dataflows::model::reject::Feed::Events,
            format: Format::Csv(CsvShape { delimiter: b',', quote, header: true, columns: Vec::new() }),
            fields: vec![
                (Field::EventId, "id".into()),
                (Field::Value, "v".into()),
                (Field::ImpressionId, "id".into()),
            ],
            time: TimeFormat::Epoch(Unit::Millis),
            money_scale: 6,
            kinds: Kinds::AllClicks,
        })
    }

    #[test]
    fn columns_are_found_by_name_and_quotes_are_taken_off() {
        let mut csv = decoder(Some(b'"'));
        csv.header("x,\"v\",id", &[Field::EventId]).expect("complete");
        let mut slots = Slots::default();
        csv.slots(r#"1,"a,""b""",z"#, &mut slots).expect("valid");
        assert_eq!(slots.get(Field::Value).as_text(), "a,\"b\"");
        assert_eq!(
            (slots.get(Field::EventId).as_text(), slots.get(Field::ImpressionId).as_text()),
            ("z", "z")
        );
        for line in ["1,2", "1,2,3,4", "1,\"2,3", "\"", ""] {
            assert!(csv.slots(line, &mut Slots::default()).is_err(), "{line}");
        }
        let mut slots = Slots::default();
        csv.slots("1,2,3", &mut slots).expect("the next line is sound");
        assert_eq!(slots.get(Field::EventId).as_text(), "3");
    }

    #[test]
    fn without_quoting_a_quote_is_an_ordinary_character() {
        let mut csv = decoder(None);
        csv.header("id,v", &[Field::EventId]).expect("complete");
        let mut slots = Slots::default();
        csv.slots("\"a,b", &mut slots).expect("valid");
        assert_eq!(slots.get(Field::EventId).as_text(), "\"a");
    }

    #[test]
    fn a_missing_column_is_named_with_those_found() {
        let error = decoder(Some(b'"')).header("a,b", &[Field::EventId]).expect_err("incomplete");
        assert_eq!(error.to_string(), "column \"id\" is not in the header; the columns are: a, b");
    }
}
