//! What is wrong with the values of a row.

use dataflows::model::events::{Country, Device, Dims};
use dataflows::model::ids::Name;
use dataflows::model::reject::Reason;
use dataflows::model::time::EventTime;

use super::columns::Checked;
use crate::formats::Batch;
use crate::formats::fields::rank;

/// A time that the batch does not take in is a fault, too.
pub fn judged(ts: Checked<EventTime>, batch: &Batch) -> Checked<EventTime> {
    ts.and_then(|ts| batch.gate.judge(ts).map_or(Ok(ts), Err))
}

/// What is wrong with a column's value, if anything.
pub fn fault<T>(column: &'static str, checked: Checked<T>) -> Option<(&'static str, Reason)> {
    checked.err().map(|reason| (column, reason))
}

/// The dimensions of a batch of rows.
pub struct DimColumns {
    pub campaigns: Vec<Checked<Name>>,
    pub creatives: Vec<Checked<Name>>,
    pub sites: Vec<Checked<Name>>,
    pub countries: Vec<Checked<Country>>,
    pub devices: Vec<Checked<Device>>,
}

impl DimColumns {
    pub fn get(&self, row: usize) -> Result<Dims, (&'static str, Reason)> {
        let place = (self.campaigns[row], self.creatives[row], self.sites[row]);
        match (place, self.countries[row], self.devices[row]) {
            ((Ok(campaign), Ok(creative), Ok(site)), Ok(country), Ok(device)) => {
                Ok(Dims { campaign, creative, site, country, device })
            }
            ((campaign, creative, site), country, device) => {
                let faults = [
                    fault("campaign_id", campaign),
                    fault("creative_id", creative),
                    fault("site", site),
                    fault("country", country),
                    fault("device", device),
                ];
                let worst = faults.into_iter().flatten().min_by_key(|fault| rank(fault.1));
                Err(worst.unwrap_or(("campaign_id", Reason::Malformed)))
            }
        }
    }
}
