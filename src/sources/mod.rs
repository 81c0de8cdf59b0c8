//! Where events come from. A source owns its positions; what the bytes mean is the formats' matter.

pub mod files;
pub mod kafka;
pub mod lookups;
