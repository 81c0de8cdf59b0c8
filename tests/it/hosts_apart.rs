//! Processes of a replay on hosts of their own.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cluster::{config_file, names, replay, report, rows, said, scattered, wait_until_all_write};
use crate::golden::{TABLES, golden};
use crate::network::{Network, network};

/// Starts a process of the program on a host.
fn start(network: &Network, host: usize, command: &[String], hosts: &str) -> Child {
    let mut started = network.program(host);
    started.args(command).args(["--hosts", hosts, "--process", &host.to_string(), "--workers", "1"]);
    started.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

#[test]
fn processes_on_three_hosts_do_as_one() {
    let Some(network) = network("one", 3) else { return };
    let root = TempDir::new().expect("temporary directory");
    let out = root.path().join("out");
    let (command, hosts) = (replay(&scattered(root.path()), &out), network.hosts_file(root.path()));
    let processes: Vec<Child> = (0..3).map(|host| start(&network, host, &command, &hosts)).collect();
    for process in processes {
        let ended = process.wait_with_output().expect("ends");
        assert!(ended.status.success(), "{}", said(&ended));
    }
    for table in TABLES {
        assert_eq!(rows(&out, table), rows(&golden().join("expected"), table), "{table}");
    }
    assert_eq!(report(&out)["processes"], 3);
}

#[test]
fn a_host_that_is_cut_off_is_given_up_by_all_and_nothing_is_published() {
    let Some(network) = network("cut", 3) else { return };
    let root = TempDir::new().expect("temporary directory");
    let here = root.path().join("here");
    fs::create_dir(&here).expect("made");
    let mut command = replay(&scattered(root.path()), &here.join("out"));
    // Small epochs take long enough to be disturbed.
    command.extend(["--epoch-events", "20"].map(str::to_owned));
    command.extend(["--config".to_owned(), config_file(root.path(), "silence_timeout_ms = 1000")]);
    let hosts = network.hosts_file(root.path());
    let processes: Vec<Child> = (0..3).map(|host| start(&network, host, &command, &hosts)).collect();
    wait_until_all_write(&here, 3);
    network.cut_off(1);
    let cut = Instant::now();
    for (process, child) in processes.into_iter().enumerate() {
        let ended = child.wait_with_output().expect("ends");
        let said = said(&ended);
        assert_eq!(ended.status.code(), Some(1), "process {process}: {said}");
        assert!(said.contains("error: lost the connection to process"), "process {process}: {said}");
    }
    assert!(cut.elapsed() < Duration::from_secs(30), "they went on for {:?}", cut.elapsed());
    assert_eq!(names(&here), Vec::<String>::new(), "nothing is left");
}
