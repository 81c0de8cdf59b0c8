//! The generator against its plan.

mod files;
mod shape;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;

fn plan() -> Plan {
    Plan { auctions: 20_000, users: 5_000, ..Plan::DEFAULT }
}

/// A plan of which nothing arrives twice or late.
fn calm() -> Plan {
    Plan { redelivery_rate: 0.0, conflict_rate: 0.0, late_rate: 0.0, ..plan() }
}

fn written(plan: &Plan, format: Format, dir: &Path) -> Written {
    write(plan, format, dir, false, &mut |_| {}).expect("traffic is written")
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn bytes_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

fn near(what: &str, got: u64, expected: f64, tolerance: f64) {
    let ratio = got as f64 / expected;
    assert!((ratio - 1.0).abs() <= tolerance, "{what}: {got}, expected about {expected}");
}
