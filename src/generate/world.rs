//! Who takes part: campaigns and their creatives, advertisers, users, sites, and the hours at
//! which they are busy. Properties of one of them are hashed from its number, so a world of any
//! size takes no memory.

use super::dice::{Dice, Weighted, Zipf, bell, exp2, mix};
use super::plan::Plan;
use super::text::{push_date, push_numbered};

const COUNTRIES: [(&str, f64); 16] = [
    ("US", 30.0),
    ("IN", 16.0),
    ("GB", 9.0),
    ("DE", 8.0),
    ("BR", 7.0),
    ("FR", 6.0),
    ("JP", 5.0),
    ("CA", 4.0),
    ("ID", 3.0),
    ("ES", 2.5),
    ("IT", 2.5),
    ("AU", 2.0),
    ("PL", 1.5),
    ("NL", 1.5),
    ("SE", 1.0),
    ("ZA", 1.0),
];
const DEVICES: [(&str, f64); 5] =
    [("mobile", 58.0), ("desktop", 27.0), ("ctv", 8.0), ("tablet", 6.0), ("other", 1.0)];
/// Kinds of conversion, how common they are, and their typical value in hundredths.
const CONVERSIONS: [(&str, f64, f64); 4] =
    [("purchase", 55.0, 4_900.0), ("signup", 25.0, 900.0), ("install", 15.0, 250.0), ("lead", 5.0, 2_500.0)];
/// Traffic of each UTC hour: quiet at night, a hump at noon, the peak in the evening.
const HOURS: [f64; 24] = [
    0.50, 0.38, 0.31, 0.28, 0.30, 0.38, 0.55, 0.78, 0.98, 1.08, 1.12, 1.18, 1.25, 1.22, 1.15, 1.13, 1.18,
    1.28, 1.45, 1.62, 1.70, 1.55, 1.15, 0.78,
];
const DAY_MILLIS: f64 = 86_400_000.0;

/// Says that a place in the world is not known.
pub(super) const NOWHERE: u8 = u8::MAX;

/// The text of a country.
pub(super) fn country_text(country: u8) -> &'static str {
    COUNTRIES.get(usize::from(country)).map_or("", |entry| entry.0)
}

/// The text of a device.
pub(super) fn device_text(device: u8) -> &'static str {
    DEVICES.get(usize::from(device)).map_or("", |entry| entry.0)
}

/// The text of a kind of conversion.
pub(super) fn conversion_text(kind: u8) -> &'static str {
    CONVERSIONS.get(usize::from(kind)).map_or("", |entry| entry.0)
}

/// Everyone who takes part.
pub(super) struct World {
    seed: u64,
    start: i64,
    end: i64,
    days: f64,
    auctions: u64,
    campaigns: u32,
    advertisers: u32,
    campaign: Zipf,
    user: Zipf,
    site: Zipf,
    country: Weighted,
    device: Weighted,
    conversion: Weighted,
    /// Where of all the day's traffic each hour ends.
    hour_ends: [f64; 24],
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut sum = 0.0;
        let total: f64 = HOURS.iter().sum();
        let hour_ends = HOURS.map(|weight| (sum += weight / total, sum).1);
        Self {
            seed: mix(plan.seed),
            start: plan.start_millis,
            end: plan.start_millis + millis_after(plan.days, &hour_ends),
            days: plan.days,
            auctions: plan.auctions,
            campaigns: plan.campaigns,
            advertisers: plan.advertisers,
            campaign: Zipf::new(plan.campaigns, 3.0),
            // Even the keenest user sees a small part of all ads.
            user: Zipf::new(plan.users, 1.0 + f64::from(plan.users) / 50.0),
            site: Zipf::new(plan.sites, 5.0),
            country: Weighted::new(&COUNTRIES.map(|entry| entry.1)),
            device: Weighted::new(&DEVICES.map(|entry| entry.1)),
            conversion: Weighted::new(&CONVERSIONS.map(|entry| entry.1)),
            hour_ends,
        }
    }

    /// When the `n`-th auction is held; never earlier than the one before it.
    pub(super) fn auction_time(&self, n: u64, dice: &mut Dice) -> i64 {
        let share = (n as f64 + dice.unit()) / self.auctions as f64 * self.days;
        (self.start + millis_after(share, &self.hour_ends)).min(self.end - 1)
    }

    pub(super) fn any_campaign(&self, dice: &mut Dice) -> u32 {
        self.campaign.pick(dice)
    }

    pub(super) fn any_user(&self, dice: &mut Dice) -> u32 {
        self.user.pick(dice)
    }

    pub(super) fn any_site(&self, dice: &mut Dice) -> u32 {
        self.site.pick(dice)
    }

    pub(super) fn any_conversion(&self, dice: &mut Dice) -> u8 {
        self.conversion.pick(dice.bits()) as u8
    }

    /// How many campaigns there are.
    pub(super) fn campaigns(&self) -> u32 {
        self.campaigns
    }

    /// A campaign of an advertiser.
    pub(super) fn campaign_of(&self, advertiser: u32, dice: &mut Dice) -> u32 {
        let owned = (self.campaigns - advertiser).div_ceil(self.advertisers);
        advertiser + self.advertisers * dice.below(u64::from(owned)) as u32
    }

    /// Who owns a campaign.
    pub(super) fn advertiser(&self, campaign: u32) -> u32 {
        campaign % self.advertisers
    }

    fn hash(&self, salt: u64, n: u32) -> u64 {
        mix(self.seed ^ (salt << 32) ^ u64::from(n))
    }

    /// Where a user lives.
    pub(super) fn home(&self, user: u32) -> u8 {
        self.country.pick(self.hash(1, user)) as u8
    }

    /// What a user holds now: mostly the usual device.
    pub(super) fn device(&self, user: u32, dice: &mut Dice) -> u8 {
        let usual = !dice.chance(0.25);
        let bits = if usual { self.hash(2, user) } else { dice.bits() };
        self.device.pick(bits) as u8
    }

    /// One of the one to eight creatives of a campaign, the first ones more often.
    pub(super) fn creative(&self, campaign: u32, dice: &mut Dice) -> u32 {
        let count = 1.0 + (self.hash(3, campaign) % 8) as f64;
        campaign * 10 + (dice.unit() * dice.unit() * count) as u32
    }

    /// A bid of a campaign, in thousandths per 1000 impressions: log-normal about its own mean.
    pub(super) fn bid(&self, campaign: u32, dice: &mut Dice) -> u32 {
        let spread = 0.55 * bell(self.hash(4, campaign)) + 0.65 * bell(dice.bits());
        (3_200.0 * exp2(spread)) as u32
    }

    /// What a conversion is worth, in hundredths; some are worth nothing that is known.
    pub(super) fn value(&self, kind: u8, dice: &mut Dice) -> u32 {
        let (name, _, typical) = CONVERSIONS[usize::from(kind)];
        if name != "purchase" && dice.chance(0.3) {
            return 0;
        }
        (typical * exp2(1.1 * bell(dice.bits()))) as u32
    }

    /// Appends a row of the table of campaigns, without its line end.
    fn push_campaign(&self, out: &mut String, campaign: u32) {
        const BRANDS: [&str; 12] = [
            "Alder",
            "Brightwater",
            "Cobalt",
            "Dune",
            "Everly",
            "Fjord",
            "Granite",
            "Harbor",
            "Ivory",
            "Juniper",
            "Kestrel",
            "Lumen",
        ];
        const THEMES: [&str; 8] = [
            "Spring Sale",
            "Always On",
            "Launch",
            "Retargeting",
            "App Install",
            "Brand",
            "Clearance",
            "Loyalty",
        ];
        let advertiser = self.advertiser(campaign);
        let bits = self.hash(5, campaign);
        push_numbered(out, "c", u64::from(campaign));
        push_numbered(out, ",adv", u64::from(advertiser));
        out.push(',');
        out.push_str(BRANDS[advertiser as usize % BRANDS.len()]);
        out.push(' ');
        out.push_str(THEMES[(bits % 8) as usize]);
        push_numbered(out, " ", u64::from(campaign));
        out.push(',');
        push_date(out, (self.start - 28 * 86_400_000).max(0));
        out.push(',');
        push_date(out, self.end + 31 * 86_400_000);
        push_numbered(out, ",", 50 + (bits >> 8) % 40 * 25);
    }

    /// The table of campaigns, as CSV.
    pub(super) fn campaigns_csv(&self) -> String {
        let mut out = String::from("campaign_id,advertiser_id,name,starts,ends,daily_budget\n");
        for campaign in 0..self.campaigns {
            self.push_campaign(&mut out, campaign);
            out.push('\n');
        }
        out
    }
}

/// How long after its start traffic is through with `days` days of auctions.
fn millis_after(days: f64, hour_ends: &[f64; 24]) -> i64 {
    let (day, of_day) = (days.floor(), days - days.floor());
    let hour = hour_ends.partition_point(|&end| end <= of_day).min(23);
    let begin = if hour == 0 { 0.0 } else { hour_ends[hour - 1] };
    let of_hour = (of_day - begin) / (hour_ends[hour] - begin);
    ((day + (hour as f64 + of_hour) / 24.0) * DAY_MILLIS) as i64
}
