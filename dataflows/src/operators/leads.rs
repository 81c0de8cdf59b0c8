//! Sorts by leads: what comes first of a key, as a number.

use std::cmp::Ordering;

use crate::sorting::sort;

/// The positions of `leads` in rising order, so that what they lead is moved once only; `tie` orders
/// positions that the leads leave open.
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
    sort(&mut order, 0);
    for tied in order.chunk_by_mut(|a, b| a >> 64 == b >> 64).filter(|tied| tied.len() > 1) {
        tied.sort_unstable_by(|a, b| tie((a & low) as usize, (b & low) as usize));
    }
    order.into_iter().map(move |entry| (entry & low) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

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
