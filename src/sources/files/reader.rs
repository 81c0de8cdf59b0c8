//! Reading one split.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Compression, Contents, Part, SourceError, Split, stored};
use crate::config::SourcesConfig;
use crate::formats::avro::AvroReader;
use crate::formats::layout::{Format, Layout};
use crate::formats::lines::Lines;
use crate::formats::parquet::{ParquetReader, ReadError};
use crate::formats::text::TextDecoder;
use crate::formats::{Batch, Origin, Position, Reject};
use crate::names::SharedNames;
use crate::store::Address;

type Stream = Box<dyn Read + Send>;

/// Reads one split on any thread. The file is opened by the first call of [`SplitReader::read`].
#[derive(Debug)]
pub struct SplitReader {
    split: Split,
    layout: Option<Layout>,
    line_bytes_max: usize,
    names: SharedNames,
    state: State,
    /// Bytes of the file as stored that were read, when it is compressed as a whole.
    packed: Arc<AtomicU64>,
    reported: u64,
}

#[derive(Debug)]
enum State {
    Unopened,
    Text(Box<TextDecoder>, Lines),
    Avro(Box<AvroReader>),
    Parquet(Box<ParquetReader>),
    Over,
}

/// What is wrong with the file itself.
pub(super) struct Broken(Position, String);

impl Broken {
    pub(super) fn at_start(what: impl std::fmt::Display) -> Self {
        Self(Position::Byte(0), what.to_string())
    }
}

impl SplitReader {
    /// A reader of `split`.
    pub fn open(split: Split, config: &SourcesConfig, names: SharedNames) -> Self {
        use dataflows::model::reject::Feed;
        let layout = match split.file.contents {
            Contents::Raw(Feed::Impressions) => Some(config.impressions.layout.clone()),
            Contents::Raw(Feed::Events) => Some(config.events.layout.clone()),
            Contents::Raw(Feed::BidRequests) => Some(config.bid_requests.layout.clone()),
            Contents::Canonical(_) => None,
        };
        let (state, packed) = (State::Unopened, Arc::default());
        Self { split, layout, line_bytes_max: config.line_bytes_max, names, state, packed, reported: 0 }
    }

    /// Adds to the batch until it holds `events_max` events and rejects, or somewhat more (the
    /// bids of a request and the rows of a Parquet page stay together); false when the split is read.
    /// What is wrong with the file becomes a reject; an error stops the run.
    pub fn read(&mut self, batch: &mut Batch, events_max: usize) -> Result<bool, SourceError> {
        if matches!(self.state, State::Unopened) {
            match self.start() {
                Ok(state) => self.state = state,
                Err(Failure::Broken(broken)) => self.give_up(broken, batch),
                Err(Failure::Stop(error)) => return Err(error),
            }
        }
        let more = match self.advance(batch, events_max) {
            Ok(more) => more,
            Err(Failure::Stop(error)) => return Err(error),
            Err(Failure::Broken(broken)) => {
                // Damage met midway concerns this split alone, so it is always reported.
                self.report(broken, batch);
                false
            }
        };
        if !more {
            self.state = State::Over;
        }
        self.account(batch);
        Ok(more)
    }

    /// Ends a split that can't be started. Every split of the file fails alike; one says so.
    fn give_up(&mut self, broken: Broken, batch: &mut Batch) {
        self.state = State::Over;
        if self.split.is_first() {
            self.report(broken, batch);
        }
    }

    fn report(&self, Broken(position, what): Broken, batch: &mut Batch) {
        let file = &self.split.file;
        batch.rejects.push(Reject::of_file(file.contents.feed(), &file.name, position, what));
    }

    fn account(&mut self, batch: &mut Batch) {
        let Split { bytes, part, .. } = &self.split;
        let start = if let Part::Bytes(range) = part { range.start } else { 0 };
        let packed = self.packed.load(Ordering::Relaxed);
        let done = match &self.state {
            State::Unopened => 0,
            State::Over => *bytes,
            State::Text(..) | State::Avro(_) if packed > 0 => packed,
            State::Text(_, lines) => lines.offset().saturating_sub(start),
            State::Avro(avro) => avro.offset().saturating_sub(start),
            // The pages of a row group are not told apart.
            State::Parquet(_) => 0,
        };
        let done = done.clamp(self.reported, (*bytes).max(self.reported));
        batch.bytes += done - self.reported;
        self.reported = done;
    }

    fn advance(&mut self, batch: &mut Batch, events_max: usize) -> Result<bool, Failure> {
        match &mut self.state {
            State::Unopened | State::Over => Ok(false),
            State::Text(decoder, lines) => {
                let (file, feed) = (&self.split.file.name, self.split.file.contents.feed());
                while batch.len() < events_max {
                    let at = lines.offset();
                    let line = match lines.next_line() {
                        Ok(Some(line)) => line,
                        Ok(None) if at == 0 => return Err(empty().into()),
                        Ok(None) => return Ok(false),
                        Err(error) => {
                            let what = format!("the file can't be read on: {error}");
                            return Err(Failure::Broken(Broken(Position::Byte(at), what)));
                        }
                    };
                    let position = Position::Byte(line.offset);
                    if line.cut {
                        decoder.too_long(line.bytes, self.line_bytes_max, file, position, batch);
                    } else {
                        let mark = batch.mark();
                        decoder.line(line.bytes, file, position, batch).map_err(SourceError::from)?;
                        batch.judge(mark, feed, line.bytes, || Origin { file: Arc::clone(file), position });
                    }
                }
                Ok(true)
            }
            State::Avro(avro) => Ok(avro.read(batch, events_max).map_err(SourceError::from)?),
            State::Parquet(rows) => {
                while batch.len() < events_max {
                    match rows.read(batch) {
                        Ok(true) => {}
                        Ok(false) => return Ok(false),
                        Err(ReadError::Fatal(error)) => return Err(Failure::Stop(error.into())),
                        Err(ReadError::File(what)) => {
                            return Err(Failure::Broken(Broken(Position::Row(rows.row()), what)));
                        }
                    }
                }
                Ok(true)
            }
        }
    }

    fn start(&self) -> Result<State, Failure> {
        match &self.layout {
            None => self.start_parquet(),
            Some(layout) if layout.format == Format::Avro => Ok(self.start_avro(layout)?),
            Some(layout) => Ok(self.start_text(layout)?),
        }
    }

    fn start_text(&self, layout: &Layout) -> Result<State, Broken> {
        let mut decoder = Box::new(TextDecoder::new(layout, self.names.clone()));
        let (start, end) = self.range();
        if start > 0 && decoder.wants_header() {
            let mut head = Lines::new(self.stream(0)?, 0, u64::MAX, self.line_bytes_max);
            header(&mut decoder, &mut head)?;
        }
        let stream = self.stream(start.saturating_sub(1))?;
        let mut lines = Lines::new(stream, start, end, self.line_bytes_max);
        if decoder.wants_header() {
            header(&mut decoder, &mut lines)?;
        }
        Ok(State::Text(decoder, lines))
    }

    fn start_avro(&self, layout: &Layout) -> Result<State, Broken> {
        let (start, end) = self.range();
        let (stream, name) = (self.stream(0)?, self.split.file.name.clone());
        let mut avro = AvroReader::new(stream, layout, name, self.names.clone()).map_err(Broken::at_start)?;
        if start > avro.first_marker() {
            avro.limit(self.stream(start)?, start, end);
        } else {
            avro.end_at(end);
        }
        Ok(State::Avro(Box::new(avro)))
    }

    fn start_parquet(&self) -> Result<State, Failure> {
        let file = &self.split.file;
        let (group, footer) = match &self.split.part {
            Part::RowGroup { group, footer } => (*group, footer.clone()),
            _ => (0, stored::footer_of(file)?),
        };
        if footer.metadata().num_row_groups() == 0 {
            return Ok(State::Over);
        }
        let rows = stored::row_group(file, &footer, group, self.names.clone())?;
        Ok(State::Parquet(Box::new(rows)))
    }

    fn range(&self) -> (u64, u64) {
        match &self.split.part {
            Part::Bytes(range) => (range.start, range.end),
            _ => (0, u64::MAX),
        }
    }

    /// The file's contents, uncompressed, from an offset (which is 0 if it is compressed).
    fn stream(&self, start: u64) -> Result<Stream, Broken> {
        let Address::File(path) = &self.split.file.address else {
            return Err(Broken::at_start("feeds are read from directories only"));
        };
        let mut file = File::open(path).map_err(unreadable)?;
        if start > 0 {
            file.seek(SeekFrom::Start(start)).map_err(unreadable)?;
        }
        let counted = |file| Counted { file, count: self.packed.clone() };
        Ok(match self.split.file.compression {
            Compression::None => Box::new(file),
            // An empty file holds no member, which the decoder would take for a damaged one.
            _ if self.split.file.bytes == 0 => Box::new(std::io::empty()),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(counted(file))),
            Compression::Zstd => Box::new(zstd::Decoder::new(counted(file)).map_err(unreadable)?),
        })
    }
}

/// Gives the first line to the decoder.
fn header(decoder: &mut TextDecoder, lines: &mut Lines) -> Result<(), Broken> {
    match lines.next_line() {
        Ok(None) => Err(empty()),
        Ok(Some(line)) => decoder.header(line.bytes).map_err(Broken::at_start),
        Err(error) => Err(unreadable(error)),
    }
}

pub(super) fn empty() -> Broken {
    Broken::at_start("the file is empty")
}

pub(super) fn unreadable(error: std::io::Error) -> Broken {
    Broken::at_start(format!("the file can't be read: {error}"))
}

/// Why a split ends early.
pub(super) enum Failure {
    Stop(SourceError),
    Broken(Broken),
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Failure::Broken(broken)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Failure::Stop(error)
    }
}

/// Counts what is read of a compressed file.
struct Counted {
    file: File,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
