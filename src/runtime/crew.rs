//! Shares out the work that workers make for each other.
//!
//! A worker brings rows and, in between, does tasks: the pieces that became whole, whoever made
//! them so. The worker that is furthest behind does none, as all others wait for its rows, unless
//! tasks pile up. Nobody waits before all its rows are brought; then it does tasks until the others
//! are done, too, or it is told to stop.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a worker waits before it asks again whether the run was stopped.
const PATIENCE: Duration = Duration::from_millis(50);

/// Brought everything.
const DONE: u64 = u64::MAX;

/// The workers of a process, and the tasks that wait for one of them.
pub struct Crew<T> {
    state: Mutex<State<T>>,
    news: Condvar,
}

struct State<T> {
    tasks: VecDeque<T>,
    /// How far each worker is.
    progress: Vec<u64>,
    deserted: bool,
}

impl<T> Crew<T> {
    /// A crew of `workers`.
    pub fn new(workers: usize) -> Self {
        let state = State { tasks: VecDeque::new(), progress: vec![0; workers], deserted: false };
        Self { state: Mutex::new(state), news: Condvar::new() }
    }

    /// Signs a worker on; it works until the shift is ended.
    pub fn start(&self, worker: usize) -> Shift<'_, T> {
        Shift { crew: self, worker }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker at work. One that leaves before its end, by an error or a panic, stops the others.
pub struct Shift<'a, T> {
    crew: &'a Crew<T>,
    worker: usize,
}

impl<T> Shift<'_, T> {
    /// Tells how far this worker is, and leaves tasks.
    pub fn report(&self, progress: u64, tasks: impl IntoIterator<Item = T>) {
        let mut state = self.crew.state();
        state.progress[self.worker] = progress;
        let before = state.tasks.len();
        state.tasks.extend(tasks);
        if state.tasks.len() > before {
            self.crew.news.notify_all();
        }
    }

    /// A task, if it is this worker's turn to do one.
    pub fn task(&self) -> Option<T> {
        let mut state = self.crew.state();
        let progress = &state.progress;
        let mine = progress[self.worker];
        let last = progress.iter().any(|other| mine < *other) && progress.iter().all(|other| mine <= *other);
        if last && state.tasks.len() < state.progress.len() { None } else { state.tasks.pop_front() }
    }

    /// Whether a worker left before its end.
    pub fn is_over(&self) -> bool {
        self.crew.state().deserted
    }

    /// Says that this worker has brought everything.
    pub fn done(&self) {
        self.report(DONE, []);
        self.crew.news.notify_all();
    }

    /// A task, for which it waits; none once all workers have brought everything and no task is
    /// left, or there is no use in waiting.
    pub fn wait(&self, stopped: &dyn Fn() -> bool) -> Option<T> {
        let mut state = self.crew.state();
        loop {
            if state.deserted || stopped() {
                return None;
            }
            if let Some(task) = state.tasks.pop_front() {
                return Some(task);
            }
            if state.progress.iter().all(|progress| *progress == DONE) {
                return None;
            }
            let woken = self.crew.news.wait_timeout(state, PATIENCE);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<T> Drop for Shift<'_, T> {
    fn drop(&mut self) {
        let mut state = self.crew.state();
        if state.progress[self.worker] != DONE {
            state.deserted = true;
            self.crew.news.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const GO_ON: &dyn Fn() -> bool = &|| false;

    #[test]
    fn the_worker_furthest_behind_does_no_tasks_unless_they_pile_up() {
        let crew = Crew::new(2);
        let (ahead, behind) = (crew.start(0), crew.start(1));
        ahead.report(2, []);
        behind.report(1, ["a"]);
        assert_eq!(behind.task(), None);
        assert_eq!(ahead.task(), Some("a"));
        behind.report(1, ["b", "c"]);
        assert_eq!(behind.task(), Some("b"));
        behind.report(3, []);
        assert_eq!(ahead.task(), None);
        assert_eq!(behind.task(), Some("c"));
        ahead.done();
        behind.done();
    }

    #[test]
    fn who_is_done_helps_until_all_are() {
        let crew = Crew::new(2);
        thread::scope(|scope| {
            let early = crew.start(0);
            early.done();
            scope.spawn(|| {
                let late = crew.start(1);
                for task in 0..100 {
                    late.report(task, [task]);
                }
                late.done();
            });
            let mut helped = Vec::new();
            while let Some(task) = early.wait(GO_ON) {
                helped.push(task);
            }
            assert_eq!(helped, (0..100).collect::<Vec<_>>());
        });
    }

    #[test]
    fn nobody_waits_for_a_worker_that_left() {
        let crew = Crew::<()>::new(2);
        thread::scope(|scope| {
            let worker = crew.start(0);
            worker.done();
            scope.spawn(|| drop(crew.start(1)));
            assert!(worker.wait(GO_ON).is_none());
            assert!(worker.is_over());
        });
    }

    #[test]
    fn nobody_waits_for_a_worker_that_never_came() {
        let crew = Crew::<()>::new(2);
        let worker = crew.start(0);
        worker.done();
        assert!(worker.wait(&|| true).is_none());
    }
}
