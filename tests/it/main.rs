//! Tests of the whole system.

mod oracle;
mod random;
