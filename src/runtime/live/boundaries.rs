//! Which horizon holds in which epoch, and how far an emission may go.
//!
//! A window keeps what it had in the last epoch in which it was open. So the epochs of one emission
//! have one horizon: it ends before the next one takes effect.

use std::collections::VecDeque;

use dataflows::model::horizon::Horizon;
use dataflows::model::time::Epoch;

/// The horizons since what was published last.
#[derive(Debug)]
pub struct Boundaries {
    /// The first epoch of each, in order. Those before the first change have the first horizon.
    changes: VecDeque<(Epoch, Horizon)>,
}

impl Boundaries {
    /// From the horizon of what is published on.
    pub fn new(published: Horizon) -> Self {
        Self { changes: VecDeque::from([(0, published)]) }
    }

    /// Notes the horizon of an epoch; epochs come in order.
    pub fn note(&mut self, epoch: Epoch, horizon: Horizon) {
        if self.changes.back().is_none_or(|(_, last)| *last != horizon) {
            self.changes.push_back((epoch, horizon));
        }
    }

    /// The horizon of an epoch; those asked for come in order.
    pub fn at(&mut self, epoch: Epoch) -> Horizon {
        self.emission(epoch.saturating_sub(1), epoch).1
    }

    /// How far an emission goes that begins behind `published` and could go up to `complete`, and
    /// the horizon in it.
    pub fn emission(&mut self, published: Epoch, complete: Epoch) -> (Epoch, Horizon) {
        let first = published + 1;
        while self.changes.get(1).is_some_and(|(epoch, _)| *epoch <= first) {
            self.changes.pop_front();
        }
        let horizon = self.changes.front().map_or_else(Horizon::default, |(_, horizon)| *horizon);
        let end = self.changes.get(1).map_or(complete, |(next, _)| complete.min(next - 1));
        (end, horizon)
    }
}

#[cfg(test)]
mod tests {
    use dataflows::model::time::EventTime;

    use super::*;

    fn horizon(hours: i64) -> Horizon {
        let freeze = EventTime::from_millis(hours * 3_600_000).expect("in range");
        Horizon { freeze, ..Horizon::default() }
    }

    #[test]
    fn an_emission_ends_before_the_next_horizon_takes_effect() {
        let mut boundaries = Boundaries::new(horizon(1));
        for (epoch, hours) in [(10, 1), (20, 2), (30, 2), (40, 3), (50, 4)] {
            boundaries.note(epoch, horizon(hours));
        }
        assert_eq!(boundaries.emission(5, 12), (12, horizon(1)));
        assert_eq!(boundaries.emission(12, 45), (19, horizon(1)));
        assert_eq!(boundaries.emission(19, 45), (39, horizon(2)));
        assert_eq!(boundaries.emission(39, 45), (45, horizon(3)));
        assert_eq!(boundaries.emission(45, 90), (49, horizon(3)));
        assert_eq!(boundaries.emission(49, 90), (90, horizon(4)));
    }
}
