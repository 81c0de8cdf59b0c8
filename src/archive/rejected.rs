//! Counts of rejects out of a file of the archive.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use bytes::Bytes;
use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::EventTime;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::checkpoint::RejectCount;

/// Reads the counts of a file.
///
/// # Errors
/// The file isn't what an archive writes.
pub fn read_rejected(file: Bytes) -> Result<Vec<RejectCount>, ParquetError> {
    let mut counts = Vec::new();
    for rows in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        take(&rows?, &mut counts).ok_or_else(|| {
            ParquetError::General("these are no counts of rejects: ts, feed, reason, count".to_owned())
        })?;
    }
    Ok(counts)
}

fn take(rows: &RecordBatch, counts: &mut Vec<RejectCount>) -> Option<()> {
    let number = |name| rows.column_by_name(name)?.as_primitive_opt::<Int64Type>();
    let text = |name| rows.column_by_name(name)?.as_string_opt::<i32>();
    let (times, numbers) = (number("ts")?, number("count")?);
    let (feeds, reasons) = (text("feed")?, text("reason")?);
    for row in 0..rows.num_rows() {
        counts.push(RejectCount {
            minute: EventTime::from_millis(times.value(row))?.minute(),
            feed: Feed::ALL.into_iter().find(|feed| feed.as_str() == feeds.value(row))?,
            reason: Reason::ALL.into_iter().find(|reason| reason.as_str() == reasons.value(row))?,
            count: u64::try_from(numbers.value(row)).ok()?,
        });
    }
    Some(())
}
