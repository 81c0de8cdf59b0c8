//! Against real services, which the tests start on loopback (`tests/services`).

mod clickhouse;
mod crash;
mod golden;
mod rejects;
mod server;
mod stage;
