//! The services are really had: started, killed, started again, and gone with the test.

mod clickhouse;
mod kafka;
mod orphans;
mod s3;
