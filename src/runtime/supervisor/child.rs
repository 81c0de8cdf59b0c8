//! One process of a cluster.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use super::Plan;

/// How log lines say which process they are from.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Logs {
    /// `[2] ` before each.
    Text,
    /// `"process":2` in each.
    Json,
}

impl Logs {
    /// The line, marked.
    fn mark(self, process: usize, line: &str) -> String {
        match (self, line.strip_prefix('{')) {
            (Logs::Json, Some(rest)) => format!("{{\"process\":{process},{rest}\n"),
            _ => format!("[{process}] {line}\n"),
        }
    }
}

/// A process that was started. It is killed when this is dropped before it has ended.
pub struct Child {
    process: usize,
    child: std::process::Child,
    ended: Option<ExitStatus>,
    logs: Option<JoinHandle<()>>,
}

impl Child {
    pub fn start(plan: &Plan, process: usize, hosts: &Path) -> io::Result<Self> {
        let mut command = Command::new(&plan.program);
        command.args(&plan.arguments).arg("--hosts").arg(hosts);
        command.args(["--process", &process.to_string(), "--until-stdin-ends"]);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        // What is said to people is said once.
        command.stdout(if process == 0 { Stdio::inherit() } else { Stdio::null() });
        // Ctrl-C in a terminal is for the supervisor, who tells the others.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let mark = plan.logs;
        let logs = child
            .stderr
            .take()
            .map(|stderr| std::thread::spawn(move || pass_on(stderr, |line| mark.mark(process, line))));
        Ok(Self { process, child, ended: None, logs })
    }

    pub fn process(&self) -> usize {
        self.process
    }

    /// Closes its stdin.
    pub fn tell_to_end(&mut self) {
        drop(self.child.stdin.take());
    }

    pub fn kill(&mut self) {
        // It may have ended in this moment.
        let _ = self.child.kill();
        if let Ok(status) = self.child.wait() {
            self.end(status);
        }
    }

    /// Whether it has ended, and all that it said was passed on.
    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.end(status);
        }
        self.ended.is_some()
    }

    /// How it ended, if it did without success.
    pub fn failed(&mut self) -> Option<(usize, ExitStatus)> {
        self.has_ended();
        self.ended.filter(|status| !status.success()).map(|status| (self.process, status))
    }

    fn end(&mut self, status: ExitStatus) {
        self.ended = Some(status);
        // A panic there was reported there.
        self.logs.take().map(JoinHandle::join);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill();
        }
    }
}

/// Writes what a process says to our stderr, line by line.
fn pass_on(from: impl Read, mark: impl Fn(&str) -> String) {
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let marked = mark(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        // With nobody to read it, the process must still be able to speak.
        let _ = io::stderr().lock().write_all(marked.as_bytes());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_say_which_process_they_are_from() {
        assert_eq!(Logs::Text.mark(2, "hello"), "[2] hello\n");
        assert_eq!(Logs::Json.mark(2, r#"{"level":"INFO"}"#), "{\"process\":2,\"level\":\"INFO\"}\n");
        assert_eq!(Logs::Json.mark(2, "error: no"), "[2] error: no\n");
    }
}
