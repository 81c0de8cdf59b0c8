//! The canonical events, as fixed-size records. The identity (the key of deduplication) is kept
//! beside the record, not in it.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::ids::{Id, Name, Route, mix};
use super::money::Micros;
use super::time::{EventTime, Hour, Minute};

/// A country: two ASCII letters (ISO 3166-1 alpha-2), or nothing.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Country([u8; 2]);

impl Country {
    /// Parses `""` or two ASCII letters; letters are upper-cased.
    pub fn parse(text: &str) -> Option<Self> {
        match *text.as_bytes() {
            [] => Some(Self::default()),
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// A number that orders as the country does.
    pub fn code(self) -> u16 {
        u16::from_be_bytes(self.0)
    }

    /// The country of a [`Country::code`].
    pub fn from_code(code: u16) -> Self {
        Self(code.to_be_bytes())
    }

    /// The two letters, or the empty text.
    pub fn as_str(&self) -> &str {
        match self.0 {
            [0, 0] => "",
            _ => std::str::from_utf8(&self.0).unwrap_or(""),
        }
    }
}

/// The kind of device an ad is shown on.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Device {
    /// Not said.
    #[default]
    Unknown,
    /// Connected television.
    Ctv,
    /// A desktop or laptop computer.
    Desktop,
    /// A telephone.
    Mobile,
    /// Said to be something else.
    Other,
    /// A tablet.
    Tablet,
}

impl Device {
    /// Every device, in the order of their texts.
    pub const ALL: [Device; 6] =
        [Device::Unknown, Device::Ctv, Device::Desktop, Device::Mobile, Device::Other, Device::Tablet];

    /// The device's text in feeds and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Device::Unknown => "",
            Device::Ctv => "ctv",
            Device::Desktop => "desktop",
            Device::Mobile => "mobile",
            Device::Other => "other",
            Device::Tablet => "tablet",
        }
    }

    /// The device a text names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|device| device.as_str() == text)
    }
}

/// What an event is counted under.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Dims {
    /// The campaign.
    pub campaign: Name,
    /// The creative shown; empty when unknown.
    pub creative: Name,
    /// Where it was shown; empty when unknown.
    pub site: Name,
    /// The viewer's country.
    pub country: Country,
    /// The viewer's device.
    pub device: Device,
}

/// A place in an aggregate: a window and the dimensions.
///
/// Places are ordered by window, and within a window by a hash: nearly any two places are then
/// told apart by one comparison, where names, of which a window's places share most, would have
/// to be compared one after the other.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Hash, Serialize, Deserialize)]
pub struct Placed<W> {
    /// The window.
    pub window: W,
    /// The campaign.
    pub campaign: Name,
    /// The creative.
    pub creative: Name,
    /// The site.
    pub site: Name,
    /// The viewer's country.
    pub country: Country,
    /// The viewer's device.
    pub device: Device,
}

impl Placed<Minute> {
    /// The place of an event with these dimensions in this minute.
    pub fn new(window: Minute, dims: &Dims) -> Self {
        let Dims { campaign, creative, site, country, device } = *dims;
        Self { window, country, device, campaign, creative, site }
    }

    /// The same place, an hour wide.
    pub fn hourly(self) -> Placed<Hour> {
        let Self { window, country, device, campaign, creative, site } = self;
        Placed { window: window.hour(), country, device, campaign, creative, site }
    }
}

impl Placed<Hour> {
    /// The same place in the first minute of the hour.
    pub fn first_minute(self) -> Placed<Minute> {
        let Self { window, country, device, campaign, creative, site } = self;
        Placed { window: window.first_minute(), country, device, campaign, creative, site }
    }
}

impl<W> Placed<W> {
    fn hash(&self) -> u64 {
        let Self { campaign, creative, site, country, device, .. } = self;
        // Odd factors without structure in common, so that names don't cancel each other.
        let campaign = campaign.raw().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let creative = creative.raw().wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(32);
        let site = site.raw().wrapping_mul(0xa076_1d64_78bd_642f);
        mix(campaign ^ creative ^ site ^ u64::from(country.code()) << 8 ^ *device as u64)
    }
}

impl<W: Ord> Ord for Placed<W> {
    fn cmp(&self, other: &Self) -> Ordering {
        let rest = |place: &Self| (place.campaign, place.creative, place.site, place.country, place.device);
        let by_hash = || self.hash().cmp(&other.hash());
        self.window.cmp(&other.window).then_with(by_hash).then_with(|| rest(self).cmp(&rest(other)))
    }
}

impl<W: Ord> PartialOrd for Placed<W> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<W: Route> Route for Placed<W> {
    const LEAD_BITS: u32 = W::LEAD_BITS + 64;

    fn lead(&self) -> u128 {
        self.window.lead() | u128::from(self.hash()) << (64 - W::LEAD_BITS)
    }

    fn route(&self) -> u64 {
        // Country and device add little; leaving them out keeps neighbours together.
        mix(self.window.route() ^ self.campaign.route().rotate_left(17) ^ (self.creative, self.site).route())
    }
}

/// One bid of an auction. Identity: the auction and [`Dims::campaign`].
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Bid {
    /// What the bid is counted under.
    pub dims: Dims,
    /// The price offered for one impression.
    pub bid: Micros,
    /// When the auction was held.
    pub ts: EventTime,
}

/// One served impression. Identity: the impression id.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Impression {
    /// When it was served.
    pub ts: EventTime,
    /// The auction that was won.
    pub auction: Id,
    /// Who saw it.
    pub user: Id,
    /// What it is counted under.
    pub dims: Dims,
    /// What it cost.
    pub cost: Micros,
    /// Whether it was measured as viewable.
    pub viewable: bool,
}

/// One click. Identity: the click id.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Click {
    /// When it happened.
    pub ts: EventTime,
    /// The impression clicked on.
    pub impression: Id,
}

/// One conversion. Identity: the conversion id.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Conversion {
    /// When it happened.
    pub ts: EventTime,
    /// Who converted.
    pub user: Id,
    /// With which advertiser.
    pub advertiser: Name,
    /// What kind (purchase, signup …); empty when not said.
    pub kind: Name,
    /// What it was worth.
    pub value: Micros,
}
