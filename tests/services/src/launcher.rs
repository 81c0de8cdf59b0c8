//! Finds the program `services`, the supervisor of all servers.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache;
use crate::error::{Error, Result};

const NAME: &str = "services";
const BIN_VARIABLE: &str = "ADVERTISEX_SERVICES_BIN";

/// In this order: what the environment names; this program itself, when a developer runs it; the
/// program beside this one, or beside the folder `deps` that test programs stand in; one built now.
pub(crate) fn find() -> Result<PathBuf> {
    if let Some(path) = env::var_os(BIN_VARIABLE) {
        return Ok(path.into());
    }
    let this = env::current_exe().map_err(Error::io("finding", Path::new("this program")))?;
    if this.file_name().is_some_and(|name| name == NAME) {
        return Ok(this);
    }
    let beside = this.ancestors().skip(1).take(2).map(|dir| dir.join(NAME)).find(|path| path.is_file());
    beside.map_or_else(|| build(&this), Ok)
}

/// Cargo has built `services` for `cargo test --workspace`. For `cargo test` of one other package it
/// hasn't; its locks are free while tests run, so that it can be called now.
fn build(this: &Path) -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--bin", NAME, "--manifest-path"]).arg(manifest);
    let target = cache::target_dir(this)
        .ok_or_else(|| Error::Launcher(format!("there is no program `{NAME}` beside {}", this.display())))?;
    let output = command.arg("--target-dir").arg(target).output();
    let output = output.map_err(|error| Error::Launcher(format!("can't run cargo: {error}")))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Launcher(format!("cargo couldn't build `{NAME}`: {}", told.trim())));
    }
    Ok(target.join("debug").join(NAME))
}
