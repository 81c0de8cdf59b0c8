//! The workers of a process, on connections that are open.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use timely::communication::allocator::zero_copy::initialize::{
    CommsGuard, initialize_networking_from_sockets,
};
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, WorkerGuards};
use timely::execute::execute_from;
use timely::worker::Worker;

use super::hello::fresh_run;
use super::link::{Link, Links};
use super::{Cluster, ClusterError};

/// A process that has found the others. They lose it when it is dropped before its work begins.
pub struct Connected {
    process: usize,
    workers: usize,
    /// None where there are no other processes.
    sockets: Option<Vec<Option<Link>>>,
    links: Arc<Links>,
    run: u64,
}

impl Connected {
    pub(super) fn alone(workers: usize) -> Self {
        Self { process: 0, workers, sockets: None, links: Arc::default(), run: fresh_run() }
    }

    pub(super) fn new(
        cluster: &Cluster,
        (sockets, run): (Vec<Option<TcpStream>>, u64),
    ) -> Result<Self, ClusterError> {
        let links = Arc::default();
        let link = |(process, socket): (usize, Option<TcpStream>)| {
            let address = cluster.hosts.address(process);
            socket.map(|socket| Link::new(socket, process, address, &links)).transpose()
        };
        let sockets: Result<Vec<_>, _> = sockets.into_iter().enumerate().map(link).collect();
        let sockets = Some(sockets.map_err(ClusterError::Setup)?);
        Ok(Self { process: cluster.process, workers: cluster.workers, sockets, links, run })
    }

    /// The connections; workers ask them whether the processes have parted.
    pub fn links(&self) -> &Arc<Links> {
        &self.links
    }

    /// A number that all processes of this run have in common, and no other run has.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Starts the workers, each of which runs `work`. One that panics ends the run for all.
    ///
    /// # Errors
    /// A thread can't be started.
    pub fn execute<T: Send + 'static>(
        mut self,
        config: timely::WorkerConfig,
        work: impl Fn(&mut Worker) -> T + Send + Sync + 'static,
    ) -> Result<Team<T>, ClusterError> {
        let links = Arc::clone(&self.links);
        let (builders, comms) = self.build().map_err(ClusterError::Setup)?;
        let theirs = Arc::clone(&links);
        let guarded = move |worker: &mut Worker| {
            theirs.wake(std::thread::current());
            let _alarm = Alarm(&theirs);
            let result = work(worker);
            end_dataflows(worker, &theirs);
            result
        };
        let workers = execute_from(builders, Box::new(()), config, guarded).map_err(ClusterError::Workers)?;
        Ok(Team { workers, comms, links })
    }

    /// What workers are made of, and the threads that serve the connections.
    fn build(&mut self) -> io::Result<(Vec<AllocatorBuilder>, Option<CommsGuard>)> {
        let hooks = Hooks::default();
        let inner = ProcessBuilder::new_typed_vector(self.workers, hooks.refill.clone(), hooks.spill.clone());
        let Some(sockets) = self.sockets.take() else {
            return Ok((inner.into_iter().map(AllocatorBuilder::Process).collect(), None));
        };
        let (builders, comms) =
            initialize_networking_from_sockets(inner, sockets, self.process, self.workers, hooks)?;
        Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Some(comms)))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if self.sockets.is_some() {
            self.links.abandon();
        }
    }
}

/// Works on what is left until all processes have ended it, or there is nobody to wait for.
fn end_dataflows(worker: &mut Worker, links: &Links) {
    while worker.has_dataflows() && !links.is_over() {
        worker.step_or_park(None);
    }
    worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
}

/// Parts from the other processes when a worker panics.
struct Alarm<'a>(&'a Links);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abandon();
        }
    }
}

/// Running workers.
pub struct Team<T: Send + 'static> {
    workers: WorkerGuards<T>,
    comms: Option<CommsGuard>,
    links: Arc<Links>,
}

impl<T: Send + 'static> Team<T> {
    /// Waits for all workers of this process and, unless the processes have parted, for those of the
    /// others. What a worker returned, or how it panicked.
    pub fn join(self) -> Vec<Result<T, String>> {
        let Self { workers, comms, links } = self;
        let results = workers.join();
        match comms {
            // Threads at broken connections never end.
            Some(comms) if links.is_over() => std::mem::forget(comms),
            comms => drop(comms),
        }
        results
    }
}
