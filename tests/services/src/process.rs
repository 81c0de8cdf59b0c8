//! One running process of a service, held through its supervisor.
//!
//! The supervisor reads orders from a pipe that this side holds: `kill`, `stop`, or the end of the
//! pipe, on which it kills the service and removes its data. The system closes the pipe when this
//! process dies, in whatever way, so that no server outlives its test.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::launcher;

/// The version of what this side and the supervisor say to each other.
pub const PROTOCOL: u32 = 1;

const GLANCE: Duration = Duration::from_millis(10);

/// What the supervisor can be told.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// End the service at once, with SIGKILL.
    Kill,
    /// Let the service end in its own way, with SIGTERM.
    Stop,
}

pub(crate) struct Process {
    supervisor: Child,
    orders: Option<ChildStdin>,
    pid: u32,
}

impl Process {
    /// Starts a program and its arguments. What it prints is added to `log`; `removed` is the folder
    /// that goes when the process is abandoned.
    pub(crate) fn spawn(command: &[OsString], log: &Path, removed: Option<&Path>) -> Result<Process> {
        let launcher = launcher::find()?;
        let mut supervise = Command::new(&launcher);
        supervise.arg("supervise").arg("--log").arg(log);
        if let Some(dir) = removed {
            supervise.arg("--remove").arg(dir);
        }
        // A process group of its own: Ctrl-C ends the test, and only then, by the pipe, the service.
        supervise.arg("--").args(command).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut supervisor = supervise.spawn().map_err(Error::io("starting", &launcher))?;
        let orders = supervisor.stdin.take();
        let mut greeting = String::new();
        if let Some(stdout) = supervisor.stdout.take() {
            BufReader::new(stdout).read_line(&mut greeting).map_err(Error::io("hearing", &launcher))?;
        }
        let mut process = Process { supervisor, orders, pid: 0 };
        process.pid = pid_of(&greeting).ok_or_else(|| {
            let program = command.first().map(OsString::as_os_str).unwrap_or_default();
            Error::Launcher(format!(
                "{} didn't start {}, or is not of this version",
                launcher.display(),
                program.display()
            ))
        })?;
        Ok(process)
    }

    /// The service's process id, not its supervisor's.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.supervisor.try_wait(), Ok(None))
    }

    /// Gives an order and waits for the end; whether it came in time.
    pub(crate) fn end(&mut self, order: Order, within: Duration) -> bool {
        let line: &[u8] = match order {
            Order::Kill => b"kill\n",
            Order::Stop => b"stop\n",
        };
        if let Some(orders) = &mut self.orders {
            // A closed pipe means that the service has died already.
            let _ = orders.write_all(line);
        }
        let deadline = Instant::now() + within;
        while self.is_running() && Instant::now() < deadline {
            thread::sleep(GLANCE);
        }
        !self.is_running()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.orders.take());
        // There is nobody to tell; the supervisor ends by itself in any case.
        let _ = self.supervisor.wait();
    }
}

/// The process id in `services PROTOCOL PID`.
fn pid_of(greeting: &str) -> Option<u32> {
    let rest = greeting.trim_end().strip_prefix(&format!("services {PROTOCOL} "))?;
    rest.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_of_another_version_is_refused() {
        assert_eq!(pid_of("services 1 4711\n"), Some(4711));
        assert_eq!(pid_of("services 2 4711\n"), None);
        assert_eq!(pid_of(""), None);
    }
}
