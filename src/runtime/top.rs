//! The campaigns people ask about first.

use std::collections::BTreeMap;

use dataflows::model::ids::Name;
use dataflows::model::measures::Measures;
use differential_dataflow::difference::Semigroup;

use super::parts::Parts;
use crate::names::Names;

const SHOWN: usize = 10;

/// All that a campaign amounts to.
#[derive(Clone, Debug)]
pub struct CampaignTotals {
    /// The campaign.
    pub campaign: String,
    /// Its measures over the whole run.
    pub totals: Measures,
}

/// The campaigns with the largest spend, largest first.
pub fn campaigns(parts: &[Parts], names: &Names) -> Vec<CampaignTotals> {
    let mut totals: BTreeMap<Name, Measures> = BTreeMap::new();
    for ((_, campaign), measures) in parts.iter().flat_map(|part| part.performance_minute.iter()) {
        totals.entry(*campaign).or_default().plus_equals(measures);
    }
    let mut rows: Vec<_> = totals
        .into_iter()
        .map(|(campaign, totals)| CampaignTotals { campaign: names.name_text(campaign), totals })
        .collect();
    rows.sort_by(|a, b| (b.totals.spend_micros, &a.campaign).cmp(&(a.totals.spend_micros, &b.campaign)));
    rows.truncate(SHOWN);
    rows
}
