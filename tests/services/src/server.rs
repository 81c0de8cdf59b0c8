//! A server with its data and its port, over several lives of its process.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::cache;
use crate::error::{Error, Result};
use crate::process::{Order, Process};

/// How long an orderly end may take before it counts as failed.
const STOP_WITHIN: Duration = Duration::from_secs(60);
const KILL_WITHIN: Duration = Duration::from_secs(20);
const ASK_EVERY: Duration = Duration::from_millis(50);
const TAIL_LINES: usize = 20;

/// Where a server's files lie.
pub(crate) struct Home {
    /// The folder.
    pub(crate) dir: PathBuf,
    /// Whether it stays after the server is gone, as it was chosen by the caller.
    pub(crate) kept: bool,
}

impl Home {
    /// The chosen folder, which is kept, or a new one, which isn't. The path is absolute: it is read
    /// by programs that run elsewhere.
    pub(crate) fn new(service: &str, chosen: Option<&PathBuf>) -> Result<Home> {
        let kept = chosen.is_some();
        let dir = chosen.map_or_else(|| cache::data_dir(service), |dir| Ok(dir.clone()))?;
        fs::create_dir_all(&dir).map_err(Error::io("creating", &dir))?;
        let dir = dir.canonicalize().map_err(Error::io("finding", &dir))?;
        Ok(Home { dir, kept })
    }

    /// Writes one of the server's configuration files.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
        Ok(path)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log.txt")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.kept {
            // What can't be removed now is swept when the next server starts.
            let _ = cache::remove(&self.dir);
        }
    }
}

/// What tells one service from another.
pub(crate) struct Plan {
    pub(crate) service: &'static str,
    /// Program and arguments.
    pub(crate) command: Vec<OsString>,
    pub(crate) port: u16,
    /// Asks the port whether the service is ready.
    pub(crate) answers: fn(u16) -> bool,
    pub(crate) ready_within: Duration,
}

pub(crate) struct Server {
    // Before the folder, as fields are dropped in this order: first the process ends.
    process: Option<Process>,
    home: Home,
    plan: Plan,
}

impl Server {
    /// Starts it, and returns when it answers.
    pub(crate) fn start(plan: Plan, home: Home) -> Result<Server> {
        let mut server = Server { process: None, home, plan };
        server.run()?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        self.end(Order::Kill, KILL_WITHIN)
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        self.end(Order::Stop, STOP_WITHIN)
    }

    /// Stops it if it runs, and starts it on the same data and port.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.run()
    }

    fn run(&mut self) -> Result<()> {
        let removed = (!self.home.kept).then_some(self.home.dir.as_path());
        self.process = Some(Process::spawn(&self.plan.command, &self.home.log(), removed)?);
        let deadline = Instant::now() + self.plan.ready_within;
        loop {
            // In this order: an answer counts only if it is this process that gave it.
            let answered = (self.plan.answers)(self.plan.port);
            if !self.process.as_mut().is_some_and(Process::is_running) {
                return Err(self.failed("ended while it was starting".to_owned()));
            }
            if answered {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seconds = self.plan.ready_within.as_secs();
                return Err(self.failed(format!("wasn't ready within {seconds} s")));
            }
            thread::sleep(ASK_EVERY);
        }
    }

    fn end(&mut self, order: Order, within: Duration) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        if process.end(order, within) {
            return Ok(());
        }
        // The log is read first: dropping the process kills the service and removes its data.
        Err(self.failed(format!("didn't end within {} s", within.as_secs())))
    }

    fn failed(&self, what: String) -> Error {
        let log = fs::read(self.home.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        Error::Service { service: self.plan.service, what, log_tail: tail.join("\n") }
    }
}
