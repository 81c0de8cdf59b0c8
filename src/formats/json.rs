//! One JSON object per line. Numbers stay text until a rule reads them, so that a price never
//! passes through a binary float.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::layout::Layout;
use super::paths::{Entry, Paths};
use super::slots::{Slot, Slots};

/// Reads the mapped fields of JSON objects.
#[derive(Debug)]
pub struct JsonDecoder {
    paths: Paths,
}

impl JsonDecoder {
    /// A decoder for the fields of a layout.
    pub fn new(layout: &Layout) -> Self {
        Self { paths: Paths::new(layout.fields.iter().map(|(field, path)| (*field, path.as_str()))) }
    }

    /// Fills the slots from one line.
    pub fn slots<'a>(&self, line: &'a str, slots: &mut Slots<'a>) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(line);
        Object { paths: &self.paths, slots }.deserialize(&mut json)?;
        json.end()
    }
}

struct Object<'p, 's, 'a> {
    paths: &'p Paths,
    slots: &'s mut Slots<'a>,
}

impl<'a> DeserializeSeed<'a> for Object<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Object<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(entry) = map.next_key_seed(Key(self.paths))? {
            let Some(entry) = entry else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            match &entry.inner {
                Some(paths) => map.next_value_seed(Nested(Object { paths, slots: self.slots }))?,
                None => self.slots.set_all(entry.fields, slot(map.next_value()?).map_err(M::Error::custom)?),
            }
        }
        Ok(())
    }
}

/// An object, or null, where a path goes deeper.
struct Nested<'p, 's, 'a>(Object<'p, 's, 'a>);

impl<'a> DeserializeSeed<'a> for Nested<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Nested<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<M: MapAccess<'a>>(self, map: M) -> Result<(), M::Error> {
        self.0.visit_map(map)
    }
}

/// A key, looked up without being kept.
struct Key<'p>(&'p Paths);

impl<'a, 'p> DeserializeSeed<'a> for Key<'p> {
    type Value = Option<&'p Entry>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Key<'p> {
    type Value = Option<&'p Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.find(name))
    }
}

fn slot(raw: &RawValue) -> Result<Slot<'_>, serde_json::Error> {
    let token = raw.get();
    Ok(match token.as_bytes() {
        [b'"', inner @ .., b'"'] => match memchr::memchr(b'\\', inner) {
            None => Slot::Text(Cow::Borrowed(&token[1..token.len() - 1])),
            Some(_) => Slot::Text(Cow::Owned(String::deserialize(raw)?)),
        },
        [b'n', ..] => Slot::Missing,
        [b't', ..] => Slot::Bool(true),
        [b'f', ..] => Slot::Bool(false),
        [b'-' | b'0'..=b'9', ..] => Slot::Number(token),
        _ => Slot::Wrong,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::layout::Field;

    fn read<'a>(line: &'a str, paths: &[(Field, &str)]) -> Result<Slots<'a>, serde_json::Error> {
        let mut slots = Slots::default();
        JsonDecoder { paths: Paths::new(paths.iter().copied()) }.slots(line, &mut slots)?;
        Ok(slots)
    }

    #[test]
    fn mapped_fields_are_found_at_any_depth_and_numbers_stay_text() {
        let paths = [
            (Field::UserId, "user.id"),
            (Field::Price, "price"),
            (Field::Site, "a\"b"),
            (Field::Value, "price"),
        ];
        let line =
            r#"{"x":[1,{"price":2}],"user":{"age":3,"id":"uA"},"price":0.10000000000000000001,"a\"b":"s"}"#;
        let slots = read(line, &paths).expect("valid");
        assert_eq!(slots.get(Field::UserId).as_text(), "uA");
        assert_eq!(*slots.get(Field::Price), Slot::Number("0.10000000000000000001"));
        assert_eq!(*slots.get(Field::Value), Slot::Number("0.10000000000000000001"));
        assert_eq!(slots.get(Field::Site).as_text(), "s");
        assert!(read(r#"{"user":null}"#, &paths).expect("valid").get(Field::UserId).is_missing());
        assert_eq!(*read(r#"{"price":[1]}"#, &paths).expect("valid").get(Field::Price), Slot::Wrong);
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        let paths = [(Field::UserId, "user.id")];
        for line in [
            "[]",
            "null",
            "1",
            "\"a\"",
            "",
            "{",
            "{}{}",
            "{} x",
            r#"{"user":"u1"}"#,
            r#"{"user":{"id":"\ud800"}}"#,
            "{\"a\":\"\u{0}\"}",
        ] {
            assert!(read(line, &paths).is_err(), "{line}");
        }
    }
}
