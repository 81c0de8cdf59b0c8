//! The archive of a live run in a bucket, of a server that can be killed.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use advertisex::archive::{Catalog, Kind};
use advertisex::config::Config;
use advertisex::sinks::clickhouse::ClickHouse;
use advertisex::store::Place;
use services::S3;

use crate::archive::{check_files, program, report};
use crate::golden::{check, golden, stage};
use crate::objects::{s3, settings, until};
use crate::server;
use crate::stage::Stage;

const ARCHIVE: &str = "s3://advertisex/archive";

/// Makes runs archive into the bucket.
fn configure(stage: &mut Stage, s3: &S3, more: &str) {
    stage.rest = format!(
        "[archive]\nurl = {ARCHIVE:?}\ncold_url = \"s3://advertisex/cold\"\ninterval_ms = 100\n\
         merge_after_ms = 1000\nrow_group_rows = 100\npending_bytes_max = 65_536\n{more}{}",
        settings(s3, s3.key())
    );
    stage.configure();
}

fn catalog(stage: &Stage) -> Option<Catalog> {
    let config = Config::load(Some(&stage.root.path().join("live.toml"))).expect("valid");
    // A manifest may go while it is read.
    Catalog::open(&Place::parse(ARCHIVE).expect("a place"), &config.s3).ok()?
}

/// Records that were read, as far as they are published.
fn received(stage: &Stage) -> u64 {
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    let rows = server::rows(&clickhouse, "SELECT sum(received) FROM quality_minute_live");
    rows[0].trim_matches(['(', ')']).parse().expect("a number")
}

/// Replays an input with the settings of the run; the digests of the tables.
fn replay(stage: &Stage, input: &str, output: &str, more: &[&str]) -> serde_json::Value {
    let lookups = golden("").display().to_string();
    let replay = ["replay", "-q", "--config", "live.toml", "--lookups", &lookups, "--force"];
    program(stage, &[&replay[..], &["--input", input, "--output", output], more].concat());
    report(&stage.root.path().join(output))
}

/// What is said of an archive, or an input, that can't be read.
fn refused(stage: &Stage, input: &str) -> String {
    let lookups = golden("").display().to_string();
    let done = stage.program(&[
        "replay",
        "-q",
        "--config",
        "live.toml",
        "--input",
        input,
        "--lookups",
        &lookups,
        "--output",
        "refused",
    ]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(!stage.root.path().join("refused").exists(), "nothing is written");
    said
}

#[test]
fn an_archive_in_a_bucket_that_was_away_is_read_in_whole_and_in_part_and_when_it_is_cold() {
    let Some(mut s3) = s3() else { return };
    let Some((_kafka, mut stage)) = stage() else { return };
    configure(&mut stage, &s3, "");
    stage.produce_campaigns(&golden("campaigns.csv"));
    archive_while_the_bucket_comes_and_goes(&stage, &mut s3);
    check(&stage);
    let verify = ["verify", "--archive", ARCHIVE, "--config", "live.toml"];
    assert!(program(&stage, &verify).contains("equal: what is published"));
    let tables = read_in_whole_and_in_part(&stage, &s3);

    // The golden day is long ago.
    configure(&mut stage, &s3, "cold_after_days = 1\n");
    let said = program(&stage, &["archive", "retain", "--config", "live.toml"]);
    assert!(said.contains("were moved"), "{said}");
    let said = list_by_environment(&stage, &s3);
    assert!(said.contains("cold") && !said.contains("hot") && said.contains("2026-03-01"), "{said}");
    assert_eq!(replay(&stage, ARCHIVE, "of-cold", &[])["tables"], tables);
    program(&stage, &["replay", "-q", "--into", "clickhouse", "--config", "live.toml", "--input", ARCHIVE]);
    check(&stage);

    // State and database are lost.
    fs::remove_dir_all(stage.root.path().join("state")).expect("removed");
    ClickHouse::connect(stage.clickhouse.clone()).expect("the server").drop_database().expect("dropped");
    let rest = ["--from-archive", ARCHIVE, "--until-idle-ms", "1500"];
    program(&stage, &[&["run", "--config", "live.toml"], &rest[..]].concat());
    check(&stage);
    assert!(program(&stage, &verify).contains("equal: what is published"));
    tell_what_is_wrong(&stage, &s3);
}

/// Runs over the golden day: through a bucket that is away, and a kill.
fn archive_while_the_bucket_comes_and_goes(stage: &Stage, s3: &mut S3) {
    let epoch = || catalog(stage).map_or(0, |archive| archive.epoch);
    stage.produce_piece(0, 4, Duration::ZERO);
    let mut job = stage.start(&["--workers", "3"]);
    until("nothing is archived", || epoch() > 0);
    s3.kill().expect("it runs");
    let before = received(stage);
    stage.produce_piece(1, 4, Duration::ZERO);
    stage.produce_piece(2, 4, Duration::ZERO);
    until("nothing is published while the bucket is away", || received(stage) > before);
    // As much as may wait is less than a piece.
    thread::sleep(Duration::from_secs(3));
    let held = received(stage);
    assert!(job.is_running(), "it waits for the bucket");
    s3.restart().expect("it comes back");
    let back = epoch();
    until("nothing is archived after the bucket is back", || epoch() > back);
    until("it had not stopped reading, or does not read on", || received(stage) > held);
    job.kill();
    stage.produce_piece(3, 4, Duration::ZERO);
    stage.run_until_idle_with(2);
}

/// The digests of all tables.
fn read_in_whole_and_in_part(stage: &Stage, s3: &S3) -> serde_json::Value {
    let raw = golden("raw").display().to_string();
    let (whole, feeds) = (replay(stage, ARCHIVE, "of-archive", &[]), replay(stage, &raw, "of-feeds", &[]));
    check_files(&stage.root.path().join("of-archive"), "in a bucket");
    assert_eq!(whole["feeds"], feeds["feeds"], "no record twice and none missing");

    let range = ["--since", "2026-03-01T10:30:00Z", "--until", "2026-03-01T10:45:00Z"];
    // Files of other hours are not touched.
    let (hour, elsewhere) = (s3.file("archive/date=2026-03-01/hour=11"), stage.root.path().join("hour"));
    fs::rename(&hour, &elsewhere).expect("moved away");
    let (part, feeds) =
        (replay(stage, ARCHIVE, "part", &range), replay(stage, &raw, "part-of-feeds", &range));
    fs::rename(&elsewhere, &hour).expect("moved back");
    assert_eq!(part["tables"], feeds["tables"]);
    let skipped = |what: &str| part[what].as_u64().expect("a number");
    assert!(skipped("files_skipped") > 20 && skipped("row_groups_skipped") > 0, "{part}");
    whole["tables"].clone()
}

/// The list of the archive, by the variables that other tools know.
fn list_by_environment(stage: &Stage, s3: &S3) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_advertisex"))
        .args(["archive", "list", "--archive", ARCHIVE])
        .envs([("AWS_ENDPOINT", s3.url()), ("AWS_ALLOW_HTTP", "true")])
        .envs([("AWS_ACCESS_KEY_ID", s3.key_id()), ("AWS_SECRET_ACCESS_KEY", s3.key())])
        .current_dir(stage.root.path())
        .output()
        .expect("the program starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

fn tell_what_is_wrong(stage: &Stage, s3: &S3) {
    let said = refused(stage, "s3://advertisex/nothing");
    assert!(
        said.contains("s3://advertisex/nothing holds no manifest") && said.contains("directory"),
        "{said}"
    );
    for (kind, what) in [(Kind::Bids, "half"), (Kind::Clicks, "gone"), (Kind::Rejected, "gone")] {
        let archive = catalog(stage).expect("an archive");
        let entry = archive.files.iter().find(|file| file.kind == kind).expect("a file");
        let (file, copy) = (s3.file(&format!("cold/{}", entry.name)), stage.root.path().join("copy"));
        fs::rename(&file, &copy).expect("an object is a file there");
        if what == "half" {
            let bytes = fs::read(&copy).expect("it");
            fs::write(&file, &bytes[..bytes.len() / 2]).expect("written");
        }
        let said = refused(stage, ARCHIVE);
        let expected = if what == "half" { "is shorter than it was" } else { "there is no" };
        assert!(said.contains(&format!("s3://advertisex/cold/{}", entry.name)), "{said}");
        assert!(said.contains(expected), "{said}");
        fs::rename(&copy, &file).expect("restored");
    }
}
