//! The times and differences of a packed run, kept once where all rows share them.

use super::packed::TARGET;
use crate::model::diff::Diff;
use crate::model::time::Epoch;

/// The times of a run: one for all rows, or one for each.
#[derive(Clone)]
pub(super) enum Times {
    All(Epoch),
    Each(Vec<Epoch>),
}

impl Default for Times {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl Times {
    pub(super) fn at(&self, index: usize) -> Epoch {
        match self {
            Self::All(time) => *time,
            Self::Each(times) => times[index],
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if let Self::Each(times) = self {
            times.truncate(len);
        }
    }

    /// Adds a time behind `len` others.
    #[inline]
    pub(super) fn push(&mut self, len: usize, time: Epoch) {
        match self {
            _ if len == 0 => *self = Self::All(time),
            Self::All(all) if *all == time => {}
            Self::All(all) => {
                let mut each = Vec::with_capacity(TARGET);
                each.resize(len, *all);
                each.push(time);
                *self = Self::Each(each);
            }
            Self::Each(each) => each.push(time),
        }
    }
}

/// The differences of a run: one for all rows, or one for each, encoded.
#[derive(Clone)]
pub(super) enum Diffs<R> {
    All(R),
    /// The bytes of all, and where each ends.
    Each(Vec<u8>, Vec<u16>),
}

impl<R> Default for Diffs<R> {
    fn default() -> Self {
        Self::Each(Vec::new(), Vec::new())
    }
}

impl<R: Diff> Diffs<R> {
    /// Adds a difference behind `len` others.
    #[inline]
    pub(super) fn push(&mut self, len: usize, diff: R) {
        const { assert!(R::MAX_BYTES * TARGET <= u16::MAX as usize, "ends of differences fit 16 bits") };
        match self {
            _ if len == 0 => *self = Self::All(diff),
            Self::All(all) if *all == diff => {}
            Self::All(all) => {
                let all = *all;
                *self = Self::Each(Vec::with_capacity(8 * TARGET), Vec::with_capacity(TARGET));
                (0..len).for_each(|_| self.append(all));
                self.append(diff);
            }
            Self::Each(..) => self.append(diff),
        }
    }

    /// Adds the difference at `index` of others behind `len`.
    #[inline]
    pub(super) fn push_from(&mut self, len: usize, others: &Self, index: usize) {
        match (self, others) {
            (Self::Each(bytes, ends), Self::Each(..)) if len > 0 => {
                bytes.extend_from_slice(others.bytes(index));
                ends.push(bytes.len() as u16);
            }
            (this, others) => this.push(len, others.at(index)),
        }
    }

    /// Takes back the difference at `last`, behind which there is none.
    pub(super) fn pop(&mut self, last: usize) -> R {
        let diff = self.at(last);
        if let Self::Each(bytes, ends) = self {
            ends.truncate(last);
            bytes.truncate(usize::from(ends.last().copied().unwrap_or(0)));
        }
        diff
    }

    fn append(&mut self, diff: R) {
        if let Self::Each(bytes, ends) = self {
            diff.encode(bytes);
            ends.push(bytes.len() as u16);
        }
    }

    pub(super) fn shrink_to_fit(&mut self) {
        if let Self::Each(bytes, ends) = self {
            bytes.shrink_to_fit();
            ends.shrink_to_fit();
        }
    }

    /// The bytes of a difference, where each has its own.
    fn bytes(&self, index: usize) -> &[u8] {
        match self {
            Self::All(_) => &[],
            Self::Each(bytes, ends) => {
                let start = index.checked_sub(1).map_or(0, |before| ends[before]);
                &bytes[usize::from(start)..usize::from(ends[index])]
            }
        }
    }

    pub(super) fn at(&self, index: usize) -> R {
        match self {
            Self::All(diff) => *diff,
            Self::Each(..) => R::decode(self.bytes(index)),
        }
    }
}
