//! The archive: every accepted event as Parquet, by hour of event time, readable by any tool.
//!
//! ```text
//!   workers ── what they read, by epoch ──▶ writer ── files, then a manifest ──▶ store
//!   published up to epoch P ──────────────▶   └─ of all epochs up to P
//!
//!   manifest 7:  epoch P ─ positions ─ lookup rows ─ file, file, file …
//!   date=2026-11-25/hour=03/impressions-0-….parquet
//! ```
//!
//! A file counts only if a manifest names it. For each partition the manifest says up to which
//! offset its records are in the files: what is read again after a crash is archived from there on,
//! so that no record is in the archive twice or never, whatever the checkpoint and the binding log
//! hold. Small files of an hour are merged; by age files are moved to a colder place, and deleted.
//!
//! Each process of a cluster is a shard: it has manifests and files of its own, and the archive is
//! what the newest manifests of all shards name.

mod catalog;
mod claim;
mod encode;
mod erasure;
mod error;
mod keeper;
mod kind;
mod manifest;
mod merge;
mod rejected;
mod rows;
mod state;
mod upkeep;
mod writer;

pub use catalog::Catalog;
pub use encode::Shape;
pub use erasure::Removed;
pub use error::ArchiveError;
pub use keeper::Keeper;
pub use kind::Kind;
pub use manifest::{Entry, Manifest};
pub use rows::Rows;
pub use state::{Archive, Shard, job};
pub use upkeep::{Aged, Merging, Retention};
pub use writer::{Archiver, Fed, Plan};

#[cfg(test)]
mod shard_tests;
#[cfg(test)]
mod tests;
