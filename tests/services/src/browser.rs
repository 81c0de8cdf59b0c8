//! Chromium, and the checker of accessibility that runs in its pages.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;

use crate::cache;
use crate::download::{Downloader, announce};
use crate::error::{Error, Result};
use crate::registry;

/// The variable that names a browser to use.
pub const CHROMIUM_VARIABLE: &str = "ADVERTISEX_CHROMIUM";
/// What a Chromium may be called.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const AXE: &str = "axe.min.js";

/// A Chromium: the one that `ADVERTISEX_CHROMIUM` names, or that is installed; where there is none and
/// Debian's packages can be had, that one is installed.
pub fn chromium() -> Result<PathBuf> {
    let given = env::var_os(CHROMIUM_VARIABLE).filter(|given| !given.is_empty()).map(PathBuf::from);
    if let Some(found) = given.or_else(installed) {
        return Ok(found);
    }
    announce("Debian's chromium (100 MB, apt-get)");
    let install = "apt-get update -qq && apt-get install --yes --no-install-recommends chromium";
    let done = Command::new("sh").args(["-c", install]).stdin(Stdio::null()).stdout(Stdio::null()).status();
    done.map_err(Error::io("starting", Path::new("sh")))?;
    installed().ok_or(Error::Platform {
        what: "chromium",
        os: env::consts::OS,
        arch: env::consts::ARCH,
        instead: "install one, or name it in ADVERTISEX_CHROMIUM",
    })
}

fn installed() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let places: Vec<_> = env::split_paths(&path).collect();
    let candidates = NAMES.iter().flat_map(|name| places.iter().map(move |place| place.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

/// The text of axe-core, fetched if it isn't there.
pub fn axe() -> Result<String> {
    let dir = cache::folder(&format!("axe-core-{}", registry::AXE_VERSION), |dir| {
        let path = dir.join(registry::AXE.file_name());
        Downloader::new().fetch(&registry::AXE, &path)?;
        let text = unpack(&path).map_err(Error::io("unpacking", &path))?;
        let script = dir.join(AXE);
        fs::write(&script, text).map_err(Error::io("writing", &script))?;
        fs::remove_file(&path).map_err(Error::io("removing", &path))
    })?;
    let script = dir.join(AXE);
    fs::read_to_string(&script).map_err(Error::io("reading", &script))
}

fn unpack(package: &Path) -> io::Result<String> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(package)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.ends_with(AXE) {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            return Ok(text);
        }
    }
    Err(io::Error::other(format!("there is no {AXE} in it")))
}
