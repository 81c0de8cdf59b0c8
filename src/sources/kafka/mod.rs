//! Kafka as a source: one [`KafkaSource`] per worker.
//!
//! ```text
//! brokers ─> librdkafka ─> a bounded queue per partition ─> decoder per topic ─> Batch
//!                          (a full one stops fetching)      └─ registry (schemas, in its own thread)
//! ```
//!
//! - A worker owns the partitions with `partition % workers == worker` of every topic, always; no
//!   group protocol moves them. The caller binds what [`KafkaSource::poll`] took to an epoch, and
//!   after a crash reads the same offsets with [`KafkaSource::read_ranges`].
//! - What stands in a message never stops a run: it is an event, a reject, or a change of a lookup
//!   table. A message is passed over only once it has become one of these.
//! - A registry that can't be reached holds up the partitions that need it, nothing else.
//! - A broker that is lost comes back by itself; meanwhile [`KafkaSource::state`] says so.

mod client;
mod decode;
mod discover;
mod error;
mod fetch;
mod lookups;
mod open;
mod partition;
mod range;
mod registry;
mod source;
mod status;

pub use error::KafkaSourceError;
pub use open::Share;
pub use range::RangesLeft;
pub use registry::Registry;
pub use source::{Budget, KafkaSource};
pub use status::SourceState;

#[cfg(test)]
mod tests;
