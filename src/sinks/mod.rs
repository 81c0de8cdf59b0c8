//! Where the tables go. A sink sees only what is complete.

pub mod cells;
pub mod clickhouse;
pub mod directory;
pub mod order;
pub mod parquet;
pub mod tables;
pub mod text;
