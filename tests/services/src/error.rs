//! What can go wrong between asking for a service and having it.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a service can't be had, or doesn't do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A registry doesn't answer, or not with the file.
    #[error("can't fetch {url}; a mirror is set with {mirror}, a proxy with HTTPS_PROXY")]
    Fetch {
        /// What was asked for.
        url: String,
        /// The variable that sets another base address.
        mirror: &'static str,
        /// What the connection said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A registry answers with another file than the pinned one.
    #[error("{url} is not the pinned file: its SHA-256 is {found}, not {expected}")]
    Checksum {
        /// Where it came from.
        url: String,
        /// Of what came.
        found: String,
        /// Of what is pinned.
        expected: String,
    },
    /// Nothing is published for this machine.
    #[error("no {what} is published for {os} on {arch}; {instead}")]
    Platform {
        /// What is missing.
        what: &'static str,
        /// The operating system.
        os: &'static str,
        /// The processor.
        arch: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// Reading, writing, starting a program.
    #[error("{doing} {}", path.display())]
    Io {
        /// The action, as in "reading".
        doing: &'static str,
        /// Of which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A tool that fetches another.
    #[error("{0} failed; run it by hand to see why")]
    Tool(String),
    /// The program `services` is missing, or of another version.
    #[error("{0}; build it with `cargo build -p advertisex-services`")]
    Launcher(String),
    /// The service died, or didn't answer or end in time.
    #[error("{service} {what}; its log ends with:\n{log_tail}")]
    Service {
        /// Which.
        service: &'static str,
        /// What it did.
        what: String,
        /// The last lines it logged.
        log_tail: String,
    },
    /// All ports are taken.
    #[error("no free port on 127.0.0.1 between {0} and {1}")]
    NoPort(u16, u16),
    /// The wanted port is taken.
    #[error("port {0} of 127.0.0.1 is taken; choose another")]
    PortTaken(u16),
    /// An address from the environment can't be read.
    #[error("{variable} is {value:?}, expected {expected}")]
    Address {
        /// Which variable.
        variable: &'static str,
        /// What it holds, without a password.
        value: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// The server was given by address, so it isn't stopped or started from here.
    #[error("{service} at {address} was given by {variable}; only who started it can stop it")]
    NotOurs {
        /// Which.
        service: &'static str,
        /// Where.
        address: String,
        /// By which variable.
        variable: &'static str,
    },
}

impl Error {
    /// The error with its causes, in one line apart from a log's tail.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// For `map_err` on an IO result.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { doing, path, source }
    }
}
