//! The addresses of the processes: a file, or ports of this machine.

use std::collections::HashMap;
use std::path::Path;

use super::ClusterError;

/// One address for each process, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Neighbouring ports of this machine.
    ///
    /// # Errors
    /// There are not so many ports.
    pub fn local(base_port: u16, processes: usize) -> Result<Self, ClusterError> {
        let port = |process: usize| {
            let port = process.checked_add(usize::from(base_port)).and_then(|port| u16::try_from(port).ok());
            let what = format!("there is no port {base_port} + {process}; a lower --base-port is expected");
            let at = format!("process {process}");
            port.map(|port| format!("127.0.0.1:{port}")).ok_or(ClusterError::Host { at, what })
        };
        (0..processes).map(port).collect::<Result<_, _>>().map(Self)
    }

    /// Reads a hosts file.
    ///
    /// # Errors
    /// It can't be read, or holds what is no address; the message names the line.
    pub fn read(file: &Path) -> Result<Self, ClusterError> {
        let unreadable = |source| ClusterError::Unreadable { file: file.to_owned(), source };
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        Self::parse(&file.display().to_string(), &text)
    }

    /// One `host:port` a line; empty lines and what follows a `#` don't count.
    ///
    /// # Errors
    /// A line is none, or one host is there twice.
    pub fn parse(file: &str, text: &str) -> Result<Self, ClusterError> {
        let wrong = |line: usize, what| ClusterError::Host { at: format!("{file}:{line}"), what };
        let (mut hosts, mut seen) = (Vec::new(), HashMap::new());
        for (line, text) in (1..).zip(text.lines()) {
            let host = text.split('#').next().unwrap_or_default().trim();
            if host.is_empty() {
                continue;
            }
            check(host).map_err(|what| wrong(line, what))?;
            if let Some(before) = seen.insert(host.to_owned(), line) {
                let what = format!("{host} stands in line {before} already; each process needs its own");
                return Err(wrong(line, what));
            }
            hosts.push(host.to_owned());
        }
        match hosts.is_empty() {
            true => Err(wrong(1, "no host is named; one host:port a line is expected".to_owned())),
            false => Ok(Self(hosts)),
        }
    }

    /// The first `processes` of them.
    pub fn first(mut self, processes: usize) -> Self {
        self.0.truncate(processes);
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The address of a process.
    pub fn address(&self, process: usize) -> &str {
        self.0.get(process).map_or("", String::as_str)
    }
}

fn check(host: &str) -> Result<(), String> {
    let Some((name, port)) = host.rsplit_once(':') else {
        return Err(format!("{host:?} has no port; host:port is expected, such as worker-1:2101"));
    };
    let is_v6 = name.starts_with('[') && name.ends_with(']');
    if name.is_empty() || name.contains(char::is_whitespace) || (name.contains(':') && !is_v6) {
        return Err(format!("{name:?} is no host; a name or an address is expected, IPv6 in brackets"));
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(format!("{port:?} is no port; a number from 1 to 65535 is expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Hosts::parse("hosts.txt", text).expect_err("invalid").to_string()
    }

    #[test]
    fn a_host_a_line_with_comments_and_empty_lines() {
        let hosts = Hosts::parse("hosts.txt", "# the cluster\na:1\n\n  b.example:65535 # spare\n[::1]:7\n");
        let hosts = hosts.expect("valid");
        let addresses: Vec<&str> = (0..hosts.len()).map(|process| hosts.address(process)).collect();
        assert_eq!(addresses, ["a:1", "b.example:65535", "[::1]:7"]);
        assert_eq!(hosts.first(2).len(), 2);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert!(error("a:1\nb").starts_with("hosts.txt:2: \"b\" has no port"));
        assert!(error("a:0").starts_with("hosts.txt:1: \"0\" is no port"));
        assert!(error("a:65536").contains("from 1 to 65535"));
        assert!(error("a:1\n\nb:1\na:1").starts_with("hosts.txt:4: a:1 stands in line 1 already"));
        assert!(error(":1").contains("is no host"));
        assert!(error("::1:5").contains("IPv6 in brackets"));
        assert!(error("# nobody\n\n").contains("no host is named"));
    }

    #[test]
    fn local_hosts_are_neighbouring_ports() {
        let hosts = Hosts::local(2101, 3).expect("three ports");
        assert_eq!(hosts.address(2), "127.0.0.1:2103");
        assert!(Hosts::local(65535, 2).expect_err("too high").to_string().contains("--base-port"));
    }
}
