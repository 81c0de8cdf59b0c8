//! Files cut into pieces that can be read side by side.

use std::ops::Range;

use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::reader::Failure;
use super::{Compression, Contents, InputFile, SourceError, stored};
use crate::store::together;

/// Small enough to share the work evenly, large enough for the start of a split to cost nothing.
const SPLIT_BYTES: u64 = 8 << 20;

/// A piece of a file.
#[derive(Clone, Debug)]
pub struct Split {
    /// The file.
    pub file: InputFile,
    /// Its size, as stored; the sizes of all splits of a file add up to the file's.
    pub bytes: u64,
    /// Which piece.
    pub part: Part,
}

/// Which piece of a file.
#[derive(Clone, Debug)]
pub enum Part {
    /// All of it.
    Whole,
    /// The lines that start here, or the blocks whose sync marker starts here.
    Bytes(Range<u64>),
    /// One row group.
    RowGroup {
        /// Its number.
        group: usize,
        /// The file's footer, read once for all its row groups.
        footer: ArrowReaderMetadata,
    },
}

impl Split {
    /// Whether this piece speaks for what is wrong with its file as a whole.
    pub(super) fn is_first(&self) -> bool {
        match &self.part {
            Part::Whole => true,
            Part::Bytes(range) => range.start == 0,
            Part::RowGroup { group, .. } => *group == 0,
        }
    }
}

/// Cuts files into splits, in order. What is wrong with a file shows when its split is read.
///
/// # Errors
/// A bucket can't be read.
pub fn plan(files: &[InputFile]) -> Result<Vec<Split>, SourceError> {
    Ok(together(files, splits)?.into_iter().flatten().collect())
}

fn splits(file: &InputFile) -> Result<Vec<Split>, SourceError> {
    let whole = || vec![Split { file: file.clone(), bytes: file.bytes, part: Part::Whole }];
    Ok(match file.contents {
        Contents::Canonical(_) => row_groups(file)?.unwrap_or_else(whole),
        Contents::Raw(_) if file.compression != Compression::None => whole(),
        Contents::Raw(_) => {
            let starts = (0..file.bytes.div_ceil(SPLIT_BYTES).max(1)).map(|n| n * SPLIT_BYTES);
            let ranges = starts.map(|start| start..(start + SPLIT_BYTES).min(file.bytes));
            let split = |range: Range<u64>| Split {
                file: file.clone(),
                bytes: range.end - range.start,
                part: Part::Bytes(range),
            };
            ranges.map(split).collect()
        }
    })
}

fn row_groups(file: &InputFile) -> Result<Option<Vec<Split>>, SourceError> {
    let footer = match stored::footer_of(file) {
        Ok(footer) => footer,
        Err(Failure::Broken(_)) => return Ok(None),
        Err(Failure::Stop(error)) => return Err(error),
    };
    let groups = footer.metadata().row_groups();
    let mut left = file.bytes;
    let mut splits: Vec<_> = groups
        .iter()
        .enumerate()
        .map(|(group, meta)| {
            let bytes = left.min(meta.compressed_size().max(0) as u64);
            left -= bytes;
            Split { file: file.clone(), bytes, part: Part::RowGroup { group, footer: footer.clone() } }
        })
        .collect();
    // The footer goes to the last row group, so that the sizes add up.
    let last = splits.last_mut().map(|last| last.bytes += left);
    Ok(last.map(|()| splits))
}
