//! Which bids count, and which of them won?
//!
//! SQL: bids deduplicated by `(auction_id, campaign_id)`, `LEFT JOIN` counted impressions on
//! both columns; `bid_requests` is `COUNT(DISTINCT auction_id)`.
//!
//! ```text
//!   bids by auction ──────────────┐         ┌─▶ facts: bids, wins
//!                                 ├─ rule ──┼─▶ supply: requests, bids, wins
//!   counted impressions by auction┘         └─▶ quality
//! ```
//!
//! *Keys*: the auction. *State*: the bids, and of each counted impression its place; bounded by
//! the retention of the inputs. *Late events*: an impression before its bid is no win until the
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

/// The rule. *First*: facts. *Second*: supply. *Third*: counts of the `bid_requests` feed.
pub struct Auctions;

impl GroupRule for Auctions {
    type Key = Id;
    type Left = Bid;
    type Right = Placed<Minute>;
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
        impressions: &[(Placed<Minute>, isize)],
        _: &Lookups,
        lanes: &mut Lanes<Self>,
    ) {
        let mut requests: Vec<SupplyKey> = Vec::new();
        // Bids are ordered by campaign first, so each chunk is one identity.
        for candidates in bids.chunk_by(|a, b| a.0.dims.campaign == b.0.dims.campaign) {
            let Some(bid) = elect(Feed::BidRequests, candidates, &mut lanes.third) else { continue };
            let place = Placed::new(bid.ts.minute(), &bid.dims);
            lanes.first.give(place, Measures { bids: 1, bid_micros: bid.bid.0, ..Measures::default() });

            let key = SupplyKey::from(place);
            let bid_requests = i64::from(!requests.contains(&key));
            if bid_requests > 0 {
                requests.push(key);
            }
            lanes.second.give(key, Supply { bid_requests, bids: 1, wins: 0 });

            for (won, count) in impressions.iter().filter(|(won, _)| won.campaign == bid.dims.campaign) {
                lanes.first.give(*won, Measures { wins: *count as i32, ..Measures::default() });
                lanes.second.give((*won).into(), Supply { wins: *count as i64, ..Supply::default() });
            }
        }
    }
}
