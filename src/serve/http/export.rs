//! Answers as files: CSV and Parquet.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::reply::Refused;
use crate::serve::answer::{Cell, CellKind, Rows};
use crate::serve::query::Pairs;
use crate::serve::store::Frontier;

/// What an answer is written as.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum Form {
    /// JSON.
    #[default]
    Json,
    /// Comma-separated, with a header.
    Csv,
    /// Parquet.
    Parquet,
}

impl Form {
    /// The form that the parameters ask for.
    ///
    /// # Errors
    /// There is no such form.
    pub fn parse(pairs: &Pairs) -> Result<Self, Refused> {
        match pairs.iter().rfind(|(name, _)| name == "format").map(|(_, form)| form.as_str()) {
            None | Some("json") => Ok(Form::Json),
            Some("csv") => Ok(Form::Csv),
            Some("parquet") => Ok(Form::Parquet),
            Some(_) => Err(Refused::bad("format", "json, csv or parquet is expected")),
        }
    }
}

/// An answer as a file that a browser saves; the frontier is in its headers.
///
/// # Errors
/// The file can't be written.
pub fn file(form: Form, table: &str, rows: &Rows, frontier: Frontier) -> Result<Response, Refused> {
    let fault = |error: &dyn std::fmt::Display| Refused::fault(format!("the file can't be written: {error}"));
    let (kind, ending, bytes) = match form {
        Form::Parquet => {
            ("application/vnd.apache.parquet", "parquet", parquet(rows).map_err(|error| fault(&error))?)
        }
        _ => ("text/csv; charset=utf-8", "csv", csv(rows).map_err(|error| fault(&error))?),
    };
    let disposition = format!("attachment; filename=\"{table}.{ending}\"");
    let frontier = serde_json::to_string(&frontier).unwrap_or_default();
    let headers = [(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, [("x-advertisex-frontier", frontier)], bytes).into_response())
}

fn csv(rows: &Rows) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(rows.columns.iter().map(|(name, _)| name))?;
    for cells in &rows.cells {
        writer.write_record(cells.iter().map(|cell| match cell {
            Cell::None => String::new(),
            Cell::Int(number) => number.to_string(),
            Cell::Float(number) => number.to_string(),
            Cell::Text(text) => text.clone(),
        }))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

fn parquet(rows: &Rows) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let fields = rows.columns.iter().map(|(name, kind)| match kind {
        CellKind::Time | CellKind::Int => Field::new(*name, DataType::Int64, true),
        CellKind::Float => Field::new(*name, DataType::Float64, true),
        CellKind::Text => Field::new(*name, DataType::Utf8, false),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = rows.columns.iter().enumerate().map(|(at, (_, kind))| column(rows, at, *kind)).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
    writer.write(&batch)?;
    writer.into_inner()
}

fn column(rows: &Rows, at: usize, kind: CellKind) -> ArrayRef {
    let cells = rows.cells.iter().map(|cells| &cells[at]);
    match kind {
        CellKind::Time | CellKind::Int => {
            let numbers = cells.map(|cell| if let Cell::Int(number) = cell { Some(*number) } else { None });
            Arc::new(numbers.collect::<Int64Array>())
        }
        CellKind::Float => {
            let numbers = cells.map(|cell| if let Cell::Float(number) = cell { Some(*number) } else { None });
            Arc::new(numbers.collect::<Float64Array>())
        }
        CellKind::Text => {
            let texts = cells.map(|cell| if let Cell::Text(text) = cell { text.as_str() } else { "" });
            Arc::new(StringArray::from_iter_values(texts))
        }
    }
}
