//! Tests of the whole system.

mod cli;
mod cluster;
mod damage;
mod golden;
mod horizon;
mod hosts_apart;
mod oracle;
mod random;
