//! Starts the processes of a cluster on this machine, and sees to it that they run together or not
//! at all.
//!
//! ```text
//!   start all ─▶ watch ─┬─ all end with success ─▶ done
//!       ▲               ├─ told to stop ─▶ all are told ─▶ done
//!       │               └─ one ends otherwise ─▶ the rest are ended
//!       └────── after a pause, not too often ◀────────┘
//! ```
//!
//! A process is told to end by closing its stdin, which also happens when this one is killed: none
//! stays behind.

mod child;
mod restarts;

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use self::child::Child;
pub use self::child::Logs;
pub use self::restarts::Restarts;

/// How often the processes are looked at.
const TICK: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, but for those that say which process it is.
    pub arguments: Vec<OsString>,
    /// How many processes.
    pub processes: usize,
    /// How their log lines are marked.
    pub logs: Logs,
    /// How long they may take to end once they are told to.
    pub stop_timeout: Duration,
    /// Whether, and how often, they are started again.
    pub restarts: Option<Restarts>,
}

/// Why a cluster did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// No ports, no hosts file.
    #[error("can't prepare the processes' addresses")]
    Addresses(#[source] io::Error),
    /// A process can't be started.
    #[error("can't start process {process}")]
    Start {
        /// Which.
        process: usize,
        /// Why.
        source: io::Error,
    },
    /// A process failed in a way that trying again does not mend.
    #[error("process {process} ended with {status}; its log above says why")]
    Failed {
        /// Which.
        process: usize,
        /// How it ended.
        status: ExitStatus,
    },
    /// Processes failed too often.
    #[error(
        "process {process} ended with {status}, and the processes were started again {restarts} times within \
         {} s already; its log above says why ([cluster] restarts_max sets the limit)",
        within.as_secs()
    )]
    TooOften {
        /// Which.
        process: usize,
        /// How it ended.
        status: ExitStatus,
        /// How often all were started again.
        restarts: usize,
        /// In which time.
        within: Duration,
    },
    /// It was told to stop, and some did not end well or in time.
    #[error("stopped before the work was done")]
    Stopped,
}

/// How one life of the processes ended.
enum Ended {
    Done,
    Stopped { well: bool },
    Failed { process: usize, status: ExitStatus },
}

/// Runs the processes until they are done, fail for good, or `stop` says so.
///
/// # Errors
/// See [`SupervisorError`].
pub fn supervise(mut plan: Plan, stop: &dyn Fn() -> bool) -> Result<(), SupervisorError> {
    loop {
        let (process, status) = match live(&plan, stop)? {
            Ended::Done | Ended::Stopped { well: true } => return Ok(()),
            Ended::Stopped { well: false } => return Err(SupervisorError::Stopped),
            Ended::Failed { process, status } => (process, status),
        };
        let Some(restarts) = plan.restarts.as_mut().filter(|_| may_pass(status)) else {
            return Err(SupervisorError::Failed { process, status });
        };
        let Some(pause) = restarts.next(Instant::now()) else {
            let (restarts, within) = (restarts.max(), restarts.within());
            return Err(SupervisorError::TooOften { process, status, restarts, within });
        };
        tracing::warn!("process {process} ended with {status}; starting all again in {pause:?}");
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if stop() {
                return Ok(());
            }
            std::thread::sleep(TICK);
        }
    }
}

/// Whether another try may go better: arguments, configuration and sums stay as they are, and a run
/// whose place was taken (7) would take it back from the other, and so on for ever.
fn may_pass(status: ExitStatus) -> bool {
    !matches!(status.code(), Some(2..=4 | 7 | 70))
}

/// One life: starts all, and returns when all have ended.
fn live(plan: &Plan, stop: &dyn Fn() -> bool) -> Result<Ended, SupervisorError> {
    let hosts = HostsFile::write(plan.processes).map_err(SupervisorError::Addresses)?;
    let mut children = Vec::new();
    for process in 0..plan.processes {
        // Those that were started end when they are dropped.
        let child = Child::start(plan, process, &hosts.0);
        children.push(child.map_err(|source| SupervisorError::Start { process, source })?);
    }
    let failed = loop {
        if stop() {
            break None;
        }
        let mut failed = children.iter_mut().filter_map(Child::failed);
        if let Some(failed) = failed.next() {
            break Some(failed);
        }
        if children.iter_mut().all(Child::has_ended) {
            return Ok(Ended::Done);
        }
        std::thread::sleep(TICK);
    };
    let well = end_all(&mut children, plan.stop_timeout);
    Ok(match failed {
        Some((process, status)) => Ended::Failed { process, status },
        None => Ended::Stopped { well },
    })
}

/// Tells all to end, waits for them, and kills those that don't. Whether all ended well.
fn end_all(children: &mut [Child], timeout: Duration) -> bool {
    children.iter_mut().for_each(Child::tell_to_end);
    let until = Instant::now() + timeout;
    while Instant::now() < until && !children.iter_mut().all(Child::has_ended) {
        std::thread::sleep(TICK);
    }
    for child in children.iter_mut().filter_map(|child| (!child.has_ended()).then_some(child)) {
        tracing::warn!("process {} does not end, and is killed", child.process());
        child.kill();
    }
    children.iter_mut().all(|child| child.has_ended() && child.failed().is_none())
}

/// Addresses of this machine that nobody uses, for one life.
struct HostsFile(PathBuf);

impl HostsFile {
    fn write(processes: usize) -> io::Result<Self> {
        // All are held until all are found, so that they differ.
        let sockets: Vec<TcpListener> =
            (0..processes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let lines: Result<Vec<String>, _> =
            sockets.iter().map(|socket| socket.local_addr().map(|address| format!("{address}\n"))).collect();
        let lines = lines?.concat();
        let number = xxhash_rust::xxh3::xxh3_64(lines.as_bytes());
        let file = format!("advertisex-{}-{number:x}.hosts", std::process::id());
        let file = std::env::temp_dir().join(file);
        std::fs::write(&file, lines)?;
        Ok(Self(file))
    }
}

impl Drop for HostsFile {
    fn drop(&mut self) {
        // A file of some bytes in the temporary directory may stay.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(all(test, unix))]
mod tests;
