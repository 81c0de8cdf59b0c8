//! The only room that sees both sides: sources feed the graphs, and sinks read them.

pub mod archives;
mod assembly;
mod crew;
pub mod demo;
pub mod history;
pub mod job;
pub mod live;
pub mod progress;
pub mod publish;
pub mod replay;
pub mod report;
mod rows;
mod table;
pub mod top;
