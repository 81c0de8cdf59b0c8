//! AdvertiseX: exact, incremental numbers for ad traffic.
//!
//! `formats`, `sources` and `sinks` know bytes and files, `dataflows` knows the graphs, and only
//! `runtime` sees both sides.

pub mod archive;
pub mod bindings;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod formats;
pub mod generate;
pub mod names;
pub mod runtime;
pub mod serve;
pub mod sinks;
pub mod sources;
pub mod store;
pub mod telemetry;
