//! The arguments that say which processes a job runs on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use clap::Args;

use crate::config::Config;
use crate::runtime::cluster::hosts::Hosts;
use crate::runtime::cluster::{Cluster, ClusterError};

/// Which processes a job runs on, and which of them this is.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct Processes {
    /// The number of this process, from 0. All are started with the same arguments but for this.
    #[arg(long, value_name = "I")]
    pub process: Option<usize>,
    /// How many processes share the work [default: as many as the hosts file names, or 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub processes: Option<u64>,
    /// Where they are: one host:port a line, for process 0, 1 and so on.
    #[arg(long, value_name = "FILE")]
    pub hosts: Option<PathBuf>,
    /// Without --hosts: they are on this machine, at this port and those behind it.
    #[arg(long, value_name = "P", default_value_t = 2101, value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "hosts")]
    pub base_port: u16,
    /// End as soon as stdin does, as if it were SIGTERM; `advertisex cluster` uses it.
    #[arg(long)]
    pub until_stdin_ends: bool,
}

impl Processes {
    /// The cluster that is meant, of so many workers in each process.
    pub fn cluster(&self, workers: usize, config: &Config) -> Result<Cluster, ClusterError> {
        let asked = self.processes.map(|processes| processes as usize);
        let hosts = match &self.hosts {
            Some(file) => {
                let hosts = Hosts::read(file)?;
                let processes = asked.unwrap_or(hosts.len());
                if processes > hosts.len() {
                    let (file, hosts) = (file.clone(), hosts.len());
                    return Err(ClusterError::Count { file, hosts, processes });
                }
                hosts.first(processes)
            }
            None => Hosts::local(self.base_port, asked.unwrap_or(1))?,
        };
        let process = match (self.process, hosts.len()) {
            (Some(process), _) => process,
            (None, 1) => 0,
            (None, processes) => return Err(ClusterError::WhichProcess(processes)),
        };
        Cluster::new(hosts, process, workers, config.cluster)
    }
}

/// A flag that Ctrl-C and SIGTERM set, and the end of stdin if that is asked for.
pub fn stop_on_signal(processes: &Processes) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || asked.store(true, Relaxed))?;
    if processes.until_stdin_ends {
        let asked = Arc::clone(&stop);
        std::thread::spawn(move || {
            // Also what can't be read has ended.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            asked.store(true, Relaxed);
        });
    }
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(processes: &Processes) -> Result<Cluster, String> {
        let config = Config::load(None).expect("defaults load");
        processes.cluster(2, &config).map_err(|error| error.to_string())
    }

    fn processes(process: Option<usize>, processes: Option<u64>, hosts: Option<PathBuf>) -> Processes {
        Processes { process, processes, hosts, base_port: 2101, until_stdin_ends: false }
    }

    #[test]
    fn without_flags_there_is_one_process() {
        let cluster = cluster(&processes(None, None, None)).expect("valid");
        assert!(cluster.is_alone() && cluster.is_first());
        assert_eq!((cluster.processes(), cluster.peers()), (1, 2));
    }

    #[test]
    fn the_hosts_file_says_how_many_there_are_unless_fewer_are_asked_for() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("hosts.txt");
        std::fs::write(&file, "a:1\nb:1\nc:1\n").expect("written");
        let three = cluster(&processes(Some(2), None, Some(file.clone()))).expect("valid");
        assert_eq!((three.processes(), three.process(), three.peers()), (3, 2, 6));
        let two = cluster(&processes(Some(1), Some(2), Some(file.clone()))).expect("valid");
        assert_eq!((two.processes(), two.is_first()), (2, false));
        let four = cluster(&processes(Some(1), Some(4), Some(file))).expect_err("too many");
        assert!(four.contains("--processes is 4") && four.contains("names 3"), "{four}");
    }

    #[test]
    fn a_process_must_be_one_of_them() {
        let outside = cluster(&processes(Some(2), Some(2), None)).expect_err("outside");
        assert_eq!(outside, "--process is 2, but there are 2; 0 to 1 are expected");
        let unknown = cluster(&processes(None, Some(2), None)).expect_err("unknown");
        assert_eq!(unknown, "there are 2 processes; add --process to say which of them this is");
        let missing = cluster(&processes(Some(0), None, Some("no/such/file".into()))).expect_err("missing");
        assert!(missing.contains("no/such/file"), "{missing}");
    }
}
