//! Columns of a batch of rows to checked values, a column at a time.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use dataflows::model::money::Micros;
use dataflows::model::reject::Reason;
use dataflows::model::time::EventTime;

use super::ReadError;
use crate::formats::reject::PAYLOAD_BYTES_MAX;
use crate::formats::timestamp::Unit;
use crate::names::Collision;

/// A value, or what is wrong with it.
pub type Checked<T> = Result<T, Reason>;

/// What is demanded of a text column.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Need {
    /// A required id.
    Id,
    /// An id that may be absent.
    OptionalId,
    /// Other text that may be absent.
    OptionalText,
}

/// The keys of the values of the dictionary seen last.
#[derive(Debug)]
pub struct Cache<K> {
    values: Option<ArrayRef>,
    keys: Vec<Checked<K>>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { values: None, keys: Vec::new() }
    }
}

/// The columns of a batch of rows.
pub struct Columns<'b>(pub &'b RecordBatch);

impl Columns<'_> {
    /// A column of texts, each turned into its key by `make`.
    pub fn text<K: Copy>(
        &self,
        name: &str,
        need: Need,
        cache: &mut Cache<K>,
        mut make: impl FnMut(&str) -> Result<Checked<K>, Collision>,
    ) -> Result<Vec<Checked<K>>, ReadError> {
        let mut key = |text: Option<&str>| match text.unwrap_or("") {
            "" if need == Need::Id => Ok(Err(Reason::MissingField)),
            text if text.len() > if need == Need::OptionalText { 1024 } else { 128 } => {
                Ok(Err(Reason::TooLong))
            }
            text => make(text),
        };
        let rows = self.0.num_rows();
        let Some(column) = self.0.column_by_name(name) else {
            return Ok(vec![key(None)?; rows]);
        };
        if let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() {
            let values = dictionary.values();
            if !cache.values.as_ref().is_some_and(|known| Arc::ptr_eq(known, values) || same(known, values)) {
                let texts = values.as_string_opt::<i32>().ok_or_else(|| wrong(name, column, "text"))?;
                cache.keys = texts.iter().map(&mut key).collect::<Result<_, _>>()?;
                cache.values = Some(values.clone());
            }
            let absent = key(None)?;
            let keys = &cache.keys;
            return Ok(match dictionary.null_count() {
                0 => dictionary.keys().values().iter().map(|place| keys[*place as usize]).collect(),
                _ => dictionary.keys_iter().map(|place| place.map_or(absent, |place| keys[place])).collect(),
            });
        }
        let keys: Result<_, Collision> = if let Some(texts) = column.as_string_view_opt() {
            texts.iter().map(key).collect()
        } else if let Some(texts) = column.as_string_opt::<i32>() {
            texts.iter().map(key).collect()
        } else if let Some(texts) = column.as_string_opt::<i64>() {
            texts.iter().map(key).collect()
        } else {
            return Err(wrong(name, column, "text"));
        };
        Ok(keys?)
    }

    /// A column of times.
    pub fn times(&self, name: &str) -> Result<Vec<Checked<EventTime>>, ReadError> {
        self.integers(name, |unit, count| match count {
            None => Err(Reason::MissingField),
            Some(count) => unit.event_time(count).ok_or(Reason::BadTimestamp),
        })
    }

    /// A column of amounts in micros.
    pub fn money(&self, name: &str, required: bool) -> Result<Vec<Checked<Micros>>, ReadError> {
        self.integers(name, |_, amount| match amount {
            None if required => Err(Reason::MissingField),
            Some(..0) => Err(Reason::NegativeMoney),
            amount => Ok(Micros(amount.unwrap_or(0))),
        })
    }

    /// A column of flags; what is absent is false.
    pub fn flags(&self, name: &str) -> Result<Vec<bool>, ReadError> {
        let Some(column) = self.0.column_by_name(name) else { return Ok(vec![false; self.0.num_rows()]) };
        let flags = column.as_boolean_opt().ok_or_else(|| wrong(name, column, "booleans"))?;
        Ok(flags.iter().map(|flag| flag.unwrap_or(false)).collect())
    }

    /// A column of integers, each turned into a value by `make`, which is told what times count.
    fn integers<T: Clone>(
        &self,
        name: &str,
        make: impl Fn(Unit, Option<i64>) -> T,
    ) -> Result<Vec<T>, ReadError> {
        let Some(column) = self.0.column_by_name(name) else {
            return Ok(vec![make(Unit::Millis, None); self.0.num_rows()]);
        };
        let unit = match column.data_type() {
            DataType::Int64 | DataType::Timestamp(TimeUnit::Millisecond, _) => Unit::Millis,
            DataType::Timestamp(TimeUnit::Second, _) => Unit::Seconds,
            DataType::Timestamp(TimeUnit::Microsecond, _) => Unit::Micros,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Unit::Nanos,
            _ => return Err(wrong(name, column, "64-bit integers or timestamps")),
        };
        let column = column.to_data();
        let counts = &column.buffer::<i64>(0)[..column.len()];
        Ok(match column.nulls() {
            None => counts.iter().map(|count| make(unit, Some(*count))).collect(),
            Some(nulls) => {
                let there = nulls.iter();
                counts.iter().zip(there).map(|(count, there)| make(unit, there.then_some(*count))).collect()
            }
        })
    }
}

/// Whether two dictionaries share their memory, as those of one dictionary page do.
fn same(a: &ArrayRef, b: &ArrayRef) -> bool {
    a.len() == b.len() && a.to_data().ptr_eq(&b.to_data())
}

fn wrong(name: &str, column: &ArrayRef, expected: &str) -> ReadError {
    ReadError::File(format!("column {name:?} holds {}; {expected} are expected", column.data_type()))
}

/// A row as text, for people who look into a reject: of each column, no more than a reject keeps.
pub fn show(rows: &RecordBatch, row: usize) -> String {
    let shown = rows
        .schema_ref()
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| format!("{}={}", field.name(), value(column, row).unwrap_or_default()));
    shown.collect::<Vec<_>>().join(" ")
}

/// Every row may hold the same long text, so that it isn't copied as a whole.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(PAYLOAD_BYTES_MAX)].to_owned()
}

fn value(column: &ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    if let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() {
        return value(dictionary.values(), dictionary.key(row)?);
    }
    if let Some(texts) = column.as_string_view_opt() {
        return Some(cut(texts.value(row)));
    }
    if let Some(texts) = column.as_string_opt::<i32>() {
        return Some(cut(texts.value(row)));
    }
    if let Some(flags) = column.as_boolean_opt() {
        return Some(flags.value(row).to_string());
    }
    let integers = column.to_data();
    let slice = integers.buffers().first().filter(|_| column.data_type().primitive_width() == Some(8))?;
    slice.typed_data::<i64>().get(integers.offset() + row).map(i64::to_string)
}
