//! Nothing outlives the process that started it, even if that is killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};

const GONE_WITHIN: Duration = Duration::from_secs(10);

fn becomes_true(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + GONE_WITHIN;
    while !condition() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    condition()
}

fn runs(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

#[test]
fn a_service_ends_and_its_data_goes_when_the_pipe_closes() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("abandoned");
    fs::create_dir_all(&dir).expect("a folder");
    let mut supervisor = Command::new(env!("CARGO_BIN_EXE_services"))
        .arg("supervise")
        .args([Path::new("--log"), &dir.join("log.txt"), Path::new("--remove"), &dir])
        .args(["--", "sleep", "600"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the supervisor");
    let mut greeting = String::new();
    let stdout = supervisor.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut greeting).expect("a greeting");
    let pid = greeting.split_whitespace().nth(2).and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    let pid = pid.expect("a process id");
    assert!(runs(pid));

    // The system closes the pipe of a dead process in the same way.
    drop(supervisor.stdin.take());
    assert!(becomes_true(|| !runs(pid)), "the service has ended");
    assert!(becomes_true(|| !dir.exists()), "its data is gone");
    assert!(supervisor.wait().expect("an end").success());
}
