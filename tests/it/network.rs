//! Hosts of their own for processes: network namespaces joined by a bridge, which lies in one too, so
//! that no packet leaves them. Needs root and `ip` of iproute2.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// This machine's number on the switch.
const MACHINE: usize = 253;

/// Some hosts on a switch.
pub struct Network {
    tag: String,
    hosts: usize,
}

impl Network {
    /// None where this machine does not let us.
    pub fn new(name: &str, hosts: usize) -> Option<Self> {
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
    pub fn cut_off(&self, host: usize) {
        self.must(&format!("-n {} link set port{host} down", self.switch()));
    }

    /// Puts it back.
    pub fn reconnect(&self, host: usize) {
        self.must(&format!("-n {} link set port{host} up", self.switch()));
    }

    /// A hosts file with one process on each.
    pub fn hosts_file(&self, root: &Path) -> String {
        let lines: String = (0..self.hosts).map(|host| format!("{}:2101\n", address(host))).collect();
        let file = root.join("hosts");
        fs::write(&file, lines).expect("written");
        file.display().to_string()
    }

    /// The program, on a host.
    pub fn program(&self, host: usize) -> Command {
        let mut program = Command::new("ip");
        program.args(["netns", "exec", &self.host(host), env!("CARGO_BIN_EXE_advertisex")]);
        program
    }

    /// Joins this machine to the hosts' switch; returns its address there, at which they find what it
    /// serves.
    pub fn join(&mut self) -> String {
        let (switch, here) = (self.switch(), format!("advx{}", std::process::id()));
        self.must(&format!("link add {here} type veth peer name uplink netns {switch}"));
        self.must(&format!("-n {switch} link set uplink master br0 up"));
        let address = address(MACHINE);
        self.must(&format!("addr add {address}/24 dev {here}"));
        self.must(&format!("link set {here} up"));
        address
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

/// In a network of this process's own: what is left of another that was killed is in nobody's way.
fn address(host: usize) -> String {
    format!("10.77.{}.{}", std::process::id() % 256, host + 1)
}

fn ip(arguments: &str) -> bool {
    let done = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

/// Hosts, or a line that says that they can't be had.
pub fn network(name: &str, hosts: usize) -> Option<Network> {
    let network = Network::new(name, hosts);
    if network.is_none() {
        services::tell("left out: tests on separate hosts, which need root and `ip` of iproute2");
    }
    network
}
