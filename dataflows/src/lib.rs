//! The graphs and the domain of AdvertiseX. Nothing here does IO or reads a clock: time arrives
//! as data or as an epoch.
//!
//! Rooms, each importing only what stands left of it: `model ← rules ← operators ← graphs`.

pub mod changes;
pub mod expiry;
pub mod graphs;
pub mod model;
pub mod operators;
pub mod rules;
pub mod size;
pub mod snapshot;
pub mod sorting;
