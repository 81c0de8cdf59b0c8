//! Against real services, which the tests start on loopback (`tests/services`).

mod clickhouse;
mod golden;
mod server;
