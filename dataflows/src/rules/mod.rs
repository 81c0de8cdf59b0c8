//! Pure functions: values in, values out. Tested without a dataflow.

pub mod attribution;
pub mod dedup;
pub mod erasure;
pub mod horizon;
