//! Tests of the whole system.

mod archive;
mod cli;
mod damage;
mod golden;
mod oracle;
mod random;
