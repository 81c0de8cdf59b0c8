//! The command line: what is asked for, how it is answered, and the exit codes.

mod archive;
mod args;
mod check;
mod cluster;
mod demo;
mod ecs;
mod erase;
mod generate;
mod launch;
mod rejects;
mod replay;
mod run;
mod schema;
mod show;
mod token;
mod verify;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};

/// What the process ends with. 2 is clap's: the arguments make no sense.
mod exit {
    /// Something failed on the way: a disk, a damaged input directory.
    pub const FAILED: u8 = 1;
    /// The arguments make no sense together; else clap finds that out.
    pub const USAGE: u8 = 2;
    /// The configuration or a lookup table is wrong.
    pub const BAD_CONFIG: u8 = 3;
    /// The output directory already holds results, or ClickHouse what the input may not hold.
    pub const OCCUPIED: u8 = 4;
    /// What is published isn't what the archive gives.
    pub const DIFFERS: u8 = 5;
    /// The processes of a cluster failed too often.
    pub const TOO_OFTEN: u8 = 6;
    /// Another run has taken this one's place. The supervisor knows the number, too.
    pub const FENCED: u8 = 7;
    /// The numbers did not add up; nothing was published.
    pub const IMBALANCE: u8 = 70;
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.log_json);
    let result = match cli.command {
        Command::Replay(args) => replay::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Cluster(args) => cluster::run(&args, cli.log_json),
        Command::Rejects(args) => rejects::run(&args),
        Command::Archive(args) => archive::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Erase(args) => erase::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "advertisex", &mut text);
            show::bytes(&text)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn log_to_stderr(json: bool) {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_env("ADVERTISEX_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json {
        builder.event_format(ecs::Ecs).init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

/// One line for the error and one for each of its causes.
fn report(error: &anyhow::Error) {
    let mut stderr = std::io::stderr().lock();
    // There is nowhere left to complain to when this fails.
    let _ = writeln!(stderr, "error: {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(stderr, "  because: {cause}");
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    use crate::archive::ArchiveError;
    use crate::checkpoint::CheckpointError;
    use crate::generate::GenerateError;
    use crate::runtime::generation::GenerationError;
    use crate::runtime::live::LiveError;
    use crate::runtime::live::erasure::EraseError;
    use crate::runtime::replay::ReplayError;
    use crate::runtime::supervisor::SupervisorError;
    use crate::sinks::directory::DirectoryError;

    if error.is::<crate::config::ConfigError>() {
        return exit::BAD_CONFIG;
    }
    if error.is::<verify::Differs>() {
        return exit::DIFFERS;
    }
    if error.downcast_ref().is_some_and(crate::runtime::cluster::ClusterError::is_usage) {
        return exit::USAGE;
    }
    if let Some(EraseError::NobodyNamed) = error.downcast_ref() {
        return exit::USAGE;
    }
    if let Some(GenerateError::NotEmpty { .. } | GenerateError::NotOurs { .. }) = error.downcast_ref() {
        return exit::OCCUPIED;
    }
    match error.downcast_ref() {
        Some(LiveError::NoKafka) => return exit::BAD_CONFIG,
        Some(LiveError::Imbalance { .. }) => return exit::IMBALANCE,
        Some(
            LiveError::Checkpoint(CheckpointError::Fenced { .. })
            | LiveError::Archive(ArchiveError::Fenced { .. }),
        ) => return exit::FENCED,
        _ => {}
    }
    match error.downcast_ref() {
        Some(SupervisorError::TooOften { .. }) => return exit::TOO_OFTEN,
        Some(SupervisorError::Failed { status, .. }) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return code.unwrap_or(exit::FAILED);
        }
        _ => {}
    }
    let replay = match error.downcast_ref::<GenerationError>() {
        Some(GenerationError::Refused(_)) => return exit::OCCUPIED,
        Some(GenerationError::Replay(error)) => Some(error),
        _ => error.downcast_ref::<ReplayError>(),
    };
    match replay {
        Some(ReplayError::Directory(DirectoryError::Occupied(_))) => exit::OCCUPIED,
        Some(ReplayError::Lookups(_)) => exit::BAD_CONFIG,
        Some(ReplayError::Imbalance(_)) => exit::IMBALANCE,
        Some(ReplayError::HorizonAmong) => exit::USAGE,
        _ => exit::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_whose_place_was_taken_ends_with_a_code_of_its_own() {
        use crate::archive::ArchiveError;
        use crate::checkpoint::CheckpointError;
        use crate::runtime::live::LiveError;

        let (place, number) = ("a place".to_owned(), 2);
        let checkpoint = CheckpointError::Fenced { place: place.clone(), number };
        for error in [LiveError::from(checkpoint), ArchiveError::Fenced { place, number }.into()] {
            assert_eq!(exit_code(&error.into()), exit::FENCED);
        }
    }
}
