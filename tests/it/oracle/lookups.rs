//! The lookup tables, read the plain way: look at every row.

use std::collections::BTreeSet;

use dataflows::model::events::Impression;
use dataflows::model::ids::Name;
use dataflows::model::lookups::{AttributionRule, LookupRow, Model};

use super::coverage::{Case, Coverage};
use super::{Record, State};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// The rows present.
pub struct Lookups(BTreeSet<LookupRow>);

/// What holds for one advertiser; lengths in milliseconds.
pub struct Settings {
    pub click_lookback: i64,
    pub view_lookback: i64,
    pub half_life: i64,
    pub default_model: Model,
}

impl Lookups {
    pub fn of(state: &State, coverage: &mut Coverage) -> Self {
        let row = |(record, _)| match record {
            Record::Lookup(row) => Some(row),
            _ => None,
        };
        let lookups = Self(state.present().filter_map(row).collect());
        let pairs = || lookups.0.iter().zip(lookups.0.iter().skip(1));
        for (row, next) in pairs() {
            use LookupRow::*;
            match (row, next) {
                (Campaign(a, _), Campaign(b, _)) => coverage.saw(Case::ContradictoryCampaigns, a == b),
                (MaxClicksPerUserMinute(_), MaxClicksPerUserMinute(_))
                | (ClickJoinWindow(_), ClickJoinWindow(_)) => coverage.saw(Case::ContradictorySettings, true),
                (GlobalRule(_), GlobalRule(_)) => coverage.saw(Case::ContradictoryRules, true),
                (AdvertiserRule(a, _), AdvertiserRule(b, _)) => {
                    coverage.saw(Case::ContradictoryRules, a == b);
                }
                _ => (),
            }
        }
        lookups
    }

    /// The greatest of what `pick` picks from the rows.
    fn greatest<T: Ord>(&self, pick: impl Fn(LookupRow) -> Option<T>) -> Option<T> {
        self.0.iter().filter_map(|row| pick(*row)).max()
    }

    /// The advertiser of a campaign: the empty name when it has none.
    pub fn advertiser(&self, campaign: Name, coverage: &mut Coverage) -> Name {
        let listed = self.greatest(|row| match row {
            LookupRow::Campaign(c, advertiser) if c == campaign => Some(advertiser),
            _ => None,
        });
        coverage.saw(Case::UnlistedCampaign, listed.is_none());
        coverage.saw(Case::CampaignWithoutAdvertiser, listed == Some(Name::EMPTY));
        listed.unwrap_or(Name::EMPTY)
    }

    pub fn is_listed(&self, impression: &Impression, coverage: &mut Coverage) -> bool {
        let user = self.0.contains(&LookupRow::ListedUser(impression.user));
        let site = self.0.contains(&LookupRow::ListedSite(impression.dims.site));
        coverage.saw(Case::ListedUser, user);
        coverage.saw(Case::ListedSite, site);
        user || site
    }

    pub fn max_clicks(&self) -> usize {
        let row = self.greatest(|row| match row {
            LookupRow::MaxClicksPerUserMinute(limit) => Some(limit as usize),
            _ => None,
        });
        row.unwrap_or(10)
    }

    pub fn click_join_window(&self) -> i64 {
        let row = self.greatest(|row| match row {
            LookupRow::ClickJoinWindow(window) => Some(window.0),
            _ => None,
        });
        row.unwrap_or(DAY)
    }

    pub fn settings(&self, advertiser: Name, coverage: &mut Coverage) -> Settings {
        let global: AttributionRule = self
            .greatest(|row| match row {
                LookupRow::GlobalRule(rule) => Some(rule),
                _ => None,
            })
            .unwrap_or_default();
        let own: AttributionRule = self
            .greatest(|row| match row {
                LookupRow::AdvertiserRule(of, rule) if of == advertiser => Some(rule),
                _ => None,
            })
            .unwrap_or_default();
        let refined = own != AttributionRule::default() && own.half_life.is_none();
        coverage.saw(Case::RuleRefined, refined && global.half_life.is_some());
        Settings {
            click_lookback: own.click_lookback.or(global.click_lookback).map_or(30 * DAY, |length| length.0),
            view_lookback: own.view_lookback.or(global.view_lookback).map_or(DAY, |length| length.0),
            half_life: own.half_life.or(global.half_life).map_or(7 * DAY, |length| length.0),
            default_model: own.default_model.or(global.default_model).unwrap_or(Model::LastTouch),
        }
    }
}
