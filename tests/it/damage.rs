//! Input of every quality: what is wrong with one file is said, and everything else goes through.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_advertisex");
/// Somebody who may not read what others keep to themselves.
const NOBODY: u32 = 65534;

fn generate(format: &str, root: &Path) {
    let arguments = ["generate", "--quiet", "--output", "feeds", "--auctions", "2000", "--seed", "9"];
    let done = Command::new(PROGRAM)
        .args(arguments)
        .args(["--format", format, "--bad-records", "0"])
        .current_dir(root)
        .status()
        .expect("the program starts");
    assert!(done.success());
}

fn replay(root: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["replay", "--quiet", "--force", "--workers", "1"]);
    command.args(["--input", "feeds", "--lookups", "feeds", "--output", "out"]).current_dir(root);
    command
}

fn run_json(root: &Path) -> serde_json::Value {
    let text = fs::read_to_string(root.join("out/run.json")).expect("run.json");
    serde_json::from_str(&text).expect("JSON")
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_file_that_may_not_be_read_is_one_reject_and_the_others_go_through() {
    let root = TempDir::new().expect("temporary directory");
    generate("raw", root.path());
    let locked = root.path().join("feeds/events.csv");
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o777)).expect("permissions");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).expect("permissions");
    let mut command = replay(root.path());
    if fs::read(&locked).is_ok() {
        // We are root, whom permissions don't bind.
        command.uid(NOBODY);
    }
    assert_success(&command.output().expect("the program starts"));
    let run = run_json(root.path());
    assert_eq!(run["feeds"]["events"]["rejected"], 1);
    assert_eq!(run["feeds"]["events"]["accepted"], 0);
    assert!(run["feeds"]["impressions"]["accepted"].as_u64().expect("a count") > 0);
    let rejects = fs::read_to_string(root.path().join("out/rejects.jsonl")).expect("rejects");
    assert!(rejects.contains("events.csv") && rejects.contains("denied"), "{rejects}");
}

#[test]
fn a_parquet_file_damaged_anywhere_is_told_and_never_a_panic() {
    let root = TempDir::new().expect("temporary directory");
    generate("parquet", root.path());
    let path = root.path().join("feeds/bids.parquet");
    let whole = fs::read(&path).expect("a file");
    assert_success(&replay(root.path()).output().expect("the program starts"));
    let received = run_json(root.path())["received_by_kind"]["bids"].as_u64().expect("a count");
    let mut told = 0;
    for place in 0..24 {
        let mut damaged = whole.clone();
        let at = whole.len() * place / 24;
        damaged[at..(at + 16).min(whole.len())].iter_mut().for_each(|byte| *byte = !*byte);
        fs::write(&path, damaged).expect("written");
        let output = replay(root.path()).output().expect("the program starts");
        assert_success(&output);
        let run = run_json(root.path());
        let rejected = run["feeds"]["bid_requests"]["rejected"].as_u64().expect("a count");
        assert!(run["received_by_kind"]["bids"].as_u64().expect("a count") <= received);
        assert!(run["received_by_kind"]["impressions"].as_u64().expect("a count") > 0);
        told += u64::from(rejected > 0);
    }
    assert!(told > 6, "damage was told in {told} of 24 places");
}

#[test]
fn a_line_of_100_mb_is_one_reject_in_bounded_memory() {
    let root = TempDir::new().expect("temporary directory");
    generate("raw", root.path());
    assert_success(&replay(root.path()).output().expect("the program starts"));
    let before = run_json(root.path());
    let mut line = b"{\"impression_id\":\"".to_vec();
    line.resize(100 << 20, b'x');
    line.push(b'\n');
    fs::write(root.path().join("feeds/impressions_long.jsonl"), line).expect("written");
    assert_success(&replay(root.path()).output().expect("the program starts"));
    let after = run_json(root.path());
    assert_eq!(after["feeds"]["impressions"]["rejected"], 1);
    assert_eq!(after["feeds"]["impressions"]["accepted"], before["feeds"]["impressions"]["accepted"]);
    let (Some(before), Some(after)) =
        (before["peak_memory_bytes"].as_u64(), after["peak_memory_bytes"].as_u64())
    else {
        return; // this system doesn't tell a process's memory
    };
    assert!(after < before + (32 << 20), "{after} bytes of memory, {before} without the line");
}
