//! Messages between workers, of this and of other processes: what the job needs beside its data.
//!
//! A dataflow of its own carries them, so that they take the connections that are there and need no
//! server. They arrive after some steps of both workers, each once, those of one sender to one
//! worker in the order in which they were sent.

use std::cell::RefCell;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::generic::operator::Operator;
use timely::worker::Worker;

/// What can be sent. It is written with bincode, so it must not depend on how it is written.
pub trait Message: Serialize + DeserializeOwned + Clone + Send + 'static {}

impl<M: Serialize + DeserializeOwned + Clone + Send + 'static> Message for M {}

#[derive(Clone, Serialize, Deserialize)]
struct Letter<M> {
    to: u64,
    message: M,
}

/// One worker's post office.
pub struct Post<M: Message> {
    input: InputHandle<u64, timely::container::CapacityContainerBuilder<Vec<Letter<M>>>>,
    arrived: Rc<RefCell<Vec<M>>>,
    index: usize,
    peers: usize,
    workers_per_process: usize,
}

impl<M: Message> Post<M> {
    /// Opens the post; all workers must do so at the same place among their dataflows. Every process
    /// has `workers_per_process` workers.
    pub fn open(worker: &mut Worker, workers_per_process: usize) -> Self {
        let arrived = Rc::new(RefCell::new(Vec::new()));
        let arriving = Rc::clone(&arrived);
        let input = worker.dataflow_named("Post", |scope| {
            let (input, letters) = scope.new_input::<Vec<Letter<M>>>();
            let to_worker = Exchange::new(|letter: &Letter<M>| letter.to);
            letters.sink(to_worker, "Arrive", move |(input, _)| {
                // In the order of arrival: grouped by time, one sender's letters could change places.
                input.for_each(|_, letters| {
                    arriving.borrow_mut().extend(letters.drain(..).map(|letter| letter.message));
                });
            });
            input
        });
        let (index, peers) = (worker.index(), worker.peers());
        Self { input, arrived, index, peers, workers_per_process: workers_per_process.max(1) }
    }

    /// Sends to a worker, which may be the sender.
    pub fn send(&mut self, to_worker: usize, message: M) {
        self.input.send(Letter { to: to_worker as u64, message });
        self.put_off();
    }

    /// Sends to the first worker of each process, that of the sender included.
    pub fn to_all_processes(&mut self, message: &M) {
        for process in 0..self.processes() {
            let to = (process * self.workers_per_process) as u64;
            self.input.send(Letter { to, message: message.clone() });
        }
        self.put_off();
    }

    /// A step of time, without which letters would wait for more of them in a buffer.
    fn put_off(&mut self) {
        let next = self.input.time() + 1;
        self.input.advance_to(next);
    }

    /// What has arrived since the last call.
    pub fn receive(&mut self) -> Vec<M> {
        std::mem::take(&mut self.arrived.borrow_mut())
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.peers / self.workers_per_process
    }

    /// Which of them this is.
    pub fn process(&self) -> usize {
        self.index / self.workers_per_process
    }

    /// Whether this worker is the first of its process.
    pub fn is_first_of_process(&self) -> bool {
        self.index.is_multiple_of(self.workers_per_process)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use timely::CommunicationConfig;

    use super::*;

    #[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
    struct Greeting {
        from: usize,
        number: usize,
        text: Option<String>,
    }

    /// Every worker greets every worker a hundred times and all processes once; each notes what came.
    fn greet(worker: &mut Worker, workers_per_process: usize) -> Vec<Greeting> {
        let mut post = Post::open(worker, workers_per_process);
        let from = worker.index();
        for number in 0..100 {
            for to in 0..worker.peers() {
                post.send(to, Greeting { from, number, text: None });
            }
            worker.step();
        }
        post.to_all_processes(&Greeting { from, number: 100, text: Some("x".repeat(100_000)) });
        let expected = worker.peers() * if post.is_first_of_process() { 101 } else { 100 };
        let mut arrived = Vec::new();
        while arrived.len() < expected {
            worker.step_or_park(None);
            arrived.extend(post.receive());
        }
        arrived
    }

    fn check(arrived: &[Greeting], peers: usize) {
        for from in 0..peers {
            let of_one: Vec<_> = arrived.iter().filter(|greeting| greeting.from == from).collect();
            assert!(of_one.iter().enumerate().all(|(at, greeting)| greeting.number == at), "in order");
            assert!(of_one.iter().all(|greeting| greeting.text.is_some() == (greeting.number == 100)));
        }
    }

    #[test]
    fn letters_arrive_once_and_in_order_within_a_process() {
        let guards = timely::execute(timely::Config::process(3), |worker| greet(worker, 3));
        for arrived in guards.expect("workers").join() {
            check(&arrived.expect("a worker"), 3);
        }
    }

    #[test]
    fn letters_arrive_once_and_in_order_between_processes() {
        let sockets: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let addresses: Vec<String> =
            sockets.iter().map(|socket| socket.local_addr().expect("bound").to_string()).collect();
        drop(sockets);
        let process = |process| {
            let addresses = addresses.clone();
            thread::spawn(move || {
                let communication = CommunicationConfig::Cluster {
                    threads: 2,
                    process,
                    addresses,
                    report: false,
                    zerocopy: false,
                };
                let config = timely::Config { communication, worker: timely::WorkerConfig::default() };
                timely::execute(config, |worker| greet(worker, 2)).expect("workers").join()
            })
        };
        let processes = [process(0), process(1)];
        for arrived in processes.into_iter().flat_map(|process| process.join().expect("no panic")) {
            check(&arrived.expect("a worker"), 4);
        }
    }
}
