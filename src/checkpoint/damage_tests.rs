//! Whatever happens to the objects of a checkpoint: what is read is the last checkpoint, or the one
//! before, whole; or it is refused, and the object at fault is named.

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::tests::{JOB, expected, held, start};
use super::*;
use crate::store::Store;

/// Two checkpoints: of the epochs 5 and 6 one segment each, and the second names both.
struct Two {
    _dir: TempDir,
    path: PathBuf,
    store: Arc<Store>,
    names: Vec<String>,
}

/// What became of reading it.
#[derive(Debug, Eq, PartialEq)]
enum Read {
    Last,
    Before,
    /// The object that was named.
    Refused(String),
}

impl Two {
    fn write(run: &str, epochs: std::ops::RangeInclusive<u64>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().to_owned();
        let (started, _, store) = start(&path, run).expect("starts");
        started.write(&store, epochs);
        started.checkpointer.stop();
        let names = store.names().expect("a list");
        Self { _dir: dir, path, store, names }
    }

    fn new() -> Self {
        Self::write("one", 5..=6)
    }

    /// The names of the objects of a kind, the older ones first.
    fn of(&self, kind: &str) -> Vec<&str> {
        self.names.iter().filter(|name| name.starts_with(kind)).map(String::as_str).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.file(name)).expect("readable")
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.file(name), bytes).expect("written");
    }

    fn read(&self) -> Read {
        let read = Recovery::find(&self.store, JOB, "")
            .and_then(|recovery| Ok((recovery.manifest.epoch, held(&self.store, &recovery)?)));
        match read {
            Ok((6, held)) if held == expected(5..=6) => Read::Last,
            Ok((5, held)) if held == expected(5..=5) => Read::Before,
            Ok((epoch, held)) => panic!("neither of both was read, but {epoch}: {held:?}"),
            Err(CheckpointError::Damaged { name, .. }) => Read::Refused(name),
            Err(error) => panic!("{error}"),
        }
    }

    /// What is read when an object isn't what was written, by the way.
    fn expected(&self, name: &str) -> Read {
        let (manifests, segments, lookups) = (self.of("manifest"), self.of("segment"), self.of("lookups"));
        match name {
            // Both name it, so that neither can be read.
            _ if name == segments[0] => Read::Refused(name.to_owned()),
            _ if [manifests[1], segments[1], lookups[1]].contains(&name) => Read::Before,
            _ => Read::Last,
        }
    }
}

#[test]
fn a_changed_cut_or_longer_object_is_found_wherever_it_is_changed() {
    let two = Two::new();
    assert_eq!((two.names.len(), two.read()), (6, Read::Last));
    for name in &two.names {
        let bytes = two.bytes(name);
        let changed = |at: usize| {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            changed
        };
        let zeroed = |at: usize| {
            let mut zeroed = bytes.clone();
            zeroed[at..].fill(0);
            zeroed
        };
        let all = (0..bytes.len()).flat_map(|at| [changed(at), bytes[..at].to_vec()]);
        let all = all.chain((0..bytes.len()).step_by(8).map(zeroed));
        let longer = [&[0u8][..], &[0; 8], b"\n", &bytes].map(|more| [&bytes[..], more].concat());
        // A tail may be zeros as it is.
        for (number, damaged) in all.chain(longer).filter(|damaged| *damaged != bytes).enumerate() {
            two.put(name, &damaged);
            assert_eq!(two.read(), two.expected(name), "{name}, damage {number}");
        }
        two.put(name, &bytes);
    }
    assert_eq!(two.read(), Read::Last);
}

#[test]
fn a_missing_object_is_found() {
    let two = Two::new();
    for name in &two.names {
        let bytes = two.bytes(name);
        std::fs::remove_file(two.file(name)).expect("removed");
        // Without the last manifest, nobody knows that there was one.
        assert_eq!(two.read(), two.expected(name), "{name}");
        two.put(name, &bytes);
    }
}

#[test]
fn an_object_under_anothers_name_is_found() {
    let two = Two::new();
    for (name, other) in two.names.iter().flat_map(|name| two.names.iter().map(move |other| (name, other))) {
        if name == other {
            continue;
        }
        let (bytes, others) = (two.bytes(name), two.bytes(other));
        two.put(name, &others);
        assert_eq!(two.read(), two.expected(name), "{name} is what {other} was");
        // And the other way round: both are wrong now.
        two.put(other, &bytes);
        let worse = [two.expected(name), two.expected(other)];
        let found = two.read();
        assert!(worse.contains(&found) || matches!(found, Read::Refused(_)), "{name}, {other}: {found:?}");
        two.put(name, &bytes);
        two.put(other, &others);
    }
}

#[test]
fn a_stale_object_of_the_same_name_and_length_is_found() {
    let (two, stale) = (Two::new(), Two::write("one", 12..=13));
    assert_eq!(two.names, stale.names, "the same names");
    for name in &two.names {
        let (bytes, old) = (two.bytes(name), stale.bytes(name));
        if name.starts_with("segment") {
            assert_eq!(bytes.len(), old.len(), "of another run nothing but the contents differ");
        }
        if name.starts_with("manifest") {
            // A whole manifest of this number: that its objects are others is what is found.
            continue;
        }
        two.put(name, &old);
        assert_eq!(two.read(), two.expected(name), "{name}");
        two.put(name, &bytes);
    }
}

#[test]
fn a_stale_manifest_of_the_same_number_leads_to_no_mixture() {
    let (two, stale) = (Two::new(), Two::write("one", 12..=13));
    let manifests = two.of("manifest");
    two.put(manifests[1], &stale.bytes(manifests[1]));
    assert_eq!(two.read(), Read::Before, "its segments are not the ones that are there");
}
