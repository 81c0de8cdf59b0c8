//! The framing of container files: header, blocks, sync markers, compression.

use std::io::Read;

use apache_avro::{Codec, Schema};
use memchr::memmem;

use super::plan::Cursor;
use crate::formats::window::Window;

const MAGIC: &[u8] = b"Obj\x01";
const SYNC: usize = 16;
const HEADER_BYTES_MAX: usize = 16 << 20;
/// A block over this, packed or unpacked, is taken for damaged rather than for data.
const BLOCK_BYTES_MAX: usize = 256 << 20;

/// What the header of a file says.
pub struct Header {
    /// The schema its records were written with.
    pub schema: Schema,
}

/// What comes next in a file.
pub enum Step {
    /// A block of `count` records was unpacked.
    Block { offset: u64, count: u64 },
    /// A block could not be read; the reader stands behind the next marker.
    Damaged { offset: u64, what: String },
    /// The range is read.
    End,
}

/// A file behind its header.
#[derive(Debug)]
pub struct Container {
    window: Window,
    sync: [u8; SYNC],
    codec: Codec,
    first_marker: u64,
    end: u64,
    /// Whether a marker must be searched before the next block.
    seek: bool,
    over: bool,
}

type Parsed = (Vec<u8>, Option<Vec<u8>>, [u8; SYNC], usize);

impl Header {
    /// Reads the header; the container then stands before the first block.
    pub fn read(stream: Box<dyn Read + Send>) -> Result<(Self, Container), String> {
        let mut window = Window::new(stream, 0);
        let (schema, codec, sync, len) = loop {
            let held = window.bytes();
            if !held.starts_with(&MAGIC[..MAGIC.len().min(held.len())]) {
                return Err(
                    "this is not an Avro container file: its first bytes are not \"Obj\" and 1".to_owned()
                );
            }
            match header(held) {
                Some(Ok(parsed)) => break parsed,
                Some(Err(what)) => return Err(what),
                None if held.len() > HEADER_BYTES_MAX => {
                    return Err("the Avro header does not end".to_owned());
                }
                None => {}
            }
            match window.more() {
                Ok(true) => {}
                Ok(false) if window.bytes().is_empty() => return Err("the file is empty".to_owned()),
                Ok(false) => return Err("the file ends inside the Avro header".to_owned()),
                Err(error) => return Err(format!("the Avro header can't be read: {error}")),
            }
        };
        let schema = std::str::from_utf8(&schema).map_err(|_| "avro.schema is not text".to_owned())?;
        let schema =
            Schema::parse_str(schema).map_err(|error| format!("avro.schema is not valid: {error}"))?;
        let codec = codec_of(codec.as_deref().unwrap_or(b"null"))?;
        // The library refuses to unpack more than this; it takes the first limit it is given.
        apache_avro::util::max_allocation_bytes(BLOCK_BYTES_MAX);
        window.consume(len);
        let first_marker = (len - SYNC) as u64;
        let container =
            Container { window, sync, codec, first_marker, end: u64::MAX, seek: false, over: false };
        Ok((Self { schema }, container))
    }
}

/// `None` while the header is not complete.
fn header(held: &[u8]) -> Option<Result<Parsed, String>> {
    let mut cursor = Cursor::new(held, MAGIC.len().min(held.len()));
    let (mut schema, mut codec) = (None, None);
    loop {
        let mut count = cursor.long().ok()?;
        if count == 0 {
            break;
        }
        if count < 0 {
            cursor.long().ok()?;
            count = count.checked_neg().unwrap_or(i64::MAX);
        }
        for _ in 0..count {
            let (key, value) = (cursor.bytes().ok()?, cursor.bytes().ok()?);
            match key {
                b"avro.schema" => schema = Some(value.to_vec()),
                b"avro.codec" => codec = Some(value.to_vec()),
                _ => {}
            }
        }
    }
    let sync = cursor.take(SYNC).ok()?.try_into().ok()?;
    let schema = schema.ok_or_else(|| "the Avro header holds no schema".to_owned());
    Some(schema.map(|schema| (schema, codec, sync, cursor.at())))
}

fn codec_of(name: &[u8]) -> Result<Codec, String> {
    Ok(match name {
        b"null" => Codec::Null,
        b"deflate" => Codec::Deflate(apache_avro::DeflateSettings::default()),
        b"snappy" => Codec::Snappy,
        b"zstandard" => Codec::Zstandard(apache_avro::ZstandardSettings::default()),
        _ => {
            let name = String::from_utf8_lossy(name);
            return Err(format!("the codec {name:?} is not known; null, deflate, snappy and zstandard are"));
        }
    })
}

impl Container {
    pub fn limit(&mut self, stream: Box<dyn Read + Send>, start: u64, end: u64) {
        self.window = Window::new(stream, start);
        (self.end, self.seek) = (end, true);
    }

    pub fn end_at(&mut self, end: u64) {
        self.end = end;
    }

    pub fn first_marker(&self) -> u64 {
        self.first_marker
    }

    pub fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// Unpacks the next block of the range into `data`.
    pub fn next(&mut self, data: &mut Vec<u8>) -> Step {
        let offset = self.window.offset();
        match self.try_next(data) {
            Ok(step) => step,
            Err(error) => {
                self.over = true;
                Step::Damaged { offset, what: format!("the file can't be read on: {error}") }
            }
        }
    }

    fn try_next(&mut self, data: &mut Vec<u8>) -> std::io::Result<Step> {
        if std::mem::take(&mut self.seek) && !self.over {
            self.over = !self.find_marker()?;
        }
        let offset = self.window.offset();
        // A marker at or behind the end opens a block of the next range.
        if self.over || offset - SYNC as u64 >= self.end || !self.window.fill(1)? {
            return Ok(Step::End);
        }
        match self.block(data)? {
            Ok(count) => Ok(Step::Block { offset, count }),
            Err(what) => {
                data.clear();
                // When the block's own end was found, there is nothing to search.
                self.seek = self.window.offset() == offset;
                Ok(Step::Damaged { offset, what })
            }
        }
    }

    /// Reads one block; the window moves only if the marker behind it was found.
    fn block(&mut self, data: &mut Vec<u8>) -> std::io::Result<Result<u64, String>> {
        self.window.fill(20)?;
        let mut cursor = Cursor::new(self.window.bytes(), 0);
        let (Ok(count), Ok(size)) = (cursor.long(), cursor.long()) else {
            return Ok(Err("the block has no readable head".to_owned()));
        };
        let head = cursor.at();
        let (Ok(count), Ok(size)) = (u64::try_from(count), usize::try_from(size)) else {
            return Ok(Err(format!("the block claims {count} records in {size} bytes")));
        };
        if size > BLOCK_BYTES_MAX {
            return Ok(Err(format!("the block claims {size} bytes; at most {BLOCK_BYTES_MAX} are read")));
        }
        if !self.window.fill(head + size + SYNC)? {
            return Ok(Err("the file ends inside the block".to_owned()));
        }
        let bytes = self.window.bytes();
        if bytes[head + size..head + size + SYNC] != self.sync {
            return Ok(Err("the block does not end in the sync marker".to_owned()));
        }
        let unpacked = unpack(self.codec, &bytes[head..head + size], data);
        self.window.consume(head + size + SYNC);
        // Every record of interest has at least one byte, so more records than bytes is a lie.
        Ok(unpacked.and_then(|()| {
            let lie = || format!("the block claims {count} records in {} bytes", data.len());
            if count > data.len() as u64 { Err(lie()) } else { Ok(count) }
        }))
    }

    fn find_marker(&mut self) -> std::io::Result<bool> {
        let finder = memmem::Finder::new(&self.sync).into_owned();
        loop {
            let held = self.window.bytes();
            if let Some(at) = finder.find(held) {
                self.window.consume(at + SYNC);
                return Ok(true);
            }
            let rest = held.len().saturating_sub(SYNC - 1);
            self.window.consume(rest);
            if !self.window.more()? {
                return Ok(false);
            }
        }
    }
}

fn unpack(codec: Codec, packed: &[u8], data: &mut Vec<u8>) -> Result<(), String> {
    data.clear();
    if let Codec::Deflate(_) = codec {
        // The library's own inflater is the slower one.
        let inflater = flate2::read::DeflateDecoder::new(packed);
        let read = inflater.take(BLOCK_BYTES_MAX as u64 + 1).read_to_end(data);
        read.map_err(|error| format!("the block can't be unpacked: {error}"))?;
        if data.len() > BLOCK_BYTES_MAX {
            return Err(format!("the block unpacks to more than {BLOCK_BYTES_MAX} bytes"));
        }
        return Ok(());
    }
    data.extend_from_slice(packed);
    codec.decompress(data).map_err(|error| format!("the block can't be unpacked: {error}"))
}
