//! Decoding without brokers, and the source against librdkafka's mock cluster.

mod decode;
mod mock;
mod recovery;
mod registry;
mod server;
