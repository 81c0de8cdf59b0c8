//! Many requests at a time, as each is mostly waiting.

use std::panic::resume_unwind;
use std::thread;

/// How many are under way at most.
const AT_ONCE: usize = 16;

/// Does the same for all items, some at a time. The results are in the order of the items.
///
/// # Errors
/// The first item, in order, that was tried and failed; not all others are tried then.
pub fn together<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let share = items.len().div_ceil(AT_ONCE).max(1);
    thread::scope(|scope| {
        let work = |share: &[T]| share.iter().map(&work).collect::<Result<Vec<R>, E>>();
        let threads: Vec<_> = items.chunks(share).map(|share| scope.spawn(move || work(share))).collect();
        let mut done = Vec::with_capacity(items.len());
        for thread in threads {
            done.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_an_error_is_the_first() {
        for count in [0, 1, 15, 16, 17, 100] {
            let items: Vec<usize> = (0..count).collect();
            let doubled = together(&items, |item| Ok::<_, ()>(2 * item));
            assert_eq!(doubled, Ok((0..count).map(|item| 2 * item).collect()));
            let failed = together(&items, |item| if item % 7 == 6 { Err(*item) } else { Ok(()) });
            assert_eq!(failed.err(), (count > 6).then_some(6));
        }
    }
}
