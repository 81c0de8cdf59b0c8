//! Reusable parts: they move data, time and capabilities, and know nothing of advertising but
//! that some lookups are the same on every worker.

pub mod arrange;
pub mod batcher;
mod columns;
pub mod cursor;
pub(crate) mod groups;
pub mod lanes;
mod leads;
mod merge;
pub mod packed;
pub mod regroup;
