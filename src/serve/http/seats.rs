//! How many streams each asker has open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The open streams, by whose they are.
#[derive(Debug, Default)]
pub struct Seats(Mutex<HashMap<Arc<str>, usize>>);

/// An open stream; dropped, it is none any more.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    name: Arc<str>,
}

impl Seats {
    /// Takes a seat, unless somebody has `max` already.
    pub fn take(self: &Arc<Self>, name: &Arc<str>, max: usize) -> Option<Seat> {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seats.entry(Arc::clone(name)).or_default();
        if *taken >= max {
            return None;
        }
        *taken += 1;
        Some(Seat { seats: Arc::clone(self), name: Arc::clone(name) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seats.get_mut(&self.name) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => _ = seats.remove(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_that_is_left_can_be_taken_again_and_others_have_their_own() {
        let (seats, alice, bob): (Arc<Seats>, Arc<str>, Arc<str>) =
            (Arc::default(), "alice".into(), "bob".into());
        let first = seats.take(&alice, 2).expect("free");
        let second = seats.take(&alice, 2).expect("free");
        assert!(seats.take(&alice, 2).is_none() && seats.take(&bob, 2).is_some());
        drop(first);
        assert!(seats.take(&alice, 2).is_some());
        drop(second);
        assert!(seats.0.lock().expect("sound").is_empty(), "nobody is remembered");
    }
}
