//! Integers in as few bytes as they need, small magnitudes of either sign in few.

/// Bytes that an integer of `size` bytes takes at most.
pub(crate) const fn max_bytes(size: usize) -> usize {
    (size * 8).div_ceil(7)
}

/// Writes an integer to the front of `out`, which has room for it; returns how many bytes it took.
#[inline]
pub(crate) fn write(value: i64, out: &mut [u8]) -> usize {
    // The sign goes to the lowest bit, so that -1 is as short as 1.
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut len = 0;
    while rest >= 0x80 {
        out[len] = rest as u8 | 0x80;
        rest >>= 7;
        len += 1;
    }
    out[len] = rest as u8;
    len + 1
}

/// Takes an integer off the front; 0 when there is none.
#[inline]
pub(crate) fn read(bytes: &mut &[u8]) -> i64 {
    let mut value = 0u64;
    let mut shift = 0;
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = [0; 128];
        let samples = [0, 1, -1, 63, 64, -64, -65, 1 << 40, i64::MAX, i64::MIN];
        let mut len = 0;
        for value in samples {
            let more = write(value, &mut bytes[len..]);
            assert!(more <= max_bytes(8));
            len += more;
        }
        let mut rest = &bytes[..len];
        assert_eq!(samples.map(|_| read(&mut rest)), samples);
        assert!(rest.is_empty());
    }
}
