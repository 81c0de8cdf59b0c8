//! Sorts many numbers: deals them out by some of their bits, and compares the rest.

/// Bits by which numbers are dealt out at a time: as many piles as the nearest cache can follow.
const DIGIT_BITS: u32 = 11;
const PILES: usize = 1 << DIGIT_BITS;
/// Fewer numbers are sorted faster by comparing them than piles are laid out.
const DEALT_MIN: usize = 1 << 10;

/// Sorts numbers of which the first `shared` bits are the same in all. They are dealt out by the bits
/// behind these, twice, by the lower ones first; only what has all of those in common is compared.
pub fn sort(numbers: &mut Vec<u128>, shared: u32) {
    if numbers.len() < DEALT_MIN {
        return numbers.sort_unstable();
    }
    let digits = |number: u128| ((number << shared.min(127)) >> (128 - 2 * DIGIT_BITS)) as usize;
    let shifts = [0, DIGIT_BITS];
    let mut piles = [[0_u32; PILES]; 2];
    for number in numbers.iter() {
        let digits = digits(*number);
        piles.iter_mut().zip(shifts).for_each(|(pile, shift)| pile[(digits >> shift) % PILES] += 1);
    }
    let mut dealt = numbers.clone();
    for (mut next, shift) in piles.into_iter().zip(shifts) {
        let mut start = 0;
        next.iter_mut().for_each(|next| start += std::mem::replace(next, start));
        for number in numbers.iter() {
            let next = &mut next[(digits(*number) >> shift) % PILES];
            dealt[*next as usize] = *number;
            *next += 1;
        }
        std::mem::swap(numbers, &mut dealt);
    }
    let piles = numbers.chunk_by_mut(|a, b| digits(*a) == digits(*b));
    piles.filter(|pile| pile.len() > 1).for_each(<[u128]>::sort_unstable);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_numbers_are_sorted_as_few_are() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u128;
        for (len, bits) in [(DEALT_MIN, 128), (3 * DEALT_MIN, 100), (10_000, 30), (10_000, 3), (5_000, 0)] {
            let mut numbers: Vec<u128> = (0..len)
                .map(|_| {
                    random = random.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
                    random.checked_shr(128 - bits).unwrap_or(0).rotate_right(bits / 2)
                })
                .collect();
            let mut expected = numbers.clone();
            expected.sort_unstable();
            let shared = numbers.iter().fold(0, |bits, number| bits | (number ^ numbers[0])).leading_zeros();
            sort(&mut numbers, shared);
            assert!(numbers == expected, "{len} of {bits} bits");
        }
    }
}
