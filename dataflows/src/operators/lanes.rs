//! The typed outputs of a group rule. A rule says what a group is worth; a lane turns that into
//! the difference from what the group was worth before.

use differential_dataflow::consolidation::{consolidate, consolidate_from};
use differential_dataflow::difference::Abelian;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::{Capability, CapabilitySet};

use crate::model::time::Epoch;

/// Updates held before they are sent: as many as stay in the cache.
const HELD_MAX: usize = 1 << 10;
/// Counts held before they are consolidated and, if they are still many, sent.
const COUNTS_MAX: usize = 1 << 14;

/// One output of a group rule: a multiset of `D` weighted by `R`.
pub struct Lane<D, R> {
    held: Vec<(D, R)>,
    /// Where the present group's updates start.
    mark: usize,
    retracting: bool,
}

impl<D: Ord, R: Abelian + 'static> Lane<D, R> {
    pub(super) fn new() -> Self {
        Self { held: Vec::new(), mark: 0, retracting: false }
    }

    /// Says that the group yields `diff` of `data`.
    pub fn give(&mut self, data: D, mut diff: R) {
        if self.retracting {
            diff.negate();
        }
        self.held.push((data, diff));
    }

    pub(super) fn retract(&mut self, retracting: bool) {
        self.retracting = retracting;
    }

    /// Ends a group; cancels what it yields both before and after.
    pub(super) fn end_group(&mut self, changed: bool) {
        if changed {
            consolidate_from(&mut self.held, self.mark);
        }
        self.mark = self.held.len();
    }

    /// Says that the group yields `diff` of `data`, which is often what was given just before: then
    /// it is added to that.
    pub fn count(&mut self, data: D, mut diff: R) {
        if self.retracting {
            diff.negate();
        }
        match self.held.last_mut() {
            Some((last, sum)) if *last == data => sum.plus_equals(&diff),
            _ => self.held.push((data, diff)),
        }
    }
}

type Updates<D, R> = CapacityContainerBuilder<Vec<(D, Epoch, R)>>;

/// A lane, the stream it feeds and the capabilities it holds.
pub(super) struct Port<D: Clone + 'static, R: Clone + 'static> {
    output: OutputBuilder<Epoch, Updates<D, R>>,
    pub(super) capabilities: CapabilitySet<Epoch>,
}

impl<D: Ord + Clone + 'static, R: Abelian + 'static> Port<D, R> {
    pub(super) fn new(output: Output<Epoch, Vec<(D, Epoch, R)>>, capability: Capability<Epoch>) -> Self {
        Self { output: OutputBuilder::from(output), capabilities: CapabilitySet::from_elem(capability) }
    }

    /// Sends the lane's updates at `epoch`.
    pub(super) fn send(&mut self, lane: &mut Lane<D, R>, epoch: Epoch, last: bool) {
        if lane.held.is_empty() || !(last || lane.held.len() >= HELD_MAX) {
            return;
        }
        let capability = self.capabilities.delayed(&epoch);
        let mut output = self.output.activate();
        let updates = lane.held.drain(..).map(|(data, diff)| (data, epoch, diff));
        output.session(&capability).give_iterator(updates);
        lane.mark = 0;
    }

    /// Sends the lane's counts at `epoch`. Unless this is the last of the epoch, a lane that
    /// consolidates to little keeps it, so that many groups' counts leave as few updates.
    pub(super) fn send_counts(&mut self, lane: &mut Lane<D, R>, epoch: Epoch, last: bool) {
        if last || lane.held.len() >= COUNTS_MAX {
            consolidate(&mut lane.held);
            if last || lane.held.len() > COUNTS_MAX / 2 {
                self.send(lane, epoch, true);
            }
            lane.mark = lane.held.len();
        }
    }
}
