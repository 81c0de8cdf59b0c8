//! The campaigns people ask about first.

use dataflows::model::measures::Measures;
use differential_dataflow::difference::Semigroup;
use serde::{Deserialize, Serialize};

use crate::names::{NameMap, Names};
use crate::sinks::tables::PerformanceMinute;

const SHOWN: usize = 10;

/// All that a campaign amounts to.
#[derive(Clone, Debug)]
pub struct CampaignTotals {
    /// The campaign.
    pub campaign: String,
    /// Its measures over the whole run.
    pub totals: Measures,
}

/// All that each campaign amounts to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Campaigns(NameMap<Measures>);

impl Campaigns {
    /// Adds a row.
    pub fn count(&mut self, ((_, campaign), measures): &PerformanceMinute) {
        self.0.entry(*campaign).or_default().plus_equals(measures);
    }

    /// Adds what another worker counted.
    pub fn add(&mut self, other: Campaigns) {
        for (campaign, measures) in other.0 {
            self.0.entry(campaign).or_default().plus_equals(&measures);
        }
    }

    /// The campaigns with the largest spend, largest first.
    pub fn largest(self, names: &Names) -> Vec<CampaignTotals> {
        let totals = |(campaign, totals)| CampaignTotals { campaign: names.name_text(campaign), totals };
        let mut rows: Vec<_> = self.0.into_iter().map(totals).collect();
        rows.sort_by(|a, b| (b.totals.spend_micros, &a.campaign).cmp(&(a.totals.spend_micros, &b.campaign)));
        rows.truncate(SHOWN);
        rows
    }
}
