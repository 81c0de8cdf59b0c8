//! The traffic itself: one auction after another, what follows from each, and when it arrives.
//!
//! ```text
//!   auction n ──> what follows from it (impression, clicks, conversions, later auctions)
//!                   │ each with its time, delay, redelivery, conflict
//!                   v
//!              heap by arrival ──> events in order of arrival
//! ```
//!
//! Nothing arrives before its auction is held and auctions are in order, so whatever in the heap
//! arrives before the next auction can leave.
//!
//! **Memory.** The heap holds what has been decided and not yet arrived: per second of traffic,
//! every record for `disorder_millis`, the late ones for up to `late_millis`, the redelivered ones
//! for up to an hour, clicks for up to two days and conversions for up to a week. So it grows with
//! the *density* of the traffic, not with its length: about 700 records of less than 100 bytes for
//! each auction a second with the default plan, most of them conversions to come. A billion
//! auctions in three days need some 300 MB, in a month a tenth of that.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::dice::{Dice, Weighted};
use super::event::{Auction, Bid, Event, Impression, Viewable};
use super::journey::{Journeys, Step};
use super::plan::Plan;
use super::world::{NOWHERE, World};

/// Of the auctions with bids, those whose winner is shown.
const SERVED: f64 = 0.68;
/// Bids are drawn as successes of this many bidders.
const BIDDERS: u32 = 8;
/// Redeliveries come from a second to about an hour after the first arrival.
const REDELIVERY: (i64, f64) = (1_000, 11.8);

/// How many distinct records there are of each kind, by identity.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Distinct {
    pub auctions: u64,
    pub bids: u64,
    pub impressions: u64,
    pub clicks: u64,
    pub conversions: u64,
    pub orphans: u64,
    pub flood_clicks: u64,
}

/// An event on its way.
struct Arrival {
    at: i64,
    /// In order of creation; makes the order of arrival total.
    sequence: u64,
    event: Event,
}

impl Arrival {
    fn key(&self) -> (i64, u64) {
        (self.at, self.sequence)
    }
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Arrival {}

impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arrival {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Events on their way, and what delays them.
pub(super) struct Wire {
    pub dice: Dice,
    pub distinct: Distinct,
    plan: Plan,
    heap: BinaryHeap<Reverse<Arrival>>,
    sequence: u64,
}

impl Wire {
    /// Sends an event that happens now or later.
    pub(super) fn send(&mut self, event: Event) {
        let mut at = event.ts() + self.dice.between(0, self.plan.disorder_millis);
        if self.dice.chance(self.plan.late_rate) {
            at = event.ts() + self.dice.between(self.plan.disorder_millis, self.plan.late_millis);
        }
        if self.dice.chance(self.plan.redelivery_rate) {
            let again = at + self.dice.doubling(REDELIVERY.0, REDELIVERY.1);
            self.push(again, event.clone());
        }
        if self.dice.chance(self.plan.conflict_rate) {
            // Earlier or later by up to 5 s, so that either of the two may be the one that counts.
            let shift = self.dice.between(-5_000, 5_000);
            let again = at + 5_000 + self.dice.doubling(REDELIVERY.0, REDELIVERY.1);
            self.push(again, event.clone().conflicting(shift));
        }
        self.push(at, event);
    }

    fn push(&mut self, at: i64, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse(Arrival { at, sequence: self.sequence, event }));
    }
}

/// The events of a plan, in order of arrival.
pub(super) struct Stream {
    pub world: World,
    plan: Plan,
    wire: Wire,
    journeys: Journeys,
    bid_count: Weighted,
    auctions_done: u64,
    /// When the next auction is held, if there is one.
    next_auction: Option<i64>,
}

impl Stream {
    /// The events of a plan, which must have passed [`Plan::check`].
    pub(super) fn new(plan: &Plan) -> Self {
        let world = World::new(plan);
        let mut dice = Dice::new(plan.seed);
        let next_auction = Some(world.auction_time(0, &mut dice));
        let distinct = Distinct::default();
        let wire = Wire { dice, distinct, plan: plan.clone(), heap: BinaryHeap::new(), sequence: 0 };
        let bid_count = Weighted::new(&binomial(BIDDERS, plan.bids_per_auction / f64::from(BIDDERS)));
        let journeys = Journeys::new(plan);
        Self { world, plan: plan.clone(), wire, journeys, bid_count, auctions_done: 0, next_auction }
    }

    /// How many auctions have been held.
    pub(super) fn auctions_done(&self) -> u64 {
        self.auctions_done
    }

    /// What has been decided so far.
    pub(super) fn distinct(&self) -> Distinct {
        self.wire.distinct
    }

    /// How many records and plans are being held.
    pub(super) fn held(&self) -> usize {
        self.wire.heap.len() + self.journeys.held()
    }

    /// The next event and its time of arrival.
    pub(super) fn next_event(&mut self) -> Option<(i64, Event)> {
        loop {
            let arrived = self.wire.heap.peek().map(|Reverse(arrival)| arrival.at);
            match (arrived, self.next_auction) {
                (Some(at), next) if next.is_none_or(|ts| at <= ts) => {
                    return self.wire.heap.pop().map(|Reverse(arrival)| (arrival.at, arrival.event));
                }
                (_, Some(ts)) => self.hold_auction(ts),
                (_, None) => return None,
            }
        }
    }

    fn hold_auction(&mut self, ts: i64) {
        let n = self.auctions_done;
        let step = self.journeys.next_step(n, ts, &self.world, &mut self.wire.dice);
        let auction = self.auction(n, ts, step.as_ref());
        self.wire.distinct.auctions += 1;
        self.wire.distinct.bids += auction.bids.len() as u64;
        if let Some(impression) = self.serve(&auction, step.is_some()) {
            self.wire.distinct.impressions += 1;
            self.journeys.follow(&impression, step, &self.world, &mut self.wire);
            self.wire.send(Event::Impression(impression));
        }
        self.wire.send(Event::Auction(auction));
        self.auctions_done += 1;
        self.next_auction = (self.auctions_done < self.plan.auctions)
            .then(|| self.world.auction_time(self.auctions_done, &mut self.wire.dice).max(ts));
    }

    /// An auction: anyone's, or one that a step of a journey has planned.
    fn auction(&mut self, n: u64, ts: i64, step: Option<&Step>) -> Auction {
        let (world, dice) = (&self.world, &mut self.wire.dice);
        let user = step.map_or_else(|| world.any_user(dice), |step| step.user);
        let site = world.any_site(dice);
        let (country, device) = (world.home(user), world.device(user, dice));
        let count = (self.bid_count.pick(dice.bits()) as u32).min(world.campaigns());
        let mut bids: Vec<Bid> = Vec::with_capacity(count as usize + 1);
        if let Some(step) = step {
            bids.push(offer(world, dice, step.campaign));
        }
        while bids.len() < count as usize {
            let mut campaign = world.any_campaign(dice);
            while bids.iter().any(|bid| bid.campaign == campaign) {
                campaign = (campaign + 1) % world.campaigns();
            }
            bids.push(offer(world, dice, campaign));
        }
        if step.is_some() {
            // What is planned has to win.
            let highest = bids.iter().map(|bid| bid.price).max().unwrap_or(0);
            bids[0].price = highest + highest / 8 + 1;
        }
        Auction { n, ts, user, site, country, device, bids: bids.into_boxed_slice() }
    }

    /// The impression of an auction, if its winner is shown.
    fn serve(&mut self, auction: &Auction, always: bool) -> Option<Impression> {
        let dice = &mut self.wire.dice;
        let winner = auction.bids.iter().max_by_key(|bid| (bid.price, Reverse(bid.campaign)))?;
        if !always && !dice.chance(SERVED) {
            return None;
        }
        let seen = dice.below(100);
        let viewable = match seen {
            0..66 => Viewable::Yes,
            66..97 => Viewable::No,
            _ => Viewable::Unmeasured,
        };
        Some(Impression {
            n: self.wire.distinct.impressions,
            auction: auction.n,
            ts: auction.ts + dice.between(20, 1_500),
            user: auction.user,
            campaign: winner.campaign,
            creative: winner.creative,
            site: auction.site,
            price: price_paid(auction, winner, dice),
            country: if dice.chance(0.003) { NOWHERE } else { auction.country },
            device: auction.device,
            viewable,
        })
    }
}

fn offer(world: &World, dice: &mut Dice, campaign: u32) -> Bid {
    Bid { campaign, creative: world.creative(campaign, dice), price: world.bid(campaign, dice) }
}

/// Between the second bid and the winner's own; in ten-thousandths, of which one price in a
/// hundred uses the last.
fn price_paid(auction: &Auction, winner: &Bid, dice: &mut Dice) -> u32 {
    let rivals = auction.bids.iter().filter(|bid| bid.campaign != winner.campaign);
    let second = rivals.map(|bid| bid.price).max().unwrap_or(winner.price / 2).min(winner.price);
    let price = dice.between(i64::from(second), i64::from(winner.price)) as u32 * 10;
    if dice.chance(0.01) { price + dice.below(10) as u32 } else { price }
}

/// The chances of 0, 1 … n successes.
fn binomial(n: u32, p: f64) -> Vec<f64> {
    let mut chances = vec![1.0];
    for _ in 0..n {
        let miss = chances.iter().map(|chance| chance * (1.0 - p)).chain([0.0]);
        let hit = [0.0].into_iter().chain(chances.iter().map(|chance| chance * p));
        chances = miss.zip(hit).map(|(miss, hit)| miss + hit).collect();
    }
    chances
}
