//! A directory of results that appears whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Why results can't be put where they should go.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is something already.
    #[error("{0} already holds files; choose another directory, or add --force to replace it")]
    Occupied(PathBuf),
    /// The file system refused.
    #[error("can't write {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A directory being filled, beside the one it will become.
#[derive(Debug)]
pub struct PendingDirectory {
    target: PathBuf,
    pending: PathBuf,
    force: bool,
    done: bool,
}

impl PendingDirectory {
    /// Starts filling what will become `target`. A directory that holds files is replaced with
    /// `force` only.
    pub fn new(target: &Path, force: bool) -> Result<Self, DirectoryError> {
        let occupied = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some());
        if (occupied || target.is_file()) && !(force && target.is_dir()) {
            return Err(DirectoryError::Occupied(target.to_owned()));
        }
        let absolute = std::path::absolute(target).map_err(|source| failed(target, source))?;
        let stem = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pending = absolute.with_file_name(format!(".{stem}.partial-{}", std::process::id()));
        let _ = fs::remove_dir_all(&pending);
        fs::create_dir_all(&pending).map_err(|source| failed(&pending, source))?;
        Ok(Self { target: absolute, pending, force, done: false })
    }

    /// Creates a file in it.
    pub fn create(&self, name: &str) -> Result<File, DirectoryError> {
        let path = self.pending.join(name);
        File::create(&path).map_err(|source| failed(&path, source))
    }

    /// Where it is while it is being filled.
    pub fn path(&self) -> &Path {
        &self.pending
    }

    /// Puts it in place.
    pub fn publish(mut self) -> Result<PathBuf, DirectoryError> {
        let fail = |source| failed(&self.target, source);
        if self.force && self.target.is_dir() {
            // The old results stay until the new ones can take their place.
            let old = self.pending.with_extension("old");
            fs::rename(&self.target, &old).map_err(fail)?;
            fs::rename(&self.pending, &self.target).map_err(fail)?;
            fs::remove_dir_all(&old).map_err(fail)?;
        } else {
            let _ = fs::remove_dir(&self.target); // an empty one is in the way on some systems
            fs::rename(&self.pending, &self.target).map_err(fail)?;
        }
        self.done = true;
        Ok(self.target.clone())
    }
}

impl Drop for PendingDirectory {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_dir_all(&self.pending);
        }
    }
}

fn failed(path: &Path, source: io::Error) -> DirectoryError {
    DirectoryError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn fill(target: &Path, text: &str, force: bool) -> Result<(), DirectoryError> {
        let directory = PendingDirectory::new(target, force)?;
        directory.create("a.txt")?.write_all(text.as_bytes()).expect("writes");
        directory.publish().map(|_| ())
    }

    #[test]
    fn results_are_replaced_by_force_only() {
        let root = tempfile::tempdir().expect("temporary directory");
        let target = root.path().join("out");
        fill(&target, "1", false).expect("first run");
        assert!(matches!(fill(&target, "2", false), Err(DirectoryError::Occupied(_))));
        assert_eq!(fs::read_to_string(target.join("a.txt")).expect("reads"), "1");
        fill(&target, "2", true).expect("forced run");
        assert_eq!(fs::read_to_string(target.join("a.txt")).expect("reads"), "2");
        assert_eq!(fs::read_dir(root.path()).expect("lists").count(), 1);
    }

    #[test]
    fn nothing_is_left_of_what_was_not_published() {
        let root = tempfile::tempdir().expect("temporary directory");
        let directory = PendingDirectory::new(&root.path().join("out"), false).expect("starts");
        directory.create("a.txt").expect("creates");
        drop(directory);
        assert_eq!(fs::read_dir(root.path()).expect("lists").count(), 0);
    }
}
