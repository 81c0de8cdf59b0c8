//! The traffic as structured records, for demonstrations and tests.

use super::event::{Auction, Clicked, Event, Viewable};
use super::plan::Plan;
use super::stream::Stream;
use super::text::{Ids, Kind, push_decimal, push_numbered};
use super::world::{conversion_text, country_text, device_text};

/// One bid of a [`Record::BidRequest`].
#[derive(Clone, Debug, PartialEq)]
pub struct BidOffer {
    /// Who bids.
    pub campaign_id: String,
    /// What would be shown.
    pub creative_id: String,
    /// The price of 1000 impressions; three decimals.
    pub price_cpm: f64,
}

/// One record of a feed, as it arrives.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// An auction and its bids.
    BidRequest {
        /// The auction.
        auction_id: String,
        /// When it was held, in epoch milliseconds.
        ts: i64,
        /// Who would see the ad.
        user_id: String,
        /// Where.
        site: String,
        /// In which country.
        country: String,
        /// On what.
        device: String,
        /// The bids; there may be none.
        bids: Vec<BidOffer>,
    },
    /// An impression.
    Impression {
        /// The impression.
        impression_id: String,
        /// The auction that was won.
        auction_id: String,
        /// When it was served, in epoch milliseconds.
        ts: i64,
        /// Who saw it.
        user_id: String,
        /// Of which campaign.
        campaign_id: String,
        /// What was shown.
        creative_id: String,
        /// Where.
        site: String,
        /// In which country; empty when unknown.
        country: String,
        /// On what.
        device: String,
        /// The price of 1000 such impressions, as decimal text.
        win_price_cpm: String,
        /// Whether it was viewable, if that was measured.
        viewable: Option<bool>,
    },
    /// A click.
    Click {
        /// The click.
        click_id: String,
        /// What was clicked on.
        impression_id: String,
        /// When, in epoch milliseconds.
        ts: i64,
    },
    /// A conversion.
    Conversion {
        /// The conversion.
        conversion_id: String,
        /// When it happened, in epoch milliseconds.
        ts: i64,
        /// Who converted.
        user_id: String,
        /// With which advertiser.
        advertiser_id: String,
        /// What kind of conversion it was.
        conversion_type: String,
        /// What it was worth, as decimal text; empty for nothing.
        value: String,
    },
}

/// The traffic of a plan in order of arrival, redeliveries and conflicts included, bad records not.
///
/// ```
/// use advertisex::generate::{Plan, Record, Traffic};
///
/// let plan = Plan { auctions: 100, ..Plan::DEFAULT };
/// let requests = Traffic::new(&plan).filter(|record| matches!(record, Record::BidRequest { .. }));
/// assert!(requests.count() >= 100);
/// ```
pub struct Traffic {
    stream: Stream,
    ids: Ids,
    arrival: i64,
}

impl Traffic {
    /// The traffic of a plan that [`Plan::check`] accepts.
    pub fn new(plan: &Plan) -> Self {
        Self { stream: Stream::new(plan), ids: Ids::new(plan), arrival: plan.start_millis }
    }

    /// When the last record arrived, in epoch milliseconds of the traffic's own clock.
    pub fn arrival_millis(&self) -> i64 {
        self.arrival
    }

    /// How many auctions have been held so far.
    pub fn auctions_done(&self) -> u64 {
        self.stream.auctions_done()
    }

    fn id(&self, kind: Kind, n: u64) -> String {
        text(|out| self.ids.push(out, kind, n))
    }

    fn record(&self, event: &Event) -> Record {
        match event {
            Event::Auction(auction) => self.bid_request(auction),
            Event::Impression(shown) => Record::Impression {
                impression_id: self.id(Kind::Impression, shown.n),
                auction_id: self.id(Kind::Auction, shown.auction),
                ts: shown.ts,
                user_id: self.id(Kind::User, shown.user.into()),
                campaign_id: numbered("c", shown.campaign),
                creative_id: numbered("cr", shown.creative),
                site: numbered("site", shown.site),
                country: country_text(shown.country).to_owned(),
                device: device_text(shown.device).to_owned(),
                win_price_cpm: text(|out| push_price(out, shown.price)),
                viewable: match shown.viewable {
                    Viewable::Yes => Some(true),
                    Viewable::No => Some(false),
                    Viewable::Unmeasured => None,
                },
            },
            Event::Click(click) => Record::Click {
                click_id: self.id(Kind::Click, click.n),
                impression_id: text(|out| push_clicked(out, &self.ids, click.on)),
                ts: click.ts,
            },
            Event::Conversion(conversion) => Record::Conversion {
                conversion_id: self.id(Kind::Conversion, conversion.n),
                ts: conversion.ts,
                user_id: self.id(Kind::User, conversion.user.into()),
                advertiser_id: numbered("adv", conversion.advertiser),
                conversion_type: conversion_text(conversion.kind).to_owned(),
                value: text(|out| push_value(out, conversion.value)),
            },
        }
    }

    fn bid_request(&self, auction: &Auction) -> Record {
        let offers = auction.bids.iter().map(|bid| BidOffer {
            campaign_id: numbered("c", bid.campaign),
            creative_id: numbered("cr", bid.creative),
            price_cpm: f64::from(bid.price) / 1_000.0,
        });
        Record::BidRequest {
            auction_id: self.id(Kind::Auction, auction.n),
            ts: auction.ts,
            user_id: self.id(Kind::User, auction.user.into()),
            site: numbered("site", auction.site),
            country: country_text(auction.country).to_owned(),
            device: device_text(auction.device).to_owned(),
            bids: offers.collect(),
        }
    }
}

impl Iterator for Traffic {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let (arrival, event) = self.stream.next_event()?;
        self.arrival = arrival;
        Some(self.record(&event))
    }
}

fn text(push: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    push(&mut out);
    out
}

fn numbered(prefix: &str, n: u32) -> String {
    text(|out| push_numbered(out, prefix, n.into()))
}

/// Appends a price in ten-thousandths: three decimals, and a fourth only if it says something.
pub(super) fn push_price(out: &mut String, price: u32) {
    match price % 10 {
        0 => push_decimal(out, u64::from(price / 10), 3),
        _ => push_decimal(out, price.into(), 4),
    }
}

/// Appends a value in hundredths; nothing for nothing.
pub(super) fn push_value(out: &mut String, value: u32) {
    if value > 0 {
        push_decimal(out, value.into(), 2);
    }
}

/// Appends the id of what was clicked on.
pub(super) fn push_clicked(out: &mut String, ids: &Ids, on: Clicked) {
    match on {
        Clicked::Impression(n) => ids.push(out, Kind::Impression, n),
        Clicked::Ghost(n) => ids.push(out, Kind::Ghost, n),
    }
}
