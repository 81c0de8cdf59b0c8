//! Canonical events as Parquet, one file per kind.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::error::GenerateError;
use super::event::{Auction, Click, Conversion, Event, Impression, Viewable};
use super::output::OutputFile;
use super::plan::Plan;
use super::sink::Sink;
use super::text::{Ids, Kind, push_numbered};
use super::traffic::push_clicked;
use super::world::{conversion_text, country_text, device_text};

const ROWS_PER_GROUP: usize = 128 * 1024;
/// Rows are handed to the writer in batches of this size; more would only leave the cache.
const ROWS_PER_BATCH: usize = 8 * 1024;

const IMPRESSIONS: &[(&str, DataType)] = &[
    ("impression_id", DataType::Utf8),
    ("auction_id", DataType::Utf8),
    ("ts", DataType::Int64),
    ("user_id", DataType::Utf8),
    ("campaign_id", DataType::Utf8),
    ("creative_id", DataType::Utf8),
    ("site", DataType::Utf8),
    ("country", DataType::Utf8),
    ("device", DataType::Utf8),
    ("cost_micros", DataType::Int64),
    ("viewable", DataType::Boolean),
];
const CLICKS: &[(&str, DataType)] =
    &[("click_id", DataType::Utf8), ("impression_id", DataType::Utf8), ("ts", DataType::Int64)];
const CONVERSIONS: &[(&str, DataType)] = &[
    ("conversion_id", DataType::Utf8),
    ("ts", DataType::Int64),
    ("user_id", DataType::Utf8),
    ("advertiser_id", DataType::Utf8),
    ("conversion_type", DataType::Utf8),
    ("value_micros", DataType::Int64),
];
const BIDS: &[(&str, DataType)] = &[
    ("auction_id", DataType::Utf8),
    ("ts", DataType::Int64),
    ("user_id", DataType::Utf8),
    ("campaign_id", DataType::Utf8),
    ("creative_id", DataType::Utf8),
    ("site", DataType::Utf8),
    ("country", DataType::Utf8),
    ("device", DataType::Utf8),
    ("bid_micros", DataType::Int64),
];

/// A column being filled.
enum Column {
    Text(StringBuilder),
    Number(Int64Builder),
    Truth(BooleanBuilder),
}

impl Column {
    fn new(kind: &DataType) -> Self {
        match kind {
            DataType::Utf8 => Column::Text(StringBuilder::new()),
            DataType::Boolean => Column::Truth(BooleanBuilder::new()),
            _ => Column::Number(Int64Builder::new()),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Text(builder) => Arc::new(builder.finish()),
            Column::Number(builder) => Arc::new(builder.finish()),
            Column::Truth(builder) => Arc::new(builder.finish()),
        }
    }
}

/// One value of a row.
#[derive(Copy, Clone)]
enum Cell<'a> {
    Text(&'a str),
    Id(Kind, u64),
    Clicked(super::event::Clicked),
    Numbered(&'static str, u32),
    Number(i64),
    Truth(bool),
}

/// A file being written.
struct Table {
    ids: Ids,
    name: &'static str,
    schema: Arc<Schema>,
    columns: Vec<Column>,
    rows: usize,
    scratch: String,
    writer: ArrowWriter<OutputFile>,
}

impl Table {
    fn create(
        plan: &Plan,
        dir: &Path,
        name: &'static str,
        columns: &[(&str, DataType)],
    ) -> Result<Self, GenerateError> {
        let fields: Vec<Field> =
            columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), false)).collect();
        let schema = Arc::new(Schema::new(fields));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(true)
            .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
            .build();
        let file = OutputFile::create(dir, name)?;
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(|source| GenerateError::Parquet { file: name, source })?;
        let columns = columns.iter().map(|(_, kind)| Column::new(kind)).collect();
        Ok(Self { ids: Ids::new(plan), name, schema, columns, rows: 0, scratch: String::new(), writer })
    }

    /// Adds a row; its cells must be of the columns' types.
    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), GenerateError> {
        debug_assert_eq!(cells.len(), self.columns.len());
        for (column, &cell) in self.columns.iter_mut().zip(cells) {
            match (column, cell) {
                (Column::Number(builder), Cell::Number(number)) => builder.append_value(number),
                (Column::Truth(builder), Cell::Truth(truth)) => builder.append_value(truth),
                (Column::Text(builder), Cell::Text(text)) => builder.append_value(text),
                (Column::Text(builder), cell) => {
                    self.scratch.clear();
                    cell.push(&mut self.scratch, &self.ids);
                    builder.append_value(&self.scratch);
                }
                _ => debug_assert!(false, "a cell of another type than its column"),
            }
        }
        self.rows += 1;
        if self.rows >= ROWS_PER_BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), GenerateError> {
        self.rows = 0;
        let arrays = self.columns.iter_mut().map(Column::finish).collect();
        RecordBatch::try_new(self.schema.clone(), arrays)
            .map_err(Into::into)
            .and_then(|batch| self.writer.write(&batch))
            .map_err(|source| GenerateError::Parquet { file: self.name, source })
    }

    fn finish(mut self) -> Result<(), GenerateError> {
        self.flush()?;
        let file = self.writer.into_inner();
        file.map_err(|source| GenerateError::Parquet { file: self.name, source })?.finish()
    }
}

impl Cell<'_> {
    /// Appends the text of a cell that has to be formatted.
    fn push(self, out: &mut String, ids: &Ids) {
        match self {
            Cell::Id(kind, n) => ids.push(out, kind, n),
            Cell::Clicked(on) => push_clicked(out, ids, on),
            Cell::Numbered(prefix, n) => push_numbered(out, prefix, n.into()),
            Cell::Text(text) => out.push_str(text),
            Cell::Number(_) | Cell::Truth(_) => debug_assert!(false, "not a text"),
        }
    }
}

/// The four Parquet files.
pub(super) struct ParquetSink {
    impressions: Table,
    clicks: Table,
    conversions: Table,
    bids: Table,
}

impl ParquetSink {
    pub(super) fn create(plan: &Plan, dir: &Path) -> Result<Self, GenerateError> {
        Ok(Self {
            impressions: Table::create(plan, dir, "impressions.parquet", IMPRESSIONS)?,
            clicks: Table::create(plan, dir, "clicks.parquet", CLICKS)?,
            conversions: Table::create(plan, dir, "conversions.parquet", CONVERSIONS)?,
            bids: Table::create(plan, dir, "bids.parquet", BIDS)?,
        })
    }

    fn auction(&mut self, auction: &Auction) -> Result<(), GenerateError> {
        for bid in &auction.bids {
            self.bids.row(&[
                Cell::Id(Kind::Auction, auction.n),
                Cell::Number(auction.ts),
                Cell::Id(Kind::User, auction.user.into()),
                Cell::Numbered("c", bid.campaign),
                Cell::Numbered("cr", bid.creative),
                Cell::Numbered("site", auction.site),
                Cell::Text(country_text(auction.country)),
                Cell::Text(device_text(auction.device)),
                Cell::Number(bid.price.into()),
            ])?;
        }
        Ok(())
    }

    fn impression(&mut self, shown: &Impression) -> Result<(), GenerateError> {
        self.impressions.row(&[
            Cell::Id(Kind::Impression, shown.n),
            Cell::Id(Kind::Auction, shown.auction),
            Cell::Number(shown.ts),
            Cell::Id(Kind::User, shown.user.into()),
            Cell::Numbered("c", shown.campaign),
            Cell::Numbered("cr", shown.creative),
            Cell::Numbered("site", shown.site),
            Cell::Text(country_text(shown.country)),
            Cell::Text(device_text(shown.device)),
            Cell::Number(shown.cost_micros()),
            Cell::Truth(shown.viewable == Viewable::Yes),
        ])
    }

    fn click(&mut self, click: &Click) -> Result<(), GenerateError> {
        let id = Cell::Id(Kind::Click, click.n);
        self.clicks.row(&[id, Cell::Clicked(click.on), Cell::Number(click.ts)])
    }

    fn conversion(&mut self, conversion: &Conversion) -> Result<(), GenerateError> {
        self.conversions.row(&[
            Cell::Id(Kind::Conversion, conversion.n),
            Cell::Number(conversion.ts),
            Cell::Id(Kind::User, conversion.user.into()),
            Cell::Numbered("adv", conversion.advertiser),
            Cell::Text(conversion_text(conversion.kind)),
            Cell::Number(conversion.value_micros()),
        ])
    }
}

impl Sink for ParquetSink {
    fn event(&mut self, event: &Event) -> Result<(), GenerateError> {
        match event {
            Event::Auction(auction) => self.auction(auction),
            Event::Impression(shown) => self.impression(shown),
            Event::Click(click) => self.click(click),
            Event::Conversion(conversion) => self.conversion(conversion),
        }
    }

    fn finish(self: Box<Self>) -> Result<(), GenerateError> {
        self.impressions.finish()?;
        self.clicks.finish()?;
        self.conversions.finish()?;
        self.bids.finish()
    }
}
