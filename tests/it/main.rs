//! Tests of the whole system.

mod aging;
mod archive;
mod cli;
mod cluster;
mod damage;
mod erasure;
mod golden;
mod horizon;
mod hosts_apart;
#[allow(dead_code, reason = "the live tests use the rest")]
mod network;
mod oracle;
mod random;
mod served;
mod site;
mod tls;
