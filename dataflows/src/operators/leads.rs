//! Sorts by leads: what comes first of a key, as a number.

use std::cmp::Ordering;

/// Bits by which entries are dealt out at a time: as many piles as the nearest cache can follow.
const DIGIT_BITS: u32 = 11;
const PILES: usize = 1 << DIGIT_BITS;
/// Fewer entries are sorted faster by comparing them than piles are laid out.
const DEALT_MIN: usize = 1 << 10;
/// Bits that entries are dealt out by, twice.
const DIGITS_BITS: u32 = 2 * DIGIT_BITS;

/// The positions of `leads` in rising order, so that what they lead is moved once only; `tie` orders positions that the leads leave open.
pub(super) fn sorted_positions(
    leads: Vec<u128>,
    tie: impl Fn(usize, usize) -> Ordering,
) -> impl Iterator<Item = usize> {
    // What follows the bits that all leads share fits half a lead, nearly always: then one number
    // holds that and the position, which is quick to compare and to move.
    let first = leads.first().copied().unwrap_or(0);
    let shared = leads.iter().fold(0, |bits, lead| bits | (lead ^ first)).leading_zeros().min(64);
    let low = u128::from(u64::MAX);
    let mut order: Vec<u128> =
        (0..).zip(&leads).map(|(position, lead)| ((lead << shared) & !low) | position).collect();
    sort_by_digits(&mut order, |entry| digits(*entry, 0), u128::cmp);
    for tied in order.chunk_by_mut(|a, b| a >> 64 == b >> 64).filter(|tied| tied.len() > 1) {
        tied.sort_unstable_by(|a, b| tie((a & low) as usize, (b & low) as usize));
    }
    order.into_iter().map(move |entry| (entry & low) as usize)
}

/// Sorts entries by `compare`, before which come the digits: a number of [`DIGITS_BITS`] bits that
/// never falls where entries rise. They are dealt out by its halves, the lower one first, and only
/// what has the number in common is compared.
fn sort_by_digits<T: Copy>(
    entries: &mut Vec<T>,
    digits: impl Fn(&T) -> u32,
    compare: impl Fn(&T, &T) -> Ordering,
) {
    if entries.len() < DEALT_MIN {
        return entries.sort_unstable_by(compare);
    }
    let shifts = [0, DIGIT_BITS];
    let mut piles = [[0_u32; PILES]; 2];
    for entry in entries.iter() {
        let digits = digits(entry);
        piles.iter_mut().zip(shifts).for_each(|(pile, shift)| pile[(digits >> shift) as usize % PILES] += 1);
    }
    let mut dealt = entries.clone();
    for (mut next, shift) in piles.into_iter().zip(shifts) {
        let mut start = 0;
        next.iter_mut().for_each(|next| start += std::mem::replace(next, start));
        for entry in entries.iter() {
            let next = &mut next[(digits(entry) >> shift) as usize % PILES];
            dealt[*next as usize] = *entry;
            *next += 1;
        }
        std::mem::swap(entries, &mut dealt);
    }
    entries
        .chunk_by_mut(|a, b| digits(a) == digits(b))
        .filter(|pile| pile.len() > 1)
        .for_each(|pile| pile.sort_unstable_by(&compare));
}

/// The digits of a lead, of which `shared` bits are the same in all entries.
fn digits(lead: u128, shared: u32) -> u32 {
    ((lead << shared.min(127)) >> (128 - DIGITS_BITS)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_entries_are_sorted_as_few_are() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u128;
        for (len, bits) in [(DEALT_MIN, 128), (3 * DEALT_MIN, 100), (10_000, 30), (10_000, 3), (5_000, 0)] {
            let mut entries: Vec<u128> = (0..len)
                .map(|_| {
                    random = random.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
                    random.checked_shr(128 - bits).unwrap_or(0).rotate_right(bits / 2)
                })
                .collect();
            let mut expected = entries.clone();
            expected.sort_unstable();
            let shared = entries.iter().fold(0, |bits, lead| bits | (lead ^ entries[0])).leading_zeros();
            sort_by_digits(&mut entries, |lead| digits(*lead, shared), u128::cmp);
            assert!(entries == expected, "{len} of {bits} bits");
        }
    }

    #[test]
    fn positions_are_sorted_whatever_the_leads_share() {
        let samples: [&[u128]; 5] = [
            &[],
            &[7, 7, 7],
            &[u128::MAX, 0, 5, 1 << 127, 5],
            &[(9 << 64) + 3, (9 << 64) + 1, (9 << 64) + 2],
            &[3 << 70, (3 << 70) + 2, (3 << 70) + 1, 1 << 70],
        ];
        for leads in samples {
            let order: Vec<usize> =
                sorted_positions(leads.to_vec(), |a, b| (leads[a], a).cmp(&(leads[b], b))).collect();
            assert_eq!(order.len(), leads.len());
            assert!(order.is_sorted_by_key(|&position| (leads[position], position)), "{leads:?} {order:?}");
        }
    }
}
