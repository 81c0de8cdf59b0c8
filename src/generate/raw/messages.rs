//! The feeds as messages: a JSON object, a line of CSV, an Avro datum.

use dataflows::model::reject::Feed;

use super::super::error::GenerateError;
use super::super::event::Event;
use super::super::plan::Plan;
use super::super::sink::Sink;
use super::super::text::Ids;
use super::super::written::Planted;
use super::{avro, bad, events, impressions};

/// Takes a message: its feed, its bytes, and how many records it holds.
pub type Take<'a> = dyn FnMut(Feed, &[u8], u64) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + 'a;

/// Hands over record by record.
pub(in super::super) struct MessageSink<'a> {
    ids: Ids,
    take: &'a mut Take<'a>,
    line: String,
    datum: Vec<u8>,
}

impl<'a> MessageSink<'a> {
    pub(in super::super) fn new(plan: &Plan, take: &'a mut Take<'a>) -> Self {
        Self { ids: Ids::new(plan), take, line: String::new(), datum: Vec::new() }
    }

    fn send_line(&mut self, feed: Feed) -> Result<(), GenerateError> {
        let sent = (self.take)(feed, self.line.as_bytes(), 1).map_err(GenerateError::Refused);
        self.line.clear();
        sent
    }

    fn send_datum(&mut self, records: u64) -> Result<(), GenerateError> {
        let sent = (self.take)(Feed::BidRequests, &self.datum, records).map_err(GenerateError::Refused);
        self.datum.clear();
        sent
    }
}

impl Sink for MessageSink<'_> {
    fn event(&mut self, event: &Event) -> Result<(), GenerateError> {
        let Self { ids, line, datum, .. } = self;
        match event {
            Event::Auction(auction) => {
                avro::push_auction(datum, line, ids, auction);
                line.clear();
                self.send_datum(auction.bids.len() as u64)
            }
            Event::Impression(shown) => {
                impressions::push(line, ids, shown);
                self.send_line(Feed::Impressions)
            }
            Event::Click(click) => {
                events::push_click(line, ids, click);
                self.send_line(Feed::Events)
            }
            Event::Conversion(conversion) => {
                events::push_conversion(line, ids, conversion);
                self.send_line(Feed::Events)
            }
        }
    }

    fn bad(&mut self, nth: u32, now: i64, planted: &mut Planted) -> Result<(), GenerateError> {
        planted.add(Feed::Impressions, bad::impression(&mut self.line, nth, now));
        self.send_line(Feed::Impressions)?;
        planted.add(Feed::Events, bad::event(&mut self.line, nth, now));
        self.send_line(Feed::Events)?;
        let (request, reason) = bad::request(nth, now);
        planted.add(Feed::BidRequests, reason);
        avro::push_request(&mut self.datum, &request);
        // What a rejected request would have held is not known; it counts as one.
        self.send_datum(1)
    }

    fn finish(self: Box<Self>) -> Result<(), GenerateError> {
        Ok(())
    }
}
