//! Which records are accepted, which clicks are valid, and all tables but those of attribution.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::graphs::auctions::SupplyKey;
use dataflows::model::events::{Bid, Click, Conversion, Dims, Impression};
use dataflows::model::ids::{Id, Name};
use dataflows::model::reject::{Feed, Quality};
use dataflows::model::time::{EventTime, Minute};

use super::coverage::{Case, Coverage};
use super::lookups::Lookups;
use super::tables::{Tables, day, hour, minute};
use super::{Record, State};

/// Of every identity, the one record that counts.
#[derive(Default)]
pub struct Accepted {
    pub bids: BTreeMap<(Id, Name), Bid>,
    pub impressions: BTreeMap<Id, Impression>,
    pub clicks: BTreeMap<Id, Click>,
    pub conversions: BTreeMap<Id, Conversion>,
}

/// What is met when two records of a kind conflict: other contents, a tie in all that is compared.
struct Conflicts {
    any: Case,
    tied: Case,
}

impl Accepted {
    pub fn of(state: &State, tables: &mut Tables, coverage: &mut Coverage) -> Self {
        let (mut bids, mut impressions, mut clicks, mut conversions) = (vec![], vec![], vec![], vec![]);
        for (record, copies) in state.present() {
            match record {
                Record::Bid(auction, bid) => bids.push(((auction, bid.dims.campaign), bid, copies)),
                Record::Impression(id, impression) => impressions.push((id, impression, copies)),
                Record::Click(id, click) => clicks.push((id, click, copies)),
                Record::Conversion(id, conversion) => conversions.push((id, conversion, copies)),
                Record::Quality(_) | Record::Lookup(_) | Record::Residue(_) => (),
            }
        }
        let mut accepting = Accepting { tables, coverage };
        let tied = Conflicts { any: Case::ConflictingBids, tied: Case::BidsTiedInPriceAndTime };
        let bids = accepting.accept(Feed::BidRequests, bids, |bid| (-bid.bid.0, bid.ts), |b| b.ts, tied);
        let tied = Conflicts { any: Case::ConflictingImpressions, tied: Case::ImpressionsTiedInTime };
        let impressions = accepting.accept(Feed::Impressions, impressions, |i| i.ts, |i| i.ts, tied);
        let tied = Conflicts { any: Case::ConflictingClicks, tied: Case::ClicksTiedInTime };
        let clicks = accepting.accept(Feed::Events, clicks, |c| c.ts, |c| c.ts, tied);
        let tied = Conflicts { any: Case::ConflictingConversions, tied: Case::ConversionsTiedInTime };
        let conversions = accepting.accept(Feed::Events, conversions, |c| c.ts, |c| c.ts, tied);
        Self { bids, impressions, clicks, conversions }
    }
}

struct Accepting<'a> {
    tables: &'a mut Tables,
    coverage: &'a mut Coverage,
}

impl Accepting<'_> {
    /// Of every identity the record of the least rank, then the least record.
    fn accept<I: Ord + Copy, R: Ord + Copy, P: Ord>(
        &mut self,
        feed: Feed,
        records: Vec<(I, R, isize)>,
        rank: impl Fn(&R) -> P,
        ts: impl Fn(&R) -> EventTime,
        conflicts: Conflicts,
    ) -> BTreeMap<I, R> {
        let mut winners: BTreeMap<I, R> = BTreeMap::new();
        for &(identity, record, _) in &records {
            let winner = winners.entry(identity).or_insert(record);
            if (rank(&record), record) < (rank(winner), *winner) {
                *winner = record;
            }
        }
        for (identity, record, copies) in records {
            let winner = &winners[&identity];
            let accepted = isize::from(record == *winner);
            self.tables.count(minute(ts(&record)), feed, Quality::Accepted, accepted);
            self.tables.count(minute(ts(&record)), feed, Quality::Duplicate, copies - accepted);
            self.coverage.saw(Case::ExactCopy, copies > 1);
            self.coverage.saw(conflicts.any, record != *winner);
            self.coverage.saw(conflicts.tied, record != *winner && rank(&record) == rank(winner));
        }
        winners
    }
}

/// What counts of the impressions and clicks.
#[derive(Default)]
pub struct Traffic {
    /// The impressions that count.
    pub impressions: BTreeMap<Id, Impression>,
    /// The valid clicks, each with its impression.
    pub clicks: BTreeMap<Id, (Click, Impression)>,
}

impl Traffic {
    pub fn of(accepted: &Accepted, lookups: &Lookups, tables: &mut Tables, coverage: &mut Coverage) -> Self {
        let mut traffic = Self::default();
        for (&id, impression) in &accepted.impressions {
            let listed = lookups.is_listed(impression, coverage);
            if listed {
                tables.count(minute(impression.ts), Feed::Impressions, Quality::Invalid, 1);
            } else {
                traffic.impressions.insert(id, *impression);
            }
            let offered = accepted.bids.contains_key(&(impression.auction, impression.dims.campaign));
            coverage.saw(Case::ListedImpressionOfBid, listed && offered);
        }

        // Clicks in time, and how many of these, and of these not on listed impressions, each
        // user has in each minute.
        let mut timely: Vec<(Id, Click, Impression)> = Vec::new();
        let mut sums: BTreeMap<(Id, Minute), (usize, usize)> = BTreeMap::new();
        for (&id, click) in &accepted.clicks {
            match accepted.impressions.get(&click.impression) {
                None => {
                    tables.count(minute(click.ts), Feed::Events, Quality::Orphan, 1);
                    coverage.saw(Case::Orphan, true);
                }
                Some(impression) if in_time(click, impression, lookups, coverage) => {
                    timely.push((id, *click, *impression));
                    let sum = sums.entry((impression.user, minute(click.ts))).or_default();
                    sum.0 += 1;
                    sum.1 += usize::from(traffic.impressions.contains_key(&click.impression));
                }
                Some(_) => (),
            }
        }
        let limit = lookups.max_clicks();
        for (id, click, impression) in timely {
            let counts = traffic.impressions.contains_key(&click.impression);
            let (clicks, of_these_unlisted) = sums[&(impression.user, minute(click.ts))];
            let flood = clicks > limit;
            if counts && !flood {
                traffic.clicks.insert(id, (click, impression));
            } else {
                tables.count(minute(click.ts), Feed::Events, Quality::Invalid, 1);
            }
            coverage.saw(Case::Flood, flood);
            coverage.saw(Case::ClicksAtFloodLimit, clicks == limit);
            coverage.saw(Case::FloodByListedClicks, flood && counts && of_these_unlisted <= limit);
            coverage.saw(Case::ListedClick, !counts);
        }
        traffic
    }

    /// The performance, reach and supply tables, but for conversions.
    pub fn publish(&self, accepted: &Accepted, tables: &mut Tables, coverage: &mut Coverage) {
        for impression in self.impressions.values() {
            tables.perform(impression.ts, &impression.dims, |measures| {
                measures.impressions += 1;
                measures.viewable += i32::from(impression.viewable);
                measures.spend_micros += impression.cost.0;
            });
            let bid = accepted.bids.get(&(impression.auction, impression.dims.campaign));
            if let Some(bid) = bid {
                tables.perform(impression.ts, &impression.dims, |measures| measures.wins += 1);
                tables.supply(supply_key(impression.ts, &impression.dims), |supply| supply.wins += 1);
                let there = minute(bid.ts) == minute(impression.ts) && bid.dims == impression.dims;
                coverage.saw(Case::WinInPlaceOfBid, there);
            }
            coverage.saw(Case::Win, bid.is_some());
            coverage.saw(Case::ImpressionWithoutBid, bid.is_none());
        }
        let mut clicked = BTreeSet::new();
        for (click, impression) in self.clicks.values() {
            tables.perform(click.ts, &impression.dims, |measures| measures.clicks += 1);
            coverage.saw(Case::ValidClickInOtherHour, hour(click.ts) != hour(impression.ts));
            coverage.saw(Case::SeveralValidClicksOnOne, !clicked.insert(click.impression));
        }
        self.publish_reach(tables, coverage);
        publish_bids(accepted, tables, coverage);
    }

    fn publish_reach(&self, tables: &mut Tables, coverage: &mut Coverage) {
        let mut users: BTreeSet<_> = BTreeSet::new();
        for impression in self.impressions.values() {
            let key = (day(impression.ts), impression.dims.campaign);
            let is_new = users.insert((key, impression.user));
            let reach = tables.reach_day.entry(key).or_default();
            reach.impressions += 1;
            reach.users += i64::from(is_new);
            coverage.saw(Case::ReturningUser, !is_new);
        }
    }
}

fn publish_bids(accepted: &Accepted, tables: &mut Tables, coverage: &mut Coverage) {
    let mut requests: BTreeSet<(Id, SupplyKey)> = BTreeSet::new();
    for (&(auction, _), bid) in &accepted.bids {
        tables.perform(bid.ts, &bid.dims, |measures| {
            measures.bids += 1;
            measures.bid_micros += bid.bid.0;
        });
        let key = supply_key(bid.ts, &bid.dims);
        let is_new = requests.insert((auction, key));
        tables.supply(key, |supply| {
            supply.bids += 1;
            supply.bid_requests += i64::from(is_new);
        });
        coverage.saw(Case::AuctionOfSeveralBids, !is_new);
    }
    let auctions: BTreeSet<Id> = requests.iter().map(|(auction, _)| *auction).collect();
    coverage.saw(Case::AuctionInSeveralPlaces, auctions.len() < requests.len());
}

fn supply_key(ts: EventTime, dims: &Dims) -> SupplyKey {
    SupplyKey { hour: hour(ts), country: dims.country, device: dims.device, site: dims.site }
}

fn in_time(click: &Click, impression: &Impression, lookups: &Lookups, coverage: &mut Coverage) -> bool {
    let (after, window) = (click.ts.millis() - impression.ts.millis(), lookups.click_join_window());
    coverage.saw(Case::ClickBeforeImpression, after < 0);
    coverage.saw(Case::ClickAtImpression, after == 0);
    coverage.saw(Case::ClickAtWindowEnd, after == window && window > 0);
    coverage.saw(Case::ClickJustBeyondWindow, after == window + 1);
    0 <= after && after <= window
}
