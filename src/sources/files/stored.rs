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

use super::reader::{Broken, Failure, empty, unreadable};
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
                return Err(empty().into());
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
        let last = |bytes: u64| {
            let range = length.saturating_sub(bytes)..length;
            Self::fetch(store, name, length, std::slice::from_ref(&range))
        };
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::config::Config;
    use crate::formats::Batch;
    use crate::formats::parquet::Kind;
    use crate::sources::files::{Compression, SplitReader, plan};

    /// A file of clicks, in row groups of three.
    fn clicks(rows: i64) -> Vec<u8> {
        let ids: ArrayRef =
            Arc::new((0..rows).map(|row| Some(format!("click-{row}"))).collect::<StringArray>());
        let times: ArrayRef = Arc::new((0..rows).collect::<Int64Array>());
        let columns =
            [("click_id", ids.clone()), ("unread", ids.clone()), ("impression_id", ids), ("ts", times)];
        let rows = RecordBatch::try_from_iter(columns).expect("same lengths");
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(3)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).expect("a writer");
        writer.write(&rows).expect("written");
        writer.into_inner().expect("closed")
    }

    fn read(address: Address, bytes: u64) -> Result<Batch, SourceError> {
        let (contents, compression) = (Contents::Canonical(Kind::Clicks), Compression::None);
        let file = InputFile { name: address.to_string().into(), address, bytes, contents, compression };
        let (mut all, sources) = (Batch::default(), Config::load(None).expect("defaults").sources);
        for split in plan(&[file])? {
            let mut reader = SplitReader::open(split, &sources, Arc::default());
            while reader.read(&mut all, usize::MAX)? {}
        }
        Ok(all)
    }

    #[test]
    fn an_object_is_read_as_the_same_file_on_a_disk_is_however_long_its_footer() {
        let dir = tempfile::tempdir().expect("temporary");
        let store = Arc::new(Store::directory(dir.path()).expect("a directory"));
        for (rows, long) in [(10, false), (3_000, true)] {
            let bytes = clicks(rows);
            std::fs::write(dir.path().join("clicks"), &bytes).expect("written");
            let length = bytes.len() as u64;
            let end = Parts::end(&store, "clicks", length).expect("its end");
            assert_eq!(end.footer_bytes().expect("a footer") > TAIL_BYTES, long);
            let object = read(Address::Object(Arc::clone(&store), "clicks".to_owned()), length);
            let (object, file) =
                (object.expect("read"), read(Address::File(dir.path().join("clicks")), length));
            let file = file.expect("read");
            assert_eq!((object.clicks.len(), object.bytes, object.rejects.len()), (rows as usize, length, 0));
            assert_eq!((object.clicks, object.bytes), (file.clicks, file.bytes));
        }
    }

    #[test]
    fn an_object_that_is_gone_or_short_stops_the_run_and_a_damaged_one_is_a_reject() {
        let dir = tempfile::tempdir().expect("temporary");
        let store = Arc::new(Store::directory(dir.path()).expect("a directory"));
        let address = Address::Object(store, "clicks".to_owned());
        let bytes = clicks(10);
        let length = bytes.len() as u64;
        let stopped = |length| read(address.clone(), length).expect_err("stopped").to_string();
        assert!(stopped(length).contains("/clicks can't be read"), "{}", stopped(length));
        std::fs::write(dir.path().join("clicks"), &bytes[..bytes.len() - 9]).expect("written");
        assert!(stopped(length).contains("/clicks can't be read"));
        // A footer that is longer than the file, one that is none, and no file at all.
        let long = [&bytes[..bytes.len() - 8], &u32::MAX.to_le_bytes(), b"PAR1"].concat();
        for damaged in [long, bytes[..bytes.len() - 9].to_vec(), b"PAR1".to_vec(), Vec::new()] {
            std::fs::write(dir.path().join("clicks"), &damaged).expect("written");
            let read = read(address.clone(), damaged.len() as u64).expect("it goes on");
            assert_eq!((read.clicks.len(), read.rejects.len()), (0, 1));
            let hint = &read.rejects[0].hint;
            assert!(hint.contains("/clicks: the Parquet footer can't be read"), "{hint}");
        }
    }
}
