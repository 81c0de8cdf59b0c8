//! The bytes of the log: header and frames, and how a torn tail is told from damage.

use std::path::Path;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::error::{BindingsError, Invalid};

const MAGIC: &[u8; 8] = b"ADXBIND\n";
/// 2: a record says what was frozen in its epoch.
const VERSION: u32 = 2;

/// Magic, version, four zeros, the job's fingerprint, a checksum of all this.
pub const HEADER_BYTES: usize = 32;

/// Length and its check.
const HEAD: usize = 8;
const CHECKSUM: usize = 8;
const PAYLOAD_MAX: usize = 16 << 20;

/// What the log of a job starts with.
#[derive(Copy, Clone, Debug)]
pub struct Header {
    fingerprint: u64,
}

impl Header {
    /// The header of a job's log.
    pub fn new(job: &str) -> Self {
        Self { fingerprint: xxh3_64(job.as_bytes()) }
    }

    /// As written.
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.fingerprint.to_le_bytes());
        let checksum = xxh3_64(&bytes[..24]);
        bytes[24..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// What seeds the first record's checksum.
    pub fn seed(&self) -> u64 {
        xxh3_64(&self.bytes())
    }

    /// Checks the header of `log`.
    pub fn check(&self, log: &[u8], job: &str, path: &Path) -> Result<(), BindingsError> {
        let path = || path.to_owned();
        let sound = log.starts_with(MAGIC)
            && log.get(..24).is_some_and(|head| Some(xxh3_64(head)) == long_at(log, 24));
        let Some(found) = int_at(log, 8).filter(|_| sound) else {
            return Err(BindingsError::NotALog { path: path() });
        };
        if found != VERSION {
            return Err(BindingsError::Version { path: path(), found, expected: VERSION });
        }
        if log[..HEADER_BYTES] != self.bytes() {
            return Err(BindingsError::OtherJob { path: path(), job: job.to_owned() });
        }
        Ok(())
    }
}

/// What stands at a place of the log.
pub enum Found<'a> {
    /// A record.
    Record {
        /// What it says.
        payload: &'a [u8],
        /// Its checksum, which seeds the next one's.
        checksum: u64,
        /// Where it ends.
        end: usize,
    },
    /// A last record that was not written to its end.
    Torn,
    /// A bad record with others behind it.
    Damaged,
}

/// The frame of a record, and its checksum. `chain` is the checksum of the record before.
pub fn write(payload: &[u8], chain: u64) -> Result<(Vec<u8>, u64), Invalid> {
    let len = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= PAYLOAD_MAX);
    let len = len.ok_or(Invalid::TooLong { bytes: payload.len() })?;
    let mut frame = Vec::with_capacity(HEAD + payload.len() + CHECKSUM);
    frame.extend(len.to_le_bytes());
    frame.extend(length_check(len).to_le_bytes());
    frame.extend(payload);
    let checksum = xxh3_64_with_seed(&frame, chain);
    frame.extend(checksum.to_le_bytes());
    Ok((frame, checksum))
}

/// Reads the frame that starts at `at`, which lies before the end of `log`.
pub fn next(log: &[u8], at: usize, chain: u64) -> Found<'_> {
    let Some(end) = frame_end(log, at) else {
        // Without a length it is unknown where the next record would start, so one is looked for
        // everywhere. A torn record holds none: it is part of one.
        let behind = (at + 1..log.len()).any(|at| frame_end(log, at).is_some_and(|end| end <= log.len()));
        return if behind { Found::Damaged } else { Found::Torn };
    };
    if end > log.len() {
        return Found::Torn;
    }
    let (body, stored) = (&log[at..end - CHECKSUM], long_at(log, end - CHECKSUM));
    let checksum = xxh3_64_with_seed(body, chain);
    match stored {
        Some(stored) if stored == checksum => Found::Record { payload: &body[HEAD..], checksum, end },
        _ if end < log.len() => Found::Damaged,
        _ => Found::Torn,
    }
}

/// Where the frame at `at` ends by its own account, if its length can be trusted.
fn frame_end(log: &[u8], at: usize) -> Option<usize> {
    let (len, check) = (int_at(log, at)?, int_at(log, at + 4)?);
    let sound = len as usize <= PAYLOAD_MAX && check == length_check(len);
    sound.then_some(at + HEAD + len as usize + CHECKSUM)
}

fn length_check(len: u32) -> u32 {
    // The upper half; zeros, as a lost write leaves them, don't pass.
    (xxh3_64_with_seed(&len.to_le_bytes(), 0x0062_696e_6469_6e67) >> 32) as u32
}

fn int_at(log: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(log.get(at..at + 4)?.try_into().ok()?))
}

fn long_at(log: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(log.get(at..at + 8)?.try_into().ok()?))
}
