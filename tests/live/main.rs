//! Against real services, which the tests start on loopback (`tests/services`).

mod api;
mod archive;
mod broker;
mod browser;
mod bucket;
mod clickhouse;
mod cluster;
mod crash;
mod dashboard;
mod demo;
mod erasure;
mod generation;
mod golden;
mod horizon;
mod hosts;
#[path = "../it/network.rs"]
mod network;
mod objects;
mod rejects;
mod server;
#[allow(dead_code, reason = "the benches use the rest")]
mod stage;
