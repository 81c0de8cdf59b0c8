//! What traffic to make: every knob, its default and its range.

use clap::{Args, ValueEnum};

/// How ids of auctions, impressions, clicks, conversions and users are written.
#[derive(Copy, Clone, Debug, Eq, PartialEq, ValueEnum)]
pub enum IdStyle {
    /// At most 15 bytes, such as `ab-00000000c5`: the system keeps these inside its keys.
    Short,
    /// 36 characters, such as `0b5e…`: the system has to keep these in a dictionary.
    Uuid,
}

/// What the traffic is written as.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Format {
    #[default]
    /// The feeds as they arrive: JSON Lines, CSV and Avro, with bad records among them.
    Raw,
    /// Canonical events, one Parquet file per kind.
    Parquet,
}

/// What traffic to make. Equal plans make equal bytes, on every machine.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Plan {
    /// Auctions to hold; each has about 2.35 bids and 0.64 impressions
    #[arg(long, default_value_t = Plan::DEFAULT.auctions)]
    pub auctions: u64,
    /// Seed of all chance; another seed gives other traffic of the same shape
    #[arg(long, default_value_t = Plan::DEFAULT.seed)]
    pub seed: u64,
    /// Days over which the auctions are spread
    #[arg(long, default_value_t = Plan::DEFAULT.days)]
    pub days: f64,
    /// First instant, in epoch milliseconds; a UTC midnight puts the daily peak in the evening
    #[arg(long, default_value_t = Plan::DEFAULT.start_millis)]
    pub start_millis: i64,
    /// Campaigns that bid
    #[arg(long, default_value_t = Plan::DEFAULT.campaigns)]
    pub campaigns: u32,
    /// Advertisers who own the campaigns
    #[arg(long, default_value_t = Plan::DEFAULT.advertisers)]
    pub advertisers: u32,
    /// Users who see the ads
    #[arg(long, default_value_t = Plan::DEFAULT.users)]
    pub users: u32,
    /// Sites that show the ads
    #[arg(long, default_value_t = Plan::DEFAULT.sites)]
    pub sites: u32,
    /// Mean number of bids of an auction, those without any included
    #[arg(long, default_value_t = Plan::DEFAULT.bids_per_auction)]
    pub bids_per_auction: f64,
    /// Clicks per impression
    #[arg(long, default_value_t = Plan::DEFAULT.click_rate)]
    pub click_rate: f64,
    /// Conversions per impression
    #[arg(long, default_value_t = Plan::DEFAULT.conversion_rate)]
    pub conversion_rate: f64,
    /// Share of records that arrive a second time, unchanged
    #[arg(long, default_value_t = Plan::DEFAULT.redelivery_rate)]
    pub redelivery_rate: f64,
    /// Share of records that arrive a second time with another time, price or value
    #[arg(long, default_value_t = Plan::DEFAULT.conflict_rate)]
    pub conflict_rate: f64,
    /// Longest ordinary delay between an event and its arrival, in milliseconds
    #[arg(long, default_value_t = Plan::DEFAULT.disorder_millis)]
    pub disorder_millis: i64,
    /// Share of records that are delayed for longer than that
    #[arg(long, default_value_t = Plan::DEFAULT.late_rate)]
    pub late_rate: f64,
    /// Longest such delay, in milliseconds
    #[arg(long, default_value_t = Plan::DEFAULT.late_millis)]
    pub late_millis: i64,
    /// Bursts of more than 10 clicks of one user in one minute (at most one per 16 auctions)
    #[arg(long, default_value_t = Plan::DEFAULT.floods)]
    pub floods: u32,
    /// Clicks whose impression never comes, as a share of all clicks
    #[arg(long, default_value_t = Plan::DEFAULT.orphan_rate)]
    pub orphan_rate: f64,
    /// Bad records in each raw feed, cycling through every reason the feed can break
    #[arg(long, default_value_t = Plan::DEFAULT.bad_records)]
    pub bad_records: u32,
    /// How ids are written
    #[arg(long, value_enum, default_value_t = Plan::DEFAULT.id_style)]
    pub id_style: IdStyle,
}

impl Plan {
    /// The plan of someone who asks for nothing in particular.
    pub const DEFAULT: Plan = Plan {
        auctions: 100_000,
        seed: 1,
        days: 3.0,
        start_millis: 1_772_323_200_000, // 2026-03-01T00:00:00Z
        campaigns: 1_000,
        advertisers: 120,
        users: 100_000,
        sites: 2_000,
        bids_per_auction: 2.35,
        click_rate: 0.025,
        conversion_rate: 0.008,
        redelivery_rate: 0.02,
        conflict_rate: 0.001,
        disorder_millis: 60_000,
        late_rate: 0.002,
        late_millis: 6 * 3_600_000,
        floods: 5,
        orphan_rate: 0.01,
        bad_records: 21,
        id_style: IdStyle::Short,
    };

    /// Whether the plan can be carried out.
    pub fn check(&self) -> Result<(), PlanError> {
        // Ten hex digits of a short id end at 1.1e12; the other bounds keep tables in memory
        // and every time within the years 1970 to 9999.
        within("auctions", self.auctions as f64, 1.0, 1e12)?;
        within("days", self.days, 0.0001, 3_650.0)?;
        // A day after 1970 at least: a conflicting time may lie a little before the first event.
        within("start-millis", self.start_millis as f64, 864e5, 2.2e14)?;
        within("campaigns", f64::from(self.campaigns), 1.0, 1e6)?;
        within("advertisers", f64::from(self.advertisers), 1.0, f64::from(self.campaigns))?;
        within("users", f64::from(self.users), 1.0, 2e8)?;
        within("sites", f64::from(self.sites), 1.0, 1e6)?;
        within("bids-per-auction", self.bids_per_auction, 0.1, 6.0)?;
        within("click-rate", self.click_rate, 0.0, 0.5)?;
        within("conversion-rate", self.conversion_rate, 0.0, 0.5)?;
        within("redelivery-rate", self.redelivery_rate, 0.0, 1.0)?;
        within("conflict-rate", self.conflict_rate, 0.0, 1.0)?;
        within("disorder-millis", self.disorder_millis as f64, 0.0, 864e5)?;
        within("late-rate", self.late_rate, 0.0, 1.0)?;
        // A late record is one that the ordinary delay does not explain.
        within("late-millis", self.late_millis as f64, self.disorder_millis as f64, 365.0 * 864e5)?;
        within("orphan-rate", self.orphan_rate, 0.0, 1.0)
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A plan that can't be carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("--{option} is {value}; choose a value from {least} to {greatest}")]
pub struct PlanError {
    /// The option at fault, as it is typed.
    pub option: &'static str,
    /// What was asked for.
    pub value: f64,
    /// The least value that works, given the rest of the plan.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

fn within(option: &'static str, value: f64, least: f64, greatest: f64) -> Result<(), PlanError> {
    // Not-a-number lies in no range.
    if (least..=greatest).contains(&value) {
        Ok(())
    } else {
        Err(PlanError { option, value, least, greatest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_plan_works_and_a_range_is_kept() {
        assert_eq!(Plan::DEFAULT.check(), Ok(()));
        let option = |plan: Plan| plan.check().expect_err("out of range").option;
        assert_eq!(option(Plan { auctions: 0, ..Plan::DEFAULT }), "auctions");
        assert_eq!(option(Plan { late_rate: f64::NAN, ..Plan::DEFAULT }), "late-rate");
        assert_eq!(option(Plan { advertisers: 2_000, ..Plan::DEFAULT }), "advertisers");
        assert_eq!(option(Plan { late_millis: 1, ..Plan::DEFAULT }), "late-millis");
        let text = Plan { days: 0.0, ..Plan::DEFAULT }.check().expect_err("no days").to_string();
        assert_eq!(text, "--days is 0; choose a value from 0.0001 to 3650");
    }
}
