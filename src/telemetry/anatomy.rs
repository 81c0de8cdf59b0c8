//! What a worker's dataflow consists of, how busy each part is and how many records pass between
//! them, from timely's own log.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use timely::logging::{
    ChannelsEvent, MessagesEvent, OperatesEvent, StartStop, TimelyEvent, TimelyEventBuilder,
};
use timely::worker::Worker;

/// A path of numbers from the worker's root.
type Address = Vec<usize>;

/// One worker's dataflow.
#[derive(Debug, Default)]
pub struct Anatomy {
    names: BTreeMap<Address, String>,
    addresses: HashMap<usize, Address>,
    /// When an operator's present turn began.
    began: HashMap<usize, Duration>,
    busy: HashMap<usize, Duration>,
    channels: BTreeMap<usize, Channel>,
}

#[derive(Debug)]
struct Channel {
    from: Address,
    to: Address,
    records: i64,
}

/// Dataflows of several workers, which all consist of the same.
pub type Anatomies = Vec<Arc<Mutex<Anatomy>>>;

/// Everything as one picture.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Picture {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    id: String,
    parent: Option<String>,
    name: String,
    is_scope: bool,
    busy_ms: f64,
    records_in: i64,
    records_out: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Edge {
    from: String,
    to: String,
    records: i64,
}

impl Anatomy {
    /// Follows a worker's log, before it has a dataflow.
    pub fn follow(worker: &Worker) -> Arc<Mutex<Self>> {
        let anatomy = Arc::<Mutex<Self>>::default();
        let theirs = Arc::clone(&anatomy);
        if let Some(mut log) = worker.log_register() {
            log.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
                let mut anatomy = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                events.iter_mut().flat_map(|events| events.drain(..)).for_each(|(at, event)| {
                    anatomy.take(at, event);
                });
            });
        }
        anatomy
    }

    fn take(&mut self, at: Duration, event: TimelyEvent) {
        match event {
            TimelyEvent::Operates(OperatesEvent { id, addr, name }) => {
                self.addresses.insert(id, addr.clone());
                self.names.insert(addr, name);
            }
            TimelyEvent::Channels(ChannelsEvent { id, scope_addr, source, target, .. }) => {
                // Number 0 within a scope is what is outside of it.
                let place = |inner: usize| match inner {
                    0 => scope_addr.clone(),
                    inner => scope_addr.iter().copied().chain([inner]).collect(),
                };
                let channel = Channel { from: place(source.0), to: place(target.0), records: 0 };
                self.channels.insert(id, channel);
            }
            TimelyEvent::Messages(MessagesEvent { is_send: true, channel, record_count, .. }) => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.records += record_count;
                }
            }
            TimelyEvent::Schedule(turn) => match turn.start_stop {
                StartStop::Start => _ = self.began.insert(turn.id, at),
                StartStop::Stop => {
                    if let Some(began) = self.began.remove(&turn.id) {
                        *self.busy.entry(turn.id).or_default() += at.saturating_sub(began);
                    }
                }
            },
            _ => {}
        }
    }
}

fn text(address: &[usize]) -> String {
    address.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

impl Picture {
    /// Adds another process's, which consists of the same.
    pub fn join(&mut self, other: Self) {
        let mut nodes: HashMap<String, Node> =
            other.nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
        for node in &mut self.nodes {
            if let Some(more) = nodes.remove(&node.id).filter(|more| more.name == node.name) {
                node.busy_ms += more.busy_ms;
                node.records_in += more.records_in;
                node.records_out += more.records_out;
            }
        }
        let mut edges: HashMap<(String, String), i64> =
            other.edges.into_iter().map(|edge| ((edge.from, edge.to), edge.records)).collect();
        for edge in &mut self.edges {
            edge.records += edges.remove(&(edge.from.clone(), edge.to.clone())).unwrap_or_default();
        }
    }

    /// All workers' dataflows, summed up.
    pub fn of(anatomies: &Anatomies) -> Self {
        let mut names: BTreeMap<Address, String> = BTreeMap::new();
        let mut busy: BTreeMap<Address, Duration> = BTreeMap::new();
        let mut passed: BTreeMap<(Address, Address), i64> = BTreeMap::new();
        for anatomy in anatomies {
            let anatomy = anatomy.lock().unwrap_or_else(PoisonError::into_inner);
            names.extend(anatomy.names.iter().map(|(address, name)| (address.clone(), name.clone())));
            for (id, length) in &anatomy.busy {
                if let Some(address) = anatomy.addresses.get(id) {
                    *busy.entry(address.clone()).or_default() += *length;
                }
            }
            for Channel { from, to, records } in anatomy.channels.values() {
                *passed.entry((from.clone(), to.clone())).or_default() += records;
            }
        }
        let known = |address: &Address| names.contains_key(address);
        passed.retain(|(from, to), _| known(from) && known(to));
        let is_scope = |address: &Address| {
            names.range(address.clone()..).nth(1).is_some_and(|(next, _)| next.starts_with(address))
        };
        let (mut entered, mut left): (BTreeMap<&Address, i64>, BTreeMap<&Address, i64>) = Default::default();
        for ((from, to), records) in &passed {
            // What goes from a scope to what is inside of it has entered the scope before.
            if !to.starts_with(from) {
                *left.entry(from).or_default() += records;
            }
            if !from.starts_with(to) {
                *entered.entry(to).or_default() += records;
            }
        }
        let nodes = names.iter().map(|(address, name)| Node {
            id: text(address),
            parent: (address.len() > 1).then(|| text(&address[..address.len() - 1])),
            name: name.clone(),
            is_scope: is_scope(address),
            busy_ms: busy.get(address).copied().unwrap_or_default().as_secs_f64() * 1e3,
            records_in: entered.get(address).copied().unwrap_or_default(),
            records_out: left.get(address).copied().unwrap_or_default(),
        });
        let edges = passed.iter().map(|((from, to), records)| Edge {
            from: text(from),
            to: text(to),
            records: *records,
        });
        Self { nodes: nodes.collect(), edges: edges.collect() }
    }
}

#[cfg(test)]
mod tests {
    use timely::dataflow::operators::vec::Filter;
    use timely::dataflow::operators::{Inspect, ToStream};

    use super::*;

    #[test]
    fn records_and_turns_of_a_dataflow_are_told() {
        let picture = timely::execute_directly(|worker| {
            let anatomy = Anatomy::follow(worker);
            worker.dataflow::<u64, _, _>(|scope| {
                (0..100).to_stream(scope).filter(|n: &i32| *n < 90).inspect(|_| ());
            });
            while worker.step() {}
            // What is logged is handed on when the log is flushed, as it is when a worker goes.
            worker.log_register().into_iter().for_each(|mut log| log.flush());
            Picture::of(&vec![Arc::clone(&anatomy), anatomy])
        });
        let filter = picture.nodes.iter().find(|node| node.name == "Filter").expect("an operator");
        assert_eq!((filter.records_in, filter.records_out), (200, 180), "of two workers");
        assert!(!filter.is_scope && filter.busy_ms >= 0.0);
        let scope = picture.nodes.iter().find(|node| Some(&node.id) == filter.parent.as_ref());
        assert!(scope.is_some_and(|scope| scope.is_scope && scope.parent.is_none()));
        assert!(picture.edges.iter().any(|edge| edge.to == filter.id && edge.records == 200));
    }
}
