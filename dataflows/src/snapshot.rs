//! Reads the contents of a maintained table.

use differential_dataflow::trace::cursor::cursor_list;
use differential_dataflow::trace::{Cursor, TraceReader};
use timely::progress::Antichain;

use crate::model::time::Epoch;
use crate::operators::arrange::{Key, SumTrace, Val, ValTrace};
use crate::operators::packed::Diff;

/// The rows of an aggregate as of the end of `epoch`, which must be complete and not compacted
/// away: this worker's part of the table, in key order.
pub fn sums<K: Key, R>(trace: &mut SumTrace<K, R>, epoch: Epoch, mut row: impl FnMut(K, R))
where
    R: Diff,
{
    let (mut cursor, storage) =
        cursor_list(trace.batches_through(Antichain::new().borrow()).unwrap_or_default());
    while let Some(key) = cursor.get_key(&storage) {
        let mut sum: Option<R> = None;
        while cursor.val_valid(&storage) {
            cursor.map_times(&storage, |time, diff| {
                if *time <= epoch {
                    match &mut sum {
                        Some(sum) => sum.plus_equals(diff),
                        None => sum = Some(*diff),
                    }
                }
            });
            cursor.step_val(&storage);
        }
        if let Some(sum) = sum.filter(|sum| !sum.is_zero()) {
            row(*key, sum);
        }
        cursor.step_key(&storage);
    }
}

/// The pairs of an arranged collection as of the end of `epoch`, in key order.
pub fn pairs<K: Key, V: Val>(trace: &mut ValTrace<K, V>, epoch: Epoch, mut row: impl FnMut(K, V)) {
    let (mut cursor, storage) =
        cursor_list(trace.batches_through(Antichain::new().borrow()).unwrap_or_default());
    while let Some(key) = cursor.get_key(&storage) {
        while let Some(value) = cursor.get_val(&storage) {
            let mut count = 0;
            cursor.map_times(&storage, |time, diff| count += if *time <= epoch { *diff } else { 0 });
            (0..count).for_each(|_| row(*key, *value));
            cursor.step_val(&storage);
        }
        cursor.step_key(&storage);
    }
}
