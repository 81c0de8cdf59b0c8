//! Reusable parts: they move data, time and capabilities, and know nothing of advertising but
//! that some lookups are the same on every worker.

pub mod arrange;
pub mod lanes;
pub mod regroup;
