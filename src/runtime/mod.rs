//! The only room that sees both sides: sources feed the graphs, and sinks read them.

pub mod demo;
pub mod job;
pub mod parts;
pub mod progress;
pub mod publish;
pub mod replay;
pub mod report;
pub mod top;
