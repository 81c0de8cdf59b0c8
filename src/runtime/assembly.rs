//! Brings the workers' shares of a table together.
//!
//! ```text
//!   worker 0:  8:00 8:00 8:00 | 9:00 9:00 │ 10:00        rows, window by window, in chunks
//!   worker 1:  8:00 8:00 9:00 | 9:00 9:00 │
//!                 whole: a piece          └─ not yet: worker 1 may bring more of 9:00
//! ```
//!
//! Each worker brings its rows in order of their windows. A window is whole once every worker is
//! past it; whole windows are given out in pieces, each to one worker, which puts the piece's rows
//! in order. So a table is never in memory as a whole, unless it has but one window.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::sinks::tables::TableRow;

/// Behind the last window.
const END: u64 = u64::MAX;

/// Some neighbouring windows of a table: all rows of all workers, not yet in order.
#[derive(Debug)]
pub struct Piece<R> {
    /// Which piece of the table it is, from 0.
    pub number: u64,
    /// The rows, worker by worker.
    pub rows: Vec<Vec<R>>,
}

/// One table in the making.
pub struct Assembly<R> {
    state: Mutex<State<R>>,
    piece_rows: usize,
}

struct State<R> {
    shares: Vec<Share<R>>,
    pieces: u64,
}

/// What a worker has brought that was not given out yet.
struct Share<R> {
    chunks: VecDeque<Vec<R>>,
    /// The worker is past all windows before this one.
    reached: u64,
}

impl<R: TableRow> Assembly<R> {
    /// A table of which each worker has a share. Pieces have at least `piece_rows` rows, if there
    /// are so many.
    pub fn new(workers: usize, piece_rows: usize) -> Self {
        let share = || Share { chunks: VecDeque::new(), reached: 0 };
        let shares = (0..workers).map(|_| share()).collect();
        Self { state: Mutex::new(State { shares, pieces: 0 }), piece_rows }
    }

    /// Takes the next rows of a worker's share, in order of their windows, and gives out the pieces
    /// that are whole by that.
    pub fn add(&self, worker: usize, chunk: Vec<R>) -> Vec<Piece<R>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let share = &mut state.shares[worker];
        if let Some(last) = chunk.last() {
            share.reached = u64::from(last.window());
            share.chunks.push_back(chunk);
        }
        state.pieces(self.piece_rows)
    }

    /// Ends a worker's share.
    pub fn close(&self, worker: usize) -> Vec<Piece<R>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.shares[worker].reached = END;
        state.pieces(self.piece_rows)
    }
}

impl<R: TableRow> State<R> {
    fn pieces(&mut self, piece_rows: usize) -> Vec<Piece<R>> {
        let whole = self.shares.iter().map(|share| share.reached).min().unwrap_or(END);
        let mut pieces = Vec::new();
        loop {
            let rows = self.rows_before(whole);
            if rows == 0 || (rows < piece_rows && whole < END) {
                return pieces;
            }
            let end = self.cut(whole, piece_rows);
            let rows = self.shares.iter_mut().flat_map(|share| share.take(end)).collect();
            pieces.push(Piece { number: self.pieces, rows });
            self.pieces += 1;
        }
    }

    fn rows_before(&self, window: u64) -> usize {
        self.shares.iter().map(|share| share.rows_before(window)).sum()
    }

    /// Where to end a piece: as early as it has enough rows. Only where chunks end is looked at.
    fn cut(&self, whole: u64, piece_rows: usize) -> u64 {
        let ends = self.shares.iter().flat_map(|share| share.chunks.iter().filter_map(|chunk| chunk.last()));
        let mut cuts: Vec<u64> =
            ends.map(|last| u64::from(last.window())).filter(|cut| *cut < whole).collect();
        cuts.sort_unstable();
        let enough = cuts.partition_point(|cut| self.rows_before(*cut) < piece_rows);
        cuts.get(enough).copied().unwrap_or(whole)
    }
}

impl<R: TableRow> Share<R> {
    fn rows_before(&self, window: u64) -> usize {
        let mut rows = 0;
        for chunk in &self.chunks {
            let before = before(chunk, window);
            rows += before;
            if before < chunk.len() {
                break;
            }
        }
        rows
    }

    /// Takes the rows before `window`.
    fn take(&mut self, window: u64) -> Vec<Vec<R>> {
        let mut taken = Vec::new();
        while let Some(mut chunk) = self.chunks.pop_front() {
            let before = before(&chunk, window);
            if before == chunk.len() {
                taken.push(chunk);
                continue;
            }
            let rest = chunk.split_off(before);
            self.chunks.push_front(rest);
            taken.push(chunk);
            break;
        }
        taken
    }
}

/// How many rows of a chunk come before `window`.
fn before<R: TableRow>(chunk: &[R], window: u64) -> usize {
    match chunk.last() {
        Some(last) if u64::from(last.window()) < window => chunk.len(),
        _ => chunk.partition_point(|row| u64::from(row.window()) < window),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::tables::ReachDay;
    use dataflows::model::ids::Name;
    use dataflows::model::measures::Reach;
    use dataflows::model::time::Day;

    fn rows(days: &[u32]) -> Vec<ReachDay> {
        days.iter().map(|day| ((Day(*day), Name::EMPTY), Reach::default())).collect()
    }

    /// The number of each piece, and the days of its rows.
    fn days(pieces: Vec<Piece<ReachDay>>) -> Vec<(u64, Vec<u32>)> {
        let days = |piece: Piece<ReachDay>| {
            let mut days: Vec<u32> = piece.rows.iter().flatten().map(TableRow::window).collect();
            days.sort_unstable();
            (piece.number, days)
        };
        pieces.into_iter().map(days).collect()
    }

    #[test]
    fn a_window_is_given_out_once_every_worker_is_past_it() {
        let table = Assembly::new(2, 1);
        assert!(table.add(0, rows(&[1, 1, 2])).is_empty(), "worker 1 has brought nothing");
        assert!(table.add(1, rows(&[1, 1])).is_empty(), "worker 1 may bring more of day 1");
        assert_eq!(days(table.add(1, rows(&[1, 3]))), [(0, vec![1, 1, 1, 1, 1])]);
        assert_eq!(days(table.close(0)), [(1, vec![2])]);
        assert_eq!(days(table.close(1)), [(2, vec![3])]);
    }

    #[test]
    fn small_windows_are_given_out_together() {
        let table = Assembly::new(1, 3);
        assert!(table.add(0, rows(&[1, 2])).is_empty());
        assert_eq!(days(table.add(0, rows(&[3, 4]))), [(0, vec![1, 2, 3])]);
        assert_eq!(days(table.close(0)), [(1, vec![4])]);
    }

    #[test]
    fn a_share_that_ends_late_or_empty_holds_back_many_pieces_and_no_row() {
        let table = Assembly::new(2, 2);
        for day in 0..10 {
            assert!(table.add(0, rows(&[day, day])).is_empty());
        }
        assert!(table.close(0).is_empty());
        let pieces = days(table.close(1));
        assert!(pieces.len() > 3, "{pieces:?}");
        assert!(pieces.iter().zip(0..).all(|((number, _), at)| *number == at));
        let all: Vec<u32> = pieces.into_iter().flat_map(|(_, days)| days).collect();
        assert_eq!(all, (0..10).flat_map(|day| [day, day]).collect::<Vec<_>>());
    }

    #[test]
    fn a_table_without_rows_has_no_pieces() {
        let table = Assembly::<ReachDay>::new(2, 1);
        assert!(table.close(0).is_empty() && table.close(1).is_empty());
    }
}
