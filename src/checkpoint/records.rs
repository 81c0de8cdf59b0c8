//! What a checkpoint keeps of an event: a record of fixed size, all of it 64-bit numbers.

use abomonation::Abomonation;
use dataflows::model::events::{Bid, Click, Conversion, Country, Device, Dims, Impression};
use dataflows::model::ids::{Id, Name};
use dataflows::model::money::Micros;
use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::{EventTime, Minute};

use super::texts::Keys;

/// What a frame holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
#[repr(u8)]
pub enum Kind {
    /// Bids, with their auction.
    Bids,
    /// Impressions, with their id.
    Impressions,
    /// Clicks, with their id.
    Clicks,
    /// Conversions, with their id.
    Conversions,
    /// Counts of rejects.
    Rejects,
    /// Texts of hashed keys, which are of no fixed size.
    Texts,
}

impl Kind {
    /// Every kind, by its number.
    pub const ALL: [Kind; 6] =
        [Kind::Bids, Kind::Impressions, Kind::Clicks, Kind::Conversions, Kind::Rejects, Kind::Texts];
}

/// A record as numbers. Arrays of `u64` have no padding and no pointers, and are aligned like the
/// frames that hold them: what `abomonation` needs to be sound.
pub trait Record: Sized {
    /// The numbers.
    type Words: Abomonation + Copy;
    /// The kind of frame it goes into.
    const KIND: Kind;

    /// As numbers.
    fn words(&self) -> Self::Words;

    /// From numbers; none when they are no record's.
    fn from_words(words: &Self::Words) -> Option<Self>;

    /// The event's time in milliseconds; nothing of what is no event.
    fn millis(words: &Self::Words) -> Option<i64>;

    /// Names the keys whose texts may be published.
    fn keys(words: &Self::Words, keys: &mut Keys);
}

/// How many records of an identity were rejected, and when.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct RejectCount {
    /// The minute of the record's own time.
    pub minute: Minute,
    /// The feed.
    pub feed: Feed,
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: u64,
}

impl Record for (Id, Bid) {
    type Words = [u64; 8];
    const KIND: Kind = Kind::Bids;

    fn words(&self) -> [u64; 8] {
        let (auction, Bid { dims, bid, ts }) = self;
        let ([hi, lo], [campaign, creative, site, rest]) = (auction.words(), dims_words(dims));
        [hi, lo, campaign, creative, site, rest, bid.0 as u64, ts.millis() as u64]
    }

    fn from_words(&[hi, lo, campaign, creative, site, rest, bid, ts]: &[u64; 8]) -> Option<Self> {
        let (dims, _) = dims([campaign, creative, site, rest])?;
        Some((Id::from_words([hi, lo]), Bid { dims, bid: Micros(bid as i64), ts: time(ts)? }))
    }

    fn millis(words: &[u64; 8]) -> Option<i64> {
        Some(words[7] as i64)
    }

    fn keys(&[_, _, campaign, creative, site, ..]: &[u64; 8], keys: &mut Keys) {
        [campaign, creative, site].into_iter().for_each(|name| keys.name(name));
    }
}

impl Record for (Id, Impression) {
    type Words = [u64; 12];
    const KIND: Kind = Kind::Impressions;

    fn words(&self) -> [u64; 12] {
        let (id, Impression { ts, auction, user, dims, cost, viewable }) = self;
        let [id_hi, id_lo] = id.words();
        let [auction_hi, auction_lo] = auction.words();
        let [user_hi, user_lo] = user.words();
        let [campaign, creative, site, rest] = dims_words(dims);
        let (rest, ts, cost) = (rest | u64::from(*viewable) << 32, ts.millis() as u64, cost.0 as u64);
        [id_hi, id_lo, auction_hi, auction_lo, user_hi, user_lo, campaign, creative, site, rest, ts, cost]
    }

    fn from_words(words: &[u64; 12]) -> Option<Self> {
        let &[
            id_hi,
            id_lo,
            auction_hi,
            auction_lo,
            user_hi,
            user_lo,
            campaign,
            creative,
            site,
            rest,
            ts,
            cost,
        ] = words;
        let (dims, flags) = dims([campaign, creative, site, rest])?;
        let impression = Impression {
            ts: time(ts)?,
            auction: Id::from_words([auction_hi, auction_lo]),
            user: Id::from_words([user_hi, user_lo]),
            dims,
            cost: Micros(cost as i64),
            viewable: flags == 1,
        };
        Some((Id::from_words([id_hi, id_lo]), impression))
    }

    fn millis(words: &[u64; 12]) -> Option<i64> {
        Some(words[10] as i64)
    }

    fn keys(&[hi, lo, _, _, _, _, campaign, creative, site, ..]: &[u64; 12], keys: &mut Keys) {
        keys.id([hi, lo]);
        [campaign, creative, site].into_iter().for_each(|name| keys.name(name));
    }
}

impl Record for (Id, Click) {
    type Words = [u64; 5];
    const KIND: Kind = Kind::Clicks;

    fn words(&self) -> [u64; 5] {
        let (id, Click { ts, impression }) = self;
        let ([hi, lo], [impression_hi, impression_lo]) = (id.words(), impression.words());
        [hi, lo, ts.millis() as u64, impression_hi, impression_lo]
    }

    fn from_words(&[hi, lo, ts, impression_hi, impression_lo]: &[u64; 5]) -> Option<Self> {
        let impression = Id::from_words([impression_hi, impression_lo]);
        Some((Id::from_words([hi, lo]), Click { ts: time(ts)?, impression }))
    }

    fn millis(words: &[u64; 5]) -> Option<i64> {
        Some(words[2] as i64)
    }

    fn keys(&[hi, lo, ..]: &[u64; 5], keys: &mut Keys) {
        keys.id([hi, lo]);
    }
}

impl Record for (Id, Conversion) {
    type Words = [u64; 8];
    const KIND: Kind = Kind::Conversions;

    fn words(&self) -> [u64; 8] {
        let (id, Conversion { ts, user, advertiser, kind, value }) = self;
        let ([hi, lo], [user_hi, user_lo]) = (id.words(), user.words());
        [hi, lo, ts.millis() as u64, user_hi, user_lo, advertiser.raw(), kind.raw(), value.0 as u64]
    }

    fn from_words(&[hi, lo, ts, user_hi, user_lo, advertiser, kind, value]: &[u64; 8]) -> Option<Self> {
        let conversion = Conversion {
            ts: time(ts)?,
            user: Id::from_words([user_hi, user_lo]),
            advertiser: Name::from_raw(advertiser),
            kind: Name::from_raw(kind),
            value: Micros(value as i64),
        };
        Some((Id::from_words([hi, lo]), conversion))
    }

    fn millis(words: &[u64; 8]) -> Option<i64> {
        Some(words[2] as i64)
    }

    fn keys(&[hi, lo, _, _, _, advertiser, ..]: &[u64; 8], keys: &mut Keys) {
        keys.id([hi, lo]);
        keys.name(advertiser);
    }
}

impl Record for RejectCount {
    type Words = [u64; 2];
    const KIND: Kind = Kind::Rejects;

    fn words(&self) -> [u64; 2] {
        let Self { minute, feed, reason, count } = *self;
        [u64::from(minute.0) | (feed as u64) << 32 | (reason as u64) << 40, count]
    }

    fn from_words(&[what, count]: &[u64; 2]) -> Option<Self> {
        let feed = *Feed::ALL.get((what >> 32) as usize & 0xff)?;
        let reason = *Reason::ALL.get((what >> 40) as usize)?;
        Some(Self { minute: Minute(what as u32), feed, reason, count })
    }

    fn millis(_: &[u64; 2]) -> Option<i64> {
        None
    }

    fn keys(_: &[u64; 2], _: &mut Keys) {}
}

fn dims_words(dims: &Dims) -> [u64; 4] {
    let Dims { campaign, creative, site, country, device } = dims;
    [campaign.raw(), creative.raw(), site.raw(), u64::from(country.code()) | (*device as u64) << 16]
}

/// The dimensions, and what stands above them in the last number.
fn dims([campaign, creative, site, rest]: [u64; 4]) -> Option<(Dims, u64)> {
    let device = *Device::ALL.get((rest >> 16) as usize & 0xffff)?;
    let dims = Dims {
        campaign: Name::from_raw(campaign),
        creative: Name::from_raw(creative),
        site: Name::from_raw(site),
        country: Country::from_code(rest as u16),
        device,
    };
    Some((dims, rest >> 32))
}

fn time(millis: u64) -> Option<EventTime> {
    EventTime::from_millis(millis as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<R: Record + PartialEq + std::fmt::Debug>(record: R) {
        assert_eq!(R::from_words(&record.words()), Some(record));
    }

    #[test]
    fn records_come_back_as_they_were() {
        let ts = EventTime::MAX;
        let dims = Dims {
            campaign: Name::new("a campaign that is hashed"),
            creative: Name::new("k1"),
            site: Name::EMPTY,
            country: Country::parse("de").expect("a country"),
            device: Device::Tablet,
        };
        comes_back((Id::new("a1"), Bid { dims, bid: Micros(i64::MAX), ts }));
        let (auction, user) = (Id::new("an auction that is hashed"), Id::new(""));
        for viewable in [false, true] {
            let impression = Impression { ts, auction, user, dims, cost: Micros(7), viewable };
            comes_back((Id::new("i1"), impression));
        }
        comes_back((Id::new("c1"), Click { ts, impression: auction }));
        let (advertiser, kind) = (dims.campaign, dims.creative);
        comes_back((Id::new("v1"), Conversion { ts, user, advertiser, kind, value: Micros(1) }));
        for (feed, reason) in Feed::ALL.into_iter().flat_map(|feed| Reason::ALL.map(|reason| (feed, reason)))
        {
            comes_back(RejectCount { minute: Minute(u32::MAX), feed, reason, count: 3 });
        }
    }

    #[test]
    fn numbers_that_are_no_record_are_refused() {
        let mut words = (Id::new("a1"), Bid::default()).words();
        words[7] = u64::MAX;
        assert_eq!(<(Id, Bid)>::from_words(&words), None);
        words = (Id::new("a1"), Bid::default()).words();
        words[5] = 6 << 16;
        assert_eq!(<(Id, Bid)>::from_words(&words), None);
    }
}
