//! The feeds as they arrive: JSON Lines, CSV and an Avro container, with bad records among them.

mod avro;
mod bad;
mod events;
mod impressions;
mod messages;

use std::path::Path;

use dataflows::model::reject::Feed;

use super::error::GenerateError;
use super::event::Event;
use super::output::OutputFile;
use super::plan::Plan;
use super::sink::Sink;
use super::text::Ids;
use super::written::Planted;

pub(super) use messages::MessageSink;
pub use messages::Take;

/// Raw lines are collected up to this many bytes before they are written.
const LINES_BYTES: usize = 1 << 16;

/// A text file, filled line by line.
pub(super) struct Lines {
    file: OutputFile,
    text: String,
}

impl Lines {
    fn create(dir: &Path, name: &'static str) -> Result<Self, GenerateError> {
        Ok(Self { file: OutputFile::create(dir, name)?, text: String::with_capacity(2 * LINES_BYTES) })
    }

    fn end_line(&mut self) -> Result<(), GenerateError> {
        self.text.push('\n');
        if self.text.len() >= LINES_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), GenerateError> {
        self.file.write(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), GenerateError> {
        self.flush()?;
        self.file.finish()
    }
}

/// The three raw files.
pub(super) struct RawSink {
    ids: Ids,
    impressions: Lines,
    events: Lines,
    requests: avro::Container,
}

impl RawSink {
    pub(super) fn create(plan: &Plan, dir: &Path) -> Result<Self, GenerateError> {
        let mut events = Lines::create(dir, "events.csv")?;
        events.text.push_str(events::HEADER);
        events.end_line()?;
        Ok(Self {
            ids: Ids::new(plan),
            impressions: Lines::create(dir, "impressions.jsonl")?,
            events,
            requests: avro::Container::create(dir, "bid_requests.avro", plan.seed)?,
        })
    }
}

impl Sink for RawSink {
    fn event(&mut self, event: &Event) -> Result<(), GenerateError> {
        match event {
            Event::Auction(auction) => self.requests.auction(&self.ids, auction),
            Event::Impression(shown) => {
                impressions::push(&mut self.impressions.text, &self.ids, shown);
                self.impressions.end_line()
            }
            Event::Click(click) => {
                events::push_click(&mut self.events.text, &self.ids, click);
                self.events.end_line()
            }
            Event::Conversion(conversion) => {
                events::push_conversion(&mut self.events.text, &self.ids, conversion);
                self.events.end_line()
            }
        }
    }

    fn bad(&mut self, nth: u32, now: i64, planted: &mut Planted) -> Result<(), GenerateError> {
        let reason = bad::impression(&mut self.impressions.text, nth, now);
        planted.add(Feed::Impressions, reason);
        self.impressions.end_line()?;
        let reason = bad::event(&mut self.events.text, nth, now);
        planted.add(Feed::Events, reason);
        self.events.end_line()?;
        let (request, reason) = bad::request(nth, now);
        planted.add(Feed::BidRequests, reason);
        self.requests.request(&request)
    }

    fn finish(self: Box<Self>) -> Result<(), GenerateError> {
        self.impressions.finish()?;
        self.events.finish()?;
        self.requests.finish()
    }
}
