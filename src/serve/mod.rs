//! What people look at: the dashboards, the query API and the event streams, over closed epochs only.
//!
//! ```text
//!   changes of every process ─▶ store ─┬─▶ answers ─▶ /api/v1/tables/…      (JSON, CSV, Parquet)
//!            ClickHouse ─▶ older windows ─┘ └▶ topics ─▶ /api/v1/stream       (server-sent events)
//! ```
//!
//! It is fed what is published, before ClickHouse is, and after the frontier has passed it: a page is
//! never behind ClickHouse, and never ahead of the frontier.

pub mod access;
pub mod answer;
pub mod facts;
pub mod groups;
pub mod history;
pub mod http;
pub mod labels;
pub mod openapi;
pub mod paths;
pub mod query;
pub mod shape;
pub mod store;
pub mod tls;
pub mod topic;
pub mod update;

#[cfg(test)]
mod tests;
