//! The messages of a stage: how they are made, and all feeds at one pace.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

use super::{Message, Stage};

impl Stage {
    /// Puts the messages of all feeds side by side.
    pub fn in_step(&mut self) {
        self.messages = in_step(std::mem::take(&mut self.messages));
    }
}

/// Messages of all feeds side by side, as far as each is in its feed.
fn in_step(messages: Vec<Message>) -> Vec<Message> {
    let mut feeds: BTreeMap<&str, Vec<Message>> = BTreeMap::new();
    messages.into_iter().for_each(|message| feeds.entry(message.topic).or_default().push(message));
    let place = |at: usize, of: usize| at as f64 / of as f64;
    let mut placed: Vec<(f64, Message)> = feeds
        .into_values()
        .flat_map(|feed| {
            let of = feed.len();
            feed.into_iter().enumerate().map(move |(at, message)| (place(at, of), message))
        })
        .collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    placed.into_iter().map(|(_, message)| message).collect()
}

/// The bid requests of a container file as bare data, and the schema they are written with.
pub fn bid_requests(file: &PathBuf) -> (Vec<Message>, String) {
    let bytes = fs::read(file).expect("a feed");
    let reader = apache_avro::Reader::new(&bytes[..]).expect("a container");
    let schema = reader.writer_schema().clone();
    let writer = GenericDatumWriter::builder(&schema).build().expect("a schema");
    let message = |value: Value| {
        let bids = match &value {
            Value::Record(fields) => fields.iter().find_map(|(name, value)| match value {
                Value::Array(bids) if name == "bids" => Some(bids.len() as i64),
                _ => None,
            }),
            _ => None,
        };
        let payload = writer.write_value_to_vec(value).expect("what was read can be written");
        Message { topic: "bid_requests", payload, bids: bids.unwrap_or(0), impressions: 0 }
    };
    (reader.map(|value| message(value.expect("a record"))).collect(), schema.canonical_form())
}
