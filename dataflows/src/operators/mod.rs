//! Reusable parts: they move data, time and capabilities, and know nothing of advertising but
//! that some lookups are the same on every worker.

pub mod arrange;
pub mod batcher;
pub mod cursor;
mod groups;
pub mod lanes;
mod merge;
pub mod packed;
pub mod regroup;
pub(crate) mod varint;
