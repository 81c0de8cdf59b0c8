//! The canonical events, as fixed-size records. The identity (the key of deduplication) is kept
//! beside the record, not in it.

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

/// A place in an aggregate: a window and the dimensions, in the order of the published tables.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
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

impl<W: Route> Route for Placed<W> {
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
