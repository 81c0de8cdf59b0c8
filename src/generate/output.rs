//! An output directory that appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::error::GenerateError;
use super::written::WrittenFile;

/// Every file the generator ever writes; a directory that holds anything else is not replaced.
const NAMES: [&str; 8] = [
    "bid_requests.avro",
    "bids.parquet",
    "campaigns.csv",
    "clicks.parquet",
    "conversions.parquet",
    "events.csv",
    "impressions.jsonl",
    "impressions.parquet",
];

fn failed(path: &Path) -> impl FnOnce(io::Error) -> GenerateError {
    let path = path.to_owned();
    move |source| GenerateError::Io { path, source }
}

/// A file being written.
pub(super) struct OutputFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl OutputFile {
    pub(super) fn create(dir: &Path, name: &'static str) -> Result<Self, GenerateError> {
        debug_assert!(NAMES.contains(&name), "{name} is missing from the names");
        let path = dir.join(name);
        let file = File::create_new(&path).map_err(failed(&path))?;
        Ok(Self { path, file: BufWriter::with_capacity(1 << 18, file) })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), GenerateError> {
        self.file.write_all(bytes).map_err(|source| self.failed(source))
    }

    /// The error of an operation on this file.
    pub(super) fn failed(&self, source: io::Error) -> GenerateError {
        GenerateError::Io { path: self.path.clone(), source }
    }

    /// Ends the file; it is durable afterwards.
    pub(super) fn finish(mut self) -> Result<(), GenerateError> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(|source| self.failed(source))
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The directory that will become the output; removed if that never happens.
pub(super) struct Pending {
    target: PathBuf,
    work: PathBuf,
    done: bool,
}

impl Pending {
    /// Begins an output beside `target`, which must be free unless `force` is given.
    pub(super) fn begin(target: &Path, force: bool) -> Result<Self, GenerateError> {
        check(target, force)?;
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        let work = sibling(target, "partial")?;
        fs::create_dir(&work).map_err(failed(&work))?;
        Ok(Self { target: target.to_owned(), work, done: false })
    }

    /// Where to write.
    pub(super) fn dir(&self) -> &Path {
        &self.work
    }

    /// Puts the output in its place, and says what is in it.
    pub(super) fn commit(mut self, force: bool) -> Result<Vec<WrittenFile>, GenerateError> {
        let files = list(&self.work)?;
        // Someone else may have put something there in the meantime.
        check(&self.target, force)?;
        let replaced = sibling(&self.target, "replaced")?;
        let replaces = self.target.exists();
        if replaces {
            fs::rename(&self.target, &replaced).map_err(failed(&self.target))?;
        }
        if let Err(source) = fs::rename(&self.work, &self.target) {
            if replaces {
                // The old one is better than none; what to report is why the new one isn't there.
                let _ = fs::rename(&replaced, &self.target);
            }
            return Err(GenerateError::Io { path: self.target.clone(), source });
        }
        self.done = true;
        if replaces {
            fs::remove_dir_all(&replaced).map_err(failed(&replaced))?;
        }
        Ok(files)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            // A failure is being reported already; a remainder is easy to recognise by its name.
            let _ = fs::remove_dir_all(&self.work);
        }
    }
}

/// A hidden name beside `target` that is free. In a container every process has the same id, so
/// what a killed one left behind must not stand in the way.
fn sibling(target: &Path, what: &str) -> Result<PathBuf, GenerateError> {
    let Some(name) = target.file_name() else {
        return Err(GenerateError::NotADirectory { dir: target.to_owned() });
    };
    let prefix = format!(".{}.{what}-{}", name.to_string_lossy(), std::process::id());
    let mut path = target.with_file_name(&prefix);
    let mut attempt = 1;
    while path.symlink_metadata().is_ok() {
        path = target.with_file_name(format!("{prefix}-{attempt}"));
        attempt += 1;
    }
    Ok(path)
}

/// Whether an output may be put at `target`.
fn check(target: &Path, force: bool) -> Result<(), GenerateError> {
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(GenerateError::NotADirectory { dir: target.to_owned() });
        }
        Err(source) => return Err(GenerateError::Io { path: target.to_owned(), source }),
    };
    for entry in entries {
        if !force {
            return Err(GenerateError::NotEmpty { dir: target.to_owned() });
        }
        let name = entry.map_err(failed(target))?.file_name();
        if !NAMES.iter().any(|&ours| name == ours) {
            let entry = name.to_string_lossy().into_owned();
            return Err(GenerateError::NotOurs { dir: target.to_owned(), entry });
        }
    }
    Ok(())
}

fn list(dir: &Path) -> Result<Vec<WrittenFile>, GenerateError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let entry = entry.map_err(failed(dir))?;
        let bytes = entry.metadata().map_err(failed(&entry.path()))?.len();
        files.push(WrittenFile { name: entry.file_name().to_string_lossy().into_owned(), bytes });
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}
