//! Keys of fixed size that stand for text, so that no string travels through a dataflow.
//!
//! Short text is stored *inside* the key, in byte order, so it can be read back without a
//! dictionary and compares as the text does. Longer text is represented by a hash; whoever
//! wants to print it keeps the text beside it, at the edge of the system, and checks there
//! that no two texts ever share a key (see [`Packed::Hashed`]).

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Text of an inlined key.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct InlineText {
    bytes: [u8; 16],
    len: u8,
}

impl InlineText {
    /// The bytes of the text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The text, as it was packed.
    pub fn as_str(&self) -> &str {
        // Keys built from other than `new` (a damaged message, say) must not be able to panic.
        std::str::from_utf8(self.as_bytes()).unwrap_or("\u{fffd}")
    }
}

/// How a key holds its text.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Packed {
    /// The key is the text itself.
    Inline(InlineText),
    /// The key is a hash of a longer text, which has to be looked up.
    Hashed,
}

/// Key of one entity (an impression, auction, user, click or conversion): 128 bits.
///
/// Up to 15 bytes are held inline; of a longer id, a 128-bit hash.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Id {
    hi: u64,
    lo: u64,
}

impl Id {
    const INLINE_MAX: usize = 15;

    /// The key of `text`. Equal texts have equal keys in every process and every run.
    pub fn new(text: &str) -> Self {
        if text.len() <= Self::INLINE_MAX {
            let value = u128::from_be_bytes(inline(text));
            return Self { hi: (value >> 64) as u64, lo: value as u64 };
        }
        let hash = xxh3_128(text.as_bytes());
        Self { hi: (hash >> 64) as u64, lo: mark_hashed(hash as u64, Self::INLINE_MAX as u64) }
    }

    /// The key as two numbers, as it is kept on disk.
    pub fn words(self) -> [u64; 2] {
        [self.hi, self.lo]
    }

    /// The key of [`Id::words`].
    pub fn from_words([hi, lo]: [u64; 2]) -> Self {
        Self { hi, lo }
    }

    /// How this key holds its text.
    pub fn packed(self) -> Packed {
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&self.hi.to_be_bytes());
        bytes[8..].copy_from_slice(&self.lo.to_be_bytes());
        match bytes[15] {
            len if usize::from(len) <= Self::INLINE_MAX => Packed::Inline(InlineText { bytes, len }),
            _ => Packed::Hashed,
        }
    }
}

/// Key of a name with few values (a campaign, advertiser, creative, site): 64 bits.
///
/// Up to 7 bytes are held inline; of a longer name, a 64-bit hash.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Name(u64);

impl Name {
    const INLINE_MAX: usize = 7;
    /// The name of what has no name: the empty text.
    pub const EMPTY: Name = Name(0);

    /// A number that orders as the name does.
    pub fn raw(self) -> u64 {
        self.0
    }

    /// The name of a [`Name::raw`]. Of other numbers, a name that compares as the number does, for
    /// bounds of ranges.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The key of `text`. Equal texts have equal keys in every process and every run.
    pub fn new(text: &str) -> Self {
        if text.len() <= Self::INLINE_MAX {
            return Self(u64::from_be_bytes(inline(text)));
        }
        Self(mark_hashed(xxh3_64(text.as_bytes()), Self::INLINE_MAX as u64))
    }

    /// Whether the name holds its own text: the bytes of [`Name::raw`] from the highest on, as many
    /// as the lowest says, and zeros between.
    pub fn is_inline(self) -> bool {
        self.0 & 0xff <= Self::INLINE_MAX as u64
    }

    /// How this key holds its text.
    pub fn packed(self) -> Packed {
        let short = self.0.to_be_bytes();
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&short);
        match short[7] {
            len if usize::from(len) <= Self::INLINE_MAX => Packed::Inline(InlineText { bytes, len }),
            _ => Packed::Hashed,
        }
    }
}

/// A text of fewer than `N` bytes, zeros, and its length.
fn inline<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(text.as_bytes()).for_each(|(byte, text)| *byte = *text);
    bytes[N - 1] = text.len() as u8;
    bytes
}

/// Keeps a hash apart from inlined text, whose last byte is a length of at most `inline_max`.
fn mark_hashed(hash: u64, inline_max: u64) -> u64 {
    if hash & 0xff <= inline_max { hash | (inline_max + 1) } else { hash }
}

/// Where a record belongs: in a cluster, and among others.
pub trait Route {
    /// How many bits of [`Route::lead`] say something.
    const LEAD_BITS: u32;

    /// A well-mixed 64-bit hash of the key, which chooses the worker: equal keys give equal
    /// routes, on every machine.
    fn route(&self) -> u64;

    /// What is compared first when keys are ordered, from the highest bit on: of two keys with
    /// different leads, the lesser has the lesser lead.
    fn lead(&self) -> u128;
}

/// Finalises a hash so that its low bits, which choose the worker, depend on all bits.
pub(crate) fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

impl Route for Id {
    const LEAD_BITS: u32 = 128;

    fn lead(&self) -> u128 {
        (u128::from(self.hi) << 64) | u128::from(self.lo)
    }

    fn route(&self) -> u64 {
        mix(self.hi.rotate_left(32) ^ self.lo)
    }
}

impl Route for Name {
    const LEAD_BITS: u32 = 64;

    fn lead(&self) -> u128 {
        u128::from(self.0) << 64
    }

    fn route(&self) -> u64 {
        mix(self.0)
    }
}

impl Route for super::lookups::Model {
    const LEAD_BITS: u32 = 8;

    fn lead(&self) -> u128 {
        (*self as u128) << 120
    }

    fn route(&self) -> u64 {
        *self as u64
    }
}

impl<A: Route, B: Route> Route for (A, B) {
    const LEAD_BITS: u32 = A::LEAD_BITS + B::LEAD_BITS;

    fn lead(&self) -> u128 {
        let behind = self.1.lead().checked_shr(A::LEAD_BITS).unwrap_or(0);
        self.0.lead() | behind
    }

    fn route(&self) -> u64 {
        mix(self.0.route().rotate_left(21) ^ self.1.route())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(packed: Packed) -> Option<String> {
        match packed {
            Packed::Inline(text) => Some(text.as_str().to_owned()),
            Packed::Hashed => None,
        }
    }

    #[test]
    fn short_text_is_its_own_key() {
        let samples =
            ["", "a", "u9", "sevenby", "8 bytes.", "nine bytes", "ib-0000000004", "exactly15bytes!", "ünï"];
        for sample in samples {
            assert_eq!(text(Id::new(sample).packed()).as_deref(), Some(sample));
        }
        for sample in ["", "a", "site123"] {
            let name = Name::new(sample);
            assert_eq!(text(name.packed()).as_deref(), Some(sample));
            assert!(name.is_inline());
        }
        assert!(!Name::new("eight...").is_inline());
        assert_eq!(Name::new(""), Name::EMPTY);
    }

    #[test]
    fn long_text_is_hashed_and_never_looks_inline() {
        for n in 0..10_000 {
            let sample = format!("a-rather-long-identifier-{n}");
            assert_eq!(Id::new(&sample).packed(), Packed::Hashed);
            assert_eq!(Name::new(&sample).packed(), Packed::Hashed);
        }
    }

    #[test]
    fn leads_order_as_keys_do() {
        use crate::model::{events::Placed, reject::*, time::*};
        fn check<K: Route + Ord + std::fmt::Debug>(mut keys: Vec<K>) {
            keys.sort();
            assert!(keys.is_sorted_by_key(|key| key.lead()), "{keys:?}");
        }
        let texts = ["", "a", "b", "a-longer-name-than-fits", "zz", "site123", "another-long-name"];
        check(texts.map(Id::new).to_vec());
        check(texts.map(Name::new).to_vec());
        let mut pairs = Vec::new();
        let mut places = Vec::new();
        for a in texts {
            for (minute, b) in (0..).zip(texts) {
                let place = Placed { window: Minute(minute % 2), ..Placed::default() };
                places.push(Placed { campaign: Name::new(a), creative: Name::new(b), ..place });
                pairs.push(((Day(minute % 3), Name::new(a)), Id::new(b)));
            }
        }
        check(pairs);
        check(places);
        let quality = |minute, feed| QualityKey { minute: Minute(minute), feed, what: Quality::Received };
        check(Feed::ALL.iter().flat_map(|feed| [quality(2, *feed), quality(1, *feed)]).collect());
    }

    #[test]
    fn inline_keys_order_as_their_text_does() {
        let mut texts = ["b", "", "a", "ab", "a0", "c10", "c2", "zz"];
        texts.sort_unstable();
        assert!(texts.is_sorted_by_key(|t| Id::new(t)));
        assert!(texts.is_sorted_by_key(|t| Name::new(t)));
    }
}
