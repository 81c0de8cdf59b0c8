//! A plan compiled from the schema a file was written with: which values go to which slot, and
//! how the rest is passed over. Fields are found by name, so their order and additions don't matter.

use std::borrow::Cow;
use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, ResolvedSchema, UuidSchema};
use dataflows::model::reject::Feed;

use crate::formats::fields::BidSlots;
use crate::formats::layout::{Field, Layout};
use crate::formats::paths::Paths;
use crate::formats::slots::{Slot, Slots};
use crate::formats::timestamp::Unit;

/// Deeper nesting than this is damage, or an attack on the stack.
const DEPTH_MAX: u32 = 64;

type Damage = &'static str;

/// How the records of one file are read.
#[derive(Debug)]
pub struct Plan {
    nodes: Vec<Node>,
    root: usize,
}

#[derive(Debug)]
enum Node {
    Null,
    Bool,
    Long(Option<Unit>),
    Float,
    Double,
    Bytes,
    Fixed(usize),
    Enum(Vec<String>),
    Array(usize),
    Bids(usize),
    Map(usize),
    Union(Vec<usize>),
    /// The parts of a record, each with the set of fields it is.
    Record(Vec<(usize, u32)>),
}

/// Where the values of one record go.
#[derive(Debug, Default)]
pub struct Sink<'a> {
    /// The values of the record itself.
    pub slots: Slots<'a>,
    /// The values of each of its bids.
    pub bids: Vec<BidSlots<'a>>,
    in_bid: bool,
}

impl<'a> Sink<'a> {
    /// Makes room for the next record.
    pub fn clear(&mut self) {
        self.slots = Slots::default();
        self.bids.clear();
        self.in_bid = false;
    }

    fn set(&mut self, fields: u32, slot: Slot<'a>) {
        if fields == 0 {
            return;
        }
        let Some(bid) = self.bids.last_mut().filter(|_| self.in_bid) else {
            return self.slots.set_all(fields, slot);
        };
        for (field, place) in [
            (Field::CampaignId, &mut bid.campaign),
            (Field::CreativeId, &mut bid.creative),
            (Field::Price, &mut bid.price),
        ] {
            if fields & field.bit() != 0 {
                *place = slot.clone();
            }
        }
    }
}

struct Compiler<'s> {
    nodes: Vec<Node>,
    names: NamesRef<'s>,
    /// Named types that are only passed over, so that recursive ones end.
    skipped: HashMap<String, usize>,
    bid: Paths,
}

impl Plan {
    /// Compiles the plan for reading `layout` from records of `schema`.
    pub fn new(schema: &Schema, layout: &Layout) -> Result<Self, String> {
        let resolved = ResolvedSchema::new(schema).map_err(|error| format!("avro.schema: {error}"))?;
        let of_bid = |field: Field| {
            layout.feed == Feed::BidRequests
                && matches!(field, Field::CampaignId | Field::CreativeId | Field::Price)
        };
        let mapping = || layout.fields.iter().map(|(field, path)| (*field, path.as_str()));
        let paths = Paths::new(mapping().filter(|(field, _)| !of_bid(*field)));
        let bid = Paths::new(mapping().filter(|(field, _)| of_bid(*field)));
        let names = resolved.get_names().clone();
        let mut compiler = Compiler { nodes: Vec::new(), names, skipped: HashMap::new(), bid };
        if !matches!(schema, Schema::Record(_)) {
            return Err("avro.schema: the records are not of type record".to_owned());
        }
        let root = compiler.node(schema, Some(&paths), 0)?;
        Ok(Self { nodes: compiler.nodes, root })
    }

    /// Reads one record.
    pub fn read<'a>(&self, cursor: &mut Cursor<'a>, sink: &mut Sink<'a>) -> Result<(), Damage> {
        self.value(self.root, 0, cursor, sink, 0)
    }

    fn value<'a>(
        &self,
        node: usize,
        fields: u32,
        cursor: &mut Cursor<'a>,
        sink: &mut Sink<'a>,
        depth: u32,
    ) -> Result<(), Damage> {
        if depth > DEPTH_MAX {
            return Err("the record is nested too deeply");
        }
        let slot = match &self.nodes[node] {
            Node::Null => Slot::Missing,
            Node::Bool => match cursor.take(1)? {
                [0] => Slot::Bool(false),
                [1] => Slot::Bool(true),
                _ => return Err("a boolean is neither 0 nor 1"),
            },
            Node::Long(None) => Slot::Int(cursor.long()?),
            Node::Long(Some(unit)) => Slot::Instant(cursor.long()?, *unit),
            Node::Float => Slot::Double(f64::from(f32::from_le_bytes(cursor.array()?))),
            Node::Double => Slot::Double(f64::from_le_bytes(cursor.array()?)),
            Node::Bytes => {
                let bytes = cursor.bytes()?;
                match std::str::from_utf8(bytes) {
                    _ if fields == 0 => return Ok(()),
                    Ok(text) => Slot::Text(Cow::Borrowed(text)),
                    Err(_) => Slot::Wrong,
                }
            }
            Node::Fixed(len) => {
                cursor.take(*len)?;
                Slot::Wrong
            }
            Node::Enum(words) => {
                let word = usize::try_from(cursor.long()?).ok().and_then(|at| words.get(at));
                let word = word.ok_or("an enum has no such word")?;
                if fields == 0 { Slot::Missing } else { Slot::Text(Cow::Owned(word.clone())) }
            }
            Node::Union(variants) => {
                let variant = usize::try_from(cursor.long()?).ok().and_then(|at| variants.get(at));
                return self.value(
                    *variant.ok_or("a union has no such variant")?,
                    fields,
                    cursor,
                    sink,
                    depth + 1,
                );
            }
            Node::Record(parts) => {
                for &(part, fields) in parts {
                    self.value(part, fields, cursor, sink, depth + 1)?;
                }
                Slot::Wrong
            }
            Node::Array(item) => {
                cursor.blocks(true, |cursor| self.value(*item, 0, cursor, sink, depth + 1))?;
                Slot::Wrong
            }
            Node::Map(item) => {
                cursor.blocks(true, |cursor| {
                    cursor.bytes()?;
                    self.value(*item, 0, cursor, sink, depth + 1)
                })?;
                Slot::Wrong
            }
            Node::Bids(item) => {
                cursor.blocks(false, |cursor| {
                    sink.bids.push(BidSlots::default());
                    sink.in_bid = true;
                    self.value(*item, 0, cursor, sink, depth + 1)
                })?;
                sink.in_bid = false;
                Slot::Bool(true)
            }
        };
        sink.set(fields, slot);
        Ok(())
    }
}

impl<'s> Compiler<'s> {
    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The node of a value that is `fields`, or holds what `paths` look for.
    fn node(&mut self, schema: &Schema, paths: Option<&Paths>, fields: u32) -> Result<usize, String> {
        let node = match schema {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Bool,
            Schema::TimestampMillis | Schema::LocalTimestampMillis => Node::Long(Some(Unit::Millis)),
            Schema::TimestampMicros | Schema::LocalTimestampMicros => Node::Long(Some(Unit::Micros)),
            Schema::TimestampNanos | Schema::LocalTimestampNanos => Node::Long(Some(Unit::Nanos)),
            Schema::Int | Schema::Long | Schema::Date | Schema::TimeMillis | Schema::TimeMicros => {
                Node::Long(None)
            }
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::String | Schema::Bytes | Schema::BigDecimal => Node::Bytes,
            Schema::Uuid(UuidSchema::String | UuidSchema::Bytes) => Node::Bytes,
            Schema::Uuid(UuidSchema::Fixed(fixed)) | Schema::Fixed(fixed) | Schema::Duration(fixed) => {
                Node::Fixed(fixed.size)
            }
            Schema::Decimal(decimal) => match &decimal.inner {
                apache_avro::schema::InnerDecimalSchema::Fixed(fixed) => Node::Fixed(fixed.size),
                apache_avro::schema::InnerDecimalSchema::Bytes => Node::Bytes,
            },
            Schema::Enum(words) => Node::Enum(words.symbols.clone()),
            Schema::Array(array) if fields & Field::Bids.bit() != 0 => {
                let bid = std::mem::take(&mut self.bid);
                let item = self.node(&array.items, Some(&bid), 0);
                self.bid = bid;
                Node::Bids(item?)
            }
            Schema::Array(array) => Node::Array(self.node(&array.items, None, 0)?),
            Schema::Map(map) => Node::Map(self.node(&map.types, None, 0)?),
            Schema::Union(union) => {
                let variants = union.variants().iter().map(|variant| self.node(variant, paths, fields));
                Node::Union(variants.collect::<Result<_, _>>()?)
            }
            Schema::Ref { name } => {
                let Some(&named) = self.names.get(name) else {
                    return Err(format!("avro.schema: the type {name} is not defined"));
                };
                return self.node(named, paths, fields);
            }
            Schema::Record(record) => {
                let skipped = paths.is_none().then(|| record.name.to_string());
                if let Some(&node) = skipped.as_ref().and_then(|name| self.skipped.get(name)) {
                    return Ok(node);
                }
                let node = self.push(Node::Record(Vec::new()));
                skipped.map(|name| self.skipped.insert(name, node));
                let mut parts = Vec::new();
                for part in &record.fields {
                    parts.push(match paths.and_then(|paths| paths.find(&part.name)) {
                        None => (self.node(&part.schema, None, 0)?, 0),
                        Some(entry) => {
                            let inner = self.node(&part.schema, entry.inner.as_deref(), entry.fields)?;
                            (inner, entry.fields)
                        }
                    });
                }
                let takes_nothing =
                    |(part, _): &(usize, u32)| matches!(self.nodes[*part], Node::Null | Node::Fixed(0));
                // A few records of records without any bytes would be endless work: passed over at once.
                self.nodes[node] = match paths.is_none() && parts.iter().all(takes_nothing) {
                    true => Node::Fixed(0),
                    false => Node::Record(parts),
                };
                return Ok(node);
            }
        };
        Ok(self.push(node))
    }
}

/// A place in a block's data.
#[derive(Debug)]
pub struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at `at`.
    pub fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at }
    }

    /// Where the cursor stands.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let rest = &self.data[self.at..];
        let taken = rest.get(..count).ok_or("the data end inside a record")?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        self.take(N)?.try_into().map_err(|_| "the data end inside a record")
    }

    /// A zigzag integer.
    pub fn long(&mut self) -> Result<i64, Damage> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.data.get(self.at).ok_or("the data end inside a record")?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err("an integer is longer than ten bytes")
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        let len = usize::try_from(self.long()?).map_err(|_| "a length is negative")?;
        self.take(len)
    }

    /// The items of an array or map; those whose size is known are passed over at once, if `skip`.
    fn blocks(
        &mut self,
        skip: bool,
        mut item: impl FnMut(&mut Self) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                let size = usize::try_from(self.long()?).map_err(|_| "a size is negative")?;
                if skip {
                    self.take(size)?;
                    continue;
                }
            }
            // Items without any bytes would let a few bytes claim endless work: one stands for all.
            if count.unsigned_abs() > (self.data.len() - self.at) as u64 {
                return Err("a list claims more items than there are bytes");
            }
            for _ in 0..count.unsigned_abs() {
                let before = self.at;
                item(self)?;
                if self.at == before {
                    break;
                }
            }
        }
    }
}
