//! Exact money: decimal text, or a binary double, to an integer number of micros.
//!
//! `scale` is the power of ten that turns the source's unit into micros: 6 for currency units,
//! 3 for a price per thousand. Rounding is half to even, decided on the exact value; nothing
//! here multiplies floats.

/// Why a number was not accepted.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum BadMoney {
    /// Not a decimal number, or one that doesn't fit.
    Number,
    /// Below zero.
    Negative,
}

/// `text × 10^scale`, rounded half to even.
pub fn parse(text: &str, scale: i32) -> Result<i64, BadMoney> {
    let number = Decimal::read(text.as_bytes()).ok_or(BadMoney::Number)?;
    if number.negative && !number.is_zero() {
        return Err(BadMoney::Negative);
    }
    number.scaled(scale).ok_or(BadMoney::Number)
}

/// `value × 10^scale` of the exact binary value, rounded half to even.
pub fn from_f64(value: f64, scale: i32) -> Result<i64, BadMoney> {
    if !value.is_finite() {
        return Err(BadMoney::Number);
    }
    if value < 0.0 {
        return Err(BadMoney::Negative);
    }
    let bits = value.to_bits();
    let fraction = u128::from(bits & ((1 << 52) - 1));
    // value = mantissa × 2^power; subnormals have no hidden bit.
    let (mantissa, power) = match (bits >> 52) as i32 & 0x7ff {
        0 => (fraction, -1074),
        exponent => (fraction | (1 << 52), exponent - 1075),
    };
    let tens = 10u128.checked_pow(scale.unsigned_abs().min(12)).ok_or(BadMoney::Number)?;
    let (above, below) = if scale < 0 { (mantissa, tens) } else { (mantissa * tens, 1) };
    // The mantissa has 53 bits and the power of ten at most 40: within these bounds no shift
    // overflows, and beyond them the result is certainly 0 or too large.
    let (least, most) = if scale < 0 { (-84, 74) } else { (-126, 30) };
    let (above, below) = match power {
        _ if mantissa == 0 || power < least => return Ok(0),
        _ if power > most => return Err(BadMoney::Number),
        0.. => (above << power, below),
        _ => (above, below << -power),
    };
    ratio(above, below)
}

fn ratio(above: u128, below: u128) -> Result<i64, BadMoney> {
    let (quotient, rest) = (above / below, above % below);
    let up = match (rest * 2).cmp(&below) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => quotient & 1,
        std::cmp::Ordering::Greater => 1,
    };
    i64::try_from(quotient + up).map_err(|_| BadMoney::Number)
}

/// The parts of a decimal text.
struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Decimal<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let (whole, rest) = digits(text);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => digits(rest),
            _ => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent(rest)?,
            _ => return None,
        };
        Some(Self { negative, whole, fraction, exponent })
    }

    fn is_zero(&self) -> bool {
        self.whole.iter().chain(self.fraction).all(|&digit| digit == b'0')
    }

    /// The magnitude times 10^scale, rounded half to even.
    fn scaled(&self, scale: i32) -> Option<i64> {
        if self.is_zero() {
            return Some(0);
        }
        // The result's last digit stands this many digits after the start of the text's digits.
        let keep = self.exponent.checked_add(self.whole.len() as i64 + i64::from(scale))?;
        let count = self.whole.len() + self.fraction.len();
        let mut value = 0i64;
        let mut all = self.whole.iter().chain(self.fraction).map(|digit| i64::from(digit - b'0'));
        for digit in all.by_ref().take(usize::try_from(keep.max(0)).ok()?) {
            value = value.checked_mul(10)?.checked_add(digit)?;
        }
        if keep > count as i64 {
            // Zeros to append; more than 18 overflow, as the value is not zero.
            return value.checked_mul(10i64.checked_pow(u32::try_from(keep - count as i64).ok()?)?);
        }
        // Below the first dropped place everything is less than half.
        let first = if keep < 0 { 0 } else { all.next().unwrap_or(0) };
        let up = first > 5 || first == 5 && (value & 1 == 1 || all.any(|digit| digit != 0));
        value.checked_add(i64::from(up))
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

fn exponent(text: &[u8]) -> Option<i64> {
    let (sign, text) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let (digits, rest) = digits(text);
    if digits.is_empty() || !rest.is_empty() {
        return None;
    }
    // Far beyond any length of text, so that what saturates is zero or too large anyway.
    Some(sign * digits.iter().fold(0i64, |n, d| (n * 10 + i64::from(d - b'0')).min(1 << 40)))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn texts_round_half_to_even_on_the_exact_value() {
        let good = [
            ("4.761", 3, 4761),
            ("0", 3, 0),
            ("-0", 3, 0),
            ("-0.000", 3, 0),
            ("1e-3", 3, 1),
            ("1E3", 3, 1_000_000),
            ("0.0005", 3, 0),
            ("0.0015", 3, 2),
            ("0.0025", 3, 2),
            ("0.00250000000000000000000001", 3, 3),
            ("5e-4", 3, 0),
            ("6e-4", 3, 1),
            ("9e-5", 3, 0),
            (".5", 0, 0),
            ("1.5", 0, 2),
            ("007", 0, 7),
            ("9223372036854775807", 0, i64::MAX),
            ("0e999999999999999999999", 6, 0),
            ("1e-99999999999999", 6, 0),
            ("12345", -3, 12),
            ("12500", -3, 12),
            ("13500", -3, 14),
            ("0000000000000000000000000001", 6, 1_000_000),
        ];
        for (text, scale, expected) in good {
            assert_eq!(parse(text, scale), Ok(expected), "{text}");
        }
        for text in
            ["", "+1", " 1", "1 ", "abc", "1,5", ".", "-", "1e", "1e+", "0x1", "NaN", "inf", "1e99", "1.2.3"]
        {
            assert_eq!(parse(text, 3), Err(BadMoney::Number), "{text}");
        }
        assert_eq!(parse("9223372036854775808", 0), Err(BadMoney::Number));
        assert_eq!(parse("-1", 3), Err(BadMoney::Negative));
        assert_eq!(parse("-1e-9", 3), Err(BadMoney::Negative));
    }

    /// Half-even division by another road: double, floor, and look at the parity.
    fn oracle(numerator: i128, denominator: i128) -> i128 {
        let doubled = numerator * 2 / denominator;
        let exact = doubled * denominator == numerator * 2;
        let floor = doubled / 2;
        if doubled % 2 == 1 && (!exact || floor % 2 == 1) { floor + 1 } else { floor }
    }

    #[test]
    fn random_texts_agree_with_rational_arithmetic() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200_000 {
            let digits = rng.random_range(0..12);
            let mantissa: i64 = rng.random_range(0..10i64.pow(digits));
            let fraction = rng.random_range(0..12usize);
            let exponent: i32 = rng.random_range(-4..4);
            let scale = rng.random_range(-2..7);
            let padded = format!("{mantissa:0width$}", width = fraction + 1);
            let (whole, part) = padded.split_at(padded.len() - fraction);
            let text = format!("{whole}.{part}e{exponent}");
            let power = scale + exponent - fraction as i32;
            let tens = 10i128.pow(power.unsigned_abs());
            let expected = match power {
                0.. => i128::from(mantissa) * tens,
                _ => oracle(i128::from(mantissa), tens),
            };
            let expected = i64::try_from(expected).map_err(|_| BadMoney::Number);
            assert_eq!(parse(&text, scale), expected, "{text} scale {scale}");
        }
    }

    #[test]
    fn a_double_is_what_its_exact_decimal_expansion_says() {
        assert_eq!(from_f64(0.0005, 3), Ok(1), "the double lies above the half");
        assert_eq!(from_f64(0.0625, 3), Ok(62), "an exact half goes to even");
        assert_eq!(from_f64(-0.0, 3), Ok(0));
        assert_eq!(from_f64(-0.001, 3), Err(BadMoney::Negative));
        for value in [f64::NAN, f64::INFINITY, 1e300, f64::MAX] {
            assert_eq!(from_f64(value, 3), Err(BadMoney::Number));
        }
        assert_eq!(from_f64(f64::MIN_POSITIVE, 3), Ok(0));
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..200_000 {
            let value = f64::from_bits(rng.random_range(1e-30f64.to_bits()..1e20f64.to_bits()));
            let scale = rng.random_range(-6..7);
            // The expansion of a double has at most 1074 places, so this text is exact.
            assert_eq!(from_f64(value, scale), parse(&format!("{value:.1074}"), scale), "{value:e} {scale}");
        }
    }
}
