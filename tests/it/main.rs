//! Tests of the whole system.

mod archive;
mod cli;
mod damage;
mod golden;
mod horizon;
mod oracle;
mod random;
