//! A line of text to an event or a reject.

use std::sync::Arc;

use dataflows::model::reject::{Feed, Reason};

use super::csv::{CsvDecoder, HeaderError};
use super::fields::{Fault, Refusal, Rules};
use super::json::JsonDecoder;
use super::layout::{Field, Format, Layout, required};
use super::reject::{Origin, Position, Reject, payload};
use super::slots::Slots;
use super::{Batch, DecodeError};
use crate::names::SharedNames;

/// Decodes the lines of one source. A line is a record, whether it comes from a file or a topic.
#[derive(Debug)]
pub struct TextDecoder {
    feed: Feed,
    rules: Rules,
    syntax: Syntax,
    required: &'static [Field],
}

#[derive(Debug)]
enum Syntax {
    Json(JsonDecoder),
    Csv(Box<CsvDecoder>),
}

impl TextDecoder {
    /// A decoder for a layout whose format is JSON or CSV.
    pub fn new(layout: &Layout, names: SharedNames) -> Self {
        let syntax = match layout.format {
            Format::Csv(_) => Syntax::Csv(Box::new(CsvDecoder::new(layout))),
            _ => Syntax::Json(JsonDecoder::new(layout)),
        };
        let required = required(layout.feed, &layout.kinds);
        Self { feed: layout.feed, rules: Rules::new(layout, names), syntax, required }
    }

    /// Whether [`TextDecoder::header`] must be called before the first line.
    pub fn wants_header(&self) -> bool {
        matches!(&self.syntax, Syntax::Csv(csv) if csv.wants_header())
    }

    /// Takes the header of a CSV file.
    pub fn header(&mut self, line: &[u8]) -> Result<(), HeaderError> {
        match &mut self.syntax {
            Syntax::Csv(csv) => csv.header(&String::from_utf8_lossy(line), self.required),
            Syntax::Json(_) => Ok(()),
        }
    }

    /// Decodes one line: one event (or the bids of one request), or one reject.
    pub fn line(
        &mut self,
        line: &[u8],
        file: &Arc<str>,
        position: Position,
        batch: &mut Batch,
    ) -> Result<(), DecodeError> {
        let mut slots = Slots::default();
        let decoded = match std::str::from_utf8(line) {
            Err(_) => Err(Fault::new(Reason::Malformed, "the line is not UTF-8 text").into()),
            Ok(text) => match &mut self.syntax {
                Syntax::Json(json) => json.slots(text, &mut slots).map_err(|error| error.to_string()),
                Syntax::Csv(csv) => csv.slots(text, &mut slots),
            }
            .map_err(|hint| Fault::new(Reason::Malformed, hint).into()),
        };
        let decoded = decoded.and_then(|()| self.rules.record(self.feed, &slots, batch));
        match decoded {
            Ok(()) => Ok(()),
            Err(Refusal::Fatal(error)) => Err(error),
            Err(Refusal::Fault(Fault { reason, hint })) => {
                let ts = self.rules.time_if_any(&slots);
                let origin = Origin { file: file.clone(), position };
                batch.rejects.push(Reject {
                    feed: self.feed,
                    reason,
                    origin,
                    ts,
                    payload: payload(line),
                    hint,
                });
                Ok(())
            }
        }
    }

    /// Rejects a line that was too long to be read.
    pub fn too_long(&self, head: &[u8], max: usize, file: &Arc<str>, position: Position, batch: &mut Batch) {
        batch.rejects.push(Reject {
            feed: self.feed,
            reason: Reason::Malformed,
            origin: Origin { file: file.clone(), position },
            ts: None,
            payload: payload(head),
            hint: format!("the line is longer than max_line_bytes ({max})"),
        });
    }
}
