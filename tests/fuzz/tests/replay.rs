//! Seeds, and whatever a fuzzer has found, go through again; and so do mutations of them.

use std::fs;
use std::path::Path;

use advertisex_fuzz::Target;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rounds of mutations of each input. `ADVERTISEX_FUZZ_ROUNDS` makes it more.
fn rounds() -> u64 {
    let text = std::env::var("ADVERTISEX_FUZZ_ROUNDS").unwrap_or_else(|_| "60".to_owned());
    text.parse().unwrap_or_else(|_| panic!("ADVERTISEX_FUZZ_ROUNDS={text} can't be read"))
}

/// What is kept of a target because it failed once: `findings/TARGET-WHAT`.
fn findings(target: Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
    let files = fs::read_dir(&dir).expect("a directory").flatten().map(|entry| entry.path());
    let of = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.split_once('-').is_some_and(|(name, _)| name == target.name())
    };
    files.filter(|path| of(path)).map(|path| fs::read(path).expect("readable")).collect()
}

fn mutated(input: &[u8], dice: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..dice.random_range(1..8) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.random_range(0..bytes.len());
        let to = (at + dice.random_range(0..40)).min(bytes.len());
        match dice.random_range(0..6) {
            0 => bytes[at] ^= 1 << dice.random_range(0..8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'"'][dice.random_range(0..6)],
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..to)),
            4 => bytes.insert(at, dice.random()),
            _ => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

fn replay(target: Target) {
    for (number, input) in target.seeds().into_iter().chain(findings(target)).enumerate() {
        target.take(&input);
        for seed in 0..rounds() {
            let input = mutated(&input, &mut ChaCha8Rng::seed_from_u64(seed));
            let taken = std::panic::catch_unwind(|| target.take(&input));
            assert!(taken.is_ok(), "{} fails on input {number}, seed {seed}: {input:?}", target.name());
        }
    }
}

macro_rules! targets {
    ($($test:ident: $target:ident)+) => { $(#[test] fn $test() { replay(Target::$target); })+ };
}

targets! {
    segments: Segment
    manifests: Manifest
    binding_logs: Bindings
    archive_manifests: Archive
    json: Json
    csv: Csv
    avro_files: AvroFile
    avro_records: AvroDatum
    avro_schemas: AvroSchema
    parquet: Parquet
    lookup_rows: Lookup
    scalars: Scalars
}
