//! From slots to canonical events: every rule of validation for row formats, once.
//!
//! Several faults in one record are reported as the first of: malformed, missing field, too long,
//! bad timestamp, bad number, negative money, bad enum. Only the fields its kind uses are looked
//! at: a click may carry anything as a campaign.

use dataflows::model::events::{Bid, Click, Conversion, Country, Device, Dims, Impression};
use dataflows::model::ids::Id;
use dataflows::model::money::Micros;
use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::EventTime;

use super::decimal::{self, BadMoney};
use super::layout::{Class, Field, Kinds, Layout};
use super::slots::{Slot, Slots};
use super::timestamp::TimeFormat;
use super::{Batch, DecodeError};
use crate::names::{Collision, SharedNames};

/// What is wrong with a record.
#[derive(Debug, PartialEq)]
pub struct Fault {
    /// The closed reason.
    pub reason: Reason,
    /// For people.
    pub hint: String,
}

impl Fault {
    /// A fault of a field.
    pub fn new(reason: Reason, hint: impl Into<String>) -> Self {
        Self { reason, hint: hint.into() }
    }

    fn rank(&self) -> usize {
        rank(self.reason)
    }
}

/// Where a reason stands in the order of checks: of several faults the least is reported.
pub fn rank(reason: Reason) -> usize {
    const ORDER: [Reason; 7] = [
        Reason::Malformed,
        Reason::MissingField,
        Reason::TooLong,
        Reason::BadTimestamp,
        Reason::BadNumber,
        Reason::NegativeMoney,
        Reason::BadEnum,
    ];
    ORDER.iter().position(|&known| known == reason).unwrap_or(ORDER.len())
}

/// Why a record yields no event: its own fault, or one that stops the run.
#[derive(Debug)]
pub enum Refusal {
    /// The record is at fault.
    Fault(Fault),
    /// The run must stop.
    Fatal(DecodeError),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Refusal::Fault(fault)
    }
}

impl From<Collision> for Refusal {
    fn from(collision: Collision) -> Self {
        Refusal::Fatal(collision.into())
    }
}

/// The rules for one source.
#[derive(Clone, Debug)]
pub struct Rules {
    time: TimeFormat,
    money_scale: i32,
    kinds: Kinds,
    names: SharedNames,
}

const IMPRESSION: &[(Field, bool)] = &[
    (Field::ImpressionId, true),
    (Field::AuctionId, true),
    (Field::Timestamp, true),
    (Field::UserId, true),
    (Field::CampaignId, true),
    (Field::Price, true),
    (Field::CreativeId, false),
    (Field::Site, false),
    (Field::Country, false),
    (Field::Device, false),
];
const CLICK: &[(Field, bool)] =
    &[(Field::EventId, true), (Field::Timestamp, true), (Field::ImpressionId, true)];
const CONVERSION: &[(Field, bool)] = &[
    (Field::EventId, true),
    (Field::Timestamp, true),
    (Field::UserId, true),
    (Field::AdvertiserId, true),
    (Field::ConversionType, false),
    (Field::Value, false),
];
const UNKNOWN_EVENT: &[(Field, bool)] =
    &[(Field::EventType, true), (Field::EventId, true), (Field::Timestamp, true), (Field::Value, false)];
const REQUEST: &[(Field, bool)] = &[
    (Field::AuctionId, true),
    (Field::Timestamp, true),
    (Field::UserId, false),
    (Field::Site, false),
    (Field::Country, false),
    (Field::Device, false),
];
const BID: &[(Field, bool)] = &[(Field::CampaignId, true), (Field::Price, true), (Field::CreativeId, false)];

impl Rules {
    /// The rules of a layout.
    pub fn new(layout: &Layout, names: SharedNames) -> Self {
        let Layout { time, money_scale, kinds, .. } = layout.clone();
        Self { time, money_scale, kinds, names }
    }

    /// The record's time, if that much can be read; for its reject.
    pub fn time_if_any(&self, slots: &Slots<'_>) -> Option<EventTime> {
        self.time(slots).ok()
    }

    /// The event of a flat record.
    pub fn record(&self, feed: Feed, slots: &Slots<'_>, batch: &mut Batch) -> Result<(), Refusal> {
        match feed {
            Feed::Impressions => self.impression(slots, batch),
            Feed::Events => self.event(slots, batch),
            // One bid per record: a request with a single bid.
            Feed::BidRequests => {
                let bid = BidSlots {
                    campaign: slots.get(Field::CampaignId).clone(),
                    creative: slots.get(Field::CreativeId).clone(),
                    price: slots.get(Field::Price).clone(),
                };
                self.bids(slots, &[bid], batch)
            }
        }
    }

    /// An impression.
    pub fn impression(&self, slots: &Slots<'_>, batch: &mut Batch) -> Result<(), Refusal> {
        shape(slots, IMPRESSION)?;
        let ts = self.time(slots)?;
        let cost = self.money(slots.get(Field::Price), Field::Price)?;
        let (country, device) = place(slots)?;
        let viewable = match slots.get(Field::Viewable) {
            Slot::Bool(viewable) => *viewable,
            Slot::Missing => false,
            _ => return Err(Fault::new(Reason::BadEnum, "viewable: true or false is expected").into()),
        };
        let text = |field| slots.get(field).as_text();
        let dims = self.dims(slots, text(Field::CampaignId), text(Field::CreativeId), country, device)?;
        let (auction, user) = (batch.kept.id(text(Field::AuctionId)), batch.kept.id(text(Field::UserId)));
        let id = self.id(slots, Field::ImpressionId, ts, batch)?;
        batch.impressions.push((id, Impression { ts, auction, user, dims, cost, viewable }));
        Ok(())
    }

    /// A click or a conversion.
    pub fn event(&self, slots: &Slots<'_>, batch: &mut Batch) -> Result<(), Refusal> {
        let word = slots.get(Field::EventType);
        match &self.kinds {
            Kinds::AllClicks => self.click(slots, batch),
            Kinds::AllConversions => self.conversion(slots, batch),
            Kinds::Words { click, .. } if click.iter().any(|known| known == word.as_text()) => {
                self.click(slots, batch)
            }
            Kinds::Words { conversion, .. } if conversion.iter().any(|known| known == word.as_text()) => {
                self.conversion(slots, batch)
            }
            Kinds::Words { click, conversion } => {
                shape(slots, UNKNOWN_EVENT)?;
                self.time(slots)?;
                self.value(slots)?;
                let known = click.iter().chain(conversion).cloned().collect::<Vec<_>>().join(", ");
                Err(Fault::new(Reason::BadEnum, format!("event_type: one of {known} is expected")).into())
            }
        }
    }

    fn click(&self, slots: &Slots<'_>, batch: &mut Batch) -> Result<(), Refusal> {
        shape(slots, CLICK)?;
        let ts = self.time(slots)?;
        let impression = batch.kept.id(slots.get(Field::ImpressionId).as_text());
        let id = self.id(slots, Field::EventId, ts, batch)?;
        batch.clicks.push((id, Click { ts, impression }));
        Ok(())
    }

    fn conversion(&self, slots: &Slots<'_>, batch: &mut Batch) -> Result<(), Refusal> {
        shape(slots, CONVERSION)?;
        let ts = self.time(slots)?;
        let value = self.value(slots)?;
        let text = |field| slots.get(field).as_text();
        let user = batch.kept.id(text(Field::UserId));
        let advertiser = self.names.name(text(Field::AdvertiserId))?;
        let kind = batch.kept.name(text(Field::ConversionType));
        let id = self.id(slots, Field::EventId, ts, batch)?;
        batch.conversions.push((id, Conversion { ts, user, advertiser, kind, value }));
        Ok(())
    }

    /// A request and its bids: all of them, or none.
    pub fn bids(&self, slots: &Slots<'_>, bids: &[BidSlots<'_>], batch: &mut Batch) -> Result<(), Refusal> {
        let before = batch.bids.len();
        let refused = self.bids_inner(slots, bids, batch);
        if refused.is_err() {
            batch.bids.truncate(before);
            batch.kept.truncate_bids(before);
        }
        refused
    }

    fn bids_inner(&self, slots: &Slots<'_>, bids: &[BidSlots<'_>], batch: &mut Batch) -> Result<(), Refusal> {
        let request = self.request(slots);
        let prices = bids.iter().map(|bid| self.price(bid));
        if request.is_err() || prices.clone().any(|price| price.is_err()) {
            let faults = request.err().into_iter().chain(prices.filter_map(Result::err));
            return faults.min_by_key(Fault::rank).map_or(Ok(()), |fault| Err(fault.into()));
        }
        let (ts, country, device) = request?;
        let auction = batch.kept.id(slots.get(Field::AuctionId).as_text());
        let mut dims = Dims { country, device, ..Dims::default() };
        dims.site = self.names.name(slots.get(Field::Site).as_text())?;
        let user = slots.get(Field::UserId).as_text();
        for slots in bids {
            dims.campaign = self.names.name(slots.campaign.as_text())?;
            dims.creative = self.names.name(slots.creative.as_text())?;
            batch.bids.push((auction, Bid { dims, bid: self.price(slots)?, ts }));
            batch.kept.bid_user(user);
        }
        Ok(())
    }

    /// The key of an id that may be published, of a record of this time.
    fn id(&self, slots: &Slots<'_>, field: Field, ts: EventTime, batch: &mut Batch) -> Result<Id, Collision> {
        let text = slots.get(field).as_text();
        let id = self.names.id(text, ts)?;
        batch.kept.note(id, text);
        Ok(id)
    }

    fn request(&self, slots: &Slots<'_>) -> Result<(EventTime, Country, Device), Fault> {
        shape(slots, REQUEST)?;
        let ts = self.time(slots)?;
        let (country, device) = place(slots)?;
        Ok((ts, country, device))
    }

    fn price(&self, bid: &BidSlots<'_>) -> Result<Micros, Fault> {
        let slots = [&bid.campaign, &bid.price, &bid.creative];
        check(slots.into_iter().zip(BID))?;
        self.money(&bid.price, Field::Price)
    }

    fn dims(
        &self,
        slots: &Slots<'_>,
        campaign: &str,
        creative: &str,
        country: Country,
        device: Device,
    ) -> Result<Dims, Collision> {
        Ok(Dims {
            campaign: self.names.name(campaign)?,
            creative: self.names.name(creative)?,
            site: self.names.name(slots.get(Field::Site).as_text())?,
            country,
            device,
        })
    }

    fn time(&self, slots: &Slots<'_>) -> Result<EventTime, Fault> {
        let time = match slots.get(Field::Timestamp) {
            Slot::Text(text) => self.time.text(text),
            Slot::Number(token) => self.time.number(token),
            Slot::Int(count) => self.time.integer(*count),
            Slot::Instant(count, unit) => unit.event_time(*count),
            _ => None,
        };
        time.ok_or_else(|| {
            Fault::new(Reason::BadTimestamp, format!("timestamp: {} is expected", self.time.expected()))
        })
    }

    fn value(&self, slots: &Slots<'_>) -> Result<Micros, Fault> {
        match slots.get(Field::Value) {
            slot if slot.is_missing() => Ok(Micros(0)),
            slot => self.money(slot, Field::Value),
        }
    }

    fn money(&self, slot: &Slot<'_>, field: Field) -> Result<Micros, Fault> {
        let amount = match slot {
            Slot::Text(text) => decimal::parse(text, self.money_scale),
            Slot::Number(token) => decimal::parse(token, self.money_scale),
            // Rare enough that the detour over text costs less than another rule.
            Slot::Int(amount) => decimal::parse(&amount.to_string(), self.money_scale),
            Slot::Double(amount) => decimal::from_f64(*amount, self.money_scale),
            _ => Err(BadMoney::Number),
        };
        amount.map(Micros).map_err(|bad| match bad {
            BadMoney::Number => Fault::new(
                Reason::BadNumber,
                format!("{}: a decimal number in range is expected", field.as_str()),
            ),
            BadMoney::Negative => Fault::new(
                Reason::NegativeMoney,
                format!("{}: an amount may not be negative", field.as_str()),
            ),
        })
    }
}

/// The values of one bid of a request.
#[derive(Clone, Debug, Default)]
pub struct BidSlots<'a> {
    /// The campaign that bids.
    pub campaign: Slot<'a>,
    /// What it would show.
    pub creative: Slot<'a>,
    /// What it offers.
    pub price: Slot<'a>,
}

/// Malformed, missing, too long: the checks that need no parsing.
fn shape(slots: &Slots<'_>, spec: &'static [(Field, bool)]) -> Result<(), Fault> {
    check(spec.iter().map(|entry| (slots.get(entry.0), entry)))
}

fn check<'a>(slots: impl Iterator<Item = (&'a Slot<'a>, &'static (Field, bool))>) -> Result<(), Fault> {
    let mut worst: Option<Fault> = None;
    for (slot, &(field, required)) in slots {
        if let Some(fault) = fault_of(slot, field, required)
            && worst.as_ref().is_none_or(|worst| fault.rank() < worst.rank())
        {
            worst = Some(fault);
        }
    }
    worst.map_or(Ok(()), Err)
}

#[inline]
fn fault_of(slot: &Slot<'_>, field: Field, required: bool) -> Option<Fault> {
    let name = field.as_str();
    match (slot, field.class()) {
        (Slot::Text(text), class) => {
            let max = if let Class::Text(max) = class { max } else { 1024 };
            if required && text.is_empty() {
                return Some(Fault::new(Reason::MissingField, format!("{name} is required, but empty")));
            }
            (text.len() > max)
                .then(|| Fault::new(Reason::TooLong, format!("{name}: at most {max} bytes are allowed")))
        }
        (Slot::Missing, _) => {
            required.then(|| Fault::new(Reason::MissingField, format!("{name} is required, but absent")))
        }
        (Slot::Number(_) | Slot::Int(_) | Slot::Instant(..), Class::Time) => None,
        (Slot::Number(_) | Slot::Int(_) | Slot::Double(_), Class::Money) => None,
        _ => Some(Fault::new(Reason::Malformed, format!("{name}: a value of this type is not accepted"))),
    }
}

fn place(slots: &Slots<'_>) -> Result<(Country, Device), Fault> {
    let country = Country::parse(slots.get(Field::Country).as_text())
        .ok_or_else(|| Fault::new(Reason::BadEnum, "country: two letters are expected"))?;
    let device = Device::parse(slots.get(Field::Device).as_text()).ok_or_else(|| {
        Fault::new(Reason::BadEnum, "device: mobile, desktop, tablet, ctv or other is expected")
    })?;
    Ok((country, device))
}
