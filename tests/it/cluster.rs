//! Several processes: the same numbers as one, parts of one whole, all or nothing.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use advertisex::generate::{Format, IdStyle, Plan, write};
use advertisex::runtime::cluster::hosts::Hosts;
use tempfile::TempDir;

use crate::golden::{TABLES, golden};

/// So many addresses of this machine on which nobody listens.
pub fn free_hosts(processes: usize) -> Hosts {
    Hosts::parse("hosts", &free_lines(processes)).expect("valid")
}

fn free_lines(processes: usize) -> String {
    let taken: Vec<TcpListener> =
        (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    taken.iter().map(|taken| format!("{}\n", taken.local_addr().expect("an address"))).collect()
}

fn advertisex() -> Command {
    Command::new(env!("CARGO_BIN_EXE_advertisex"))
}

/// The arguments of a replay of the golden day.
pub fn replay(input: &Path, output: &Path) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let (input, lookups, output) = (text(input), text(&golden()), text(output));
    ["replay", "--input", &input, "--lookups", &lookups, "--output", &output].map(str::to_owned).to_vec()
}

/// The golden day, with its lines shared out to several files, as many processes find them.
pub fn scattered(root: &Path) -> PathBuf {
    let raw = root.join("raw");
    fs::create_dir(&raw).expect("made");
    let read = |file: &str| fs::read_to_string(golden().join("raw").join(file)).expect("feed");
    for (file, header) in [("impressions.jsonl", 0), ("events.csv", 1)] {
        let (stem, kind) = file.split_once('.').expect("a kind");
        let text = read(file);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for part in 0..5 {
            let own = lines.iter().skip(header).skip(part).step_by(5).copied();
            let text: String = lines[..header].iter().copied().chain(own).collect();
            fs::write(raw.join(format!("{stem}-{part}.{kind}")), text).expect("written");
        }
    }
    fs::copy(golden().join("raw/bid_requests.avro"), raw.join("bid_requests.avro")).expect("copied");
    raw
}

fn run(processes: usize, workers: usize, command: &[String]) -> Output {
    let (processes, workers) = (processes.to_string(), workers.to_string());
    let cluster = ["cluster", "-n", &processes, "-w", &workers, "--"];
    advertisex().args(cluster).args(command).output().expect("the program starts")
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn report(output: &Path) -> serde_json::Value {
    let text = fs::read_to_string(output.join("run.json")).expect("run.json");
    serde_json::from_str(&text).expect("JSON")
}

/// All parts of a table, or the one file of it; without headers, in order.
pub fn rows(output: &Path, table: &str) -> Vec<String> {
    let parts = match fs::read_dir(output.join(table)) {
        Ok(parts) => parts.map(|part| part.expect("an entry").path()).collect(),
        Err(_) => vec![output.join(format!("{table}.csv"))],
    };
    let mut rows: Vec<String> = Vec::new();
    for part in parts {
        let text = fs::read_to_string(&part).unwrap_or_else(|error| panic!("{part:?}: {error}"));
        let own: Vec<&str> = text.lines().skip(1).collect();
        rows.extend(own.into_iter().map(str::to_owned));
    }
    rows.sort();
    rows
}

#[test]
fn the_golden_day_is_exact_on_any_number_of_processes_and_workers() {
    let root = TempDir::new().expect("temporary directory");
    let raw = scattered(root.path());
    let mut digests = Vec::new();
    for (processes, workers, epoch_events) in [(1, 1, 0), (1, 3, 700), (2, 2, 0), (3, 1, 900)] {
        let output = root.path().join(format!("{processes}x{workers}"));
        let mut command = replay(&raw, &output);
        command.extend(["--epoch-events".to_owned(), epoch_events.to_string()]);
        let done = run(processes, workers, &command);
        assert!(done.status.success(), "{processes}x{workers}: {}", said(&done));
        for table in TABLES {
            let expected = rows(&golden().join("expected"), table);
            assert_eq!(rows(&output, table), expected, "{table} on {processes}x{workers}");
            let is_in_parts = output.join(table).join(format!("part-{:04}.csv", processes - 1)).is_file();
            assert_eq!(is_in_parts, processes > 1);
        }
        let report = report(&output);
        assert_eq!((&report["processes"], &report["workers"]), (&processes.into(), &workers.into()));
        digests.push((report["tables"].clone(), report["feeds"].clone(), report["events"].clone()));
    }
    for (at, digest) in digests.iter().enumerate() {
        assert_eq!(*digest, digests[0], "run {at}");
    }
}

#[test]
fn random_traffic_gives_the_same_digests_on_any_number_of_processes_and_workers() {
    let root = TempDir::new().expect("temporary directory");
    let seed = u64::from(rand::random::<u32>());
    // Ids that keys don't hold, so that their texts travel, too.
    let (auctions, floods, users, id_style) = (2_000, 40, 300, IdStyle::Uuid);
    let plan = Plan { auctions, seed, floods, users, id_style, conflict_rate: 0.05, ..Plan::DEFAULT };
    for (format, feeds) in [(Format::Raw, "raw"), (Format::Parquet, "parquet")] {
        let feeds = root.path().join(feeds);
        write(&plan, format, &feeds, false, &mut |_| ()).expect("generated");
        let mut digests = Vec::new();
        for (processes, workers, epoch_events) in [(1, 1, 0), (1, 3, 900), (2, 2, 500), (3, 1, 0)] {
            let output = feeds.with_extension(format!("{processes}x{workers}"));
            let text = |path: &Path| path.display().to_string();
            let (input, output_text, epoch_events) = (text(&feeds), text(&output), epoch_events.to_string());
            let command = ["replay", "--input", &input, "--lookups", &input, "--output", &output_text];
            let command = [&command[..], &["--epoch-events", &epoch_events]].concat();
            let done = run(processes, workers, &command.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert!(done.status.success(), "{processes}x{workers}, seed {seed}: {}", said(&done));
            let report = report(&output);
            digests.push((report["tables"].clone(), report["feeds"].clone()));
        }
        assert!(digests.iter().all(|digest| *digest == digests[0]), "seed {seed}: {digests:#?}");
    }
}

#[test]
fn parquet_parts_and_rejects_hold_all_there_is() {
    let root = TempDir::new().expect("temporary directory");
    let raw = scattered(root.path());
    let mut command = replay(&raw, &root.path().join("out"));
    command.extend(["--format", "parquet"].map(str::to_owned));
    let done = run(2, 1, &command);
    assert!(done.status.success(), "{}", said(&done));
    let out = root.path().join("out");
    for table in TABLES {
        assert!((0..2).all(|part| out.join(format!("{table}/part-000{part}.parquet")).is_file()), "{table}");
    }
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for part in 0..2 {
        let rejects = fs::read_to_string(out.join(format!("rejects/part-000{part}.jsonl"))).expect("rejects");
        for line in rejects.lines() {
            let reject: serde_json::Value = serde_json::from_str(line).expect("a JSON object");
            let text = |field: &str| reject[field].as_str().expect("text").to_owned();
            *counts.entry(text("feed")).or_default().entry(text("reason")).or_default() += 1;
        }
    }
    let expected = fs::read_to_string(golden().join("expected/rejects.json")).expect("rejects");
    assert_eq!(counts, serde_json::from_str(&expected).expect("JSON"));
    assert!(report(&out)["exchanged_bytes"].as_u64().expect("a number") > 100_000);
}

/// One process of a replay, started as people start them on several machines.
fn start(command: &[String], hosts: &Path, process: usize) -> Child {
    let mut started = advertisex();
    started.args(command).arg("--hosts").arg(hosts).args(["--process", &process.to_string()]);
    started.args(["--workers", "1"]).stdout(Stdio::null()).stderr(Stdio::piped());
    started.spawn().expect("the program starts")
}

/// A configuration with this in `[cluster]`.
pub fn config_file(root: &Path, cluster: &str) -> String {
    let file = root.join("cluster.toml");
    fs::write(&file, format!("[cluster]\n{cluster}\n")).expect("written");
    file.display().to_string()
}

/// What lies in a directory, hidden or not.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_process_that_fails_ends_all_and_nothing_is_published() {
    let root = TempDir::new().expect("temporary directory");
    let here = root.path().join("here");
    fs::create_dir(&here).expect("made");
    let hosts = root.path().join("hosts");
    fs::write(&hosts, free_lines(3)).expect("written");
    let mut command = replay(&scattered(root.path()), &here.join("out"));
    // Small epochs take long enough to be disturbed.
    command.extend(["--epoch-events", "20"].map(str::to_owned));
    let mut processes: Vec<Child> = (0..2).map(|process| start(&command, &hosts, process)).collect();
    let killed = start(&command, &hosts, 2);
    kill_once_it_works(killed, &here);
    let started = Instant::now();
    for (process, child) in processes.drain(..).enumerate() {
        let ended = child.wait_with_output().expect("ends");
        assert_eq!(ended.status.code(), Some(1), "process {process}: {}", said(&ended));
        let said = said(&ended);
        assert!(said.contains("error: lost the connection to process"), "process {process}: {said}");
        assert!(said.contains("nothing was published"), "process {process}: {said}");
        assert!(!said.contains("panicked"), "process {process}: {said}");
    }
    assert_eq!(names(&here), Vec::<String>::new(), "nothing is left");
    assert!(started.elapsed() < Duration::from_secs(20));
}

/// Kills a process as soon as all three have begun to write.
fn kill_once_it_works(mut child: Child, here: &Path) {
    wait_until_all_write(here, 3);
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn who_does_not_come_or_does_something_else_is_named() {
    let root = TempDir::new().expect("temporary directory");
    let hosts = root.path().join("hosts");
    fs::write(&hosts, free_lines(2)).expect("written");
    let mut command = replay(&golden().join("raw"), &root.path().join("out"));
    command.extend(["--config".to_owned(), config_file(root.path(), "connect_timeout_ms = 500")]);
    let alone = start(&command, &hosts, 0).wait_with_output().expect("ends");
    assert_eq!(alone.status.code(), Some(1));
    assert!(said(&alone).contains("process 1 did not connect to 127.0.0.1:"), "{}", said(&alone));

    config_file(root.path(), "connect_timeout_ms = 20000");
    let first = start(&command, &hosts, 0);
    let other: Vec<String> = command.iter().cloned().chain(["--epoch-events".into(), "5".into()]).collect();
    let other = start(&other, &hosts, 1).wait_with_output().expect("ends");
    let first = first.wait_with_output().expect("ends");
    for ended in [&first, &other] {
        assert_eq!(ended.status.code(), Some(1));
        assert!(said(ended).contains("its command or configuration differs"), "{}", said(ended));
    }
    assert!(!root.path().join("out").exists());
}

#[test]
fn bad_flags_are_usage_errors_that_say_what_is_expected() {
    let root = TempDir::new().expect("temporary directory");
    let hosts = root.path().join("hosts");
    fs::write(&hosts, "a:1\na:1\n").expect("written");
    let hosts = hosts.display().to_string();
    let ended = |added: &[&str]| {
        let command = replay(&golden().join("raw"), &root.path().join("out"));
        advertisex().args(command).args(added).output().expect("the program starts")
    };
    for (added, expected) in [
        (&["--hosts", &hosts, "--process", "0"][..], "hosts:2: a:1 stands in line 1 already"),
        (&["--processes", "2"], "add --process to say which"),
        (&["--processes", "2", "--process", "2"], "--process is 2, but there are 2"),
        (&["--processes", "2", "--process", "0", "--base-port", "65535"], "a lower --base-port is expected"),
        (&["--processes", "0"], "0 is not in 1.."),
        (&["--hosts", "no-such-file", "--process", "0"], "no-such-file can't be read"),
        (&["--hosts", &hosts, "--base-port", "7"], "cannot be used with"),
    ] {
        let ended = ended(added);
        assert_eq!(ended.status.code(), Some(2), "{added:?}: {}", said(&ended));
        assert!(said(&ended).contains(expected), "{added:?}: {}", said(&ended));
    }
    for (command, expected) in [
        (&["demo"][..], "run or replay is expected after --"),
        (&["replay"], "--input <DIR"),
        (&["run", "--config", "c.toml", "--process", "1"], "cannot be used multiple times"),
    ] {
        let ended = advertisex().args(["cluster", "--"]).args(command).output().expect("starts");
        assert_eq!(ended.status.code(), Some(2), "{command:?}: {}", said(&ended));
        assert!(said(&ended).contains(expected), "{command:?}: {}", said(&ended));
    }
}

#[test]
fn log_lines_of_a_cluster_say_which_process_they_are_from_and_its_exit_code_is_theirs() {
    let root = TempDir::new().expect("temporary directory");
    let out = root.path().join("out");
    fs::create_dir(&out).expect("made");
    fs::write(out.join("here"), "already").expect("written");
    let done = run(2, 1, &replay(&golden().join("raw"), &out));
    assert_eq!(done.status.code(), Some(4), "{}", said(&done));
    assert!(
        said(&done).lines().any(|line| line.starts_with("[0] error: ") || line.starts_with("[1] error: "))
    );
}

/// Waits until so many processes have opened their parts, which each does once it has reached all
/// others; before, one that goes would only be one that does not come.
pub fn wait_until_all_write(here: &Path, processes: usize) {
    let writing = || -> usize {
        let parts = names(here).into_iter().map(|pending| here.join(pending).join("rejects"));
        parts.filter_map(|parts| fs::read_dir(parts).ok()).map(Iterator::count).sum()
    };
    let until = Instant::now() + Duration::from_secs(60);
    while writing() < processes && Instant::now() < until {
        std::thread::yield_now();
    }
}
