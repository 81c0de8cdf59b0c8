//! The pages of a column, whose headers are checked before the first page is decoded.
//!
//! The library makes room for what a header claims: for the values of a dictionary, or for a page
//! as it was before it was packed. A claim costs its writer a few bytes, and us gigabytes.

use std::io::{self, Read};

use parquet::basic::Type;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::ChunkReader;

use super::ROWS;

/// What one column may hold in memory at once, whatever it is packed into: its dictionary, and the
/// pages that a batch of rows is decoded from.
///
/// Equal values pack to nearly nothing, so up to here no ratio is too good to be true. Writers end a
/// page at about 1 MiB of values, or after 20,000 rows, which is far from this limit. The widest kind
/// of event has 11 columns, so that a small file can claim 352 MiB.
pub const ROOM: u64 = 32 << 20;

/// How many times its packed size a column may hold beyond [`ROOM`]. Pages of that size come from
/// writers that cut no pages, whose files are big themselves.
const RATIO: u64 = 100;

/// What reading a column depends on.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Encodings {
    /// All values are places in the dictionary.
    pub dictionary_only: bool,
    /// Some lengths of texts are written as differences.
    pub deltas: bool,
}

/// Checks the headers of the pages of a column. The column lies within the file.
///
/// # Errors
/// A header can't be read, or claims what can't be true or would take too much memory.
pub fn check(file: &impl ChunkReader, column: &ColumnChunkMetaData) -> Result<Encodings, String> {
    let (start, bytes) = column.byte_range();
    let (mut at, end) = (start, start + bytes);
    let mut found = Encodings { dictionary_only: true, deltas: false };
    let mut held = Held::default();
    while at < end {
        let fail = |what: &str| {
            Err(format!("the page at byte {at} of column {} {what}", column.column_path().string()))
        };
        let bytes = file.get_read(at).map_err(|error| error.to_string())?.take(end - at);
        let mut thrift = Thrift { bytes, taken: 0 };
        let Ok(page) = thrift.page() else { return fail("has a header that can't be read") };
        let body = at + thrift.taken;
        if page.packed > end - body {
            return fail("lies outside of its column");
        }
        let delta = column.column_type() == Type::BYTE_ARRAY && matches!(page.encoding, 6 | 7);
        let fits = match page.kind {
            Kind::Index => true,
            Kind::Dictionary if page.values > page.size() / narrowest(column) => {
                return fail(&format!("claims {} values in {} bytes", page.values, page.size()));
            }
            Kind::Dictionary => held.dictionary(page.size(), page.packed),
            // Lengths are unpacked all at once, to a number each or two.
            Kind::Data => held.page(page.size().max(if delta { 8 * page.values } else { 0 }), &page),
        };
        if !fits {
            let (size, packed) = (page.size(), page.packed);
            return fail(&format!("takes too much memory: it claims {size} bytes, packed to {packed}"));
        }
        found.deltas |= delta;
        found.dictionary_only &= page.kind != Kind::Data || matches!(page.encoding, 2 | 8);
        at = body + page.packed;
    }
    Ok(found)
}

/// The fewest bytes that a value of a dictionary takes.
fn narrowest(column: &ColumnChunkMetaData) -> u64 {
    match column.column_type() {
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
        // A text follows its length.
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::BOOLEAN | Type::FIXED_LEN_BYTE_ARRAY => 1,
    }
}

/// What is held at once: sizes unpacked, and as they lie in the file.
#[derive(Default)]
struct Held {
    dictionary: (u64, u64),
    pages: (u64, u64),
    rows: u64,
}

impl Held {
    fn dictionary(&mut self, size: u64, packed: u64) -> bool {
        self.dictionary.0 += size;
        self.dictionary.1 += packed;
        self.fits()
    }

    /// Columns are flat, and a value is a row.
    fn page(&mut self, size: u64, page: &Page) -> bool {
        self.pages.0 += size;
        self.pages.1 += page.packed;
        let fits = self.fits();
        self.rows += page.values;
        if self.rows >= ROWS as u64 {
            // The next batch may begin within this page.
            self.rows %= ROWS as u64;
            self.pages = (size, page.packed);
        }
        fits
    }

    fn fits(&self) -> bool {
        let packed = self.dictionary.1 + self.pages.1;
        self.dictionary.0 + self.pages.0 <= ROOM.max(packed.saturating_mul(RATIO))
    }
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Kind {
    Data,
    Index,
    Dictionary,
}

/// What the header of a page says.
struct Page {
    kind: Kind,
    unpacked: u64,
    packed: u64,
    values: u64,
    encoding: u64,
}

impl Page {
    /// Whether a page is packed at all is said in several places; this is the most it can be.
    fn size(&self) -> u64 {
        self.unpacked.max(self.packed)
    }
}

/// Reads Thrift's compact protocol, as far as headers of pages need it. It is stricter than the
/// library: whatever could be read in two ways is damage.
struct Thrift<R> {
    bytes: R,
    taken: u64,
}

const NUMBER: u8 = 5;
const STRUCT: u8 = 12;

fn damage() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl<R: Read> Thrift<R> {
    fn page(&mut self) -> io::Result<Page> {
        let (mut sizes, mut counts) = ([None; 3], [None; 4]);
        let mut last = 0;
        while let Some((id, kind)) = self.field(last)? {
            match (id, kind) {
                (1..=3, NUMBER) => sizes[usize::from(id - 1)] = Some(self.number()?),
                (5, STRUCT) => counts[0] = Some(self.counts(4, 2)?),
                (7, STRUCT) => counts[2] = Some(self.counts(2, 2)?),
                (8, STRUCT) => counts[3] = Some(self.counts(6, 4)?),
                (4, NUMBER) | (6, STRUCT) | (9.., _) => self.skip(kind, 8)?,
                _ => return Err(damage()),
            }
            last = id;
        }
        let [Some(kind), Some(unpacked), Some(packed)] = sizes else { return Err(damage()) };
        let counts = counts.get(kind as usize).copied().ok_or_else(damage)?;
        let (kind, (values, encoding)) = match (kind, counts) {
            (1, _) => (Kind::Index, (0, 0)),
            (2, Some(counts)) => (Kind::Dictionary, counts),
            (_, Some(counts)) => (Kind::Data, counts),
            (_, None) => return Err(damage()),
        };
        Ok(Page { kind, unpacked, packed, values, encoding })
    }

    /// How many values a page holds, and how. The first fields are numbers.
    fn counts(&mut self, numbers: u16, encoding: u16) -> io::Result<(u64, u64)> {
        let (mut values, mut how, mut last) = (None, None, 0);
        while let Some((id, kind)) = self.field(last)? {
            match (id, kind) {
                (1, NUMBER) => values = Some(self.number()?),
                (id, NUMBER) if id == encoding => how = Some(self.number()?),
                (id, NUMBER) if id <= numbers => drop(self.number()?),
                (id, _) if id > numbers => self.skip(kind, 8)?,
                _ => return Err(damage()),
            }
            last = id;
        }
        values.zip(how).ok_or_else(damage)
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.bytes.read_exact(&mut byte)?;
        self.taken += 1;
        Ok(byte[0])
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damage())
    }

    /// A number of 32 bits that is not negative, as are all that matter here.
    fn number(&mut self) -> io::Result<u64> {
        let value = self.varint()?;
        let fits = value & 1 == 0 && value >> 1 <= i32::MAX as u64;
        if fits { Ok(value >> 1) } else { Err(damage()) }
    }

    /// The number of the next field of a struct, and its type.
    fn field(&mut self, last: u16) -> io::Result<Option<(u16, u8)>> {
        let byte = self.byte()?;
        match (byte >> 4, byte & 0xf) {
            (_, 0) => Ok(None),
            // Fields are in order, but for those of writers that we don't know.
            (0, _) => Err(damage()),
            (more, kind) => Ok(Some((last.checked_add(more.into()).ok_or_else(damage)?, kind))),
        }
    }

    /// Passes a value over, such as the statistics of a page.
    fn skip(&mut self, kind: u8, depth: u8) -> io::Result<()> {
        match kind {
            _ if depth == 0 => return Err(damage()),
            // A flag is its type.
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint_of_any_sign()?),
            7 => self.pass(8)?,
            8 => {
                let bytes = self.varint()?;
                self.pass(bytes)?;
            }
            9 | 10 => self.skip_list(depth)?,
            STRUCT => {
                while let Some((_, kind)) = self.field(0)? {
                    self.skip(kind, depth - 1)?;
                }
            }
            _ => return Err(damage()),
        }
        Ok(())
    }

    fn skip_list(&mut self, depth: u8) -> io::Result<()> {
        let byte = self.byte()?;
        let count = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
        for _ in 0..count {
            // Flags of a list take a byte each.
            let kind = if byte & 0xf <= 2 { 3 } else { byte & 0xf };
            self.skip(kind, depth - 1)?;
        }
        Ok(())
    }

    /// A number of 64 bits takes up to ten bytes.
    fn varint_of_any_sign(&mut self) -> io::Result<()> {
        for _ in 0..10 {
            if self.byte()? < 0x80 {
                return Ok(());
            }
        }
        Err(damage())
    }

    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.bytes.by_ref().take(bytes), &mut io::sink())?;
        self.taken += passed;
        if passed == bytes { Ok(()) } else { Err(damage()) }
    }
}

#[cfg(test)]
mod tests;
