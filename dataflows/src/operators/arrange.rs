//! Arrangements of fixed-size records, routed by key.

use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::chunk::ChunkSpine;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::channels::pact::Exchange;

use super::batcher::PackedBatcher;
use super::packed::{Diff, Packed};
use crate::model::ids::Route;
use crate::model::time::Epoch;

/// A key: a fixed-size record that knows where it belongs.
pub trait Key: ExchangeData + Copy + Route {}
impl<K: ExchangeData + Copy + Route> Key for K {}

/// A value: a fixed-size record.
pub trait Val: ExchangeData + Copy {}
impl<V: ExchangeData + Copy> Val for V {}

/// A shared index from keys to values.
pub type ValTrace<K, V> = TraceAgent<ChunkSpine<Packed<K, V, isize>>>;
/// A shared index of keys with their summed measures: a maintained aggregate.
pub type SumTrace<K, R> = TraceAgent<ChunkSpine<Packed<K, (), R>>>;

/// A collection arranged by key.
pub type Keyed<'scope, K, V> = Arranged<'scope, ValTrace<K, V>>;
/// A collection of keys arranged with their measures.
pub type Summed<'scope, K, R> = Arranged<'scope, SumTrace<K, R>>;

/// Arranges key-value pairs on the workers their keys belong to.
pub trait ArrangeKeyed<'scope, K: Key, V: Val> {
    /// The arrangement, under a name that shows in logs.
    fn arrange_keyed(self, name: &str) -> Keyed<'scope, K, V>;
}

impl<'scope, K: Key, V: Val> ArrangeKeyed<'scope, K, V> for VecCollection<'scope, Epoch, (K, V), isize> {
    fn arrange_keyed(self, name: &str) -> Keyed<'scope, K, V> {
        let by_key = Exchange::new(|((key, _), _, _): &((K, V), Epoch, isize)| key.route());
        arrange_core(self.inner, by_key, name, PackedBatcher::<K, V, isize>::new)
    }
}

/// Sums measures by key, on the workers the keys belong to.
pub trait ArrangeSums<'scope, K: Key, R> {
    /// The aggregate, under a name that shows in logs.
    fn arrange_sums(self, name: &str) -> Summed<'scope, K, R>
    where
        R: Diff;
}

impl<'scope, K: Key, R> ArrangeSums<'scope, K, R> for VecCollection<'scope, Epoch, K, R>
where
    R: Diff,
{
    fn arrange_sums(self, name: &str) -> Summed<'scope, K, R> {
        let by_key = Exchange::new(|((key, ()), _, _): &((K, ()), Epoch, R)| key.route());
        arrange_core(self.map(|key| (key, ())).inner, by_key, name, PackedBatcher::<K, (), R>::new)
    }
}
