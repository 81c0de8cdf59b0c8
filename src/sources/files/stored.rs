//! Files of Parquet, wherever they lie. One on a disk is read as the decoder asks. Of one in a bucket,
//! where each question takes its time, the end is fetched for the footer, and of a row group all
//! columns that are read, at once; the decoder then finds them in memory.

use std::fs::File;
use std::ops::Range;

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::FooterTail;
use parquet::file::reader::{ChunkReader, Length};

use super::reader::{Broken, Failure, unreadable};
use super::{Contents, InputFile, SourceError};
use crate::formats::parquet::{ParquetReader, chunks, footer};
use crate::names::SharedNames;
use crate::store::{Address, Store, StoreError};

/// So much is fetched of the end of an object: longer footers, of files with hundreds of row groups,
/// take a second request.
const TAIL_BYTES: u64 = 64 << 10;

/// The footer of a file.
pub fn footer_of(file: &InputFile) -> Result<ArrowReaderMetadata, Failure> {
    let found = match &file.address {
        Address::File(path) => {
            let opened = File::open(path).map_err(unreadable)?;
            if file.bytes == 0 {
                return Err(Broken::at_start("the file is empty").into());
            }
            footer(&opened)
        }
        Address::Object(store, name) => footer(&Parts::end(store, name, file.bytes).map_err(stop(file))?),
    };
    Ok(found.map_err(Broken::at_start)?)
}

/// A reader of one row group of a file.
pub fn row_group(
    file: &InputFile,
    footer: &ArrowReaderMetadata,
    group: usize,
    names: SharedNames,
) -> Result<ParquetReader, Failure> {
    let Contents::Canonical(kind) = file.contents else {
        return Err(Broken::at_start("this file is not known to hold Parquet").into());
    };
    let origin = file.name.clone();
    let reader = match &file.address {
        Address::File(path) => {
            let opened = File::open(path).map_err(unreadable)?;
            ParquetReader::new(opened, footer, group, kind, origin, names)
        }
        Address::Object(store, name) => {
            let columns = Parts::fetch(store, name, file.bytes, &chunks(footer, group, kind));
            ParquetReader::new(columns.map_err(stop(file))?, footer, group, kind, origin, names)
        }
    };
    Ok(reader.map_err(Broken::at_start)?)
}

fn stop(file: &InputFile) -> impl FnOnce(StoreError) -> Failure {
    let address = file.address.clone();
    move |source| Failure::Stop(SourceError::Object { address, source })
}

/// Parts of an object, in memory.
struct Parts {
    /// The length of the object.
    length: u64,
    /// Where each part begins.
    parts: Vec<(u64, Bytes)>,
}

impl Parts {
    fn fetch(store: &Store, name: &str, length: u64, ranges: &[Range<u64>]) -> Result<Self, StoreError> {
        let starts = ranges.iter().map(|range| range.start);
        let parts = starts.zip(store.read_ranges(name, ranges)?).collect();
        Ok(Self { length, parts })
    }

    /// The end of an object, with all of its footer if it has one.
    fn end(store: &Store, name: &str, length: u64) -> Result<Self, StoreError> {
        if length == 0 {
            return Ok(Self { length, parts: Vec::new() });
        }
        let last = |bytes: u64| Self::fetch(store, name, length, &[length.saturating_sub(bytes)..length]);
        let end = last(TAIL_BYTES)?;
        match end.footer_bytes() {
            Some(bytes) if bytes > TAIL_BYTES && bytes <= length => last(bytes),
            _ => Ok(end),
        }
    }

    fn footer_bytes(&self) -> Option<u64> {
        let start = self.length.checked_sub(FOOTER_SIZE as u64)?;
        let tail = FooterTail::try_from(&*self.rest(start).ok()?).ok()?;
        Some((tail.metadata_length() + FOOTER_SIZE) as u64)
    }

    /// What was fetched from a place on.
    fn rest(&self, start: u64) -> ParquetResult<Bytes> {
        let after = |(begin, bytes): &(u64, Bytes)| {
            let at = usize::try_from(start.checked_sub(*begin)?).ok()?;
            (at < bytes.len()).then(|| bytes.slice(at..))
        };
        let found = self.parts.iter().find_map(after);
        found.ok_or_else(|| ParquetError::EOF(format!("byte {start} lies outside of what is read")))
    }
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Parts {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.rest(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.rest(start)?;
        if bytes.len() < length {
            let what = format!("{length} bytes at byte {start} lie outside of what is read");
            return Err(ParquetError::EOF(what));
        }
        Ok(bytes.slice(..length))
    }
}
