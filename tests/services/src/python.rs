//! Tools from PyPI, each in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache;
use crate::download::announce;
use crate::error::{Error, Result};
use crate::registry;

/// What asks an API all that its document allows, and more: a command that takes its arguments.
pub fn schemathesis() -> Result<Command> {
    let version = registry::SCHEMATHESIS_VERSION;
    let dir = package("schemathesis", version)?;
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", dir).env("PYTHONDONTWRITEBYTECODE", "1").args(["-m", "schemathesis.cli"]);
    Ok(command)
}

/// A package with all that it needs, fetched if it isn't there.
fn package(name: &str, version: &str) -> Result<PathBuf> {
    cache::folder(&format!("{name}-{version}"), |dir| {
        if !has_pip() {
            announce("Debian's python3-pip (apt-get)");
            let install = "apt-get update -qq && apt-get install --yes --no-install-recommends python3-pip";
            run(Command::new("sh").args(["-c", install]))?;
        }
        announce(&format!("{name} {version} (20 MB, PyPI)"));
        let wanted = format!("{name}=={version}");
        run(Command::new("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--root-user-action",
                "ignore",
            ])
            .args(["--only-binary", ":all:", "--target"])
            .arg(dir)
            .arg(wanted))
    })
}

fn has_pip() -> bool {
    run(Command::new("python3").args(["-m", "pip", "--version"])).is_ok()
}

fn run(command: &mut Command) -> Result<()> {
    let program = PathBuf::from(command.get_program());
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match done.map_err(Error::io("starting", Path::new(&program)))?.success() {
        true => Ok(()),
        false => Err(Error::Tool(format!("{command:?}"))),
    }
}
