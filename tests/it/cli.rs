//! The program as people run it: arguments in, files and exit codes out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn advertisex(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_advertisex"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the program starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn generate(format: &str, to: &str, directory: &Path) {
    let arguments = ["generate", "--output", to, "--auctions", "3000", "--seed", "5", "--format", format];
    let done = advertisex(&[&arguments[..], &["--days", "2", "--bad-records", "0"]].concat(), directory);
    assert_eq!(code(&done), 0, "{}", said(&done));
}

fn replay(input: &str, output: &str, more: &[&str], directory: &Path) -> Output {
    let arguments = ["replay", "--input", input, "--lookups", "raw", "--output", output];
    advertisex(&[&arguments[..], more].concat(), directory)
}

fn digests(output: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(output.join("run.json")).expect("run.json");
    let run: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let tables = run["tables"].as_array().expect("tables");
    tables.iter().map(|table| (text(&table["table"]), text(&table["digest"]))).collect()
}

#[test]
fn raw_feeds_and_canonical_history_give_the_same_tables_in_any_format() {
    let root = TempDir::new().expect("temporary directory");
    generate("raw", "raw", root.path());
    generate("parquet", "history", root.path());
    let runs = [
        ("raw", "a", &["--workers", "1"][..]),
        ("history", "b", &["--workers", "2", "--format", "parquet"]),
        ("raw", "c", &["--workers", "2", "--epoch-events", "500", "--format", "parquet"]),
    ];
    for (input, output, more) in runs {
        let done = replay(input, output, more, root.path());
        assert_eq!(code(&done), 0, "{}", said(&done));
    }
    let expected = digests(&root.path().join("a"));
    assert_eq!(expected.len(), 7);
    assert_eq!(digests(&root.path().join("b")), expected);
    assert_eq!(digests(&root.path().join("c")), expected);
    assert!(root.path().join("b/performance_hour.parquet").is_file());
}

#[test]
fn without_a_number_of_workers_all_cores_work() {
    let root = TempDir::new().expect("temporary directory");
    generate("raw", "raw", root.path());
    let done = replay("raw", "out", &[], root.path());
    assert_eq!(code(&done), 0, "{}", said(&done));
    let text = fs::read_to_string(root.path().join("out/run.json")).expect("run.json");
    let run: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let cores = std::thread::available_parallelism().expect("cores").get() as u64;
    assert_eq!(run["workers"].as_u64(), Some(cores));
    assert!(run["events"].as_u64() > Some(5000), "{text}");
}

#[test]
fn a_day_is_the_sum_of_its_halves_where_nothing_crosses_noon() {
    let root = TempDir::new().expect("temporary directory");
    generate("raw", "raw", root.path());
    let noon = "2026-03-01T12:00:00Z";
    for (output, range) in [("all", &[][..]), ("am", &["--until", noon]), ("pm", &["--since", noon])] {
        let done = replay("raw", output, range, root.path());
        assert_eq!(code(&done), 0, "{}", said(&done));
    }
    // Impressions count at their own time, so their sums split cleanly.
    let impressions = |output: &str| -> i64 {
        let path = root.path().join(output).join("reach_day.csv");
        let mut rows = csv::Reader::from_path(path).expect("a table");
        rows.records().map(|row| row.expect("a row")[3].parse::<i64>().expect("a count")).sum()
    };
    assert!(impressions("am") > 0);
    assert_eq!(impressions("am") + impressions("pm"), impressions("all"));
}

#[test]
fn an_output_directory_is_replaced_by_force_only() {
    let root = TempDir::new().expect("temporary directory");
    generate("raw", "raw", root.path());
    assert_eq!(code(&replay("raw", "out", &[], root.path())), 0);
    let refused = replay("raw", "out", &[], root.path());
    assert_eq!(code(&refused), 4);
    assert!(said(&refused).contains("--force"), "{}", said(&refused));
    assert_eq!(code(&replay("raw", "out", &["--force"], root.path())), 0);
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_left_behind() {
    let root = TempDir::new().expect("temporary directory");
    generate("raw", "raw", root.path());
    fs::create_dir(root.path().join("empty")).expect("directory");

    let missing = replay("nowhere", "out", &[], root.path());
    assert_eq!(code(&missing), 1);
    assert!(said(&missing).contains("nowhere"), "{}", said(&missing));
    let empty = replay("empty", "out", &[], root.path());
    assert_eq!(code(&empty), 1);
    assert!(said(&empty).contains("impressions"), "{}", said(&empty));
    let arguments = ["replay", "--input", "raw", "--lookups", "empty", "--output", "out"];
    let no_lookups = advertisex(&arguments, root.path());
    assert_eq!(code(&no_lookups), 3);
    assert!(said(&no_lookups).contains("campaigns.csv"), "{}", said(&no_lookups));
    assert_eq!(code(&advertisex(&["replay", "--input", "raw"], root.path())), 2);

    let mut left: Vec<_> = fs::read_dir(root.path())
        .expect("lists")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["empty", "raw"]);
}

#[test]
fn a_bad_configuration_is_named_with_its_line() {
    let root = TempDir::new().expect("temporary directory");
    fs::write(root.path().join("bad.toml"), "[replay]\nworkers = 1\nepoch_event = 5\n").expect("writes");
    let checked = advertisex(&["check", "bad.toml"], root.path());
    assert_eq!(code(&checked), 3);
    let text = said(&checked);
    assert!(text.contains("bad.toml:3") && text.contains("epoch_events"), "{text}");

    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/ipinyou.toml");
    let example = example.to_str().expect("a path");
    assert_eq!(code(&advertisex(&["check", example], root.path())), 0);
    let printed = advertisex(&["check", example, "--print"], root.path());
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    fs::write(root.path().join("whole.toml"), text).expect("writes");
    assert_eq!(code(&advertisex(&["check", "whole.toml"], root.path())), 0, "what is printed is valid");
}

#[test]
fn a_changed_rule_changes_the_replay() {
    let root = TempDir::new().expect("temporary directory");
    generate("raw", "raw", root.path());
    fs::write(
        root.path().join("rules.csv"),
        "advertiser_id,click_lookback,view_lookback,half_life,default_model\n,,,,first_touch\n",
    )
    .expect("writes");
    assert_eq!(code(&replay("raw", "last", &[], root.path())), 0);
    assert_eq!(code(&replay("raw", "first", &["--rules", "rules.csv"], root.path())), 0);
    let (last, first) = (digests(&root.path().join("last")), digests(&root.path().join("first")));
    assert_ne!(last["performance_hour"], first["performance_hour"], "revenue follows the default model");
    assert_eq!(last["attribution_hour"], first["attribution_hour"], "every model is published anyway");
    assert_eq!(last["supply_hour"], first["supply_hour"]);
}

#[test]
fn the_demo_leaves_its_tables() {
    let root = TempDir::new().expect("temporary directory");
    let done = advertisex(&["demo", "--auctions", "2000"], root.path());
    assert_eq!(code(&done), 0, "{}", said(&done));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(text.contains("24:00") && text.contains("site0 is cleared"), "{text}");
    assert_eq!(digests(&root.path().join("advertisex-demo/tables")).len(), 7);
    // All that was changed on the way was withdrawn again, so a replay agrees.
    let day = "advertisex-demo/feeds";
    let arguments = ["replay", "--input", day, "--lookups", day, "--output", "again", "--workers", "2"];
    assert_eq!(code(&advertisex(&arguments, root.path())), 0);
    assert_eq!(digests(&root.path().join("again")), digests(&root.path().join("advertisex-demo/tables")));
}

#[test]
fn completions_are_printed() {
    let root = TempDir::new().expect("temporary directory");
    for shell in ["bash", "zsh", "fish"] {
        let done = advertisex(&["completions", shell], root.path());
        assert_eq!(code(&done), 0);
        assert!(String::from_utf8_lossy(&done.stdout).contains("advertisex"));
    }
}

#[test]
fn the_schema_is_printed_for_a_database_and_for_no_strange_name() {
    let root = TempDir::new().expect("temporary directory");
    let done = advertisex(&["schema", "--database", "ads"], root.path());
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(code(&done), 0, "{}", said(&done));
    assert!(printed.contains("CREATE DATABASE IF NOT EXISTS ads;\n\nUSE ads;"), "{printed}");
    assert!(printed.contains("CREATE TABLE IF NOT EXISTS performance_minute\n"), "{printed}");
    let done = advertisex(&["schema", "--database", "ads; DROP"], root.path());
    assert_eq!(code(&done), 1);
    assert!(said(&done).contains("letters, digits and _ are expected"), "{}", said(&done));
}

#[test]
fn a_password_is_covered_when_a_configuration_is_printed() {
    let root = TempDir::new().expect("temporary directory");
    fs::write(root.path().join("my.toml"), "[clickhouse]\npassword = \"hunter2\"\n").expect("written");
    let done = advertisex(&["check", "my.toml", "--print"], root.path());
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(printed.contains("password = \"***\"") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn a_replay_goes_into_files_or_into_clickhouse() {
    let root = TempDir::new().expect("temporary directory");
    let into = ["--into", "clickhouse", "--config", "live.toml"];
    for (arguments, expected) in [
        (&[][..], "--output <DIR>"),
        (&[&into[..], &["--output", "tables"]].concat(), "cannot be used with '--output <DIR>'"),
        (&into[..2], "--config <FILE>"),
        (&[&into[..], &["--since", "2026-03-01T00:00:00Z"]].concat(), "'--since <T>'"),
        (&["--output", "tables", "--job", "ads"], "--into <INTO>"),
    ] {
        let done = advertisex(&[&["replay", "--input", "."], arguments].concat(), root.path());
        assert_eq!(code(&done), 2, "{arguments:?}: {}", said(&done));
        assert!(said(&done).contains(expected), "{arguments:?}: {}", said(&done));
    }
}
