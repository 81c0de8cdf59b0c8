//! The tables in ClickHouse: upserts per epoch, and how far they are.
//!
//! ```text
//!   worker threads ──offer──▶ bounded queue ──▶ publisher thread ──HTTP(S), LZ4──▶ ClickHouse
//!         ▲                                        │    one insert per table, then `frontier`
//!         └────────── published epoch, health ─────┘
//! ```
//!
//! A row `(key, measures, version, is_deleted)` is the state of its key as of epoch `version`, and
//! the tables keep the greatest version of each key. So whatever is written twice, late, or in
//! another cut of epochs ends in the same rows: a crash at any instant is mended by publishing
//! again from the last frontier on. Deduplication tokens only spare the server the double work.
//!
//! | file | is about |
//! |---|---|
//! | `schema` | what `config/schemas/clickhouse_*.sql` declares |
//! | `verify` | what the server has instead |
//! | `rows`, `tables` | typed upserts to rows of text and integers |
//! | `upserts` | a batch: its size, its parts, the tokens of its inserts |
//! | `client` | one attempt at anything |
//! | `lines` | rows as lines of CSV, to be compared |
//! | `generation`, `published` | all facts anew, beside the published ones |
//! | `staging` | rows of them, from any process |
//! | `swap` | the exchange of both, and how one that was cut short is finished |
//! | `retry`, `publish` | as many attempts as it takes |
//! | `publisher` | the thread that makes them |
//! | `frontier` | how far several publishers are, in one row |

mod client;
mod error;
mod frontier;
mod generation;
mod lines;
mod publish;
mod published;
mod publisher;
mod rejects;
mod retry;
mod rows;
mod schema;
mod staging;
mod swap;
mod tables;
mod upserts;
mod verify;

pub use client::{ClickHouse, Frontier};
pub use error::{ClickHouseError, Fault};
pub use frontier::FrontierWriter;
pub use generation::{Generation, Received};
pub use published::Published;
pub use publisher::{Health, Publisher, Refused};
pub use rejects::{KeptReject, RejectId};
pub use retry::Backoff;
pub use rows::*;
pub use schema::{SCHEMA_VERSION, schema_text};
pub use staging::{Label, Staging};
pub use swap::Swapped;
pub use tables::Table;
pub use upserts::{CampaignModel, Epochs, Limits, Reject, Upsert, Upserts, Writer};
pub use verify::Mismatch;

#[cfg(test)]
mod tests;
