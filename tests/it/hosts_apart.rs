//! Processes on hosts of their own: network namespaces joined by a bridge, which lies in one too, so
//! that no packet leaves them. Needs root and `ip` of iproute2; skips without.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cluster::{config_file, names, replay, report, rows, said, scattered};
use crate::golden::{TABLES, golden};

/// Some hosts on a switch.
struct Network {
    tag: String,
    hosts: usize,
}

impl Network {
    /// None where this machine does not let us.
    fn new(name: &str, hosts: usize) -> Option<Self> {
        let network = Self { tag: format!("advx-{name}-{}", std::process::id()), hosts };
        if !ip(&format!("netns add {}", network.switch())) {
            return None;
        }
        let switch = network.switch();
        network.must(&format!("-n {switch} link add br0 type bridge"));
        network.must(&format!("-n {switch} link set br0 up"));
        for host in 0..hosts {
            let name = network.host(host);
            network.must(&format!("netns add {name}"));
            network.must(&format!("-n {name} link add eth0 type veth peer name port{host} netns {switch}"));
            network.must(&format!("-n {switch} link set port{host} master br0 up"));
            network.must(&format!("-n {name} addr add {}/24 dev eth0", address(host)));
            network.must(&format!("-n {name} link set eth0 up"));
            network.must(&format!("-n {name} link set lo up"));
        }
        Some(network)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.tag)
    }

    fn host(&self, host: usize) -> String {
        format!("{}-{host}", self.tag)
    }

    fn must(&self, arguments: &str) {
        assert!(ip(arguments), "ip {arguments}");
    }

    /// Pulls a host's plug.
    fn cut_off(&self, host: usize) {
        self.must(&format!("-n {} link set port{host} down", self.switch()));
    }

    /// A hosts file with one process on each.
    fn hosts_file(&self, root: &Path) -> String {
        let lines: String = (0..self.hosts).map(|host| format!("{}:2101\n", address(host))).collect();
        let file = root.join("hosts");
        fs::write(&file, lines).expect("written");
        file.display().to_string()
    }

    /// Starts the program on a host.
    fn start(&self, host: usize, command: &[String], hosts: &str) -> Child {
        let mut started = Command::new("ip");
        started.args(["netns", "exec", &self.host(host), env!("CARGO_BIN_EXE_advertisex")]).args(command);
        started.args(["--hosts", hosts, "--process", &host.to_string(), "--workers", "1"]);
        started.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in 0..self.hosts {
            ip(&format!("netns del {}", self.host(host)));
        }
        ip(&format!("netns del {}", self.switch()));
    }
}

fn address(host: usize) -> String {
    format!("10.77.0.{}", host + 1)
}

fn ip(arguments: &str) -> bool {
    let done = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

fn network(name: &str, hosts: usize) -> Option<Network> {
    let network = Network::new(name, hosts);
    if network.is_none() {
        eprintln!("skipped: no network namespaces here, they need root and `ip` of iproute2");
    }
    network
}

#[test]
fn processes_on_three_hosts_do_as_one() {
    let Some(network) = network("one", 3) else { return };
    let root = TempDir::new().expect("temporary directory");
    let out = root.path().join("out");
    let (command, hosts) = (replay(&scattered(root.path()), &out), network.hosts_file(root.path()));
    let processes: Vec<Child> = (0..3).map(|host| network.start(host, &command, &hosts)).collect();
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
    let processes: Vec<Child> = (0..3).map(|host| network.start(host, &command, &hosts)).collect();
    let until = Instant::now() + Duration::from_secs(60);
    while names(&here).is_empty() && Instant::now() < until {
        std::thread::yield_now();
    }
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
