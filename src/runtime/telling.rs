//! The texts of hashed keys travel to the other processes beside the records.
//!
//! ```text
//!   process 0: reads "a long name" ─▶ its key, into the graphs ─▶ rows, on any process
//!                    │                                             │ at the same epoch
//!                    └─▶ the text, to each other process ─▶ names ─┴─▶ probe of the outputs
//! ```
//!
//! A row lands on another process than the one that read its names. Texts are sent in the epoch of
//! the records they came with, and the outputs' probe watches them too: where an epoch is complete,
//! all its texts have arrived, everywhere.

use std::sync::Arc;

use dataflows::graphs::catalogue::Outputs;
use dataflows::model::time::Epoch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Input;
use timely::dataflow::operators::vec::input::Handle;
use timely::dataflow::operators::{Capability, Probe};

use crate::names::{Collision, Dated, Names};

/// A text, and the worker that takes it in.
type Addressed = (u64, Dated);

/// The names of this process, and those it shares the work with.
#[derive(Clone)]
pub struct Neighbours {
    /// The names of this process; made by [`Names::shared`] if there are others.
    pub names: Arc<Names>,
    /// Workers of each process.
    pub workers: usize,
    /// Is told when two texts share a key. The epoch that they belong to is never complete then.
    pub collided: Arc<dyn Fn(Collision) + Send + Sync>,
}

/// One worker's part.
pub struct Telling {
    names: Arc<Names>,
    worker: usize,
    /// A worker of each other process.
    listeners: Vec<u64>,
    input: Handle<Epoch, Addressed>,
}

impl Telling {
    /// Watches over texts beside the outputs; nothing where there is one process only.
    pub fn new(scope: Scope<'_, Epoch>, neighbours: &Neighbours, outputs: &Outputs) -> Option<Self> {
        let Neighbours { names, workers, collided } = neighbours.clone();
        let (peers, index) = (scope.peers(), scope.index());
        if peers == workers {
            return None;
        }
        let (input, texts) = scope.new_input::<Addressed>();
        let heard = Arc::clone(&names);
        let pact = Exchange::new(|(listener, _): &Addressed| *listener);
        let none = texts.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(pact, "hear texts", |_, _| {
            let mut held: Option<Capability<Epoch>> = None;
            move |input, _| {
                input.for_each(|capability, texts| {
                    for (_, text) in texts.drain(..) {
                        if let Err(collision) = heard.hear(&text) {
                            held = held.take().or_else(|| capability.retain_least(0));
                            collided(collision);
                        }
                    }
                });
            }
        });
        none.probe_with(&outputs.probe);
        let others = (0..peers / workers).filter(|process| *process != index / workers);
        let listeners = others.map(|process| (process * workers) as u64).collect();
        Some(Self { names, worker: index % workers, listeners, input })
    }

    /// Tells the others what was read by now, in the present epoch.
    pub fn tell(&mut self) {
        let texts = self.names.untold(self.worker, *self.input.time());
        self.send(texts);
    }

    /// Goes on in `epoch`.
    pub fn advance_to(&mut self, epoch: Epoch) {
        self.tell();
        self.input.advance_to(epoch);
    }

    /// Tells the last of it.
    pub fn end(mut self) {
        let texts = self.names.untold_at_last(self.worker, *self.input.time());
        self.send(texts);
    }

    fn send(&mut self, texts: Vec<Dated>) {
        for text in texts {
            for listener in &self.listeners {
                self.input.send((*listener, text.clone()));
            }
        }
    }
}
