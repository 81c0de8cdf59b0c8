//! `advertisex cluster`.

use std::ffi::{OsStr, OsString};
use std::sync::atomic::Ordering::Relaxed;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use super::args::{self, Cli, Command};
use super::launch::{Processes, stop_on_signal};
use crate::config::{Config, ConfigError, SupervisorConfig};
use crate::runtime::supervisor::{Logs, Plan, Restarts, supervise};

/// Starts the processes, and watches over them.
pub fn run(args: &args::Cluster, log_json: bool) -> anyhow::Result<()> {
    let arguments = arguments(args, log_json);
    let (config, again) = check(&arguments)?;
    let pauses = (config.restart_min, config.restart_max);
    let plan = Plan {
        program: std::env::current_exe()?,
        arguments,
        processes: args.processes as usize,
        logs: if log_json { Logs::Json } else { Logs::Text },
        stop_timeout: config.stop_timeout,
        restarts: again.then(|| Restarts::new(config.restarts_max, config.restart_window, pauses)),
    };
    let stop = stop_on_signal(&Processes::default())?;
    Ok(supervise(plan, &|| stop.load(Relaxed))?)
}

/// The arguments of each process, but for its number and the hosts.
fn arguments(args: &args::Cluster, log_json: bool) -> Vec<OsString> {
    let mut arguments = args.command.clone();
    if log_json {
        arguments.push("--log-json".into());
    }
    if let Some(workers) = args.workers {
        arguments.extend(["--workers".into(), workers.to_string().into()]);
    }
    arguments
}

/// Reads the arguments as each process will, so that what is wrong is said once. How to supervise it,
/// and whether to start it again.
fn check(arguments: &[OsString]) -> Result<(SupervisorConfig, bool), ConfigError> {
    let added = ["--hosts", "hosts", "--process", "0", "--until-stdin-ends"].map(OsStr::new);
    let all = [OsStr::new("advertisex")].into_iter().chain(arguments.iter().map(|a| &**a)).chain(added);
    match Cli::try_parse_from(all).unwrap_or_else(|error| error.exit()).command {
        Command::Run(args) => Ok((Config::load(Some(&args.config))?.supervisor, true)),
        Command::Replay(args) => Ok((Config::load(args.config.as_deref())?.supervisor, false)),
        _ => Cli::command().error(ErrorKind::InvalidSubcommand, "run or replay is expected after --").exit(),
    }
}
