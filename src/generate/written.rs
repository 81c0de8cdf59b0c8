//! What was written, for the report and for those who check what became of it.

use std::collections::BTreeMap;

use dataflows::model::reject::{Feed, Reason};

use super::event::Event;
use super::stream::Distinct;

/// Records by kind.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Bid requests.
    pub bid_requests: u64,
    /// Bids in them.
    pub bids: u64,
    /// Impressions.
    pub impressions: u64,
    /// Clicks.
    pub clicks: u64,
    /// Conversions.
    pub conversions: u64,
}

impl Counts {
    /// Canonical records: all but the requests around the bids.
    pub fn canonical(&self) -> u64 {
        self.bids + self.impressions + self.clicks + self.conversions
    }

    pub(super) fn add(&mut self, event: &Event) {
        match event {
            Event::Auction(auction) => {
                self.bid_requests += 1;
                self.bids += auction.bids.len() as u64;
            }
            Event::Impression(_) => self.impressions += 1,
            Event::Click(_) => self.clicks += 1,
            Event::Conversion(_) => self.conversions += 1,
        }
    }
}

impl From<Distinct> for Counts {
    fn from(distinct: Distinct) -> Self {
        let Distinct { auctions: bid_requests, bids, impressions, clicks, conversions, .. } = distinct;
        Self { bid_requests, bids, impressions, clicks, conversions }
    }
}

/// Bad records, by feed and reason.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Planted(BTreeMap<(Feed, Reason), u64>);

impl Planted {
    pub(super) fn add(&mut self, feed: Feed, reason: Reason) {
        *self.0.entry((feed, reason)).or_insert(0) += 1;
    }

    /// Every feed and reason there is, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Feed, Reason, u64)> + '_ {
        self.0.iter().map(|(&(feed, reason), &count)| (feed, reason, count))
    }

    /// All bad records.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// A file that was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrittenFile {
    /// Its name in the output directory.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// What was written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Good records as they arrive, those that arrive again included.
    pub received: Counts,
    /// Identities among them: what remains after deduplication.
    pub distinct: Counts,
    /// Of the clicks, those whose impression never comes.
    pub orphan_clicks: u64,
    /// Of the clicks, those of planned floods.
    pub flood_clicks: u64,
    /// Bad records; not among those received above.
    pub planted: Planted,
    /// The files, in order of name.
    pub files: Vec<WrittenFile>,
    /// Their total size.
    pub bytes: u64,
    /// The most records that waited in memory at once.
    pub held_max: u64,
}
