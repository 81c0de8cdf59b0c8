//! A message to an event, a reject, or a change of a lookup table.

use std::collections::HashMap;
use std::sync::Arc;

use dataflows::model::reject::Feed;
use rdkafka::Message;

use super::error::KafkaSourceError;
use super::lookups::{LookupRows, fault};
use super::registry::{Answer, Registry};
use crate::config::{Encoding, FeedTopic, LookupTopic};
use crate::formats::avro::{DatumDecoder, WriterSchema};
use crate::formats::layout::Layout;
use crate::formats::lookup::Entry;
use crate::formats::text::TextDecoder;
use crate::formats::{Batch, Origin, Position, Reject};
use crate::names::SharedNames;

/// Decodes the messages of one topic.
#[derive(Debug)]
pub struct MessageDecoder {
    topic: Arc<str>,
    bytes_max: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Feed(Feed, Format),
    Lookup(LookupRows),
}

#[derive(Debug)]
enum Format {
    Json(TextDecoder),
    Csv(TextDecoder),
    Avro(DatumDecoder, WriterSchema),
    AvroRegistry(Box<Registered>),
}

/// What became of a message.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is in the batch.
    Decoded,
    /// Its schema is not known yet: offer it again.
    Waits,
}

impl MessageDecoder {
    /// A decoder of a feed. `registry` must be there when the encoding needs one.
    pub fn feed(
        feed: &FeedTopic,
        bytes_max: usize,
        names: SharedNames,
        registry: Option<&Arc<Registry>>,
    ) -> Result<Self, KafkaSourceError> {
        let layout = &feed.layout;
        let format = match &feed.encoding {
            Encoding::Json => Format::Json(TextDecoder::new(layout, names)),
            Encoding::Csv => Format::Csv(TextDecoder::new(layout, names)),
            Encoding::Avro(schema) => {
                let schema = WriterSchema::compile(schema, layout)
                    .map_err(|error| KafkaSourceError::Client(error.to_string()))?;
                Format::Avro(DatumDecoder::new(layout, names), schema)
            }
            Encoding::AvroRegistry => {
                let registry = registry.ok_or_else(|| {
                    KafkaSourceError::Client(format!("{} needs a schema registry", feed.topic))
                })?;
                Format::AvroRegistry(Box::new(Registered {
                    decoder: DatumDecoder::new(layout, names),
                    layout: layout.clone(),
                    registry: Arc::clone(registry),
                    schemas: HashMap::new(),
                }))
            }
        };
        Ok(Self { topic: feed.topic.as_str().into(), bytes_max, kind: Kind::Feed(layout.feed, format) })
    }

    /// A decoder of a lookup table.
    pub fn lookup(lookup: &LookupTopic, bytes_max: usize, names: SharedNames) -> Self {
        let kind = Kind::Lookup(LookupRows::new(lookup, names));
        Self { topic: lookup.topic.as_str().into(), bytes_max, kind }
    }

    /// The topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Whether the topic is a lookup table.
    pub fn is_lookup(&self) -> bool {
        matches!(self.kind, Kind::Lookup(_))
    }

    /// Takes a row of a lookup table in that was read before.
    pub fn restore(&mut self, key: &[u8], row: Entry) {
        if let Kind::Lookup(rows) = &mut self.kind {
            rows.restore(key, row);
        }
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// When two names share a key, or the registry refuses its login; never for what a message holds.
    pub fn message(
        &mut self,
        message: &impl Message,
        batch: &mut Batch,
    ) -> Result<Outcome, KafkaSourceError> {
        let (partition, offset) = (message.partition(), message.offset());
        let (position, mark) = (Position::Message { partition, offset }, batch.mark());
        let outcome = self.value(message.key(), message.payload(), position, batch)?;
        if let Kind::Feed(feed, _) = self.kind {
            let origin = || Origin { file: Arc::clone(&self.topic), position };
            batch.judge(mark, feed, message.payload().unwrap_or_default(), origin);
        }
        if outcome == Outcome::Decoded {
            let bytes = message.key().map_or(0, <[u8]>::len) + message.payload().map_or(0, <[u8]>::len);
            batch.bytes += bytes as u64;
        }
        Ok(outcome)
    }

    fn value(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        position: Position,
        batch: &mut Batch,
    ) -> Result<Outcome, KafkaSourceError> {
        let (topic, bytes_max) = (&self.topic, self.bytes_max);
        let too_long = || format!("the message is longer than kafka.max_message_bytes ({bytes_max})");
        let is_too_long = value.is_some_and(|value| value.len() > bytes_max);
        let (feed, format) = match &mut self.kind {
            Kind::Lookup(_) if is_too_long => {
                fault(topic, position, value, &too_long(), batch);
                return Ok(Outcome::Decoded);
            }
            Kind::Lookup(rows) => {
                rows.message(key, value, topic, position, batch)?;
                return Ok(Outcome::Decoded);
            }
            Kind::Feed(feed, format) => (*feed, format),
        };
        let refused = match value {
            None => "the message has no value (a tombstone), which means nothing in a feed".to_owned(),
            Some([]) => "the message is empty".to_owned(),
            Some(_) if is_too_long => too_long(),
            Some(value) => match format.decode(value, topic, position, batch)? {
                Decoded::Yes => return Ok(Outcome::Decoded),
                Decoded::Waits => return Ok(Outcome::Waits),
                Decoded::No(hint) => hint,
            },
        };
        let origin = Origin { file: Arc::clone(topic), position };
        batch.rejects.push(Reject::malformed(feed, origin, value.unwrap_or_default(), refused));
        Ok(Outcome::Decoded)
    }
}

enum Decoded {
    Yes,
    Waits,
    /// It is no message of this format, for this reason.
    No(String),
}

impl Format {
    fn decode(
        &mut self,
        value: &[u8],
        topic: &Arc<str>,
        position: Position,
        batch: &mut Batch,
    ) -> Result<Decoded, KafkaSourceError> {
        match self {
            Format::Json(decoder) => decoder.line(value, topic, position, batch)?,
            Format::Csv(decoder) => {
                let line = value.strip_suffix(b"\n").unwrap_or(value);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if memchr::memchr(b'\n', line).is_some() {
                    return Ok(Decoded::No("the message holds more than one line".to_owned()));
                }
                decoder.line(line, topic, position, batch)?;
            }
            Format::Avro(decoder, schema) => decoder.datum(schema, value, topic, position, batch)?,
            Format::AvroRegistry(registered) => return registered.decode(value, topic, position, batch),
        }
        Ok(Decoded::Yes)
    }
}

/// Messages that name their schema.
#[derive(Debug)]
struct Registered {
    decoder: DatumDecoder,
    layout: Layout,
    registry: Arc<Registry>,
    /// What the registry's schemas mean to this layout, for good: an id never changes its schema.
    schemas: HashMap<u32, Result<WriterSchema, String>>,
}

impl Registered {
    fn decode(
        &mut self,
        value: &[u8],
        topic: &Arc<str>,
        position: Position,
        batch: &mut Batch,
    ) -> Result<Decoded, KafkaSourceError> {
        let [0, a, b, c, d, datum @ ..] = value else {
            let hint = "a zero byte and the four bytes of a schema id are expected in front of the record";
            return Ok(Decoded::No(hint.to_owned()));
        };
        let id = u32::from_be_bytes([*a, *b, *c, *d]);
        if !self.schemas.contains_key(&id) {
            let schema = match self.registry.schema(id)? {
                Answer::Waits => return Ok(Decoded::Waits),
                Answer::Unknown => return Ok(Decoded::No(format!("the registry knows no schema {id}"))),
                Answer::Schema(text) => WriterSchema::compile(&text, &self.layout)
                    .map_err(|error| format!("schema {id} can't be read: {error}")),
                Answer::Unusable(what) => Err(format!("schema {id} can't be used: {what}")),
            };
            self.schemas.insert(id, schema);
        }
        match self.schemas.get(&id) {
            Some(Ok(schema)) => {
                self.decoder.datum(schema, datum, topic, position, batch)?;
                Ok(Decoded::Yes)
            }
            Some(Err(what)) => Ok(Decoded::No(what.clone())),
            None => Ok(Decoded::Waits),
        }
    }
}
