//! What a process has read and the others have to be told, and in which epoch.
//!
//! Workers of a process share their dictionary, but not their pace: one may be some epochs ahead.
//! A text that it tells in its own epoch comes too late for a slower worker that read it as well. So
//! each worker looks at everything that is new to it, and tells what nobody has told in an epoch as
//! early as its own.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use dataflows::model::time::Epoch;

use super::Dated;

#[derive(Debug, Default)]
pub struct News(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What some worker has not seen, each with the earliest epoch in which it was told.
    texts: VecDeque<(Dated, Option<Epoch>)>,
    /// How many were dropped before them.
    dropped: u64,
    /// How far each worker is.
    seen: Vec<u64>,
}

impl News {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self(Mutex::new(State { seen: vec![0; workers], ..State::default() }))
    }

    /// Adds a text that was read.
    pub fn add(&self, text: Dated) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).texts.push_back((text, None));
    }

    /// What this worker has to tell in this epoch.
    pub fn take(&self, worker: usize, epoch: Epoch) -> Vec<Dated> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { texts, dropped, seen } = &mut *state;
        let fresh = texts.iter_mut().skip(seen[worker].saturating_sub(*dropped) as usize);
        let late = fresh.filter(|(_, told)| told.is_none_or(|told| told > epoch));
        let news = late.map(|(text, told)| {
            *told = Some(epoch);
            text.clone()
        });
        let news = news.collect();
        seen[worker] = *dropped + texts.len() as u64;
        state.drop_seen();
        news
    }

    /// This worker has no more to tell, and need not be waited for.
    pub fn leave(&self, worker: usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen[worker] = u64::MAX;
        state.drop_seen();
    }

    /// Drops everything.
    pub fn forget(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = state.dropped + state.texts.len() as u64;
        state.seen.fill(end);
        state.drop_seen();
    }
}

impl State {
    fn drop_seen(&mut self) {
        let end = self.dropped + self.texts.len() as u64;
        let all = self.seen.iter().min().copied().unwrap_or(0).min(end);
        self.texts.drain(..(all - self.dropped) as usize);
        self.dropped = all;
    }
}

#[cfg(test)]
mod tests {
    use dataflows::model::time::Minute;

    use super::super::Text;
    use super::*;

    fn text(text: &str) -> Dated {
        Dated { text: Text::Name(text.into()), until: Minute(0) }
    }

    #[test]
    fn a_text_is_told_once_unless_a_slower_worker_needs_it_earlier() {
        let news = News::new(2);
        news.add(text("a"));
        assert_eq!(news.take(0, 5), [text("a")]);
        assert_eq!(news.take(1, 3), [text("a")], "it may belong to epoch 3");
        news.add(text("b"));
        news.add(text("c"));
        assert_eq!(news.take(1, 3), [text("b"), text("c")]);
        news.add(text("d"));
        assert_eq!(news.take(0, 5), [text("d")], "b and c were told in epoch 3");
        assert!(news.take(1, 6).is_empty(), "and d in epoch 5");
        assert!(news.0.lock().expect("not poisoned").texts.is_empty());
        news.leave(0);
        news.add(text("e"));
        assert_eq!(news.take(1, 7), [text("e")]);
        assert!(news.0.lock().expect("not poisoned").texts.is_empty(), "nobody waits for who has left");
    }

    #[test]
    fn what_all_know_is_not_told() {
        let news = News::new(2);
        news.add(text("a"));
        news.forget();
        news.add(text("b"));
        assert_eq!(news.take(1, 0), [text("b")]);
        assert_eq!(news.take(0, 0), Vec::<Dated>::new());
    }
}
