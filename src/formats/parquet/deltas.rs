//! Pages of texts whose lengths are written as differences. How many texts such a page holds, and
//! how much each has in common with the one before it, is said within the page, so that it is
//! checked when the page is unpacked. Files without such pages don't come through here.

use std::iter::once;
use std::sync::Arc;

use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;

use super::ROWS;
use super::pages::ROOM;

/// A row group whose pages of texts are checked.
pub struct Group<'f, R> {
    /// The file.
    pub file: Arc<R>,
    /// Its footer.
    pub footer: &'f ParquetMetaData,
    /// The number of the row group.
    pub number: usize,
}

impl<R: ChunkReader + 'static> RowGroups for Group<'_, R> {
    fn num_rows(&self) -> usize {
        self.footer.row_group(self.number).num_rows() as usize
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let column = self.footer.row_group(self.number).column(column);
        let pages = SerializedPageReader::new(self.file.clone(), column, self.num_rows(), None)?;
        if column.column_type() != Type::BYTE_ARRAY {
            return Ok(Box::new(One(Some(Box::new(pages)))));
        }
        Ok(Box::new(One(Some(Box::new(Texts { pages, checked: Checked::of(column) })))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(once(self.footer.row_group(self.number)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.footer
    }
}

/// The pages of the one row group that is read.
struct One(Option<Box<dyn PageReader>>);

impl Iterator for One {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageIterator for One {}

/// The pages of a column of texts.
struct Texts<R: ChunkReader> {
    pages: SerializedPageReader<R>,
    checked: Checked,
}

impl<R: ChunkReader> Iterator for Texts<R> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<R: ChunkReader> PageReader for Texts<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        match page.as_ref().map_or(Ok(()), |page| self.checked.page(page)) {
            Ok(()) => Ok(page),
            Err(what) => Err(ParquetError::General(format!("column {}: {what}", self.checked.column))),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    // No row is ever skipped.
    fn skip_next_page(&mut self) -> Result<()> {
        Err(ParquetError::NYI("pages are read one after the other".to_owned()))
    }
}

/// What has been seen of a column of texts.
struct Checked {
    column: String,
    nullable: bool,
    texts: usize,
    bytes: u64,
}

impl Checked {
    fn of(column: &ColumnChunkMetaData) -> Self {
        let nullable = column.column_descr().max_def_level() > 0;
        Self { column: column.column_path().string(), nullable, texts: 0, bytes: 0 }
    }

    fn page(&mut self, page: &Page) -> Result<(), &'static str> {
        const DAMAGED: &str = "the lengths of a page of texts can't be read";
        let encoding = page.encoding();
        if page.is_dictionary_page()
            || !matches!(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY)
        {
            return Ok(());
        }
        let most = page.num_values() as usize;
        let values = values(page, self.nullable).ok_or(DAMAGED)?;
        let (first, end) = lengths(values, most).ok_or(DAMAGED)?;
        if encoding == Encoding::DELTA_BYTE_ARRAY {
            let (rest, _) = values.get(end..).and_then(|rest| lengths(rest, most)).ok_or(DAMAGED)?;
            self.expanded(&first, &rest)
                .ok_or("its texts take too much memory, as they repeat each other")?;
        }
        Ok(())
    }

    /// Counts texts that begin as the text before them. No batch of texts may take more than
    /// [`ROOM`], that is 4 KiB each: a text that we accept has 1 KiB at most.
    fn expanded(&mut self, common: &[i32], rest: &[i32]) -> Option<()> {
        let mut length = 0;
        for (common, rest) in common.iter().zip(rest) {
            // The library takes a negative number for a great one.
            length = u64::try_from(*common).map_or(length, |common| length.min(common));
            length += u64::try_from(*rest).ok()?;
            if self.texts == ROWS {
                (self.texts, self.bytes) = (0, 0);
            }
            self.texts += 1;
            self.bytes += length;
            if self.bytes > ROOM {
                return None;
            }
        }
        Some(())
    }
}

/// The values of a page of a flat column: what follows the levels, which say where values are absent.
fn values(page: &Page, nullable: bool) -> Option<&[u8]> {
    match page {
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            buf.get(def_levels_byte_len.checked_add(*rep_levels_byte_len)? as usize..)
        }
        Page::DataPage { buf, .. } if !nullable => Some(buf),
        Page::DataPage { buf, def_level_encoding: Encoding::RLE, .. } => {
            let length = u32::from_le_bytes(*buf.first_chunk()?);
            buf.get(4 + length as usize..)
        }
        // Levels without a length of their own are a bit each.
        Page::DataPage { buf, num_values, .. } => buf.get(num_values.div_ceil(8) as usize..),
        Page::DictionaryPage { .. } => None,
    }
}

/// Numbers written as differences, at most so many, and where they end.
fn lengths(data: &[u8], most: usize) -> Option<(Vec<i32>, usize)> {
    let mut at = 0;
    let (block, minis) = (varint(data, &mut at)?, varint(data, &mut at)?);
    let count = usize::try_from(varint(data, &mut at)?).ok().filter(|count| *count <= most)?;
    let mut last = i32::try_from(zigzag(data, &mut at)?).ok()?;
    let each = block.checked_div(minis).filter(|each| each * minis == block && each % 32 == 0)?;
    let (each, minis) = (usize::try_from(each).ok()?, usize::try_from(minis).ok()?);
    let mut found = Vec::with_capacity(count);
    if count > 0 {
        found.push(last);
    }
    while found.len() < count {
        let least = i32::try_from(zigzag(data, &mut at)?).ok()?;
        let widths = data.get(at..at.checked_add(minis)?)?;
        at += minis;
        for width in widths.iter().map(|width| usize::from(*width)) {
            if found.len() == count {
                break;
            }
            let packed = data.get(at..).filter(|_| width <= 32)?;
            for place in 0..each.min(count - found.len()) {
                let more = bits(packed, place.checked_mul(width)?, width)?;
                last = last.wrapping_add(least).wrapping_add(more as i32);
                found.push(last);
            }
            at = at.checked_add(each.checked_mul(width)? / 8)?;
        }
    }
    Some((found, at))
}

fn bits(bytes: &[u8], at: usize, width: usize) -> Option<u32> {
    let bytes = bytes.get(at / 8..)?;
    let mut word = [0; 8];
    let there = bytes.len().min(8);
    word[..there].copy_from_slice(&bytes[..there]);
    let inside = at % 8 + width <= 8 * there;
    inside.then(|| ((u64::from_le_bytes(word) >> (at % 8)) & ((1 << width) - 1)) as u32)
}

fn varint(data: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = *data.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn zigzag(data: &[u8], at: &mut usize) -> Option<i64> {
    let value = varint(data, at)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

#[cfg(test)]
mod tests;
