//! Which bids count, and which of them won? And what do the impressions add that were served?
//!
//! SQL: bids deduplicated by `(auction_id, campaign_id)`, `FULL JOIN` counted impressions on
//! both columns; `bid_requests` is `COUNT(DISTINCT auction_id)`.
//!
//! ```text
//!   bids by auction ──────────────┐         ┌─▶ facts: bids, wins, impressions, spend
//!                                 ├─ rule ──┼─▶ supply: requests, bids, wins
//!   counted impressions by auction┘         └─▶ quality
//! ```
//!
//! *Keys*: the auction. *State*: the bids, and of each counted impression its place and cost; bounded
//! by the retention of the inputs. *Late events*: an impression before its bid is no win until the
//! bid comes; a better bid replaces the accepted one everywhere.

use serde::{Deserialize, Serialize};

use crate::model::events::{Bid, Country, Device, Placed};
use crate::model::ids::{Id, Name, Route, mix};
use crate::model::lookups::Lookups;
use crate::model::measures::{Measures, Supply};
use crate::model::reject::{Feed, QualityKey};
use crate::model::time::{Hour, Minute};
use crate::operators::regroup::{GroupRule, Lanes};

use super::dedup::elect;
use super::impressions::Served;

/// The key of `supply_hour`.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct SupplyKey {
    /// The hour.
    pub hour: Hour,
    /// The viewer's country.
    pub country: Country,
    /// The viewer's device.
    pub device: Device,
    /// The site.
    pub site: Name,
}

impl Route for SupplyKey {
    const LEAD_BITS: u32 = 32 + 16 + 8 + Name::LEAD_BITS;

    fn lead(&self) -> u128 {
        let Self { hour, country, device, site } = *self;
        hour.lead() | u128::from(country.code()) << 80 | (device as u128) << 72 | site.lead() >> 56
    }

    fn route(&self) -> u64 {
        mix(self.hour.route() ^ self.site.route())
    }
}

impl From<Placed<Minute>> for SupplyKey {
    fn from(place: Placed<Minute>) -> Self {
        let Placed { window, country, device, site, .. } = place;
        Self { hour: window.hour(), country, device, site }
    }
}

/// What one auction adds to supply: nearly always all under one key.
#[derive(Default)]
struct SupplyOfAuction(Vec<(SupplyKey, Supply)>);

impl SupplyOfAuction {
    fn at(&mut self, place: Placed<Minute>) -> &mut Supply {
        let key = place.into();
        let known = self.0.iter().position(|(known, _)| *known == key);
        let index = known.unwrap_or_else(|| {
            self.0.push((key, Supply::default()));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }
}

/// The rule. *First*: facts. *Second*: supply. *Third*: counts of the `bid_requests` feed.
pub struct Auctions;

impl GroupRule for Auctions {
    type Key = Id;
    type Left = Bid;
    type Right = Served;
    type First = Placed<Minute>;
    type FirstDiff = Measures;
    type Second = SupplyKey;
    type SecondDiff = Supply;
    type Third = QualityKey;
    type ThirdDiff = isize;

    fn worth(
        &self,
        _: &Id,
        bids: &[(Bid, isize)],
        impressions: &[(Served, isize)],
        _: &Lookups,
        lanes: &mut Lanes<Self>,
    ) {
        let mut supply = SupplyOfAuction::default();
        // Bids are ordered by campaign first, so each chunk is one identity.
        for candidates in bids.chunk_by(|a, b| a.0.dims.campaign == b.0.dims.campaign) {
            let Some(bid) = elect(Feed::BidRequests, candidates, &mut lanes.third) else { continue };
            let place = Placed::new(bid.ts.minute(), &bid.dims);
            supply.at(place).bids += 1;
            lanes.first.give(place, Measures { bids: 1, bid_micros: bid.bid.0, ..Measures::default() });
            let won = impressions.iter().filter(|(served, _)| served.place.campaign == bid.dims.campaign);
            for (served, count) in won {
                // Mostly it is served in the minute of its auction, and is one fact with the bid.
                lanes.first.count(served.place, Measures { wins: *count as i32, ..served.measures(*count) });
                supply.at(served.place).wins += *count as i64;
            }
        }
        for (served, count) in impressions {
            let campaign = served.place.campaign;
            if bids.binary_search_by_key(&campaign, |(bid, _)| bid.dims.campaign).is_err() {
                lanes.first.give(served.place, served.measures(*count));
            }
        }
        for (key, mut sums) in supply.0 {
            sums.bid_requests = i64::from(sums.bids > 0);
            lanes.second.give(key, sums);
        }
    }
}
