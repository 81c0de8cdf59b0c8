//! Holds the house in order: which room imports which, and how long files are.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms of the `dataflows` crate, in order: each imports only those that stand before it.
const GRAPH_ROOMS: [&str; 4] = ["model", "rules", "operators", "graphs"];

/// Rooms of the program that know nothing of the graphs.
const EDGE_ROOMS: [&str; 10] = [
    "formats",
    "sources",
    "sinks",
    "store",
    "config",
    "generate",
    "telemetry",
    "checkpoint",
    "archive",
    "serve",
];

/// What the edge may know of the graphs: the keys of the tables, and what is added to them.
const TABLE_KEYS: [&str; 3] = [
    "dataflows::graphs::attribution::PathStep",
    "dataflows::graphs::auctions::SupplyKey",
    "dataflows::graphs::residue::Residue",
];

const LINES_MAX: usize = 420;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{dir:?}: {error}")) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The lines of a file that import or name a path, without comments and docs.
fn code_lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    text.lines().map(str::trim).filter(|line| !line.starts_with("//")).map(str::to_owned).collect()
}

fn assert_absent(files: &[PathBuf], forbidden: &[String], allowed: &[&str]) {
    let mut found = Vec::new();
    for path in files {
        for line in code_lines(path) {
            let excused = allowed.iter().any(|allowed| line.contains(allowed));
            if !excused && forbidden.iter().any(|path| line.contains(path.as_str())) {
                found.push(format!("{}: {line}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "imports against the direction of the house:\n{}", found.join("\n"));
}

#[test]
fn graphs_import_only_to_their_left() {
    for (at, room) in GRAPH_ROOMS.iter().enumerate() {
        let forbidden: Vec<String> =
            GRAPH_ROOMS[at + 1..].iter().map(|later| format!("crate::{later}")).collect();
        assert_absent(&rust_files(&root().join("dataflows/src").join(room)), &forbidden, &[]);
    }
}

#[test]
fn the_edge_knows_no_graphs_and_no_runtime() {
    let forbidden =
        ["dataflows::graphs", "dataflows::operators", "crate::runtime", "crate::cli"].map(str::to_owned);
    for room in EDGE_ROOMS {
        assert_absent(&rust_files(&root().join("src").join(room)), &forbidden, &TABLE_KEYS);
    }
}

#[test]
fn dataflows_do_no_io_and_read_no_clock() {
    let forbidden =
        ["std::fs", "std::net", "std::io", "SystemTime", "Instant::now", "tokio", "arrow"].map(str::to_owned);
    assert_absent(&rust_files(&root().join("dataflows/src")), &forbidden, &[]);
}

#[test]
fn only_the_binary_and_the_command_line_use_anyhow() {
    let files: Vec<PathBuf> = rust_files(&root().join("src"))
        .into_iter()
        .filter(|path| !path.starts_with(root().join("src/cli")))
        .collect();
    assert_absent(&files, &["anyhow".to_owned()], &[]);
}

#[test]
fn files_have_one_subject() {
    let long: Vec<String> = ["src", "dataflows/src", "tests", "benches"]
        .iter()
        .flat_map(|dir| rust_files(&root().join(dir)))
        .map(|path| (code_lines(&path).len(), path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "files that want to be two:\n{}", long.join("\n"));
}

#[test]
fn a_laptop_runs_the_servers_that_the_tests_run() {
    let read = |path| fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (compose, pinned) = (read("deploy/compose.yaml"), read("tests/services/src/registry.rs"));
    let version = |name: &str| {
        let line = pinned.lines().find(|line| line.contains(name)).expect("a pinned version");
        line.split('"').nth(1).expect("in quotes").to_owned()
    };
    let engine = version("ENGINE_VERSION: &str");
    let release = engine.split('.').take(2).collect::<Vec<_>>().join(".");
    for image in [
        format!("image: apache/kafka:{}\n", version("KAFKA_VERSION: &str")),
        format!("image: clickhouse/clickhouse-server:{release}\n"),
    ] {
        assert!(compose.contains(&image), "deploy/compose.yaml has no {image}");
    }
}
