//! Chance that is the same on every machine.
//!
//! Only a pinned generator and the four IEEE operations are used: the distributions of `rand` may
//! change between versions, and `exp` and its kin differ between platforms in the last bit, which
//! a price rounded from them would show.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A well-mixed 64-bit hash (the finaliser of SplitMix64); a bijection.
pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A stream of chance.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of a seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut bytes = [0u8; 32];
        for (word, chunk) in (0u64..).zip(bytes.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&mix(seed ^ mix(word)).to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// 64 fair bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..n`; `n` must not be 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low) as u64 + 1) as i64
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Log-uniform from `low` to `high`: as likely within a doubling here as there.
    pub(super) fn doubling(&mut self, low: i64, doublings: f64) -> i64 {
        (low as f64 * exp2(self.unit() * doublings)) as i64
    }
}

/// A nearly normal deviate (mean 0, variance 1, within ±3.5) made of 64 bits: the sum of four
/// uniforms.
pub(super) fn bell(bits: u64) -> f64 {
    let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
    (sum as f64 / 65_535.0 - 2.0) * 1.732_050_807_568_877_2
}

/// `2^x`, by the four operations only.
pub(super) fn exp2(x: f64) -> f64 {
    let whole = x.floor();
    let rest = (x - whole) * std::f64::consts::LN_2;
    // Horner's form of the series of e^rest; 18 terms reach the last bit for rest < 0.7.
    let fraction = (1..=18).rev().fold(1.0, |sum, term| 1.0 + rest * sum / f64::from(term));
    let factor = if whole < 0.0 { 0.5 } else { 2.0 };
    (0..whole.abs() as u32).fold(fraction, |value, _| value * factor)
}

/// The power of two that `ratio` (at least 1) is.
fn log2(ratio: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1_024.0);
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if exp2(middle) < ratio { low = middle } else { high = middle }
    }
    low
}

/// Draws ranks of which the k-th is chosen about `1 / (k + flat)` as often: Zipf's law with a
/// blunted head. Needs no table, so there can be any number of users.
pub(super) struct Zipf {
    flat: f64,
    doublings: f64,
    last: u32,
}

impl Zipf {
    /// Ranks `0..n`; `n` must not be 0.
    pub(super) fn new(n: u32, flat: f64) -> Self {
        Self { flat, doublings: log2((f64::from(n) + flat) / flat), last: n - 1 }
    }

    /// One rank.
    pub(super) fn pick(&self, dice: &mut Dice) -> u32 {
        let rank = self.flat * (exp2(dice.unit() * self.doublings) - 1.0);
        (rank as u32).min(self.last)
    }
}

/// Draws one of a few choices by weight.
pub(super) struct Weighted(Vec<f64>);

impl Weighted {
    /// A table of these weights; their sum must be above zero.
    pub(super) fn new(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        Self(weights.iter().map(|weight| (sum += weight / total, sum).1).collect())
    }

    /// The choice that 64 fair bits make.
    pub(super) fn pick(&self, bits: u64) -> usize {
        let point = (bits >> 11) as f64 / (1u64 << 53) as f64;
        self.0.partition_point(|&sum| sum <= point).min(self.0.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_is_pinned() {
        let mut dice = Dice::new(7);
        let first: Vec<u64> = (0..3).map(|_| dice.below(1_000_000)).collect();
        assert_eq!(first, PINNED);
    }
    const PINNED: [u64; 3] = [405_640, 572_419, 808_080];

    #[test]
    fn powers_of_two_agree_with_the_platform() {
        for step in -400..400 {
            let x = f64::from(step) / 37.0;
            assert!((exp2(x) / x.exp2() - 1.0).abs() < 1e-14, "2^{x}");
        }
    }

    #[test]
    fn weights_are_kept() {
        let (mut dice, table) = (Dice::new(1), Weighted::new(&[1.0, 0.0, 6.0, 3.0]));
        let mut seen = [0f64; 4];
        for _ in 0..100_000 {
            seen[table.pick(dice.bits())] += 1e-4;
        }
        for (seen, asked) in seen.into_iter().zip([1.0, 0.0, 6.0, 3.0]) {
            assert!((seen - asked).abs() < 0.1, "{seen} for {asked}");
        }
    }

    #[test]
    fn ranks_follow_zipf() {
        let (mut dice, zipf) = (Dice::new(3), Zipf::new(1_000, 2.0));
        let mut seen = [0u32; 1_000];
        for _ in 0..100_000 {
            seen[zipf.pick(&mut dice) as usize] += 1;
        }
        let expected = 100_000.0 * (3.0f64 / 2.0).ln() / (1_002.0f64 / 2.0).ln();
        assert!((f64::from(seen[0]) / expected - 1.0).abs() < 0.05, "{} for {expected}", seen[0]);
        assert!(seen[0] > 10 * seen[40] && seen.iter().all(|&count| count > 0));
    }

    #[test]
    fn the_bell_has_unit_variance() {
        let mut dice = Dice::new(2);
        let square = (0..100_000).map(|_| bell(dice.bits())).map(|z| z * z).sum::<f64>() / 1e5;
        assert!((square - 1.0).abs() < 0.02, "variance {square}");
    }
}
