//! The only room that sees both sides: sources feed the graphs, and sinks read them.

mod aging;
pub mod archives;
mod assembly;
pub mod cluster;
mod crew;
pub mod demo;
pub mod filling;
mod frozen;
pub mod generation;
pub mod history;
pub mod job;
pub mod live;
pub mod output;
pub mod post;
pub mod progress;
pub mod publish;
pub mod replay;
pub mod report;
mod rounds;
mod rows;
mod settle;
mod spill;
pub mod supervisor;
mod table;
mod telling;
pub mod top;
pub mod verify;
