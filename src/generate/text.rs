//! How numbers become the ids, times and prices of the feeds. Everything is appended to a buffer
//! the caller reuses: millions of records are written, and formatting is most of the work.

use super::dice::mix;
use super::plan::{IdStyle, Plan};

/// What an id names.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Auction,
    Impression,
    Click,
    Conversion,
    /// An impression that never comes.
    Ghost,
    User,
}

impl Kind {
    fn letter(self) -> u8 {
        match self {
            Kind::Auction => b'a',
            Kind::Impression => b'i',
            Kind::Click => b'k',
            Kind::Conversion => b'v',
            Kind::Ghost => b'g',
            Kind::User => b'u',
        }
    }
}

/// The ids of one plan.
#[derive(Copy, Clone, Debug)]
pub(super) struct Ids {
    style: IdStyle,
    seed: u64,
}

impl Ids {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { style: plan.id_style, seed: plan.seed }
    }

    /// Appends the id of the `n`-th of a kind.
    pub(super) fn push(&self, out: &mut String, kind: Kind, n: u64) {
        match (self.style, kind) {
            (IdStyle::Short, Kind::User) => push_numbered(out, "u", n),
            (IdStyle::Short, _) => {
                out.push(char::from(kind.letter()));
                // Traffic of neighbouring seeds can be mixed without their ids meeting.
                out.push(char::from(b'a' + (self.seed % 26) as u8));
                out.push('-');
                push_hex(out, n, 10);
            }
            (IdStyle::Uuid, _) => push_uuid(out, self.seed, kind, n),
        }
    }
}

/// Appends a random-looking UUID (version 4).
fn push_uuid(out: &mut String, seed: u64, kind: Kind, n: u64) {
    let salt = mix(seed ^ (u64::from(kind.letter()) << 56));
    let high = mix(n ^ salt);
    let low = mix(high ^ salt.rotate_left(32));
    push_hex(out, high >> 32, 8);
    out.push('-');
    push_hex(out, high >> 16 & 0xffff, 4);
    out.push('-');
    push_hex(out, high & 0x0fff | 0x4000, 4);
    out.push('-');
    push_hex(out, low >> 48 & 0x3fff | 0x8000, 4);
    out.push('-');
    push_hex(out, low & 0xffff_ffff_ffff, 12);
}

fn push_hex(out: &mut String, value: u64, digits: u32) {
    for digit in (0..digits).rev() {
        let nibble = (value >> (4 * digit) & 0xf) as usize;
        out.push(char::from(b"0123456789abcdef"[nibble]));
    }
}

/// Appends `prefix` and a number: `c12`.
pub(super) fn push_numbered(out: &mut String, prefix: &str, n: u64) {
    out.push_str(prefix);
    push_number(out, n);
}

/// Appends a number.
pub(super) fn push_number(out: &mut String, n: u64) {
    let mut digits = 1;
    let mut rest = n / 10;
    while rest > 0 {
        digits += 1;
        rest /= 10;
    }
    push_padded(out, n, digits);
}

/// Appends the last `digits` digits of a number.
pub(super) fn push_padded(out: &mut String, n: u64, digits: u32) {
    let mut buffer = [b'0'; 20];
    let mut rest = n;
    let used = &mut buffer[..digits as usize];
    for digit in used.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    used.iter().for_each(|&digit| out.push(char::from(digit)));
}

/// Appends `scaled / 10^decimals`, with all its decimals.
pub(super) fn push_decimal(out: &mut String, scaled: u64, decimals: u32) {
    let unit = 10u64.pow(decimals);
    push_number(out, scaled / unit);
    out.push('.');
    push_padded(out, scaled % unit, decimals);
}

/// Appends the date of an instant: `2026-03-01`.
pub(super) fn push_date(out: &mut String, millis: i64) {
    let (year, month, day) = civil(millis.div_euclid(86_400_000));
    push_padded(out, year, 4);
    out.push('-');
    push_padded(out, month, 2);
    out.push('-');
    push_padded(out, day, 2);
}

/// Appends an instant in RFC 3339 as a clock `offset_hours` ahead of UTC shows it.
pub(super) fn push_rfc3339(out: &mut String, millis: i64, offset_hours: u32) {
    let local = millis + i64::from(offset_hours) * 3_600_000;
    push_date(out, local);
    let of_day = local.rem_euclid(86_400_000) as u64;
    for (mark, value, digits) in [
        ('T', of_day / 3_600_000, 2),
        (':', of_day / 60_000 % 60, 2),
        (':', of_day / 1_000 % 60, 2),
        ('.', of_day % 1_000, 3),
    ] {
        out.push(mark);
        push_padded(out, value, digits);
    }
    if offset_hours == 0 {
        out.push('Z');
    } else {
        out.push('+');
        push_padded(out, u64::from(offset_hours), 2);
        out.push_str(":00");
    }
}

/// Year, month and day of a day counted from 1970 (Howard Hinnant's `civil_from_days`).
fn civil(day: i64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as u64, month as u64, day_of_month as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        push(&mut out);
        out
    }

    #[test]
    fn ids_have_the_asked_style() {
        let short = Ids::new(&Plan { seed: 1, ..Plan::DEFAULT });
        assert_eq!(text(|out| short.push(out, Kind::Auction, 0xc5)), "ab-00000000c5");
        assert_eq!(text(|out| short.push(out, Kind::User, 907)), "u907");
        let long = Ids::new(&Plan { id_style: IdStyle::Uuid, ..Plan::DEFAULT });
        let id = text(|out| long.push(out, Kind::User, 907));
        assert_eq!((id.len(), &id[14..15]), (36, "4"), "{id}");
        assert_ne!(id, text(|out| long.push(out, Kind::Click, 907)));
    }

    #[test]
    fn times_agree_with_a_calendar() {
        for millis in [0, 951_782_400_000, 1_772_323_199_999, 1_772_323_200_000, 4_102_444_799_001] {
            for offset in [0, 2] {
                let written = text(|out| push_rfc3339(out, millis, offset));
                let read: jiff::Timestamp = written.parse().expect("RFC 3339");
                assert_eq!(read.as_millisecond(), millis, "{written}");
            }
        }
    }

    #[test]
    fn decimals_keep_their_zeros() {
        assert_eq!(text(|out| push_decimal(out, 4_760, 3)), "4.760");
        assert_eq!(text(|out| push_decimal(out, 5, 4)), "0.0005");
        assert_eq!(text(|out| push_number(out, u64::MAX)), u64::MAX.to_string());
    }
}
