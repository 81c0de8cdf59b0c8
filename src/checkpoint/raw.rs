//! Records as bytes and back, in place: the one unsafe part of checkpoints.
//!
//! `abomonation` copies a value's memory out, and takes memory for a value when it comes back.
//! That is sound for values without padding, pointers or forbidden bit patterns, in memory that is
//! aligned for them. [`Record::Words`] are arrays of `u64`, of which every bit pattern is one, and
//! what is read comes from a slice of `u64`. Whether the bytes are those that were written is
//! checked before, by the frame they stand in.

#![allow(unsafe_code)]

use super::records::Record;

/// How many bytes a record of a kind takes.
pub const fn record_bytes<R: Record>() -> usize {
    // Arrays of u64 have this size and alignment; anything else does not compile.
    const { assert!(align_of::<R::Words>() == align_of::<u64>()) };
    const { assert!(size_of::<R::Words>().is_multiple_of(size_of::<u64>())) };
    size_of::<R::Words>()
}

/// Appends records to `out`.
pub fn append<R: Record>(records: &[R::Words], out: &mut Vec<u8>) {
    out.reserve(std::mem::size_of_val(records));
    for record in records {
        // SAFETY: `Words` has no padding, so all of its bytes are initialised.
        let written = unsafe { abomonation::encode(record, out) };
        // A vector takes everything.
        debug_assert!(written.is_ok());
    }
}

/// Shows every record in `payload` to `each`, which says whether to go on. Whether it went on to
/// the end, which is false also when the length is not that of whole records.
pub fn read<R: Record>(payload: &mut [u64], mut each: impl FnMut(&R::Words) -> bool) -> bool {
    let mut rest: &mut [u8] = bytemuck::cast_slice_mut(payload);
    if !rest.len().is_multiple_of(record_bytes::<R>()) {
        return false;
    }
    while !rest.is_empty() {
        // SAFETY: `rest` starts a multiple of a record's size, which is a multiple of eight, behind
        // the start of a slice of u64, so it is aligned; it is at least a record long; any bits are
        // valid `Words`, and there are no pointers in them to follow.
        let Some((record, behind)) = (unsafe { abomonation::decode::<R::Words>(rest) }) else {
            return false;
        };
        if !each(record) {
            return false;
        }
        rest = behind;
    }
    true
}
