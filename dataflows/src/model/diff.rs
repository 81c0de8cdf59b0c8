//! What is added up: the differences of collections.

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::Semigroup;

use super::varint;

/// A difference of fixed size, which can be kept in few bytes.
pub trait Diff: Semigroup + ExchangeData + Copy {
    /// Bytes that [`Diff::encode`] writes at most.
    const MAX_BYTES: usize;

    /// Appends this difference in few bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// What [`Diff::encode`] wrote.
    fn decode(bytes: &[u8]) -> Self;
}

impl Diff for isize {
    const MAX_BYTES: usize = varint::max_bytes(size_of::<isize>());

    fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; Self::MAX_BYTES];
        let len = varint::write(*self as i64, &mut bytes);
        out.extend_from_slice(&bytes[..len]);
    }

    fn decode(mut bytes: &[u8]) -> Self {
        varint::read(&mut bytes) as isize
    }
}
