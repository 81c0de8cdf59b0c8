//! What is summed: fixed arrays of integers that serve as difference types, so that an
//! aggregate is a collection of keys and a correction is a negative difference.

use differential_dataflow::difference::{Abelian, IsZero, Monoid, Multiply, Semigroup};
use serde::{Deserialize, Serialize};

use super::diff::Diff;
use super::varint;

/// Declares a struct of integers as an additive group. Addition wraps: as sums are exact modulo
/// the integer's range, a total that fits is right whatever the partial sums went through.
macro_rules! measures {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $int:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
        pub struct $name { $($(#[$field_doc])* pub $field: $int),+ }

        impl IsZero for $name {
            fn is_zero(&self) -> bool {
                *self == Self::default()
            }
        }

        impl Semigroup for $name {
            fn plus_equals(&mut self, rhs: &Self) {
                $(self.$field = self.$field.wrapping_add(rhs.$field);)+
            }
        }

        impl Monoid for $name {
            fn zero() -> Self {
                Self::default()
            }
        }

        impl Multiply<isize> for $name {
            type Output = Self;

            fn multiply(self, times: &isize) -> Self {
                Self { $($field: self.$field.wrapping_mul(*times as $int)),+ }
            }
        }

        // Which fields are not zero, and these.
        impl Diff for $name {
            const MAX_BYTES: usize = 2 + $(varint::max_bytes(size_of::<$int>()) +)+ 0;

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                // Put together apart, so that the room is looked for once.
                let mut bytes = [0; Self::MAX_BYTES];
                let (mut present, mut bit, mut len) = (0u16, 1, 2);
                $(if self.$field != 0 {
                    present |= bit;
                    len += varint::write(i64::from(self.$field), &mut bytes[len..]);
                }
                bit <<= 1;)+
                let _ = bit;
                bytes[..2].copy_from_slice(&present.to_le_bytes());
                out.extend_from_slice(&bytes[..len]);
            }

            #[inline]
            fn decode(bytes: &[u8]) -> Self {
                let Some((&[low, high], mut rest)) = bytes.split_first_chunk::<2>() else {
                    return Self::default();
                };
                let mut present = u16::from_le_bytes([low, high]);
                let mut next = || {
                    let is_there = present & 1 == 1;
                    present >>= 1;
                    if is_there { varint::read(&mut rest) } else { 0 }
                };
                Self { $($field: next() as $int),+ }
            }
        }

        impl Abelian for $name {
            fn negate(&mut self) {
                $(self.$field = self.$field.wrapping_neg();)+
            }
        }
    };
}

measures! {
    /// The measures of the performance tables. A cell holds fewer than 2^31 events of a kind.
    Measures {
        /// Bids placed.
        bids: i32,
        /// Impressions whose auction holds a bid of the same campaign.
        wins: i32,
        /// Impressions counted.
        impressions: i32,
        /// Of these, measured as viewable.
        viewable: i32,
        /// Valid clicks.
        clicks: i32,
        /// Conversions, by the default model.
        conversions: i32,
        /// Cost of the impressions, in micros.
        spend_micros: i64,
        /// Attributed revenue, by the default model, in micros.
        revenue_micros: i64,
        /// Sum of the bids' prices, in micros.
        bid_micros: i64,
    }
}

measures! {
    /// The measures of `attribution_hour`.
    Credit {
        /// Credit, in millionths of a conversion.
        credit_micros: i64,
        /// Revenue, in micros.
        revenue_micros: i64,
    }
}

measures! {
    /// The measures of `reach_day`.
    Reach {
        /// Distinct users with a counted impression.
        users: i64,
        /// Counted impressions.
        impressions: i64,
    }
}

measures! {
    /// The measures of `supply_hour`.
    Supply {
        /// Auctions with at least one accepted bid.
        bid_requests: i64,
        /// Bids.
        bids: i64,
        /// Impressions won.
        wins: i64,
    }
}
