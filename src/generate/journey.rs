//! What becomes of an impression: clicks, conversions, further impressions of the same user for
//! the same advertiser (so that paths have several touches), and floods of clicks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::dice::Dice;
use super::event::{Click, Clicked, Conversion, Event, Impression};
use super::plan::Plan;
use super::stream::Wire;
use super::world::World;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;

/// Clicks that are followed by a second one on the same impression.
const CLICKED_TWICE: f64 = 0.05;
/// Clicks that come more than a day after the impression.
const CLICKED_LATE: f64 = 0.015;
/// Of all conversions: after a click, after a mere view, and with no ad before them.
const AFTER_CLICK: f64 = 0.65;
const AFTER_VIEW: f64 = 0.25;
const OUT_OF_THE_BLUE: f64 = 0.10;
/// Of the conversions after a click, those with one to three more impressions in between.
const JOURNEYS: f64 = 0.3;
const STEPS: f64 = 2.0;
/// Such impressions that are clicked.
const STEP_CLICKED: f64 = 0.7;
/// Impressions of one flood, and how often each is clicked: together more than 10.
const FLOOD_IMPRESSIONS: usize = 4;
const FLOOD_CLICKS: (i64, i64) = (3, 6);
/// A flood takes four auctions in a row; this keeps them apart.
const AUCTIONS_PER_FLOOD: u64 = 16;

/// An auction that is planned: this user will be shown this campaign.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct Step {
    pub user: u32,
    pub campaign: u32,
    why: Why,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Why {
    /// Between a click and its conversion.
    Journey,
    /// To be clicked far too often.
    Flood,
}

/// What is planned.
pub(super) struct Journeys {
    /// By time; the number makes the order total.
    steps: BinaryHeap<Reverse<(i64, u64, u32, u32)>>,
    planned: u64,
    floods: u64,
    floods_begun: u64,
    auctions: u64,
    /// Who floods now, and the impressions shown for it so far.
    flood: Option<(u32, Vec<u64>)>,
    click: f64,
    convert_after_click: f64,
    convert_after_view: f64,
    convert_alone: f64,
    orphan: f64,
}

impl Journeys {
    pub(super) fn new(plan: &Plan) -> Self {
        // What journeys and second clicks add is taken off, so that the asked rates come out.
        let after_click = (AFTER_CLICK * plan.conversion_rate).min(plan.click_rate * 0.9);
        let in_journeys = after_click * JOURNEYS * STEPS * STEP_CLICKED;
        let click = (plan.click_rate - in_journeys).max(plan.click_rate / 2.0) / (1.0 + CLICKED_TWICE);
        let viewed = plan.conversion_rate * (1.0 - OUT_OF_THE_BLUE) - after_click;
        debug_assert!(viewed >= plan.conversion_rate * AFTER_VIEW - 1e-9);
        Self {
            steps: BinaryHeap::new(),
            planned: 0,
            floods: u64::from(plan.floods).min(plan.auctions / AUCTIONS_PER_FLOOD),
            floods_begun: 0,
            auctions: plan.auctions,
            flood: None,
            click,
            convert_after_click: if click > 0.0 { (after_click / click).min(1.0) } else { 0.0 },
            convert_after_view: viewed / (1.0 - click),
            convert_alone: plan.conversion_rate * OUT_OF_THE_BLUE,
            orphan: plan.orphan_rate,
        }
    }

    /// How many planned auctions are held.
    pub(super) fn held(&self) -> usize {
        self.steps.len()
    }

    /// What the `n`-th auction, held at `ts`, has been planned for, if anything.
    pub(super) fn next_step(&mut self, n: u64, ts: i64, world: &World, dice: &mut Dice) -> Option<Step> {
        let due = u128::from(self.floods_begun + 1) * u128::from(self.auctions);
        if self.floods_begun < self.floods && u128::from(n) * u128::from(self.floods + 1) >= due {
            self.floods_begun += 1;
            self.flood = Some((world.any_user(dice), Vec::with_capacity(FLOOD_IMPRESSIONS)));
        }
        if let Some((user, _)) = self.flood {
            return Some(Step { user, campaign: world.any_campaign(dice), why: Why::Flood });
        }
        let &Reverse((at, _, user, campaign)) = self.steps.peek()?;
        if at > ts {
            return None;
        }
        self.steps.pop();
        Some(Step { user, campaign, why: Why::Journey })
    }

    /// Decides what follows from an impression.
    pub(super) fn follow(&mut self, shown: &Impression, step: Option<Step>, world: &World, wire: &mut Wire) {
        match step.map(|step| step.why) {
            Some(Why::Flood) => self.flood(shown, wire),
            Some(Why::Journey) => {
                if wire.dice.chance(STEP_CLICKED) {
                    self.click(shown, MINUTE, wire);
                }
            }
            None => self.follow_freely(shown, world, wire),
        }
    }

    fn follow_freely(&mut self, shown: &Impression, world: &World, wire: &mut Wire) {
        if wire.dice.chance(self.convert_alone) {
            let (user, campaign) = (world.any_user(&mut wire.dice), world.any_campaign(&mut wire.dice));
            let ts = shown.ts + wire.dice.between(0, 60 * MINUTE);
            convert(user, world.advertiser(campaign), ts, world, wire);
        }
        let advertiser = world.advertiser(shown.campaign);
        if !wire.dice.chance(self.click) {
            if wire.dice.chance(self.convert_after_view) {
                // From a minute to a day and a half: some are out of reach of the view.
                let ts = shown.ts + wire.dice.doubling(MINUTE, 11.1);
                convert(shown.user, advertiser, ts, world, wire);
            }
            return;
        }
        let clicked = self.first_click(shown, wire);
        if wire.dice.chance(CLICKED_TWICE) {
            let wait = clicked - shown.ts + wire.dice.doubling(2 * SECOND, 8.0);
            self.click(shown, wait, wire);
        }
        if wire.dice.chance(self.convert_after_click) {
            let ts = self.plan_journey(shown, clicked, world, &mut wire.dice);
            convert(shown.user, advertiser, ts, world, wire);
        }
    }

    /// Seconds to six hours after the impression, sooner more often; a few after a day.
    fn first_click(&self, shown: &Impression, wire: &mut Wire) -> i64 {
        let wait = if wire.dice.chance(CLICKED_LATE) {
            DAY + wire.dice.between(1, DAY)
        } else {
            let skew = wire.dice.unit();
            wire.dice.doubling(2 * SECOND, 13.3 * skew)
        };
        self.click(shown, wait, wire)
    }

    fn click(&self, shown: &Impression, wait: i64, wire: &mut Wire) -> i64 {
        let ts = shown.ts + wait;
        send_click(Clicked::Impression(shown.n), ts, wire);
        if wire.dice.chance(self.orphan) {
            let ghost = Clicked::Ghost(wire.distinct.orphans);
            wire.distinct.orphans += 1;
            send_click(ghost, ts + wire.dice.between(0, MINUTE), wire);
        }
        ts
    }

    /// When the user converts; before that, some are shown more of the same advertiser.
    fn plan_journey(&mut self, shown: &Impression, clicked: i64, world: &World, dice: &mut Dice) -> i64 {
        if !dice.chance(JOURNEYS) {
            return clicked + dice.doubling(MINUTE, 13.3);
        }
        let converted = clicked + dice.doubling(DAY / 4, 4.8);
        for _ in 0..dice.between(1, 3) {
            let campaign = world.campaign_of(world.advertiser(shown.campaign), dice);
            let at = dice.between(clicked, converted - 10 * MINUTE);
            self.planned += 1;
            self.steps.push(Reverse((at, self.planned, shown.user, campaign)));
        }
        converted
    }

    /// Collects the impressions of a flood, then clicks on all of them within the next UTC minute.
    fn flood(&mut self, shown: &Impression, wire: &mut Wire) {
        let Some((_, impressions)) = &mut self.flood else { return };
        impressions.push(shown.n);
        if impressions.len() < FLOOD_IMPRESSIONS {
            return;
        }
        // Impressions come at most 1.5 s after their auction, so the last one is the latest but
        // for ties in so little time; a whole minute between is enough for all.
        let minute = (shown.ts / MINUTE + 2) * MINUTE;
        for &n in &*impressions {
            for _ in 0..wire.dice.between(FLOOD_CLICKS.0, FLOOD_CLICKS.1) {
                let ts = minute + wire.dice.between(0, MINUTE - 1);
                wire.distinct.flood_clicks += 1;
                send_click(Clicked::Impression(n), ts, wire);
            }
        }
        self.flood = None;
    }
}

fn send_click(on: Clicked, ts: i64, wire: &mut Wire) {
    let n = wire.distinct.clicks;
    wire.distinct.clicks += 1;
    wire.send(Event::Click(Click { n, on, ts }));
}

fn convert(user: u32, advertiser: u32, ts: i64, world: &World, wire: &mut Wire) {
    let n = wire.distinct.conversions;
    wire.distinct.conversions += 1;
    let kind = world.any_conversion(&mut wire.dice);
    let value = world.value(kind, &mut wire.dice);
    wire.send(Event::Conversion(Conversion { n, ts, user, advertiser, value, kind }));
}
