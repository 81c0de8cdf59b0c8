//! Tests of the whole system.

mod cli;
mod damage;
mod golden;
mod oracle;
mod random;
