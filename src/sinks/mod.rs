//! Where the tables go. A sink sees only what is complete.

pub mod cells;
pub mod clickhouse;
pub mod csv;
pub mod directory;
pub mod order;
pub mod parquet;
pub mod rejects_topic;
pub mod table_file;
pub mod tables;
pub mod texts;
pub mod topic;
