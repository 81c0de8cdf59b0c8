//! Events as numbers. This is what waits in the heap, so it is small; text is made only when an
//! event leaves.

/// One bid of an auction; the price is in thousandths per 1000 impressions, that is in micros.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct Bid {
    pub campaign: u32,
    pub creative: u32,
    pub price: u32,
}

/// One auction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Auction {
    pub n: u64,
    pub ts: i64,
    pub user: u32,
    pub site: u32,
    pub country: u8,
    pub device: u8,
    pub bids: Box<[Bid]>,
}

/// Whether an impression was seen, and whether anyone measured it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Viewable {
    Yes,
    No,
    Unmeasured,
}

/// One served impression.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct Impression {
    pub n: u64,
    pub auction: u64,
    pub ts: i64,
    pub user: u32,
    pub campaign: u32,
    pub creative: u32,
    pub site: u32,
    /// In ten-thousandths per 1000 impressions: the last digit is a tenth of a micro, so that
    /// readers have something to round.
    pub price: u32,
    pub country: u8,
    pub device: u8,
    pub viewable: Viewable,
}

impl Impression {
    /// What it cost, in micros, ties rounded to even.
    pub(super) fn cost_micros(&self) -> i64 {
        let (whole, tenths) = (i64::from(self.price / 10), self.price % 10);
        match tenths {
            0..5 => whole,
            5 => whole + (whole & 1),
            _ => whole + 1,
        }
    }
}

/// What a click names as its impression.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Clicked {
    Impression(u64),
    /// One that never comes.
    Ghost(u64),
}

/// One click.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct Click {
    pub n: u64,
    pub on: Clicked,
    pub ts: i64,
}

/// One conversion.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct Conversion {
    pub n: u64,
    pub ts: i64,
    pub user: u32,
    pub advertiser: u32,
    /// In hundredths of the currency unit.
    pub value: u32,
    pub kind: u8,
}

impl Conversion {
    /// What it is worth, in micros.
    pub(super) fn value_micros(&self) -> i64 {
        i64::from(self.value) * 10_000
    }
}

/// Any event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Event {
    Auction(Auction),
    Impression(Impression),
    Click(Click),
    Conversion(Conversion),
}

impl Event {
    /// When it happened.
    pub(super) fn ts(&self) -> i64 {
        match self {
            Event::Auction(auction) => auction.ts,
            Event::Impression(impression) => impression.ts,
            Event::Click(click) => click.ts,
            Event::Conversion(conversion) => conversion.ts,
        }
    }

    fn ts_mut(&mut self) -> &mut i64 {
        match self {
            Event::Auction(auction) => &mut auction.ts,
            Event::Impression(impression) => &mut impression.ts,
            Event::Click(click) => &mut click.ts,
            Event::Conversion(conversion) => &mut conversion.ts,
        }
    }

    /// The same identity with other contents: another time, and another amount if it has one.
    pub(super) fn conflicting(mut self, shift: i64) -> Self {
        *self.ts_mut() += shift;
        match &mut self {
            Event::Auction(auction) => {
                auction.bids.iter_mut().take(1).for_each(|bid| bid.price += 1 + bid.price / 7);
            }
            Event::Impression(impression) => impression.price += 10 + impression.price / 9,
            Event::Conversion(conversion) => conversion.value += 100,
            Event::Click(_) => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_micro_goes_to_the_even_side() {
        let cost = |price| {
            let viewable = Viewable::Yes;
            let (n, auction, ts, user, campaign, creative, site) = (0, 0, 0, 0, 0, 0, 0);
            let (country, device) = (0, 0);
            Impression { n, auction, ts, user, campaign, creative, site, price, country, device, viewable }
                .cost_micros()
        };
        assert_eq!([cost(47_614), cost(47_615), cost(47_625), cost(47_626)], [4_761, 4_762, 4_762, 4_763]);
    }
}
