//! Builds the whole job: from the inputs to the tables.

use differential_dataflow::AsCollection;
use differential_dataflow::VecCollection;
use differential_dataflow::input::{Input, InputSession};
use differential_dataflow::trace::TraceReader;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Exchange, Probe};
use timely::dataflow::{Scope, StreamVec};
use timely::progress::Antichain;

use crate::model::events::{Bid, Click, Conversion, Impression, Placed};
use crate::model::ids::{Id, Name, Route};
use crate::model::lookups::{LookupRow, Model};
use crate::model::measures::{Credit, Measures, Reach, Supply};
use crate::model::reject::QualityKey;
use crate::model::time::{Day, Epoch, Hour, Minute};
use crate::operators::arrange::{ArrangeBy, Keyed, SumTrace, Summed, ValTrace};
use crate::operators::regroup::regroup;

use super::attribution::{Attribution, PathStep};
use super::auctions::{Auctions, SupplyKey};
use super::booking::Booking;
use super::dedup::Dedup;
use super::flood::Flood;
use super::impressions::{ClickAt, Impressions, Served};
use super::reach::reach;
use super::residue::{self, Residue};
use super::touches::Touches;

/// One input collection: records with their differences.
pub type Session<D> = InputSession<Epoch, D, isize>;

/// The input collections. A record may be given to any worker; a lookup row to one only.
pub struct Inputs {
    /// Bids, with their auction.
    pub bids: Session<(Id, Bid)>,
    /// Impressions, with their id.
    pub impressions: Session<(Id, Impression)>,
    /// Clicks, with their id.
    pub clicks: Session<(Id, Click)>,
    /// Conversions, with their id.
    pub conversions: Session<(Id, Conversion)>,
    /// What the sources count: records received and rejected.
    pub quality: Session<QualityKey>,
    /// The rows of all lookup tables.
    pub lookups: Session<LookupRow>,
    /// What stays published of records that are gone.
    pub residues: Session<Residue>,
}

impl Inputs {
    /// Ends the present epoch on all inputs: what follows belongs to `epoch`.
    pub fn advance_to(&mut self, epoch: Epoch) {
        let Self { bids, impressions, clicks, conversions, quality, lookups, residues } = self;
        bids.advance_to(epoch);
        bids.flush();
        impressions.advance_to(epoch);
        impressions.flush();
        clicks.advance_to(epoch);
        clicks.flush();
        conversions.advance_to(epoch);
        conversions.flush();
        quality.advance_to(epoch);
        quality.flush();
        lookups.advance_to(epoch);
        lookups.flush();
        residues.advance_to(epoch);
        residues.flush();
    }
}

/// The published tables, as maintained aggregates that a sink reads, and how far they are.
pub struct Outputs {
    /// Passed an epoch when every table is complete up to it.
    pub probe: Handle<Epoch>,
    /// `performance_minute`.
    pub performance_minute: SumTrace<(Minute, Name), Measures>,
    /// `performance_hour`.
    pub performance_hour: SumTrace<Placed<Hour>, Measures>,
    /// `attribution_hour`.
    pub attribution_hour: SumTrace<((Hour, Name), Model), Credit>,
    /// `reach_day`.
    pub reach_day: SumTrace<(Day, Name), Reach>,
    /// `supply_hour`.
    pub supply_hour: SumTrace<SupplyKey, Supply>,
    /// `quality_minute`.
    pub quality_minute: SumTrace<QualityKey, isize>,
    /// `conversion_paths`.
    pub conversion_paths: ValTrace<Id, PathStep>,
}

impl Outputs {
    /// Whether every table is complete up to and including `epoch`.
    pub fn is_complete(&self, epoch: Epoch) -> bool {
        !self.probe.less_equal(&epoch)
    }

    /// The last epoch up to and including which every table is complete.
    pub fn complete(&self) -> Epoch {
        let open = self.probe.with_frontier(|frontier| frontier.iter().min().copied());
        open.map_or(Epoch::MAX, |open| open.saturating_sub(1))
    }

    /// Gives up the means to read the tables as of epochs before `epoch`, so that their state
    /// can shrink. Until it is called, every past state of every table is kept.
    pub fn compact_to(&mut self, epoch: Epoch) {
        compact(&mut self.performance_minute, epoch);
        compact(&mut self.performance_hour, epoch);
        compact(&mut self.attribution_hour, epoch);
        compact(&mut self.reach_day, epoch);
        compact(&mut self.supply_hour, epoch);
        compact(&mut self.quality_minute, epoch);
        compact(&mut self.conversion_paths, epoch);
    }
}

/// What the inputs have gathered by now, for the expiry of records and for measuring it. Held, it
/// keeps the state alive.
pub struct Traces {
    /// Bids, by auction.
    pub bids: ValTrace<Id, Bid>,
    /// Impressions, by id.
    pub impressions: ValTrace<Id, Impression>,
    /// Clicks, by id.
    pub clicks: ValTrace<Id, Click>,
    /// Conversions, by id.
    pub conversions: ValTrace<Id, Conversion>,
    /// Counted impressions, by auction.
    pub impressions_by_auction: ValTrace<Id, Served>,
    /// Clicks that count as records, by impression.
    pub clicks_by_impression: ValTrace<Id, ClickAt>,
    /// `quality_minute`.
    pub quality_minute: SumTrace<QualityKey, isize>,
}

impl Traces {
    /// Gives up the means to read them as of epochs before `epoch`.
    pub fn compact_to(&mut self, epoch: Epoch) {
        compact(&mut self.bids, epoch);
        compact(&mut self.impressions, epoch);
        compact(&mut self.clicks, epoch);
        compact(&mut self.conversions, epoch);
        compact(&mut self.impressions_by_auction, epoch);
        compact(&mut self.clicks_by_impression, epoch);
        compact(&mut self.quality_minute, epoch);
    }
}

fn compact(trace: &mut impl TraceReader<Time = Epoch>, epoch: Epoch) {
    trace.set_logical_compaction(Antichain::from_elem(epoch).borrow());
    trace.set_physical_compaction(Antichain::new().borrow());
}

/// Builds the job in a scope.
pub fn build(scope: Scope<'_, Epoch>) -> (Inputs, Outputs) {
    let (inputs, outputs, _) = build_traced(scope);
    (inputs, outputs)
}

/// As [`build`], with the means to see what is held.
pub fn build_traced(scope: Scope<'_, Epoch>) -> (Inputs, Outputs, Traces) {
    // 1. The inputs. Of the events, impressions are arranged once and read by three graphs.
    let (bids_in, bids) = scope.new_collection();
    let (impressions_in, impressions) = scope.new_collection();
    let (clicks_in, clicks) = scope.new_collection();
    let (conversions_in, conversions) = scope.new_collection();
    let (quality_in, sources) = scope.new_collection();
    let (lookups_in, lookups) = scope.new_collection::<LookupRow, isize>();
    let lookups = lookups.inner.broadcast().as_collection();
    let (residues_in, residues) = scope.new_collection();
    let residues = residue::sort(residues);
    let impressions: Keyed<Id, Impression> = impressions.arrange_by("impressions by id", whole);
    let nothing = scope.new_collection::<(Id, ()), isize>().1.arrange_by("nothing by id", whole);
    let no_minutes =
        scope.new_collection::<((Id, Minute), ()), isize>().1.arrange_by("nothing by minute", whole);

    // 2. Clicks: deduplicated, joined to impressions, freed of floods.
    let clicks_by_id: Keyed<Id, Click> = clicks.arrange_by("clicks by id", whole);
    let clicks_held = clicks_by_id.trace.clone();
    let clicks =
        regroup("deduplicate clicks", clicks_by_id, nothing.clone(), lookups.clone(), Dedup::default());
    let clicks_by_impression = clicks.first.arrange_by("clicks by impression", whole);
    let clicks_on = clicks_by_impression.trace.clone();
    let seen = regroup(
        "join clicks to impressions",
        impressions.clone(),
        clicks_by_impression,
        lookups.clone(),
        Impressions,
    );
    let flood = regroup(
        "exclude click floods",
        seen.second.arrange_by("timely clicks by user and minute", whole),
        no_minutes,
        lookups.clone(),
        Flood,
    );

    // 3. Bids, and which of them won.
    let bids: Keyed<Id, Bid> = bids.arrange_by("bids by auction", whole);
    let impressions_by_auction =
        seen.first.clone().arrange_by("impressions by auction", |seen| (seen.auction, seen.served));
    let (bids_held, impressions_of) = (bids.trace.clone(), impressions_by_auction.trace.clone());
    let auctions =
        regroup("join impressions to bids", bids, impressions_by_auction, lookups.clone(), Auctions);

    // 4. Attribution.
    let touches = regroup(
        "derive touches",
        impressions.clone(),
        flood.first.arrange_by("valid clicks by impression", whole),
        lookups.clone(),
        Touches,
    );
    let conversions: Keyed<Id, Conversion> = conversions.arrange_by("conversions by id", whole);
    let conversions_held = conversions.trace.clone();
    let conversions =
        regroup("deduplicate conversions", conversions, nothing, lookups.clone(), Dedup::default());
    let attribution = regroup(
        "attribute conversions",
        conversions.first.arrange_by("conversions by user and advertiser", whole),
        touches.first.arrange_by("touches by user and advertiser", whole),
        lookups.clone(),
        Attribution,
    );
    let impressions_held = impressions.trace.clone();
    let booking = regroup(
        "book conversions",
        impressions,
        attribution.third.arrange_by("bookings by impression", whole),
        lookups,
        Booking,
    );

    // 5. The tables.
    // What is added up by minute and by hour travels once, for both: a campaign's hours are whole on
    // a worker.
    let facts = auctions.first.concatenate([touches.second, booking.first]).inner;
    let facts = to_campaigns(facts);
    let performance_minute = facts
        .clone()
        .concat(to_campaigns(residues.performance_minute.inner))
        .arrange_here("performance by minute", |place| ((place.window, place.campaign), ()));
    let performance_hour = facts
        .concat(to_campaigns(residues.performance_hour.inner))
        .arrange_here("performance by hour", |place| (place.hourly(), ()));
    let attribution_hour = attribution
        .second
        .concat(residues.attribution_hour)
        .arrange_by("attribution by hour", |key| (key, ()));
    let reach_day = reach(seen.first, residues.reach_day);
    let supply_hour =
        auctions.second.concat(residues.supply_hour).arrange_by("supply by hour", |key| (key, ()));
    let quality_minute = sources
        .concatenate([clicks.third, seen.third, flood.third, auctions.third, conversions.third])
        .concat(residues.quality_minute)
        .arrange_by("quality by minute", |key| (key, ()));
    let conversion_paths = attribution.first.arrange_by("paths by conversion", whole);

    let probe = Handle::new();
    watch(&probe, &performance_minute);
    watch(&probe, &performance_hour);
    watch(&probe, &attribution_hour);
    watch(&probe, &reach_day);
    watch(&probe, &supply_hour);
    watch(&probe, &quality_minute);
    conversion_paths.stream.clone().probe_with(&probe);

    let inputs = Inputs {
        bids: bids_in,
        impressions: impressions_in,
        clicks: clicks_in,
        conversions: conversions_in,
        quality: quality_in,
        lookups: lookups_in,
        residues: residues_in,
    };
    let traces = Traces {
        bids: bids_held,
        impressions: impressions_held,
        clicks: clicks_held,
        conversions: conversions_held,
        impressions_by_auction: impressions_of,
        clicks_by_impression: clicks_on,
        quality_minute: quality_minute.trace.clone(),
    };
    let outputs = Outputs {
        probe,
        performance_minute: performance_minute.trace,
        performance_hour: performance_hour.trace,
        attribution_hour: attribution_hour.trace,
        reach_day: reach_day.trace,
        supply_hour: supply_hour.trace,
        quality_minute: quality_minute.trace,
        conversion_paths: conversion_paths.trace,
    };
    (inputs, outputs, traces)
}

/// A record that is a key and its value.
fn whole<K, V>(record: (K, V)) -> (K, V) {
    record
}

/// Takes what is added up to the worker of its hour and campaign.
fn to_campaigns<'scope>(
    facts: StreamVec<'scope, Epoch, (Placed<Minute>, Epoch, Measures)>,
) -> VecCollection<'scope, Epoch, Placed<Minute>, Measures> {
    facts.exchange(|(place, _, _)| (place.window.hour(), place.campaign).route()).as_collection()
}

fn watch<K, R>(probe: &Handle<Epoch>, table: &Summed<'_, K, R>)
where
    K: crate::operators::arrange::Key,
    R: crate::model::diff::Diff,
{
    table.stream.clone().probe_with(probe);
}
