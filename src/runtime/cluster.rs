//! Which processes a job runs on, and how they are joined.
//!
//! ```text
//!   process 0 ◀──────── process 1 ◀──── process 2      each connects to those before it,
//!       ▲                                   │          and awaits those behind it
//!       └───────────────────────────────────┘
//! ```
//!
//! Timely's own start tries for ever and, when a process dies, panics in the others. So the
//! connections are opened here: within a time limit, between processes that say hello and are of one
//! run. A connection that breaks is noted, and everybody else is told to leave, without a panic.

mod connect;
mod frames;
mod hello;
pub mod hosts;
mod link;
mod team;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use self::connect::Meeting;
use self::hello::Hello;
use self::hosts::Hosts;
pub use self::link::{Links, Lost, Traffic};
pub use self::team::{Connected, Team};
use crate::config::ClusterConfig;

/// Why a job's processes do not come together.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The hosts file can't be read.
    #[error("the hosts file {} can't be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A host is wrong.
    #[error("{at}: {what}")]
    Host {
        /// The file and line, or the process.
        at: String,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// There are not as many hosts as processes.
    #[error("--processes is {processes}, but {} names {hosts}; one host a line is expected", file.display())]
    Count {
        /// The hosts file.
        file: PathBuf,
        /// Hosts in it.
        hosts: usize,
        /// Processes asked for.
        processes: usize,
    },
    /// A process that isn't there.
    #[error("--process is {process}, but there are {processes}; 0 to {} are expected", processes - 1)]
    NoSuchProcess {
        /// Its number.
        process: usize,
        /// How many there are.
        processes: usize,
    },
    /// It is not said which process this is.
    #[error("there are {0} processes; add --process to say which of them this is")]
    WhichProcess(usize),
    /// This process can't be reached at its own address.
    #[error("process {process} can't listen on {address}")]
    Listen {
        /// This process.
        process: usize,
        /// Its address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process can't be reached.
    #[error(
        "process {process} can't be reached at {address} within {} s; is it started, and does the network let \
         it through? ([cluster] connect_timeout_ms sets the limit)",
        after.as_secs_f64()
    )]
    Unreachable {
        /// The process.
        process: usize,
        /// Its address.
        address: String,
        /// For how long it was tried.
        after: Duration,
        /// The last try.
        source: std::io::Error,
    },
    /// Other processes did not come.
    #[error(
        "{processes} did not connect to {address} within {} s; are they started, and does the network let \
         them through? ([cluster] connect_timeout_ms sets the limit)",
        after.as_secs_f64()
    )]
    Missing {
        /// Which.
        processes: String,
        /// Where they were awaited.
        address: String,
        /// For how long.
        after: Duration,
    },
    /// Another process is not of this run.
    #[error("process {process} ({address}) is not of this run: {what}")]
    Stranger {
        /// Its number.
        process: usize,
        /// Its address.
        address: String,
        /// What it has else.
        what: String,
    },
    /// It was told to end before the processes had come together.
    #[error("stopped before all processes had connected")]
    Stopped,
    /// A socket or thread.
    #[error("the connections between the processes can't be set up")]
    Setup(#[source] std::io::Error),
    /// Workers that can't be started.
    #[error("the workers can't be started: {0}")]
    Workers(String),
}

impl ClusterError {
    /// Whether what was asked for makes no sense, rather than that it failed.
    pub fn is_usage(&self) -> bool {
        use ClusterError::{Count, Host, NoSuchProcess, Unreadable, WhichProcess};
        matches!(
            self,
            Unreadable { .. } | Host { .. } | Count { .. } | NoSuchProcess { .. } | WhichProcess(_)
        )
    }
}

/// The processes of a job, and which of them this is.
#[derive(Clone, Debug)]
pub struct Cluster {
    hosts: Hosts,
    process: usize,
    workers: usize,
    patience: ClusterConfig,
}

impl Cluster {
    /// One process.
    pub fn alone(workers: usize) -> Self {
        Self { hosts: Hosts::default(), process: 0, workers, patience: ClusterConfig::default() }
    }

    /// This is the one of `hosts` with the number `process`; each has so many workers.
    ///
    /// # Errors
    /// There is no such host.
    pub fn new(
        hosts: Hosts,
        process: usize,
        workers: usize,
        patience: ClusterConfig,
    ) -> Result<Self, ClusterError> {
        let processes = hosts.len().max(1);
        if process >= processes {
            return Err(ClusterError::NoSuchProcess { process, processes });
        }
        Ok(Self { hosts, process, workers, patience })
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.hosts.len().max(1)
    }

    /// The number of this process.
    pub fn process(&self) -> usize {
        self.process
    }

    /// Worker threads of each process.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Workers of all processes.
    pub fn peers(&self) -> usize {
        self.workers * self.processes()
    }

    /// Whether this is the process that keeps what there is one of.
    pub fn is_first(&self) -> bool {
        self.process == 0
    }

    /// Whether this is the only process.
    pub fn is_alone(&self) -> bool {
        self.processes() == 1
    }

    /// Connects the processes. They must all do so with the same `purpose`, which tells them from
    /// processes of other runs. Returns early when `stopped` says so.
    ///
    /// # Errors
    /// See [`ClusterError`]; at the latest after the time that the config gives it.
    pub fn connect(
        &self,
        purpose: &str,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<Connected, ClusterError> {
        if self.is_alone() {
            return Ok(Connected::alone(self.workers));
        }
        let hello = Hello::new(purpose, self.processes(), self.workers, self.process);
        let (patience, failed) = (self.patience, AtomicBool::new(false));
        let meeting = Meeting { hosts: &self.hosts, hello, patience, stopped, failed };
        Connected::new(self, meeting.connect()?)
    }
}

#[cfg(test)]
mod tests;
