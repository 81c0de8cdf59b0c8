//! Tests of the whole system.

mod golden;
mod oracle;
mod random;
