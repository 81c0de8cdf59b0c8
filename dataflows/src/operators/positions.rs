//! Sorts the leads of updates: what comes first, as positions, so that the updates themselves are
//! moved once only.

use std::cmp::Ordering;

/// Bits by which entries are dealt out at a time: as many piles as the nearest cache can follow.
const DIGIT_BITS: u32 = 11;
const PILES: usize = 1 << DIGIT_BITS;
/// Fewer entries are sorted faster by comparing them than piles are laid out.
const DEALT_MIN: usize = 1 << 10;
/// Where the highest digit of an entry stands, and the one below.
const DIGITS: [u32; 2] = [128 - 2 * DIGIT_BITS, 128 - DIGIT_BITS];

/// The positions of `leads` in rising order; `tie` orders positions that the leads leave open.
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
    sort(&mut order);
    for tied in order.chunk_by_mut(|a, b| a >> 64 == b >> 64).filter(|tied| tied.len() > 1) {
        tied.sort_unstable_by(|a, b| tie((a & low) as usize, (b & low) as usize));
    }
    order.into_iter().map(move |entry| (entry & low) as usize)
}

/// Sorts entries: deals them out by their two highest digits, the lower one first, and compares
/// only what has these in common.
fn sort(entries: &mut Vec<u128>) {
    if entries.len() < DEALT_MIN {
        return entries.sort_unstable();
    }
    let digit = |entry: u128, shift: u32| (entry >> shift) as usize % PILES;
    let mut ends = [[0_u32; PILES]; 2];
    for entry in entries.iter() {
        ends.iter_mut().zip(DIGITS).for_each(|(ends, shift)| ends[digit(*entry, shift)] += 1);
    }
    let mut dealt = vec![0; entries.len()];
    for (mut next, shift) in ends.into_iter().zip(DIGITS) {
        let mut start = 0;
        next.iter_mut().for_each(|next| start += std::mem::replace(next, start));
        for entry in entries.iter() {
            let next = &mut next[digit(*entry, shift)];
            dealt[*next as usize] = *entry;
            *next += 1;
        }
        std::mem::swap(entries, &mut dealt);
    }
    let shift = DIGITS[0];
    entries.chunk_by_mut(|a, b| a >> shift == b >> shift).for_each(<[u128]>::sort_unstable);
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
            sort(&mut entries);
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
