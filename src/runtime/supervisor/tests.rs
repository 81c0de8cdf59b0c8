use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

/// A plan whose processes run a shell script; `$process` is their number.
fn plan(dir: &Path, script: &str, restarts: Option<Restarts>) -> Plan {
    let program = dir.join("process.sh");
    let text = format!(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do\n  [ \"$1\" = --process ] && process=$2\n  shift\ndone\ncd '{}'\n{script}\n",
        dir.display()
    );
    fs::write(&program, text).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("made executable");
    let stop_timeout = Duration::from_secs(5);
    Plan { program, arguments: Vec::new(), processes: 3, logs: Logs::Text, stop_timeout, restarts }
}

fn quickly(max: usize) -> Option<Restarts> {
    let pause = Duration::from_millis(10);
    Some(Restarts::new(max, Duration::from_secs(600), (pause, pause)))
}

/// How many lines the processes wrote to a file.
fn lines(dir: &Path, file: &str) -> usize {
    fs::read_to_string(dir.join(file)).map_or(0, |text| text.lines().count())
}

const WAIT_FOR_STDIN: &str = "cat >/dev/null; echo x >>ended";

#[test]
fn what_all_do_well_is_done() {
    let dir = tempfile::tempdir().expect("temporary directory");
    supervise(plan(dir.path(), "echo x >>started", None), &|| false).expect("done");
    assert_eq!(lines(dir.path(), "started"), 3);
}

#[test]
fn when_one_fails_the_rest_are_ended() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let script = format!("[ $process = 1 ] && exit 7\n{WAIT_FOR_STDIN}");
    let error = supervise(plan(dir.path(), &script, None), &|| false).expect_err("fails");
    assert!(error.to_string().starts_with("process 1 ended with exit status: 7"), "{error}");
    assert_eq!(lines(dir.path(), "ended"), 2);
}

#[test]
fn one_that_does_not_end_is_killed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let script = "[ $process = 1 ] && exit 7\nexec sleep 600";
    let plan = Plan { stop_timeout: Duration::from_millis(200), ..plan(dir.path(), script, None) };
    let started = Instant::now();
    assert!(supervise(plan, &|| false).is_err() && started.elapsed() < Duration::from_secs(20));
}

#[test]
fn all_are_started_again_until_they_do_well() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let script = format!(
        "echo x >>started-$process\n[ $process = 2 ] && [ $(wc -l <started-2) -lt 3 ] && kill -9 $$\n\
         [ $(wc -l <started-$process) -lt 3 ] && {{ {WAIT_FOR_STDIN}; }}; exit 0"
    );
    supervise(plan(dir.path(), &script, quickly(5)), &|| false).expect("done");
    assert_eq!([0, 1, 2].map(|process| lines(dir.path(), &format!("started-{process}"))), [3, 3, 3]);
}

#[test]
fn restarts_have_an_end() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let script = format!("echo x >>started\n[ $process = 0 ] && exit 1\n{WAIT_FOR_STDIN}");
    let error = supervise(plan(dir.path(), &script, quickly(2)), &|| false).expect_err("too often");
    assert!(matches!(error, SupervisorError::TooOften { process: 0, restarts: 2, .. }), "{error}");
    assert_eq!(lines(dir.path(), "started"), 9);
}

#[test]
fn what_no_restart_mends_is_not_started_again() {
    for code in [2, 3, 4, 7, 70] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let script = format!("echo x >>started\nexit {code}");
        let error = supervise(plan(dir.path(), &script, quickly(5)), &|| false).expect_err("fails");
        assert!(matches!(error, SupervisorError::Failed { .. }), "{error}");
        assert_eq!(lines(dir.path(), "started"), 3);
    }
}

#[test]
fn told_to_stop_it_tells_all() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let all_started = || lines(dir.path(), "started") == 3;
    let script = format!("echo x >>started\n{WAIT_FOR_STDIN}");
    supervise(plan(dir.path(), &script, quickly(5)), &all_started).expect("ends well");
    assert_eq!((lines(dir.path(), "started"), lines(dir.path(), "ended")), (3, 3));
    let script = "echo x >>again\ncat >/dev/null; exit 1";
    let stop = || lines(dir.path(), "again") == 3;
    let error = supervise(plan(dir.path(), script, None), &stop).expect_err("ends badly");
    assert!(matches!(error, SupervisorError::Stopped), "{error}");
}
