//! The values of one record as a format found them, before any rule is applied.

use std::borrow::Cow;

use super::layout::Field;
use super::timestamp::Unit;

/// One value, borrowed from the input where possible.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Slot<'a> {
    /// Absent or null.
    #[default]
    Missing,
    /// Text.
    Text(Cow<'a, str>),
    /// A number, as it was written.
    Number(&'a str),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// An instant whose unit the format itself declares.
    Instant(i64, Unit),
    /// True or false.
    Bool(bool),
    /// Something no field accepts: a list, an object, bytes that are not text.
    Wrong,
}

impl Slot<'_> {
    /// Whether there is nothing here; empty text is nothing.
    pub fn is_missing(&self) -> bool {
        match self {
            Slot::Missing => true,
            Slot::Text(text) => text.is_empty(),
            _ => false,
        }
    }

    /// The text, or the empty text.
    pub fn as_text(&self) -> &str {
        match self {
            Slot::Text(text) => text,
            _ => "",
        }
    }
}

/// The values of one record.
#[derive(Clone, Debug, Default)]
pub struct Slots<'a>([Slot<'a>; Field::COUNT]);

impl<'a> Slots<'a> {
    /// The value of a field.
    pub fn get(&self, field: Field) -> &Slot<'a> {
        &self.0[field as usize]
    }

    /// Sets a field.
    pub fn set(&mut self, field: Field, slot: Slot<'a>) {
        self.0[field as usize] = slot;
    }

    /// Sets every field of a set (one source field may serve several of ours).
    pub fn set_all(&mut self, fields: u32, slot: Slot<'a>) {
        if fields.is_power_of_two() {
            self.0[fields.trailing_zeros() as usize] = slot;
            return;
        }
        for field in Field::ALL {
            if fields & field.bit() != 0 {
                self.set(field, slot.clone());
            }
        }
    }
}
