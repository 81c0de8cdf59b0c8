//! What a format has to do.

use super::error::GenerateError;
use super::event::Event;
use super::written::Planted;

/// Writes events in the order given; nothing is complete before `finish`.
pub(super) trait Sink {
    /// Writes one event.
    fn event(&mut self, event: &Event) -> Result<(), GenerateError>;

    /// Writes the `nth` bad record of every feed, as of a moment, and counts them. A format of
    /// canonical events has no way to be wrong and writes none.
    fn bad(&mut self, _nth: u32, _now: i64, _planted: &mut Planted) -> Result<(), GenerateError> {
        Ok(())
    }

    /// Ends every file and makes it durable.
    fn finish(self: Box<Self>) -> Result<(), GenerateError>;
}
