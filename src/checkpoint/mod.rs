//! Checkpoints: what was read, kept so that a start needs not read all of Kafka again.
//!
//! ```text
//!   workers ── what they read, by epoch ──▶ writer ── segments, then a manifest ──▶ store
//!   published up to epoch P ───────────────▶   └─ of all epochs up to P
//!
//!   manifest 7:  epoch P ─ positions ─ lookup rows ─ segment, segment, segment …
//! ```
//!
//! A segment holds the accepted records of some epochs and the texts of their keys, and is never
//! changed; small ones are merged into larger ones, those of which most has expired are written anew,
//! and those of which all has are dropped. A manifest says which segments there are and where in Kafka reading goes on.
//! A checkpoint never holds more than what is published: a start feeds all of it as one epoch,
//! the bindings behind it as the epochs they were, and what is published is not changed by it.

mod erasure;
mod error;
mod fed;
mod fence;
mod import;
mod keeper;
mod manifest;
mod part;
mod raw;
mod records;
mod recovery;
mod residues;
mod segment;
mod texts;
mod writer;

pub use erasure::Rewriter;
pub use error::CheckpointError;
pub use fed::{Fed, Records};
pub use fence::{Fence, LEASE, MARGIN, seat};
pub use import::Import;
pub use manifest::{HeldRows, Manifest, rows_of, seal, unseal, unseal_listed, write_rows};
pub use part::{Errand, Part, Save};
pub use records::{Record, RejectCount};
pub use recovery::Recovery;
pub use residues::HeldResidues;
pub use segment::{Damage, Listed, LoadFault, Segment, SegmentWriter};
pub use writer::{Checkpointer, Plan};

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod expiry_tests;
#[cfg(test)]
mod tests;
