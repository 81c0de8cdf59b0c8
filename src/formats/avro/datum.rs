//! Single records without a container, as messages carry them. What they were written with is
//! known from elsewhere: configuration, or a schema registry.

use std::sync::Arc;

use apache_avro::Schema;
use dataflows::model::reject::Feed;

use super::plan::{Cursor, Plan, Sink};
use super::{HeaderError, accept};
use crate::formats::fields::Rules;
use crate::formats::layout::Layout;
use crate::formats::reject::{Origin, Position, Reject};
use crate::formats::{Batch, DecodeError};
use crate::names::SharedNames;

/// The schema that records were written with, resolved against what a layout reads: fields are
/// found by name, so a field that was added is passed over and one that is missing is missing.
#[derive(Debug)]
pub struct WriterSchema(Plan);

impl WriterSchema {
    /// Compiles a schema, given as its JSON text.
    ///
    /// # Errors
    /// When the text is no Avro schema of a record.
    pub fn compile(text: &str, layout: &Layout) -> Result<Self, HeaderError> {
        let schema = Schema::parse_str(text).map_err(|error| HeaderError(error.to_string()))?;
        Plan::new(&schema, layout).map(Self).map_err(HeaderError)
    }
}

/// Decodes single records of one feed, whatever schemas they were written with.
#[derive(Debug)]
pub struct DatumDecoder {
    feed: Feed,
    rules: Rules,
}

impl DatumDecoder {
    /// A decoder for a layout.
    pub fn new(layout: &Layout, names: SharedNames) -> Self {
        Self { feed: layout.feed, rules: Rules::new(layout, names) }
    }

    /// Decodes the one record that `data` holds: its event (or the bids of one request), or one
    /// reject.
    ///
    /// # Errors
    /// Only when two names share a key.
    pub fn datum(
        &self,
        schema: &WriterSchema,
        data: &[u8],
        file: &Arc<str>,
        position: Position,
        batch: &mut Batch,
    ) -> Result<(), DecodeError> {
        let (mut cursor, mut sink) = (Cursor::new(data, 0), Sink::default());
        let read = schema.0.read(&mut cursor, &mut sink);
        let behind = || "the message holds more than its record";
        if let Err(what) = read.and_then(|()| (cursor.at() == data.len()).then_some(()).ok_or_else(behind)) {
            let origin = Origin { file: file.clone(), position };
            batch.rejects.push(Reject::malformed(self.feed, origin, data, what));
            return Ok(());
        }
        accept(self.feed, &self.rules, &sink, data, (file, position), batch)
    }
}
