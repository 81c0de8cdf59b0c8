//! Tests of the whole system.

mod cli;
mod golden;
mod oracle;
mod random;
