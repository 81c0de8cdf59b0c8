//! Rows to Parquet: a file for each kind and hour, in order of time, then of identity.
//!
//! The columns are those of canonical events (`docs/inputs.md`). As rows are in order of time, the
//! statistics of a row group tell its stretch of the hour, and a reader of less passes it over.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow_schema::Schema;
use dataflows::model::events::{Bid, Click, Conversion, Dims, Impression};
use dataflows::model::ids::{Id, Name};
use dataflows::model::time::{EventTime, Hour, Minute};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;

use super::kind::Kind;
use super::rows::{Rows, Texts};
use crate::names::Names;

/// Rows are handed to the writer in batches of this size.
const BATCH_ROWS: usize = 8192;

/// The shape of the files.
#[derive(Copy, Clone, Debug)]
pub struct Shape {
    /// Rows of a row group at most.
    pub row_group_rows: usize,
}

/// A file, not yet written.
#[derive(Debug)]
pub struct Encoded {
    /// What it holds.
    pub kind: Kind,
    /// The hour of event time.
    pub hour: Hour,
    /// Rows.
    pub rows: u64,
    /// The least and the greatest event time.
    pub span: (i64, i64),
    /// All of it.
    pub bytes: Vec<u8>,
}

/// The files of some rows, and their keys' names.
///
/// # Errors
/// The Parquet writer refuses, which it has no reason to.
pub fn encode(rows: Rows, names: &Names, shape: Shape) -> Result<Vec<Encoded>, ParquetError> {
    let Rows { bids, impressions, clicks, conversions, rejected, kept } = rows;
    let texts = Texts::new(&kept, names);
    let users = kept.bid_users().iter().copied().chain(std::iter::repeat(Id::default()));
    let bids = bids.into_iter().zip(users).map(|((auction, bid), user)| BidRow { auction, bid, user });
    let rejected = rejected.into_iter().map(|((minute, feed, reason), count)| RejectedRow {
        minute,
        feed: feed.as_str(),
        reason: reason.as_str(),
        count: count as i64,
    });
    let mut files = Vec::new();
    by_hour(bids.collect(), &texts, shape, &mut files)?;
    by_hour(impressions, &texts, shape, &mut files)?;
    by_hour(clicks, &texts, shape, &mut files)?;
    by_hour(conversions, &texts, shape, &mut files)?;
    by_hour(rejected.collect(), &texts, shape, &mut files)?;
    Ok(files)
}

fn by_hour<R: Row>(
    mut rows: Vec<R>,
    texts: &Texts<'_>,
    shape: Shape,
    files: &mut Vec<Encoded>,
) -> Result<(), ParquetError> {
    rows.sort_by(|a, b| a.ts().cmp(&b.ts()).then_with(|| a.order(b, texts)));
    let hour = |row: &R| hour_of(row.ts());
    for rows in rows.chunk_by(|a, b| hour(a) == hour(b)) {
        let mut file = FileWriter::new(R::KIND, shape);
        for rows in rows.chunks(BATCH_ROWS) {
            let (names, columns): (Vec<_>, Vec<_>) = R::columns(rows, texts).into_iter().unzip();
            let named = names.into_iter().zip(columns).map(|(name, column)| (name, column, false));
            file.write(&RecordBatch::try_from_iter_with_nullable(named)?)?;
        }
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { continue };
        files.push(Encoded {
            kind: R::KIND,
            hour: hour(first),
            rows: rows.len() as u64,
            span: (first.ts(), last.ts()),
            bytes: file.finish()?,
        });
    }
    Ok(())
}

fn hour_of(ts: i64) -> Hour {
    EventTime::from_millis(ts).map_or(Hour(0), |ts| ts.minute().hour())
}

/// Writes a file into memory.
pub struct FileWriter {
    kind: Kind,
    shape: Shape,
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl FileWriter {
    /// A file of a kind.
    pub fn new(kind: Kind, shape: Shape) -> Self {
        Self { kind, shape, writer: None }
    }

    /// Adds rows, which are in order; all must have the same columns.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let properties = properties(rows.schema_ref(), self.kind, self.shape);
                none.insert(ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties))?)
            }
        };
        writer.write(rows)
    }

    /// The whole file.
    pub fn finish(self) -> Result<Vec<u8>, ParquetError> {
        self.writer.map_or(Ok(Vec::new()), ArrowWriter::into_inner)
    }
}

fn properties(schema: &Schema, kind: Kind, shape: Shape) -> WriterProperties {
    let place = |name: &str| schema.index_of(name).ok().map(|at| at as i32);
    let order = order(kind).iter().filter_map(|name| place(name));
    let order = order.map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false });
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(shape.row_group_rows))
        .set_sorting_columns(Some(order.collect()))
        .set_created_by(concat!("advertisex ", env!("CARGO_PKG_VERSION")).to_owned())
        .build()
}

/// The columns that the rows of a kind are in order of: the time, then texts.
pub fn order(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Bids => &["ts", "auction_id", "campaign_id"],
        Kind::Impressions => &["ts", "impression_id"],
        Kind::Clicks => &["ts", "click_id"],
        Kind::Conversions => &["ts", "conversion_id"],
        Kind::Rejected => &["ts", "feed", "reason"],
    }
}

/// A row of a file.
trait Row: Sized {
    const KIND: Kind;
    fn ts(&self) -> i64;
    /// The order of rows of one instant: that of the texts in [`order`].
    fn order(&self, other: &Self, texts: &Texts<'_>) -> Ordering;
    fn columns(rows: &[Self], texts: &Texts<'_>) -> Vec<(&'static str, ArrayRef)>;
}

/// A bid with what the record doesn't hold.
struct BidRow {
    auction: Id,
    bid: Bid,
    user: Id,
}

struct RejectedRow {
    minute: Minute,
    feed: &'static str,
    reason: &'static str,
    count: i64,
}

impl Texts<'_> {
    fn compare(&self, a: Id, b: Id) -> Ordering {
        self.id(a, |a| self.id(b, |b| a.cmp(b)))
    }

    fn ids(&self, ids: impl Iterator<Item = Id>) -> ArrayRef {
        column(ids, |id, out| self.id(id, |text| out.append_value(text)))
    }

    fn names(&self, names: impl Iterator<Item = Name>) -> ArrayRef {
        column(names, |name, out| self.name(name, |text| out.append_value(text)))
    }

    fn dims<'r>(&self, dims: impl Iterator<Item = &'r Dims> + Clone) -> [(&'static str, ArrayRef); 5] {
        [
            ("campaign_id", self.names(dims.clone().map(|dims| dims.campaign))),
            ("creative_id", self.names(dims.clone().map(|dims| dims.creative))),
            ("site", self.names(dims.clone().map(|dims| dims.site))),
            ("country", column(dims.clone(), |dims, out| out.append_value(dims.country.as_str()))),
            ("device", column(dims, |dims, out| out.append_value(dims.device.as_str()))),
        ]
    }
}

fn column<T>(values: impl Iterator<Item = T>, append: impl Fn(T, &mut StringBuilder)) -> ArrayRef {
    let mut builder = StringBuilder::new();
    values.for_each(|value| append(value, &mut builder));
    Arc::new(builder.finish())
}

fn numbers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

impl Row for BidRow {
    const KIND: Kind = Kind::Bids;

    fn ts(&self) -> i64 {
        self.bid.ts.millis()
    }

    fn order(&self, other: &Self, texts: &Texts<'_>) -> Ordering {
        let (ours, theirs) = (self.bid.dims.campaign, other.bid.dims.campaign);
        let campaigns = || texts.name(ours, |ours| texts.name(theirs, |theirs| ours.cmp(theirs)));
        texts.compare(self.auction, other.auction).then_with(|| match ours == theirs {
            true => Ordering::Equal,
            false => campaigns(),
        })
    }

    fn columns(rows: &[Self], texts: &Texts<'_>) -> Vec<(&'static str, ArrayRef)> {
        let mut columns = vec![
            ("auction_id", texts.ids(rows.iter().map(|row| row.auction))),
            ("ts", numbers(rows.iter().map(Row::ts))),
            ("user_id", texts.ids(rows.iter().map(|row| row.user))),
        ];
        columns.extend(texts.dims(rows.iter().map(|row| &row.bid.dims)));
        columns.push(("bid_micros", numbers(rows.iter().map(|row| row.bid.bid.0))));
        columns
    }
}

impl Row for (Id, Impression) {
    const KIND: Kind = Kind::Impressions;

    fn ts(&self) -> i64 {
        self.1.ts.millis()
    }

    fn order(&self, other: &Self, texts: &Texts<'_>) -> Ordering {
        texts.compare(self.0, other.0)
    }

    fn columns(rows: &[Self], texts: &Texts<'_>) -> Vec<(&'static str, ArrayRef)> {
        let viewable: BooleanArray = rows.iter().map(|(_, shown)| Some(shown.viewable)).collect();
        let mut columns = vec![
            ("impression_id", texts.ids(rows.iter().map(|(id, _)| *id))),
            ("auction_id", texts.ids(rows.iter().map(|(_, shown)| shown.auction))),
            ("ts", numbers(rows.iter().map(Row::ts))),
            ("user_id", texts.ids(rows.iter().map(|(_, shown)| shown.user))),
        ];
        columns.extend(texts.dims(rows.iter().map(|(_, shown)| &shown.dims)));
        columns.push(("cost_micros", numbers(rows.iter().map(|(_, shown)| shown.cost.0))));
        columns.push(("viewable", Arc::new(viewable)));
        columns
    }
}

impl Row for (Id, Click) {
    const KIND: Kind = Kind::Clicks;

    fn ts(&self) -> i64 {
        self.1.ts.millis()
    }

    fn order(&self, other: &Self, texts: &Texts<'_>) -> Ordering {
        texts.compare(self.0, other.0)
    }

    fn columns(rows: &[Self], texts: &Texts<'_>) -> Vec<(&'static str, ArrayRef)> {
        vec![
            ("click_id", texts.ids(rows.iter().map(|(id, _)| *id))),
            ("impression_id", texts.ids(rows.iter().map(|(_, click)| click.impression))),
            ("ts", numbers(rows.iter().map(Row::ts))),
        ]
    }
}

impl Row for (Id, Conversion) {
    const KIND: Kind = Kind::Conversions;

    fn ts(&self) -> i64 {
        self.1.ts.millis()
    }

    fn order(&self, other: &Self, texts: &Texts<'_>) -> Ordering {
        texts.compare(self.0, other.0)
    }

    fn columns(rows: &[Self], texts: &Texts<'_>) -> Vec<(&'static str, ArrayRef)> {
        let word = |name, out: &mut StringBuilder| texts.word(name, |text| out.append_value(text));
        vec![
            ("conversion_id", texts.ids(rows.iter().map(|(id, _)| *id))),
            ("ts", numbers(rows.iter().map(Row::ts))),
            ("user_id", texts.ids(rows.iter().map(|(_, conversion)| conversion.user))),
            ("advertiser_id", texts.names(rows.iter().map(|(_, conversion)| conversion.advertiser))),
            ("conversion_type", column(rows.iter().map(|(_, conversion)| conversion.kind), word)),
            ("value_micros", numbers(rows.iter().map(|(_, conversion)| conversion.value.0))),
        ]
    }
}

impl Row for RejectedRow {
    const KIND: Kind = Kind::Rejected;

    fn ts(&self) -> i64 {
        self.minute.start_millis()
    }

    fn order(&self, other: &Self, _: &Texts<'_>) -> Ordering {
        (self.feed, self.reason).cmp(&(other.feed, other.reason))
    }

    fn columns(rows: &[Self], _: &Texts<'_>) -> Vec<(&'static str, ArrayRef)> {
        let word = |word, out: &mut StringBuilder| out.append_value(word);
        vec![
            ("ts", numbers(rows.iter().map(Row::ts))),
            ("feed", column(rows.iter().map(|row| row.feed), word)),
            ("reason", column(rows.iter().map(|row| row.reason), word)),
            ("count", numbers(rows.iter().map(|row| row.count))),
        ]
    }
}
