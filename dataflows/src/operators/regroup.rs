//! Keeps a function of groups up to date.
//!
//! ```text
//!   left  (arranged by key) ──┐                    ┌─▶ first
//!   right (arranged by key) ──┼─▶ rule(key group) ─┼─▶ second
//!   lookups (on every worker) ┘                    └─▶ third
//! ```
//!
//! For each key the rule sees all left values, all right values and the lookups, and says what
//! they are worth. Whenever any of these changes, the operator emits what the group is worth now
//! minus what it was worth before. It keeps no output: as epochs are totally ordered, both worths
//! are recomputed from the shared input arrangements (the idea of differential's `count_total`).
//!
//! *State*: none of its own but the lookups; the two inputs are shared arrangements.
//! *Cost*: proportional to the groups touched. A changed lookup row walks the left arrangement
//! once to find the groups it touches.
//! *Time*: one epoch after the other, each output at the epoch of its cause, whatever batching
//! the inputs arrive in.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use differential_dataflow::difference::Abelian;
use differential_dataflow::trace::{SpanOf, TraceReader};
use differential_dataflow::{AsCollection, Data, VecCollection};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use super::arrange::{Key, Keyed, Val, ValTrace};
use super::groups::{Batch, Groups};
use super::lanes::{Lane, Port};
use crate::model::lookups::{LookupRow, Lookups, Subject};
use crate::model::time::Epoch;

/// Groups evaluated before other operators get a turn.
const GROUPS_PER_TURN: usize = 1 << 14;

/// What a group is worth: a pure function of its values and the lookups.
pub trait GroupRule: 'static {
    /// The key of both inputs.
    type Key: Key;
    /// Values of the left input.
    type Left: Val;
    /// Values of the right input.
    type Right: Val;
    /// What the first output holds, and its weight.
    type First: Data;
    /// The first output's weight.
    type FirstDiff: Abelian + 'static;
    /// What the second output holds.
    type Second: Data;
    /// The second output's weight.
    type SecondDiff: Abelian + 'static;
    /// What the third output holds.
    type Third: Data;
    /// The third output's weight.
    type ThirdDiff: Abelian + 'static;

    /// Whether a group without right values is worth nothing.
    const NEEDS_RIGHT: bool = false;

    /// Emits all that the group is worth. Counts of values are positive.
    fn worth(
        &self,
        key: &Self::Key,
        left: &[(Self::Left, isize)],
        right: &[(Self::Right, isize)],
        lookups: &Lookups,
        lanes: &mut Lanes<Self>,
    );

    /// Whether a group that holds `left` may be worth something else once rows that speak of
    /// `changed` have come or gone.
    fn depends_on(&self, _changed: &HashSet<Subject>, _key: &Self::Key, _left: &Self::Left) -> bool {
        false
    }
}

/// The three outputs of a rule.
pub struct Lanes<Rule: GroupRule + ?Sized> {
    /// The first output.
    pub first: Lane<Rule::First, Rule::FirstDiff>,
    /// The second output.
    pub second: Lane<Rule::Second, Rule::SecondDiff>,
    /// The third output.
    pub third: Lane<Rule::Third, Rule::ThirdDiff>,
}

impl<Rule: GroupRule> Lanes<Rule> {
    fn new() -> Self {
        Self { first: Lane::new(), second: Lane::new(), third: Lane::new() }
    }

    fn retract(&mut self, retracting: bool) {
        self.first.retract(retracting);
        self.second.retract(retracting);
        self.third.retract(retracting);
    }

    fn end_group(&mut self, changed: bool) {
        self.first.end_group(changed);
        self.second.end_group(changed);
        self.third.end_group(changed);
    }
}

/// The collections a rule maintains.
pub struct Worth<'scope, Rule: GroupRule> {
    /// The first output.
    pub first: VecCollection<'scope, Epoch, Rule::First, Rule::FirstDiff>,
    /// The second output.
    pub second: VecCollection<'scope, Epoch, Rule::Second, Rule::SecondDiff>,
    /// The third output.
    pub third: VecCollection<'scope, Epoch, Rule::Third, Rule::ThirdDiff>,
}

/// Maintains `rule` over two arrangements and the lookups (which must be on every worker).
pub fn regroup<'scope, Rule: GroupRule>(
    name: &str,
    left: Keyed<'scope, Rule::Key, Rule::Left>,
    right: Keyed<'scope, Rule::Key, Rule::Right>,
    lookups: VecCollection<'scope, Epoch, LookupRow, isize>,
    rule: Rule,
) -> Worth<'scope, Rule> {
    let scope = left.stream.scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let (first, first_stream) = builder.new_output();
    let (second, second_stream) = builder.new_output();
    let (third, third_stream) = builder.new_output();
    let mut left_input = builder.new_input(left.stream, Pipeline);
    let mut right_input = builder.new_input(right.stream, Pipeline);
    let mut lookup_input = builder.new_input(lookups.inner, Pipeline);
    let activator = scope.activator_for(builder.operator_info().address);

    builder.build(move |capabilities| {
        // One for each output, kept at the frontier of the inputs: an operator that has not had a
        // single message yet must be able to follow them, too.
        let [at_first, at_second, at_third] =
            capabilities.try_into().expect("there is one capability for each output");
        let mut ports = Ports {
            first: Port::new(first, at_first),
            second: Port::new(second, at_second),
            third: Port::new(third, at_third),
        };
        let mut state = State {
            rule,
            left: Side::new(left.trace),
            right: Side::new(right.trace),
            changes: Vec::new(),
            lookups: Rc::default(),
            done: 0,
            target: Antichain::from_elem(0),
            agenda: VecDeque::new(),
            lanes: Lanes::new(),
        };
        move |frontiers| {
            left_input.for_each(|_, batches| state.left.pending.append(batches));
            right_input.for_each(|_, batches| state.right.pending.append(batches));
            lookup_input.for_each(|_, rows| state.changes.append(rows));
            // A turn may end amid an agenda, and the inputs move on meanwhile.
            while !state.agenda.is_empty() || state.plan(frontiers) {
                if state.work(&mut ports) {
                    activator.activate();
                    return;
                }
                state.finish(&mut ports);
            }
        }
    });
    Worth {
        first: first_stream.as_collection(),
        second: second_stream.as_collection(),
        third: third_stream.as_collection(),
    }
}

struct Ports<Rule: GroupRule> {
    first: Port<Rule::First, Rule::FirstDiff>,
    second: Port<Rule::Second, Rule::SecondDiff>,
    third: Port<Rule::Third, Rule::ThirdDiff>,
}

impl<Rule: GroupRule> Ports<Rule> {
    fn send(&mut self, lanes: &mut Lanes<Rule>, epoch: Epoch, last: bool) {
        self.first.send(&mut lanes.first, epoch, last);
        self.second.send(&mut lanes.second, epoch, last);
        self.third.send_counts(&mut lanes.third, epoch, last);
    }

    fn downgrade(&mut self, frontier: &Antichain<Epoch>) {
        self.first.capabilities.downgrade(frontier.iter());
        self.second.capabilities.downgrade(frontier.iter());
        self.third.capabilities.downgrade(frontier.iter());
    }
}

/// One arranged input: its trace, and the batches not yet worked off.
struct Side<K: Key, V: Val> {
    /// Until both inputs have ended: then nobody asks for it again, and it may make room.
    trace: Option<ValTrace<K, V>>,
    pending: Vec<SpanOf<ValTrace<K, V>>>,
}

impl<K: Key, V: Val> Side<K, V> {
    fn new(mut trace: ValTrace<K, V>) -> Self {
        // Reads take all of the trace and choose by time, so batches may merge at will.
        trace.set_physical_compaction(Antichain::new().borrow());
        Self { trace: Some(trace), pending: Vec::new() }
    }

    /// Notes the groups with updates from `done` on and before `target`.
    fn note(&mut self, done: Epoch, target: &Antichain<Epoch>, touched: &mut Vec<(Epoch, K)>) {
        let spans = self.pending.iter().filter_map(|span| span.inner.as_ref());
        for run in spans.flat_map(|batch| &batch.chunks) {
            for (index, (key, _)) in run.rows().iter().enumerate() {
                let epoch = *run.time(index);
                let open = epoch >= done && !target.less_equal(&epoch);
                if open && touched.last() != Some(&(epoch, *key)) {
                    touched.push((epoch, *key));
                }
            }
        }
        self.pending.retain(|span| !timely::PartialOrder::less_equal(span.upper(), target));
    }

    /// Lets old times coalesce, but into one before `target`: what was before stays before.
    fn compact(&mut self, target: &Antichain<Epoch>) {
        if target.is_empty() {
            self.trace = None;
        } else if let Some(trace) = &mut self.trace {
            let last: Antichain<Epoch> = target.iter().map(|epoch| epoch.saturating_sub(1)).collect();
            trace.set_logical_compaction(last.borrow());
        }
    }

    /// Everything in the trace.
    fn batches(&mut self) -> Vec<Batch<K, V, isize>> {
        let trace = self.trace.as_mut();
        trace.and_then(|trace| trace.batches_through(Antichain::new().borrow())).unwrap_or_default()
    }
}

/// The values of one group, before and after an epoch.
struct Values<V> {
    before: Vec<(V, isize)>,
    after: Vec<(V, isize)>,
}

impl<V: Val> Values<V> {
    fn new() -> Self {
        Self { before: Vec::new(), after: Vec::new() }
    }

    fn load(&mut self, updates: &[(V, Epoch, isize)], epoch: Epoch) {
        self.before.clear();
        self.after.clear();
        for of_value in updates.chunk_by(|a, b| a.0 == b.0) {
            let (mut before, mut after) = (0, 0);
            for (_, time, diff) in of_value {
                before += if *time < epoch { *diff } else { 0 };
                after += if *time <= epoch { *diff } else { 0 };
            }
            // A retraction may arrive before what it retracts; until then the value is absent.
            if before > 0 {
                self.before.push((of_value[0].0, before));
            }
            if after > 0 {
                self.after.push((of_value[0].0, after));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    fn changed(&self) -> bool {
        self.before != self.after
    }
}

/// The groups still to be evaluated at one epoch.
struct Item<K> {
    epoch: Epoch,
    keys: Vec<K>,
    next: usize,
    /// The lookups after the epoch, when they differ from those before.
    after: Option<Rc<Lookups>>,
}

struct State<Rule: GroupRule> {
    rule: Rule,
    left: Side<Rule::Key, Rule::Left>,
    right: Side<Rule::Key, Rule::Right>,
    changes: Vec<(LookupRow, Epoch, isize)>,
    lookups: Rc<Lookups>,
    /// Epochs before this are worked off.
    done: Epoch,
    /// Where the present agenda leads.
    target: Antichain<Epoch>,
    agenda: VecDeque<Item<Rule::Key>>,
    lanes: Lanes<Rule>,
}

impl<Rule: GroupRule> State<Rule> {
    /// Lists the groups touched in the epochs that have become complete on all inputs.
    /// Whether there are such epochs.
    fn plan(&mut self, frontiers: &[MutableAntichain<Epoch>]) -> bool {
        let mut target = Antichain::new();
        for frontier in frontiers {
            target.extend(frontier.frontier().iter().copied());
        }
        if target == self.target {
            return false;
        }
        let mut touched = Vec::new();
        self.left.note(self.done, &target, &mut touched);
        self.right.note(self.done, &target, &mut touched);
        // Two sorted runs per batch: a merge sort recognises them.
        touched.sort();
        touched.dedup();
        let mut changes: Vec<_> =
            self.changes.extract_if(.., |(_, epoch, _)| !target.less_equal(epoch)).collect();
        changes.sort_by_key(|(_, epoch, _)| *epoch);

        let mut epochs: Vec<Epoch> = touched.iter().map(|(epoch, _)| *epoch).collect();
        epochs.dedup();
        epochs.extend(changes.iter().map(|(_, epoch, _)| *epoch));
        epochs.sort_unstable();
        epochs.dedup();
        // Copied when a row changes, and only then: lists may be long, and epochs follow fast.
        let mut lookups = Rc::clone(&self.lookups);
        let first = epochs.first().copied().unwrap_or_default();
        for epoch in epochs {
            let range = |from: Epoch| touched.partition_point(|(time, _)| *time < from);
            let mut keys: Vec<_> =
                touched[range(epoch)..range(epoch + 1)].iter().map(|(_, key)| *key).collect();
            let rows: Vec<_> = changes
                .iter()
                .filter(|(_, time, _)| *time == epoch)
                .map(|(row, _, diff)| (*row, *diff))
                .collect();
            let after = (!rows.is_empty()).then(|| {
                for (row, diff) in &rows {
                    Rc::make_mut(&mut lookups).update(*row, *diff);
                }
                // Before the first epoch there are no groups but those it touches.
                if (self.done, epoch) != (0, first) {
                    self.find_dependents(&rows, &mut keys);
                }
                Rc::clone(&lookups)
            });
            self.agenda.push_back(Item { epoch, keys, next: 0, after });
        }
        self.target = target;
        true
    }

    /// Adds the groups that the changed lookup rows may touch.
    fn find_dependents(&mut self, rows: &[(LookupRow, isize)], keys: &mut Vec<Rule::Key>) {
        let known = keys.len();
        let changed = rows.iter().map(|(row, _)| row.subject()).collect();
        let batches = self.left.batches();
        for (key, value) in batches.iter().flat_map(|batch| &batch.chunks).flat_map(|run| run.rows()) {
            let found = keys.len() > known && keys.last() == Some(key);
            if !found && self.rule.depends_on(&changed, key, value) {
                keys.push(*key);
            }
        }
        keys.sort();
        keys.dedup();
    }

    /// Evaluates groups until the turn is over; whether any are left.
    fn work(&mut self, ports: &mut Ports<Rule>) -> bool {
        let mut fuel = GROUPS_PER_TURN;
        while let Some(mut item) = self.agenda.pop_front() {
            self.evaluate(&mut item, &mut fuel, ports);
            if item.next < item.keys.len() {
                self.agenda.push_front(item);
                return true;
            }
            ports.send(&mut self.lanes, item.epoch, true);
            if let Some(after) = item.after {
                self.lookups = after;
            }
        }
        false
    }

    fn evaluate(&mut self, item: &mut Item<Rule::Key>, fuel: &mut usize, ports: &mut Ports<Rule>) {
        let (mut lefts, mut rights) = (Groups::new(self.left.batches()), Groups::new(self.right.batches()));
        let (mut left, mut right) = (Values::new(), Values::new());
        let after = item.after.as_ref().unwrap_or(&self.lookups);
        while let Some(key) = item.keys.get(item.next).filter(|_| *fuel > 0) {
            item.next += 1;
            *fuel -= 1;
            right.load(rights.updates(key), item.epoch);
            if Rule::NEEDS_RIGHT && right.is_empty() {
                continue;
            }
            left.load(lefts.updates(key), item.epoch);
            let existed = !(left.before.is_empty() && right.before.is_empty());
            if item.after.is_some() || left.changed() || right.changed() {
                if existed {
                    self.lanes.retract(true);
                    self.rule.worth(key, &left.before, &right.before, &self.lookups, &mut self.lanes);
                    self.lanes.retract(false);
                }
                self.rule.worth(key, &left.after, &right.after, after, &mut self.lanes);
                self.lanes.end_group(existed);
                ports.send(&mut self.lanes, item.epoch, false);
            }
        }
    }

    /// Lets go of the epochs worked off.
    fn finish(&mut self, ports: &mut Ports<Rule>) {
        ports.downgrade(&self.target);
        self.left.compact(&self.target);
        self.right.compact(&self.target);
        self.done = self.target.elements().first().copied().unwrap_or(Epoch::MAX);
    }
}
