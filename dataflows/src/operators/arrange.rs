//! Arrangements of fixed-size records, routed by key.

use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::chunk::ChunkSpine;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::channels::pact::{Exchange, Pipeline};

use super::batcher::PackedBatcher;
use super::packed::Packed;
use crate::model::diff::Diff;
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

/// Arranges a collection on the workers its keys belong to.
pub trait ArrangeBy<'scope, D, R: Diff> {
    /// The arrangement of what `split` makes of the records: a key and a value. Of an aggregate
    /// there is no value; what is summed travels as the difference. `name` shows in logs.
    fn arrange_by<K: Key, V: Val>(
        self,
        name: &str,
        split: impl Fn(D) -> (K, V) + Copy + 'static,
    ) -> Arranged<'scope, TraceAgent<ChunkSpine<Packed<K, V, R>>>>;

    /// As [`ArrangeBy::arrange_by`], of records that are on the workers of their keys already.
    fn arrange_here<K: Key, V: Val>(
        self,
        name: &str,
        split: impl Fn(D) -> (K, V) + Copy + 'static,
    ) -> Arranged<'scope, TraceAgent<ChunkSpine<Packed<K, V, R>>>>;
}

impl<'scope, D: Val, R: Diff> ArrangeBy<'scope, D, R> for VecCollection<'scope, Epoch, D, R> {
    fn arrange_by<K: Key, V: Val>(
        self,
        name: &str,
        split: impl Fn(D) -> (K, V) + Copy + 'static,
    ) -> Arranged<'scope, TraceAgent<ChunkSpine<Packed<K, V, R>>>> {
        let by_key = Exchange::new(move |(record, _, _): &(D, Epoch, R)| split(*record).0.route());
        arrange_core(self.inner, by_key, name, |_, _| PackedBatcher::new(split))
    }
    fn arrange_here<K: Key, V: Val>(
        self,
        name: &str,
        split: impl Fn(D) -> (K, V) + Copy + 'static,
    ) -> Arranged<'scope, TraceAgent<ChunkSpine<Packed<K, V, R>>>> {
        arrange_core(self.inner, Pipeline, name, |_, _| PackedBatcher::new(split))
    }
}
