//! A segment: some epochs' records, in one object that is never changed.
//!
//! ```text
//!   header   magic ─ version ─ layout ─ job ─ checksum
//!   frames   kind ─ records ─ payload bytes ─ checksum │ payload …
//!                                             seeded by the checksum before ┘
//! ```
//!
//! All is 64-bit numbers in the order of bytes of the machine that wrote them; `layout` tells
//! whether this one's is the same. Length and checksum of the whole stand in the manifest. A frame
//! is decoded only after all of this has been verified.

use std::ops::Range;

use dataflows::model::horizon::Horizon;
use dataflows::model::time::{EventTime, Minute};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::raw;
use super::records::{Kind, Record, RejectCount};
use crate::formats::Batch;
use crate::names::{Collision, Dated, Names, Text};

const MAGIC: u64 = u64::from_le_bytes(*b"ADXSEGM\n");
const VERSION: u64 = 1;
const HEADER: usize = 5;
const HEAD: usize = 4;
/// Records of a frame at most.
const FRAME_RECORDS: usize = 16_384;

/// An object that a manifest names.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The checksum of all of it.
    pub checksum: u64,
    /// How often its records were merged into a larger segment.
    pub level: u8,
    /// Records by [`Kind`].
    pub records: [u64; Kind::ALL.len()],
    /// The time of the latest event by [`Kind`], in milliseconds; of no meaning where there is none.
    pub latest: [i64; Kind::ALL.len()],
}

impl Listed {
    /// An object that is no segment.
    pub fn other(name: String, bytes: u64, checksum: u64) -> Self {
        Self { name, bytes, checksum, level: 0, records: Default::default(), latest: Default::default() }
    }

    /// The minute of the latest event.
    fn until(&self) -> Minute {
        let latest = self.latest.iter().max().and_then(|millis| EventTime::from_millis(*millis));
        latest.unwrap_or(EventTime::MIN).minute()
    }

    /// The bytes of events of kinds that are expired to the last, and of all others.
    pub fn expired_and_live(&self, horizon: &Horizon) -> (u64, u64) {
        let edges = [horizon.bids, horizon.impressions, horizon.clicks, horizon.conversions];
        let kinds = [Kind::Bids, Kind::Impressions, Kind::Clicks, Kind::Conversions].into_iter().zip(edges);
        kinds.fold((0, 0), |(expired, live), (kind, edge)| {
            let bytes = self.records[kind as usize] * record_bytes(kind).unwrap_or_default() as u64;
            match self.latest[kind as usize] < edge.millis() {
                true => (expired + bytes, live),
                false => (expired, live + bytes),
            }
        })
    }
}

/// What is wrong with an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// Where, in bytes from its start.
    pub at: usize,
    /// What.
    pub what: &'static str,
}

/// Why a segment was not taken in.
#[derive(Debug)]
pub enum LoadFault {
    /// It is not what was written.
    Damage(Damage),
    /// Two names share a key.
    Collision(Collision),
}

/// A segment that is being written.
pub struct SegmentWriter {
    bytes: Vec<u8>,
    chain: u64,
    records: [u64; Kind::ALL.len()],
    latest: [i64; Kind::ALL.len()],
}

/// Tells segments of machines that lay records out in another way.
fn layout() -> u64 {
    let sizes = Kind::ALL.map(|kind| record_bytes(kind).unwrap_or_default() as u64);
    xxh3_64(bytemuck::cast_slice(&[
        0x0102_0304_0506_0708u64,
        sizes.iter().fold(0, |all, size| all * 256 + size),
    ]))
}

fn record_bytes(kind: Kind) -> Option<usize> {
    use dataflows::model::events::{Bid, Click, Conversion, Impression};
    use dataflows::model::ids::Id;
    match kind {
        Kind::Bids => Some(raw::record_bytes::<(Id, Bid)>()),
        Kind::Impressions => Some(raw::record_bytes::<(Id, Impression)>()),
        Kind::Clicks => Some(raw::record_bytes::<(Id, Click)>()),
        Kind::Conversions => Some(raw::record_bytes::<(Id, Conversion)>()),
        Kind::Rejects => Some(raw::record_bytes::<RejectCount>()),
        Kind::Texts => None,
    }
}

fn header(job: &str) -> [u64; HEADER] {
    let head = [MAGIC, VERSION, layout(), xxh3_64(job.as_bytes())];
    let [magic, version, layout, job] = head;
    [magic, version, layout, job, xxh3_64(bytemuck::cast_slice(&head))]
}

impl SegmentWriter {
    /// An empty segment of a job.
    pub fn new(job: &str) -> Self {
        let header = header(job);
        let bytes = bytemuck::cast_slice(&header).to_vec();
        Self {
            bytes,
            chain: header[HEADER - 1],
            records: [0; Kind::ALL.len()],
            latest: [i64::MIN; Kind::ALL.len()],
        }
    }

    /// Adds records.
    pub fn add<R: Record>(&mut self, records: &[R::Words]) {
        let latest = &mut self.latest[R::KIND as usize];
        *latest = records.iter().filter_map(R::millis).max().map_or(*latest, |millis| millis.max(*latest));
        for records in records.chunks(FRAME_RECORDS) {
            self.frame(R::KIND, records.len(), |out| raw::append::<R>(records, out));
        }
    }

    /// Adds texts of hashed keys.
    pub fn add_texts(&mut self, texts: &[Text]) {
        for texts in texts.chunks(FRAME_RECORDS) {
            self.frame(Kind::Texts, texts.len(), |out| {
                for text in texts {
                    let (what, text) = match text {
                        Text::Name(text) => (0, text),
                        Text::Id(text) => (1, text),
                    };
                    out.push(what);
                    out.extend((text.len() as u32).to_le_bytes());
                    out.extend(text.as_bytes());
                }
                out.resize(out.len().next_multiple_of(size_of::<u64>()), 0);
            });
        }
    }

    fn frame(&mut self, kind: Kind, records: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.resize(start + HEAD * size_of::<u64>(), 0);
        let payload = self.bytes.len();
        write(&mut self.bytes);
        let head = [kind as u64, records as u64, (self.bytes.len() - payload) as u64];
        let head: &[u8] = bytemuck::cast_slice(&head);
        self.bytes[start..start + head.len()].copy_from_slice(head);
        self.chain = checksum(&self.bytes[start..start + head.len()], &self.bytes[payload..], self.chain);
        self.bytes[start + head.len()..payload].copy_from_slice(&self.chain.to_ne_bytes());
        self.records[kind as usize] += records as u64;
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.records.iter().all(|records| *records == 0)
    }

    /// The bytes, and what a manifest says of them.
    pub fn finish(self, name: String, level: u8) -> (Vec<u8>, Listed) {
        let Self { bytes, chain, records, latest } = self;
        let listed = Listed { name, bytes: bytes.len() as u64, checksum: chain, level, records, latest };
        (bytes, listed)
    }
}

fn checksum(head: &[u8], payload: &[u8], chain: u64) -> u64 {
    xxh3_64_with_seed(payload, xxh3_64_with_seed(head, chain))
}

/// A segment that was read, and found to be what was written.
pub struct Segment {
    words: Vec<u64>,
    frames: Vec<Frame>,
    /// The minute of its latest event.
    until: Minute,
}

struct Frame {
    kind: Kind,
    payload: Range<usize>,
}

impl Segment {
    /// Verifies a segment of a job.
    pub fn open(words: Vec<u64>, job: &str, listed: &Listed) -> Result<Self, Damage> {
        let damage = |word: usize, what| Err(Damage { at: word * size_of::<u64>(), what });
        if (words.len() * size_of::<u64>()) as u64 != listed.bytes {
            return damage(words.len(), "it has another length than the manifest says");
        }
        let expected = header(job);
        match words.get(..HEADER) {
            Some(found) if found == expected => {}
            Some(found) if found[..2] == expected[..2] && found[2] != expected[2] => {
                return damage(2, "it was written on a machine that lays records out otherwise");
            }
            _ => return damage(0, "it does not begin as a segment of this job and version does"),
        }
        let (mut at, mut chain, mut frames) = (HEADER, expected[HEADER - 1], Vec::new());
        while at < words.len() {
            let Some(&[kind, records, bytes, stored]) = words[at..].first_chunk::<HEAD>() else {
                return damage(at, "a frame is cut off");
            };
            let start = at + HEAD;
            let kind = usize::try_from(kind).ok().and_then(|kind| Kind::ALL.get(kind));
            let (length, behind) = (bytes as usize / size_of::<u64>(), words.len() - start);
            let (Some(&kind), true) = (kind, bytes.is_multiple_of(8) && length <= behind) else {
                return damage(at, "a frame has no such kind or length");
            };
            let payload = start..start + length;
            let head = &words[at..at + HEAD - 1];
            chain =
                checksum(bytemuck::cast_slice(head), bytemuck::cast_slice(&words[payload.clone()]), chain);
            if chain != stored {
                return damage(at, "a frame's checksum is not that of its contents");
            }
            let records = records as usize;
            if record_bytes(kind).is_some_and(|each| records.checked_mul(each) != Some(bytes as usize)) {
                return damage(at, "a frame's length is not that of its records");
            }
            at = payload.end;
            frames.push(Frame { kind, payload });
        }
        if chain != listed.checksum {
            return damage(at, "it is not the segment that the manifest names");
        }
        Ok(Self { words, frames, until: listed.until() })
    }

    /// Takes the next frame in: events go to `batch`, texts to `names`, and of rejects the counts
    /// are returned. Nothing when there is no further frame.
    pub fn next(&mut self, batch: &mut Batch, names: &Names) -> Result<Option<Vec<RejectCount>>, LoadFault> {
        let Some(Frame { kind, payload, .. }) = self.frames.pop() else { return Ok(None) };
        let at = payload.start;
        let payload = &mut self.words[payload];
        let mut rejects = Vec::new();
        let whole = match kind {
            Kind::Bids => read(payload, &mut batch.bids),
            Kind::Impressions => read(payload, &mut batch.impressions),
            Kind::Clicks => read(payload, &mut batch.clicks),
            Kind::Conversions => read(payload, &mut batch.conversions),
            Kind::Rejects => read(payload, &mut rejects),
            Kind::Texts => read_texts(bytemuck::cast_slice(payload), self.until, names)?,
        };
        let fault =
            LoadFault::Damage(Damage { at: at * 8, what: "a record is none, though its checksum holds" });
        if whole { Ok(Some(rejects)) } else { Err(fault) }
    }
}

fn read<R: Record>(payload: &mut [u64], into: &mut Vec<R>) -> bool {
    raw::read::<R>(payload, |words| R::from_words(words).map(|record| into.push(record)).is_some())
}

/// Whether all of it was texts.
fn read_texts(mut payload: &[u8], until: Minute, names: &Names) -> Result<bool, LoadFault> {
    while let Some((head, rest)) = payload.split_first_chunk::<5>() {
        let [what, length @ ..] = *head;
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            break;
        }
        let Some(Ok(text)) = rest.get(..length).map(std::str::from_utf8) else { return Ok(false) };
        let text = match what {
            0 => Text::Name(text.into()),
            _ => Text::Id(text.into()),
        };
        names.restore(&Dated { text, until }).map_err(LoadFault::Collision)?;
        payload = &rest[length..];
    }
    Ok(payload.iter().all(|byte| *byte == 0))
}
