//! What has changed in a maintained table since it was looked at last.

use std::cell::RefCell;
use std::rc::Rc;

use timely::dataflow::Scope;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Inspect, Probe};
use timely::progress::Antichain;

use differential_dataflow::trace::TraceReader;
use differential_dataflow::trace::chunk::ChunkBatch;

use crate::model::diff::Diff;
use crate::model::time::Epoch;
use crate::operators::arrange::{Key, Val};
use crate::operators::groups::Groups;
use crate::operators::packed::Packed;
use crate::snapshot::Table;

type Batch<K, V, R> = Rc<ChunkBatch<Packed<K, V, R>>>;

/// Follows a table.
pub struct Changes<K: Key, V: Val, R: Diff> {
    table: Table<K, V, R>,
    /// Batches with changes that were not asked for yet.
    batches: Rc<RefCell<Vec<Batch<K, V, R>>>>,
}

impl<K: Key, V: Val, R: Diff> Changes<K, V, R> {
    /// Follows a table from its present state on. `probe` passes an epoch when all its changes
    /// can be asked for.
    pub fn follow(scope: Scope<'_, Epoch>, table: &Table<K, V, R>, probe: &Handle<Epoch>) -> Self {
        let mut table = table.clone();
        let batches = Rc::new(RefCell::new(Vec::new()));
        let arriving = Rc::clone(&batches);
        table
            .import_named(scope, "changes")
            .stream
            .inspect(move |span| arriving.borrow_mut().extend(span.inner.clone()))
            .probe_with(probe);
        // Held by the table that is followed, not here.
        table.set_physical_compaction(Antichain::new().borrow());
        Self { table, batches }
    }

    /// The keys that have changed up to and including `epoch`, which must be complete, since they
    /// were asked for last; in order and each once. Some may have been told before.
    pub fn keys(&mut self, epoch: Epoch) -> Vec<K> {
        self.keys_where(epoch, |_, _| true)
    }

    /// As [`Changes::keys`], but only keys of which a row has come or gone that `such` holds of.
    pub fn keys_where(&mut self, epoch: Epoch, such: impl Fn(&K, &V) -> bool) -> Vec<K> {
        let mut keys = Vec::new();
        self.batches.borrow_mut().retain(|batch| {
            let mut later = false;
            for run in &batch.chunks {
                for (index, (key, val)) in run.rows().iter().enumerate() {
                    if *run.time(index) > epoch {
                        later = true;
                    } else if keys.last() != Some(key) && such(key, val) {
                        keys.push(*key);
                    }
                }
            }
            later
        });
        keys.sort();
        keys.dedup();
        keys
    }

    /// What the table holds of some keys, given in order, as of the end of `epoch`; nothing when
    /// it does not hold the key.
    pub fn read(
        &mut self,
        epoch: Epoch,
        keys: impl IntoIterator<Item = K>,
        mut found: impl FnMut(K, &[(V, R)]),
    ) {
        let mut groups =
            Groups::new(self.table.batches_through(Antichain::new().borrow()).unwrap_or_default());
        let mut values = Vec::new();
        for key in keys {
            values.clear();
            for of_value in groups.updates(&key).chunk_by(|a, b| a.0 == b.0) {
                let past = of_value.iter().filter(|(_, time, _)| *time <= epoch);
                let sum = past.map(|(_, _, diff)| *diff).reduce(|mut sum, diff| {
                    sum.plus_equals(&diff);
                    sum
                });
                values.extend(sum.filter(|sum| !sum.is_zero()).map(|sum| (of_value[0].0, sum)));
            }
            found(key, &values);
        }
    }

    /// Gives up the means to read the table as of epochs before `epoch`.
    pub fn compact_to(&mut self, epoch: Epoch) {
        self.table.set_logical_compaction(Antichain::from_elem(epoch).borrow());
    }
}
