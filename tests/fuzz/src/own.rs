//! The readers of what we wrote ourselves.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use advertisex::archive::{Archive, Catalog, Shard};
use advertisex::bindings::Bindings;
use advertisex::checkpoint::{Recovery, Segment, SegmentWriter};
use advertisex::config::{Config, S3Config};
use advertisex::formats::Batch;
use advertisex::names::Names;
use advertisex::store::{Place, Store};
use dataflows::model::time::EventTime;
use tempfile::TempDir;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub(crate) const JOB: &str = "fuzz";
/// Words of a segment's header.
const HEADER: usize = 5;
/// The name of the log in its directory.
const LOG: &str = "bindings.log";

/// As a whole file, and as frames that are sealed.
pub(crate) fn segment(bytes: &[u8]) {
    let words: Vec<u64> =
        bytes.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_ne_bytes)).collect();
    let (_, empty) = SegmentWriter::new(JOB).finish("s".to_owned(), 0);
    let mut listed = empty.clone();
    // The checksum of the last frame is that of the whole.
    (listed.bytes, listed.checksum) = (words.len() as u64 * 8, last_checksum(&words));
    read(words, &listed);
    let (words, checksum) = sealed(bytes);
    (listed.bytes, listed.checksum) = (words.len() as u64 * 8, checksum);
    read(words, &listed);
}

fn read(words: Vec<u64>, listed: &advertisex::checkpoint::Listed) {
    let Ok(mut segment) = Segment::open(words, JOB, listed) else { return };
    let (mut batch, names) = (Batch::default(), Names::default());
    while let Ok(Some(_)) = segment.next(&mut batch, &names) {}
}

fn last_checksum(words: &[u64]) -> u64 {
    let (mut at, mut last) = (HEADER, words.get(HEADER - 1).copied().unwrap_or_default());
    while let Some(&[_, _, bytes, checksum]) = words.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        last = checksum;
        at = at.saturating_add(4).saturating_add(bytes as usize / 8);
    }
    last
}

/// Frames of what the input says: kind, records, words of payload, payload; with right checksums.
fn sealed(mut input: &[u8]) -> (Vec<u64>, u64) {
    let (header, listed) = SegmentWriter::new(JOB).finish("s".to_owned(), 0);
    let (mut file, mut chain) = (header, listed.checksum);
    while let Some((&[kind, records, length], rest)) = input.split_first_chunk::<3>() {
        let (payload, behind) = rest.split_at(rest.len().min(usize::from(length) * 8));
        let mut payload = payload.to_vec();
        payload.resize(payload.len().next_multiple_of(8), 0);
        let head: Vec<u8> = [u64::from(kind), u64::from(records), payload.len() as u64]
            .iter()
            .flat_map(|n| n.to_ne_bytes())
            .collect();
        chain = xxh3_64_with_seed(&payload, xxh3_64_with_seed(&head, chain));
        file.extend(head);
        file.extend(chain.to_ne_bytes());
        file.extend(payload);
        input = behind;
    }
    let word = |word: &[u8]| word.try_into().map(u64::from_ne_bytes).unwrap_or_default();
    (file.chunks_exact(8).map(word).collect(), chain)
}

thread_local! {
    /// A place of this thread's, so that an input costs no more than its file.
    static PLACE: (TempDir, Store) = {
        let dir = TempDir::new().expect("a directory");
        let store = Store::directory(dir.path()).expect("a directory");
        (dir, store)
    };
}

/// As it stands, and with the right last line.
pub(crate) fn manifest(bytes: &[u8]) {
    PLACE.with(|(dir, store)| manifest_in(dir.path(), store, bytes));
}

fn manifest_in(dir: &Path, store: &Store, bytes: &[u8]) {
    for contents in [bytes, &with_last_line(bytes)] {
        fs::write(dir.join("manifest-0000000001.json"), contents).expect("written");
        let Ok(recovery) = Recovery::find(store, JOB, "run") else { continue };
        let _ = (recovery.events(), recovery.manifest.positions());
        let names = Names::default();
        let taken = recovery.next::<advertisex::checkpoint::CheckpointError>(
            store,
            &names,
            &mut Batch::default(),
            |_, _| Ok(()),
        );
        assert!(recovery.manifest.segments.is_empty() || taken.is_err(), "its segments are not there");
    }
}

/// As it stands, and with the right last line.
pub(crate) fn archive(bytes: &[u8]) {
    PLACE.with(|(dir, store)| archive_in(dir.path(), store, bytes));
}

static S3: LazyLock<S3Config> = LazyLock::new(|| Config::load(None).expect("defaults").s3);

fn archive_in(dir: &Path, store: &Store, bytes: &[u8]) {
    for contents in [bytes, &with_last_line(bytes)] {
        fs::write(dir.join("manifest-0-0000000001.json"), contents).expect("written");
        let _ = Catalog::open(&Place::Directory(dir.to_owned()), &S3);
        let Ok(archive) = Archive::find(store, JOB, "run", Shard::ONLY, 0) else { continue };
        assert!(archive.manifest.lookups.is_none() && archive.rows.is_empty(), "its objects are not there");
        let (since, until) = (EventTime::from_millis(0), EventTime::from_millis(7));
        for file in &archive.manifest.files {
            let _ = (file.hour(), file.overlaps(since, until));
        }
    }
}

fn with_last_line(bytes: &[u8]) -> Vec<u8> {
    let body = [bytes, b"\n"].concat();
    [&body, format!("{:016x}\n", xxh3_64(&body)).as_bytes()].concat()
}

/// As a whole file, and as records that are sealed.
pub(crate) fn bindings(bytes: &[u8]) {
    PLACE.with(|(dir, _)| {
        open_twice(dir.path(), bytes);
        open_twice(dir.path(), &sealed_log(bytes));
    });
}

/// A header, and behind it records of what the input says: length, payload.
fn sealed_log(mut input: &[u8]) -> Vec<u8> {
    static HEADER: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let dir = TempDir::new().expect("a directory");
        drop(Bindings::open(dir.path(), JOB).expect("a new log"));
        fs::read(dir.path().join(LOG)).expect("it is there")
    });
    let (mut log, mut chain) = (HEADER.clone(), xxh3_64(&HEADER));
    while let Some((&length, rest)) = input.split_first() {
        let (payload, behind) = rest.split_at(rest.len().min(usize::from(length)));
        let length = (payload.len() as u32).to_le_bytes();
        let check = (xxh3_64_with_seed(&length, 0x0062_696e_6469_6e67) >> 32) as u32;
        let frame = [&length[..], &check.to_le_bytes(), payload].concat();
        chain = xxh3_64_with_seed(&frame, chain);
        log.extend(frame);
        log.extend(chain.to_le_bytes());
        input = behind;
    }
    log
}

/// What a log says does not change by being read, also when its end is cut off.
fn open_twice(dir: &Path, log: &[u8]) {
    fs::write(dir.join(LOG), log).expect("written");
    let Ok((first, bindings)) = Bindings::open(dir, JOB) else { return };
    let positions = first.positions();
    drop(first);
    let (second, again) = Bindings::open(dir, JOB).expect("it was sound before");
    assert_eq!((bindings, positions), (again, second.positions()));
}
