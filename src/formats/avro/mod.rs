//! Avro: object container files, and single records behind a known schema ([`DatumDecoder`]).
//!
//! ```text
//! header ─ sync ─ [count size data] ─ sync ─ [count size data] ─ sync …
//!                 └ a block belongs to the range in which the marker before it starts
//! ```
//!
//! A block that can't be read costs one reject; reading goes on behind the next sync marker.

mod container;
mod datum;
mod plan;

use std::io::Read;
use std::sync::Arc;

use dataflows::model::reject::{Feed, Reason};

use self::container::{Container, Header, Step};
use self::plan::{Cursor, Plan, Sink};
use super::fields::{Fault, Refusal, Rules};
use super::layout::{Field, Layout};
use super::reject::{Origin, Position, Reject, payload};
use super::{Batch, DecodeError};
use crate::names::SharedNames;

pub use datum::{DatumDecoder, WriterSchema};

/// Reads the blocks of a range of one file.
#[derive(Debug)]
pub struct AvroReader {
    feed: Feed,
    file: Arc<str>,
    rules: Rules,
    plan: Plan,
    container: Container,
    block: Block,
}

/// The block being decoded.
#[derive(Debug, Default)]
struct Block {
    data: Vec<u8>,
    at: usize,
    offset: u64,
    record: u64,
    left: u64,
}

/// What is wrong with a file as a whole.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HeaderError(String);

impl AvroReader {
    /// Reads the header of a file and compiles how its records are read. `stream` starts at the
    /// beginning of the file; [`AvroReader::limit`] narrows the reader to a range.
    pub fn new(
        stream: Box<dyn Read + Send>,
        layout: &Layout,
        file: Arc<str>,
        names: SharedNames,
    ) -> Result<Self, HeaderError> {
        let (header, container) = Header::read(stream).map_err(HeaderError)?;
        let plan = Plan::new(&header.schema, layout).map_err(HeaderError)?;
        let rules = Rules::new(layout, names);
        Ok(Self { feed: layout.feed, file, rules, plan, container, block: Block::default() })
    }

    /// Narrows the reader to the blocks whose marker starts in `start..end`. `stream` starts at
    /// `start`.
    pub fn limit(&mut self, stream: Box<dyn Read + Send>, start: u64, end: u64) {
        self.container.limit(stream, start, end);
    }

    /// Ends the range of a reader that stays at the beginning of its file.
    pub fn end_at(&mut self, end: u64) {
        self.container.end_at(end);
    }

    /// Where the first marker of the file starts.
    pub fn first_marker(&self) -> u64 {
        self.container.first_marker()
    }

    /// How far the file has been read.
    pub fn offset(&self) -> u64 {
        self.container.offset()
    }

    /// Decodes until the batch holds `len_max` events and rejects, or a little more; false at the end.
    pub fn read(&mut self, batch: &mut Batch, len_max: usize) -> Result<bool, DecodeError> {
        while batch.len() < len_max {
            if self.block.left > 0 {
                self.records(batch, len_max)?;
                continue;
            }
            match self.container.next(&mut self.block.data) {
                Step::Block { offset, count } => {
                    let data = std::mem::take(&mut self.block.data);
                    self.block = Block { data, at: 0, offset, record: 0, left: count };
                    if count == 0 && !self.block.data.is_empty() {
                        self.damaged(batch, "a block without records holds data");
                    }
                }
                Step::Damaged { offset, what } => {
                    self.block = Block { offset, ..Block::default() };
                    self.damaged(batch, &what);
                }
                Step::End => return Ok(false),
            }
        }
        Ok(true)
    }

    fn damaged(&mut self, batch: &mut Batch, what: &str) {
        let position = Position::Block { offset: self.block.offset, record: self.block.record };
        let mut reject = Reject::of_file(self.feed, &self.file, position, what);
        let rest = self.block.data.get(self.block.at..).unwrap_or_default();
        reject.payload = payload(rest);
        batch.rejects.push(reject);
        self.block.left = 0;
    }

    fn records(&mut self, batch: &mut Batch, len_max: usize) -> Result<(), DecodeError> {
        let block = &mut self.block;
        let mut sink = Sink::default();
        let mut cursor = Cursor::new(&block.data, block.at);
        let mut damage = None;
        while block.left > 0 && batch.len() < len_max {
            sink.clear();
            if let Err(what) = self.plan.read(&mut cursor, &mut sink) {
                damage = Some(what);
                break;
            }
            let record = &block.data[block.at..cursor.at()];
            let position = Position::Block { offset: block.offset, record: block.record };
            let mark = batch.mark();
            accept(self.feed, &self.rules, &sink, record, (&self.file, position), batch)?;
            batch.judge(mark, self.feed, record, || Origin { file: Arc::clone(&self.file), position });
            block.at = cursor.at();
            block.record += 1;
            block.left -= 1;
        }
        drop(sink);
        let over = block.left == 0 && block.at < block.data.len();
        if let Some(what) = damage {
            self.damaged(batch, what);
        } else if over {
            self.damaged(batch, "the block holds more than its records");
        }
        Ok(())
    }
}

/// The event of a record that was read into `sink`, or its reject.
fn accept(
    feed: Feed,
    rules: &Rules,
    sink: &Sink<'_>,
    record: &[u8],
    (file, position): (&Arc<str>, Position),
    batch: &mut Batch,
) -> Result<(), DecodeError> {
    let decoded = match feed {
        Feed::BidRequests if sink.slots.get(Field::Bids).is_missing() => {
            Err(Fault::new(Reason::MissingField, "bids is required, but absent").into())
        }
        Feed::BidRequests => rules.bids(&sink.slots, &sink.bids, batch),
        feed => rules.record(feed, &sink.slots, batch),
    };
    match decoded {
        Ok(()) => Ok(()),
        Err(Refusal::Fatal(error)) => Err(error),
        Err(Refusal::Fault(Fault { reason, hint })) => {
            let origin = Origin { file: file.clone(), position };
            let ts = rules.time_if_any(&sink.slots);
            batch.rejects.push(Reject { feed, reason, origin, ts, payload: payload(record), hint });
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
