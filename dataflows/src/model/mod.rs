//! Words of the domain: keys, money, time, the events, measures, rejects, lookups.

pub mod diff;
pub mod events;
pub mod horizon;
pub mod ids;
pub mod lookups;
pub mod measures;
pub mod money;
pub mod reject;
pub mod time;
mod varint;
