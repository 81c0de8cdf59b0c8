//! Rows that wait on disk until their table is written, in the order in which they came.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first thing that went wrong when rows were read back.
pub type Fault = Rc<RefCell<Option<io::Error>>>;

/// Rows of one kind, in a file without a name, which goes with this value or with the process.
#[derive(Debug)]
pub struct Spill<T> {
    directory: PathBuf,
    file: Option<BufWriter<File>>,
    rows: u64,
    kind: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> Spill<T> {
    /// Rows that will lie in `directory`; until there are some, nothing does.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), file: None, rows: 0, kind: PhantomData }
    }

    /// Adds rows.
    pub fn extend(&mut self, rows: impl Iterator<Item = T>) -> io::Result<()> {
        for row in rows {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(BufWriter::new(tempfile::tempfile_in(&self.directory)?)),
            };
            bincode::serialize_into(file, &row).map_err(|error| broken(*error))?;
            self.rows += 1;
        }
        Ok(())
    }

    /// All rows, in the order in which they were added. What can't be read back ends them, and is
    /// left in `fault`.
    pub fn into_rows(self, fault: &Fault) -> impl Iterator<Item = T> + use<T> {
        let (mut left, fault) = (self.rows, Rc::clone(fault));
        let mut file = note(self.file.map(rewound).transpose(), &fault).flatten();
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            note(bincode::deserialize_from(file.as_mut()?).map_err(|error| broken(*error)), &fault)
        })
    }
}

fn rewound(file: BufWriter<File>) -> io::Result<BufReader<File>> {
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.flush()?;
    file.rewind()?;
    Ok(BufReader::new(file))
}

fn note<T>(result: io::Result<T>, fault: &Fault) -> Option<T> {
    result.map_err(|error| _ = fault.borrow_mut().get_or_insert(error)).ok()
}

fn broken(error: bincode::ErrorKind) -> io::Error {
    match error {
        bincode::ErrorKind::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order_and_nothing_is_left_behind() {
        let root = tempfile::tempdir().expect("temporary directory");
        let (mut spill, fault) = (Spill::new(root.path()), Fault::default());
        for part in [0..3, 3..3, 3..50_000_u32] {
            spill.extend(part.map(|n| (n, -i64::from(n)))).expect("written");
        }
        let names = std::fs::read_dir(root.path()).expect("a directory").count();
        assert_eq!(names, 0, "the file has no name");
        assert!(spill.into_rows(&fault).eq((0..50_000).map(|n| (n, -i64::from(n)))));
        assert!(fault.borrow().is_none());
        assert_eq!(Spill::<u32>::new(root.path()).into_rows(&fault).count(), 0);
    }

    #[test]
    fn what_is_cut_short_is_told_and_not_passed_over() {
        let root = tempfile::tempdir().expect("temporary directory");
        let (mut spill, fault) = (Spill::new(root.path()), Fault::default());
        spill.extend(0..10_u32).expect("written");
        spill.rows = 12;
        assert_eq!(spill.into_rows(&fault).count(), 10);
        assert!(fault.borrow().is_some());
    }
}
