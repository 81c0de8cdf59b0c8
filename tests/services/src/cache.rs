//! Where downloads and data lie, and how a download appears there whole or not at all.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, test_kill_process};

use crate::error::{Error, Result};

/// The variable that moves everything elsewhere.
const DIR_VARIABLE: &str = "ADVERTISEX_SERVICES_DIR";

/// The file that cargo puts into each target directory.
const TARGET_MARK: &str = "CACHEDIR.TAG";

static STARTED: AtomicU32 = AtomicU32::new(0);

/// The cargo target directory that the running program was built in, if it was.
pub(crate) fn target_dir(program: &Path) -> Option<&Path> {
    program.ancestors().find(|dir| dir.join(TARGET_MARK).is_file())
}

fn root() -> PathBuf {
    if let Some(dir) = env::var_os(DIR_VARIABLE) {
        return dir.into();
    }
    let program = env::current_exe().unwrap_or_default();
    let target = target_dir(&program).map(Path::to_owned);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")).join("services")
}

/// The folder `name` of the cache, filled by `fill` if it isn't there yet.
///
/// Processes that want the same folder wait for the first, by a lock that the system gives back when
/// its holder dies. `fill` works on a folder beside, renamed when it is done: what is there is whole.
pub(crate) fn folder(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = root().join("cache");
    let dir = cache.join(name);
    if dir.is_dir() {
        return Ok(dir);
    }
    fs::create_dir_all(&cache).map_err(Error::io("creating", &cache))?;
    let lock_path = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(Error::io("creating", &lock_path))?;
    lock.lock().map_err(Error::io("locking", &lock_path))?;
    if !dir.is_dir() {
        // Under the lock a partial folder is one that its maker died over.
        let partial = cache.join(format!("{name}.partial"));
        remove(&partial)?;
        fs::create_dir(&partial).map_err(Error::io("creating", &partial))?;
        fill(&partial)?;
        fs::rename(&partial, &dir).map_err(Error::io("renaming", &partial))?;
    }
    Ok(dir)
}

/// A new folder for the data of one server, named after the process that it lives with.
pub(crate) fn data_dir(service: &str) -> Result<PathBuf> {
    let data = root().join("data");
    sweep(&data);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let dir = data.join(format!("{service}-{}-{number}", process::id()));
    remove(&dir)?;
    fs::create_dir_all(&dir).map_err(Error::io("creating", &dir))?;
    Ok(dir)
}

/// Removes what processes left behind that died while their server was down.
fn sweep(data: &Path) {
    for entry in fs::read_dir(data).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.split('-').nth(1)?.parse().ok());
        let Some(owner) = owner.and_then(Pid::from_raw) else { continue };
        if test_kill_process(owner) == Err(rustix::io::Errno::SRCH) {
            // Another process may sweep at the same time; a folder that stays is swept next time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Removes a folder, if it is there.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    if dir.exists() { fs::remove_dir_all(dir).map_err(Error::io("removing", dir)) } else { Ok(()) }
}
