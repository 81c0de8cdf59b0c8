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
    /// With several processes: which of them this is, as each file is one of several parts.
    part: Option<usize>,
}

impl PendingDirectory {
    /// Starts filling what will become `target`. A directory that holds files is replaced with
    /// `force` only.
    pub fn new(target: &Path, force: bool) -> Result<Self, DirectoryError> {
        Self::check(target, force)?;
        let directory = Self::beside(target, force, &std::process::id().to_string())?;
        let _ = fs::remove_dir_all(&directory.pending);
        directory.make()
    }

    /// The same, filled by all processes of a run; this one's files are parts, numbered `process`.
    pub fn shared(target: &Path, force: bool, run: u64, process: usize) -> Result<Self, DirectoryError> {
        Self::check(target, force)?;
        let mut directory = Self::beside(target, force, &format!("{run:016x}"))?;
        directory.part = Some(process);
        directory.make()
    }

    /// Whether results may be put there.
    pub fn check(target: &Path, force: bool) -> Result<(), DirectoryError> {
        let occupied = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some());
        if (occupied || target.is_file()) && !(force && target.is_dir()) {
            return Err(DirectoryError::Occupied(target.to_owned()));
        }
        Ok(())
    }

    fn beside(target: &Path, force: bool, run: &str) -> Result<Self, DirectoryError> {
        let target = std::path::absolute(target).map_err(|source| failed(target, source))?;
        let stem = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pending = target.with_file_name(format!(".{stem}.partial-{run}"));
        Ok(Self { target, pending, force, done: false, part: None })
    }

    fn make(self) -> Result<Self, DirectoryError> {
        fs::create_dir_all(&self.pending).map_err(|source| failed(&self.pending, source))?;
        Ok(self)
    }

    /// Creates a file in it, or this process's part of one: `a.csv` is `a/part-0003.csv` then.
    pub fn create(&self, name: &str) -> Result<File, DirectoryError> {
        let Some(part) = self.part else { return self.create_whole(name) };
        let (stem, kind) = name.split_once('.').unwrap_or((name, ""));
        let folder = self.pending.join(stem);
        fs::create_dir_all(&folder).map_err(|source| failed(&folder, source))?;
        self.create_whole(&format!("{stem}/part-{part:04}.{kind}"))
    }

    /// Creates a file of which there is one, however many processes there are.
    pub fn create_whole(&self, name: &str) -> Result<File, DirectoryError> {
        let path = self.pending.join(name);
        File::create(&path).map_err(|source| failed(&path, source))
    }

    /// Another process has put it in place.
    pub fn leave(mut self) {
        self.done = true;
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
    fn several_processes_fill_one_directory_with_their_parts() {
        let root = tempfile::tempdir().expect("temporary directory");
        let target = root.path().join("out");
        let processes =
            [0, 1].map(|process| PendingDirectory::shared(&target, false, 7, process).expect("starts"));
        for (process, directory) in (0..).zip(&processes) {
            let mut part = directory.create("a.csv").expect("creates");
            part.write_all(&[b'0' + process]).expect("writes");
        }
        processes[0].create_whole("run.json").expect("creates");
        let [first, second] = processes;
        first.publish().expect("publishes");
        second.leave();
        assert_eq!(fs::read_to_string(target.join("a/part-0000.csv")).expect("reads"), "0");
        assert_eq!(fs::read_to_string(target.join("a/part-0001.csv")).expect("reads"), "1");
        assert!(target.join("run.json").is_file());
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
