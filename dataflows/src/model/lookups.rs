//! The lookup tables: small collections that change while the job runs and correct every number
//! they touch. Every worker holds all of each.
//!
//! A table is a multiset of rows fed by differences, so a withdrawn row is simply gone; where
//! two rows speak of one key at the same time, the greatest row wins, whatever their order of
//! arrival.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::ids::{Id, Name};
use super::time::Millis;

/// An attribution model.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Model {
    /// All credit to the first touch.
    FirstTouch,
    /// All credit to the last touch.
    LastTouch,
    /// Equal credit.
    Linear,
    /// 40 % to the first and last touch each, the rest spread evenly between.
    PositionBased,
    /// Credit halves with every half-life before the conversion.
    TimeDecay,
}

impl Model {
    /// How many models there are.
    pub const COUNT: usize = 5;
    /// Every model, in the order of their names.
    pub const ALL: [Model; Self::COUNT] =
        [Model::FirstTouch, Model::LastTouch, Model::Linear, Model::PositionBased, Model::TimeDecay];

    /// The model's name in tables and rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Model::FirstTouch => "first_touch",
            Model::LastTouch => "last_touch",
            Model::Linear => "linear",
            Model::PositionBased => "position_based",
            Model::TimeDecay => "time_decay",
        }
    }

    /// The model a name stands for.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.as_str() == text)
    }
}

/// One row of `attribution_rules`; what it leaves open is inherited.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct AttributionRule {
    /// How long before the conversion a click may lie.
    pub click_lookback: Option<Millis>,
    /// How long before the conversion a view may lie.
    pub view_lookback: Option<Millis>,
    /// The half-life of time decay.
    pub half_life: Option<Millis>,
    /// The model behind `conversions` and `revenue_micros` of the performance tables.
    pub default_model: Option<Model>,
}

/// One row of a lookup table.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub enum LookupRow {
    /// `campaigns`: a campaign and its advertiser.
    Campaign(Name, Name),
    /// `traffic`: a user whose traffic is invalid.
    ListedUser(Id),
    /// `traffic`: a site whose traffic is invalid.
    ListedSite(Name),
    /// `traffic`: more valid-by-time clicks than this of one user in a minute are a flood.
    MaxClicksPerUserMinute(u32),
    /// `traffic`: how long after its impression a click counts.
    ClickJoinWindow(Millis),
    /// `attribution_rules`: for all advertisers.
    GlobalRule(AttributionRule),
    /// `attribution_rules`: for one advertiser.
    AdvertiserRule(Name, AttributionRule),
}

/// What a lookup row speaks of.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Subject {
    /// A campaign.
    Campaign(Name),
    /// A user.
    User(Id),
    /// A site.
    Site(Name),
    /// The limit of clicks.
    ClickLimit,
    /// The click join window.
    ClickJoinWindow,
    /// All advertisers.
    Advertisers,
    /// One advertiser.
    Advertiser(Name),
}

impl LookupRow {
    /// Whether it may change the [`Windows`].
    pub fn is_window(&self) -> bool {
        use LookupRow::{AdvertiserRule, ClickJoinWindow, GlobalRule};
        matches!(self, ClickJoinWindow(_) | GlobalRule(_) | AdvertiserRule(..))
    }

    /// What this row speaks of.
    pub fn subject(&self) -> Subject {
        match *self {
            LookupRow::Campaign(campaign, _) => Subject::Campaign(campaign),
            LookupRow::ListedUser(user) => Subject::User(user),
            LookupRow::ListedSite(site) => Subject::Site(site),
            LookupRow::MaxClicksPerUserMinute(_) => Subject::ClickLimit,
            LookupRow::ClickJoinWindow(_) => Subject::ClickJoinWindow,
            LookupRow::GlobalRule(_) => Subject::Advertisers,
            LookupRow::AdvertiserRule(advertiser, _) => Subject::Advertiser(advertiser),
        }
    }
}

/// The attribution settings in force for one advertiser.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Attribution {
    /// How long before the conversion a click may lie.
    pub click_lookback: Millis,
    /// How long before the conversion a view may lie.
    pub view_lookback: Millis,
    /// The half-life of time decay; above zero.
    pub half_life: Millis,
    /// The model behind the performance tables.
    pub default_model: Model,
}

impl Default for Attribution {
    fn default() -> Self {
        Self {
            click_lookback: Millis::days(30),
            view_lookback: Millis::days(1),
            half_life: Millis::days(7),
            default_model: Model::LastTouch,
        }
    }
}

impl Attribution {
    fn refined_by(self, rule: &AttributionRule) -> Self {
        Self {
            click_lookback: rule.click_lookback.unwrap_or(self.click_lookback),
            view_lookback: rule.view_lookback.unwrap_or(self.view_lookback),
            half_life: rule.half_life.unwrap_or(self.half_life),
            default_model: rule.default_model.unwrap_or(self.default_model),
        }
    }
}

/// The longest windows that any number looks back over.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Windows {
    /// From an impression to its click.
    pub click_join: Millis,
    /// From a click to a conversion.
    pub click_lookback: Millis,
    /// From a view to a conversion.
    pub view_lookback: Millis,
}

impl Default for Windows {
    fn default() -> Self {
        Lookups::default().windows()
    }
}

/// The contents of all lookup tables at one epoch.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    rows: BTreeMap<LookupRow, isize>,
    // What is asked for with every event, kept in step with the rows.
    advertisers: HashMap<Name, Name>,
    listed_users: HashSet<Id>,
    listed_sites: HashSet<Name>,
}

impl Lookups {
    /// Clicks of one user in a minute, above which they are a flood, unless a row says otherwise.
    pub const DEFAULT_MAX_CLICKS: u32 = 10;
    /// How long after its impression a click counts, unless a row says otherwise.
    pub const DEFAULT_CLICK_JOIN_WINDOW: Millis = Millis::hours(24);

    /// Adds `diff` copies of a row.
    pub fn update(&mut self, row: LookupRow, diff: isize) {
        let count = self.rows.entry(row).or_insert(0);
        *count += diff;
        if *count == 0 {
            self.rows.remove(&row);
        }
        let present = self.rows.get(&row).is_some_and(|&count| count > 0);
        match row {
            LookupRow::Campaign(campaign, _) => self.index_campaign(campaign),
            LookupRow::ListedUser(user) if present => _ = self.listed_users.insert(user),
            LookupRow::ListedUser(user) => _ = self.listed_users.remove(&user),
            LookupRow::ListedSite(site) if present => _ = self.listed_sites.insert(site),
            LookupRow::ListedSite(site) => _ = self.listed_sites.remove(&site),
            _ => {}
        }
    }

    fn index_campaign(&mut self, campaign: Name) {
        let low = LookupRow::Campaign(campaign, Name::EMPTY);
        match self.greatest(low, LookupRow::Campaign(campaign, Name::GREATEST)) {
            Some(&LookupRow::Campaign(_, advertiser)) if advertiser != Name::EMPTY => {
                self.advertisers.insert(campaign, advertiser);
            }
            _ => _ = self.advertisers.remove(&campaign),
        }
    }

    /// The greatest row present between two bounds.
    fn greatest(&self, low: LookupRow, high: LookupRow) -> Option<&LookupRow> {
        self.rows.range(low..=high).rev().find(|&(_, &count)| count > 0).map(|(row, _)| row)
    }

    /// The advertiser of a campaign, when it is listed with one.
    pub fn advertiser(&self, campaign: Name) -> Option<Name> {
        self.advertisers.get(&campaign).copied()
    }

    /// Whether an impression of this user on this site is invalid traffic.
    pub fn is_listed(&self, user: Id, site: Name) -> bool {
        self.listed_users.contains(&user) || self.listed_sites.contains(&site)
    }

    /// The flood limit in force.
    pub fn max_clicks_per_user_minute(&self) -> u32 {
        let all = LookupRow::MaxClicksPerUserMinute(0)..=LookupRow::MaxClicksPerUserMinute(u32::MAX);
        match self.greatest(*all.start(), *all.end()) {
            Some(&LookupRow::MaxClicksPerUserMinute(limit)) => limit,
            _ => Self::DEFAULT_MAX_CLICKS,
        }
    }

    /// The click join window in force.
    pub fn click_join_window(&self) -> Millis {
        let (low, high) = (Millis(i64::MIN), Millis(i64::MAX));
        match self.greatest(LookupRow::ClickJoinWindow(low), LookupRow::ClickJoinWindow(high)) {
            Some(&LookupRow::ClickJoinWindow(window)) => window,
            _ => Self::DEFAULT_CLICK_JOIN_WINDOW,
        }
    }

    /// The longest windows in force, of rows that contradict each other too.
    pub fn windows(&self) -> Windows {
        let global = self.global_settings();
        let mut windows = Windows {
            click_join: self.click_join_window(),
            click_lookback: global.click_lookback,
            view_lookback: global.view_lookback,
        };
        for (row, _) in self.rows.iter().filter(|&(_, &count)| count > 0) {
            match row {
                LookupRow::ClickJoinWindow(window) => windows.click_join = windows.click_join.max(*window),
                LookupRow::GlobalRule(rule) | LookupRow::AdvertiserRule(_, rule) => {
                    let longer =
                        |known: Millis, rule: Option<Millis>| rule.map_or(known, |rule| known.max(rule));
                    windows.click_lookback = longer(windows.click_lookback, rule.click_lookback);
                    windows.view_lookback = longer(windows.view_lookback, rule.view_lookback);
                }
                _ => {}
            }
        }
        windows
    }

    fn global_settings(&self) -> Attribution {
        let (least, greatest) = (AttributionRule::default(), AttributionRule::GREATEST);
        match self.greatest(LookupRow::GlobalRule(least), LookupRow::GlobalRule(greatest)) {
            Some(LookupRow::GlobalRule(rule)) => Attribution::default().refined_by(rule),
            _ => Attribution::default(),
        }
    }

    /// The attribution settings in force for `advertiser`.
    pub fn attribution(&self, advertiser: Name) -> Attribution {
        let (least, greatest) = (AttributionRule::default(), AttributionRule::GREATEST);
        let mut settings = self.global_settings();
        let low = LookupRow::AdvertiserRule(advertiser, least);
        if let Some(LookupRow::AdvertiserRule(_, rule)) =
            self.greatest(low, LookupRow::AdvertiserRule(advertiser, greatest))
        {
            settings = settings.refined_by(rule);
        }
        settings
    }
}

impl Name {
    const GREATEST: Name = Name::from_raw(u64::MAX);
}

impl AttributionRule {
    const GREATEST: AttributionRule = AttributionRule {
        click_lookback: Some(Millis(i64::MAX)),
        view_lookback: Some(Millis(i64::MAX)),
        half_life: Some(Millis(i64::MAX)),
        default_model: Some(Model::TimeDecay),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_of_contradicting_rows_wins_until_it_is_withdrawn() {
        let (campaign, a, b) = (Name::new("c1"), Name::new("adv1"), Name::new("adv2"));
        let mut lookups = Lookups::default();
        assert_eq!(lookups.advertiser(campaign), None);
        lookups.update(LookupRow::Campaign(campaign, b), 1);
        lookups.update(LookupRow::Campaign(campaign, a), 1);
        assert_eq!(lookups.advertiser(campaign), Some(b));
        lookups.update(LookupRow::Campaign(campaign, b), -1);
        assert_eq!(lookups.advertiser(campaign), Some(a));
    }

    #[test]
    fn the_longest_windows_are_told() {
        let mut lookups = Lookups::default();
        assert_eq!(lookups.windows().click_lookback, Millis::days(30));
        let global = AttributionRule { click_lookback: Some(Millis(7)), ..Default::default() };
        lookups.update(LookupRow::GlobalRule(global), 1);
        let own = AttributionRule { click_lookback: Some(Millis(9)), ..Default::default() };
        lookups.update(LookupRow::AdvertiserRule(Name::new("adv1"), own), 1);
        lookups.update(LookupRow::ClickJoinWindow(Millis(5)), 1);
        let windows =
            Windows { click_join: Millis(5), click_lookback: Millis(9), view_lookback: Millis::days(1) };
        assert_eq!(lookups.windows(), windows);
        lookups.update(LookupRow::AdvertiserRule(Name::new("adv1"), own), -1);
        assert_eq!(lookups.windows().click_lookback, Millis(7));
    }

    #[test]
    fn a_rule_of_an_advertiser_refines_the_global_one() {
        let mut lookups = Lookups::default();
        let global = AttributionRule { half_life: Some(Millis::days(2)), ..Default::default() };
        let own = AttributionRule { default_model: Some(Model::Linear), ..Default::default() };
        lookups.update(LookupRow::GlobalRule(global), 1);
        lookups.update(LookupRow::AdvertiserRule(Name::new("adv1"), own), 1);
        let settings = lookups.attribution(Name::new("adv1"));
        assert_eq!((settings.half_life, settings.default_model), (Millis::days(2), Model::Linear));
        assert_eq!(settings.click_lookback, Millis::days(30));
        assert_eq!(lookups.attribution(Name::new("adv2")).default_model, Model::LastTouch);
    }
}
