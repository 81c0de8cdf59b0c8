//! Parquet files of canonical events (bids, impressions, clicks, conversions), a row group at a time.
//!
//! Columns with few values are read as dictionaries, so that a name is checked and interned once
//! per distinct value and not once per row.

mod columns;
mod deltas;
mod faults;
mod footer;
mod pages;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, Schema};
use dataflows::model::events::{Bid, Click, Conversion, Country, Device, Impression};
use dataflows::model::ids::{Id, Name};
use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::EventTime;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::file::reader::ChunkReader;

use self::columns::{Cache, Checked, Columns, Need};
use self::faults::{DimColumns, fault, judged};
pub use self::footer::{chunks, footer};
use super::fields::rank;
use super::reject::{Origin, Position, Reject, payload, untimely};
use super::{Batch, DecodeError};
use crate::names::SharedNames;

/// How many rows are decoded at once.
pub const ROWS: usize = 8192;

/// The kinds of canonical events.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Bids.
    Bids,
    /// Impressions.
    Impressions,
    /// Clicks.
    Clicks,
    /// Conversions.
    Conversions,
}

impl Kind {
    /// The feed in which events of this kind are counted.
    pub fn feed(self) -> Feed {
        match self {
            Kind::Bids => Feed::BidRequests,
            Kind::Impressions => Feed::Impressions,
            Kind::Clicks | Kind::Conversions => Feed::Events,
        }
    }

    /// The columns that are read, and whether a file must have them.
    fn columns(self) -> &'static [(&'static str, bool)] {
        match self {
            Kind::Bids => &[
                ("auction_id", true),
                ("ts", true),
                ("campaign_id", true),
                ("bid_micros", true),
                ("creative_id", false),
                ("site", false),
                ("country", false),
                ("device", false),
            ],
            Kind::Impressions => &[
                ("impression_id", true),
                ("auction_id", true),
                ("ts", true),
                ("user_id", true),
                ("campaign_id", true),
                ("cost_micros", true),
                ("creative_id", false),
                ("site", false),
                ("country", false),
                ("device", false),
                ("viewable", false),
            ],
            Kind::Clicks => &[("click_id", true), ("impression_id", true), ("ts", true)],
            Kind::Conversions => &[
                ("conversion_id", true),
                ("ts", true),
                ("user_id", true),
                ("advertiser_id", true),
                ("conversion_type", false),
                ("value_micros", false),
            ],
        }
    }
}

/// Columns that hold few distinct values.
const FEW_VALUES: [&str; 7] =
    ["campaign_id", "creative_id", "site", "country", "device", "advertiser_id", "conversion_type"];

/// Why a row group can't be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is at fault.
    #[error("{0}")]
    File(String),
    /// The run must stop.
    #[error(transparent)]
    Fatal(#[from] DecodeError),
}

impl From<crate::names::Collision> for ReadError {
    fn from(collision: crate::names::Collision) -> Self {
        ReadError::Fatal(collision.into())
    }
}

/// Reads one row group.
pub struct ParquetReader {
    kind: Kind,
    file: Arc<str>,
    names: SharedNames,
    rows: ParquetRecordBatchReader,
    row: u64,
    interned: [Cache<Name>; 3],
    countries: Cache<Country>,
    devices: Cache<Device>,
}

impl std::fmt::Debug for ParquetReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetReader").field("kind", &self.kind).field("row", &self.row).finish()
    }
}

impl ParquetReader {
    /// A reader of one row group of a file.
    pub fn new(
        file: impl ChunkReader + 'static,
        footer: &ArrowReaderMetadata,
        group: usize,
        kind: Kind,
        origin: Arc<str>,
        names: SharedNames,
    ) -> Result<Self, String> {
        let before = &footer.metadata().row_groups()[..group];
        let row = before.iter().map(|group| group.num_rows().max(0) as u64).sum();
        let rows = open(file, footer, group, kind)?;
        let (interned, countries, devices) = Default::default();
        Ok(Self { kind, file: origin, names, rows, row, interned, countries, devices })
    }

    /// The number, in the file, of the row that is read next.
    pub fn row(&self) -> u64 {
        self.row
    }

    /// Decodes the next rows; false at the end.
    pub fn read(&mut self, batch: &mut Batch) -> Result<bool, ReadError> {
        // The library panics at some damaged pages. After an error nobody reads on from it.
        let next = catch_unwind(AssertUnwindSafe(|| self.rows.next()));
        let next =
            next.unwrap_or_else(|_| Some(Err(ArrowError::ParquetError("a page is damaged".to_owned()))));
        let rows = match next.transpose() {
            Ok(None) => return Ok(false),
            Ok(Some(rows)) => rows,
            Err(error) => return Err(ReadError::File(format!("the row group can't be read on: {error}"))),
        };
        match self.kind {
            Kind::Bids => self.bids(&rows, batch)?,
            Kind::Impressions => self.impressions(&rows, batch)?,
            Kind::Clicks => self.clicks(&rows, batch)?,
            Kind::Conversions => self.conversions(&rows, batch)?,
        }
        self.row += rows.num_rows() as u64;
        Ok(true)
    }

    fn bids(&mut self, rows: &RecordBatch, batch: &mut Batch) -> Result<(), ReadError> {
        let columns = Columns(rows);
        let auctions = keys(&columns, "auction_id")?;
        let times = columns.times("ts")?;
        let amounts = columns.money("bid_micros", true)?;
        let dims = self.dims(&columns)?;
        batch.bids.reserve(rows.num_rows());
        for row in 0..rows.num_rows() {
            match (auctions[row], judged(times[row], batch), amounts[row], dims.get(row)) {
                (Ok(auction), Ok(ts), Ok(bid), Ok(dims)) => batch.bids.push((auction, Bid { dims, bid, ts })),
                (a, ts, b, d) => {
                    let faults = [fault("auction_id", a), fault("ts", ts), fault("bid_micros", b), d.err()];
                    self.reject(rows, row, times[row], &faults, batch);
                }
            }
        }
        Ok(())
    }

    fn impressions(&mut self, rows: &RecordBatch, batch: &mut Batch) -> Result<(), ReadError> {
        let columns = Columns(rows);
        let times = columns.times("ts")?;
        let ids = self.ids(&columns, "impression_id", &times)?;
        let auctions = keys(&columns, "auction_id")?;
        let users = keys(&columns, "user_id")?;
        let costs = columns.money("cost_micros", true)?;
        let seen = columns.flags("viewable")?;
        let dims = self.dims(&columns)?;
        batch.impressions.reserve(rows.num_rows());
        for row in 0..rows.num_rows() {
            let ts = judged(times[row], batch);
            match (ids[row], auctions[row], users[row], ts, costs[row], dims.get(row)) {
                (Ok(id), Ok(auction), Ok(user), Ok(ts), Ok(cost), Ok(dims)) => {
                    let viewable = seen[row];
                    batch.impressions.push((id, Impression { ts, auction, user, dims, cost, viewable }));
                }
                (id, a, u, ts, cost, d) => {
                    let (id, a, u) =
                        (fault("impression_id", id), fault("auction_id", a), fault("user_id", u));
                    let faults = [id, a, u, fault("ts", ts), fault("cost_micros", cost), d.err()];
                    self.reject(rows, row, times[row], &faults, batch);
                }
            }
        }
        Ok(())
    }

    fn clicks(&mut self, rows: &RecordBatch, batch: &mut Batch) -> Result<(), ReadError> {
        let columns = Columns(rows);
        let times = columns.times("ts")?;
        let ids = self.ids(&columns, "click_id", &times)?;
        let impressions = keys(&columns, "impression_id")?;
        for row in 0..rows.num_rows() {
            match (ids[row], impressions[row], judged(times[row], batch)) {
                (Ok(id), Ok(impression), Ok(ts)) => batch.clicks.push((id, Click { ts, impression })),
                (id, i, ts) => {
                    let faults = [fault("click_id", id), fault("impression_id", i), fault("ts", ts)];
                    self.reject(rows, row, times[row], &faults, batch);
                }
            }
        }
        Ok(())
    }

    fn conversions(&mut self, rows: &RecordBatch, batch: &mut Batch) -> Result<(), ReadError> {
        let columns = Columns(rows);
        let times = columns.times("ts")?;
        let ids = self.ids(&columns, "conversion_id", &times)?;
        let names = &self.names;
        let users = keys(&columns, "user_id")?;
        let [known_advertisers, known_kinds, _] = &mut self.interned;
        let advertisers =
            columns.text("advertiser_id", Need::Id, known_advertisers, |text| Ok(Ok(names.name(text)?)))?;
        let kinds = columns
            .text("conversion_type", Need::OptionalText, known_kinds, |text| Ok(Ok(Name::new(text))))?;
        let values = columns.money("value_micros", false)?;
        for row in 0..rows.num_rows() {
            let ts = judged(times[row], batch);
            match (ids[row], users[row], advertisers[row], kinds[row], ts, values[row]) {
                (Ok(id), Ok(user), Ok(advertiser), Ok(kind), Ok(ts), Ok(value)) => {
                    batch.conversions.push((id, Conversion { ts, user, advertiser, kind, value }));
                }
                (id, u, a, k, ts, value) => {
                    let (id, u, a) =
                        (fault("conversion_id", id), fault("user_id", u), fault("advertiser_id", a));
                    let (k, t, value) =
                        (fault("conversion_type", k), fault("ts", ts), fault("value_micros", value));
                    self.reject(rows, row, times[row], &[id, u, a, k, t, value], batch);
                }
            }
        }
        Ok(())
    }

    /// The keys of ids that may be published. Their texts are kept as if all were of the latest time.
    fn ids(
        &self,
        columns: &Columns<'_>,
        column: &str,
        times: &[Checked<EventTime>],
    ) -> Result<Vec<Checked<Id>>, ReadError> {
        let latest = times.iter().flatten().max().copied().unwrap_or(EventTime::MIN);
        let key = |text: &str| Ok(Ok(self.names.id(text, latest)?));
        columns.text(column, Need::Id, &mut Cache::default(), key)
    }

    fn dims(&mut self, columns: &Columns<'_>) -> Result<DimColumns, ReadError> {
        let [campaigns, creatives, sites] = &mut self.interned;
        let names = &self.names;
        Ok(DimColumns {
            campaigns: columns.text("campaign_id", Need::Id, campaigns, |text| Ok(Ok(names.name(text)?)))?,
            creatives: columns
                .text("creative_id", Need::OptionalId, creatives, |text| Ok(Ok(names.name(text)?)))?,
            sites: columns.text("site", Need::OptionalText, sites, |text| Ok(Ok(names.name(text)?)))?,
            countries: columns.text("country", Need::OptionalText, &mut self.countries, |text| {
                Ok(Country::parse(text).ok_or(Reason::BadEnum))
            })?,
            devices: columns.text("device", Need::OptionalText, &mut self.devices, |text| {
                Ok(Device::parse(text).ok_or(Reason::BadEnum))
            })?,
        })
    }

    fn reject(
        &self,
        rows: &RecordBatch,
        row: usize,
        ts: Checked<EventTime>,
        faults: &[Option<(&'static str, Reason)>],
        batch: &mut Batch,
    ) {
        let Some((column, reason)) = faults.iter().flatten().copied().min_by_key(|fault| rank(fault.1))
        else {
            return;
        };
        let position = Position::Row(self.row + row as u64);
        batch.rejects.push(Reject {
            feed: self.kind.feed(),
            reason,
            origin: Origin { file: self.file.clone(), position },
            ts: ts.ok(),
            payload: payload(columns::show(rows, row).as_bytes()),
            hint: match reason {
                Reason::TooLate | Reason::Future => untimely(reason).to_owned(),
                _ => format!("column {column}: {}", reason.as_str()),
            },
        });
    }
}

/// What a column may hold, in words and as a check. What else it holds is never decoded: lists, and
/// bytes of a fixed length, could be made to take any memory.
fn expected(column: &str) -> (&'static str, fn(&DataType) -> bool) {
    match column {
        "ts" | "bid_micros" | "cost_micros" | "value_micros" => ("64-bit integers or timestamps", |kind| {
            matches!(kind, DataType::Int64 | DataType::Timestamp(..))
        }),
        "viewable" => ("booleans", |kind| *kind == DataType::Boolean),
        _ => ("text", |kind| *kind == DataType::Utf8),
    }
}

/// The keys of ids that are never published.
fn keys(columns: &Columns<'_>, column: &str) -> Result<Vec<Checked<Id>>, ReadError> {
    columns.text(column, Need::Id, &mut Cache::default(), |text| Ok(Ok(Id::new(text))))
}

fn open(
    file: impl ChunkReader + 'static,
    footer: &ArrowReaderMetadata,
    group: usize,
    kind: Kind,
) -> Result<ParquetRecordBatchReader, String> {
    let fields = footer.schema().fields();
    let found = || fields.iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
    let chunks = footer.metadata().row_group(group).columns();
    let mut read = Vec::new();
    for &(name, required) in kind.columns() {
        let Ok(root) = footer.schema().index_of(name) else {
            if required {
                return Err(format!("column {name:?} is absent; the columns are: {}", found()));
            }
            continue;
        };
        let (held, (expected, fits)) = (fields[root].data_type(), expected(name));
        if !fits(held) {
            return Err(format!("column {name:?} holds {held}; {expected} are expected"));
        }
        let chunk = chunks.iter().find(|chunk| chunk.column_path().string() == name);
        let chunk = chunk.ok_or_else(|| format!("row group {group} lacks column {name:?}"))?;
        let encodings =
            pages::check(&file, chunk).map_err(|what| format!("the row group is damaged: {what}"))?;
        // A batch that leaves the dictionary midway would be written out value by value.
        let dictionary = FEW_VALUES.contains(&name)
            && chunk.dictionary_page_offset().is_some()
            && encodings.dictionary_only;
        read.push(Column { root, dictionary, deltas: encodings.deltas });
    }
    decode(file, footer, group, &read).map_err(|error| format!("the row group can't be read: {error}"))
}

/// A column that is read.
struct Column {
    root: usize,
    dictionary: bool,
    deltas: bool,
}

fn decode(
    file: impl ChunkReader + 'static,
    footer: &ArrowReaderMetadata,
    group: usize,
    read: &[Column],
) -> parquet::errors::Result<ParquetRecordBatchReader> {
    let fields = footer.schema().fields().iter().enumerate().map(|(root, field)| match field.data_type() {
        DataType::Utf8 if read.iter().any(|column| column.root == root && column.dictionary) => {
            let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            Arc::new(field.as_ref().clone().with_data_type(kind))
        }
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => field.clone(),
    });
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let mask = ProjectionMask::roots(footer.parquet_schema(), read.iter().map(|column| column.root));
    if read.iter().any(|column| column.deltas) {
        let levels = parquet_to_arrow_field_levels(footer.parquet_schema(), mask, Some(&schema.fields))?;
        let group = deltas::Group { file: Arc::new(file), footer: footer.metadata(), number: group };
        return ParquetRecordBatchReader::try_new_with_row_groups(&levels, &group, ROWS, None);
    }
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    let hinted = ArrowReaderMetadata::try_new(footer.metadata().clone(), options)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, hinted);
    builder.with_row_groups(vec![group]).with_projection(mask).with_batch_size(ROWS).build()
}

#[cfg(test)]
mod tests;
