//! The archive of a live run in a bucket, of a server that can be killed.

use std::fs;
use std::path::Path;
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
fn an_archive_in_a_bucket_that_was_away_replays_to_the_golden_day_in_whole_in_part_and_when_it_is_cold() {
    let Some(mut s3) = s3() else { return };
    let Some((_kafka, mut stage)) = stage() else { return };
    configure(&mut stage, &s3, "");
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce_piece(0, 4, Duration::ZERO);
    let mut job = stage.start(&["--workers", "3"]);
    let epoch = |stage: &Stage| catalog(stage).map_or(0, |archive| archive.epoch);
    until("nothing is archived", || epoch(&stage) > 0);
    s3.kill().expect("it runs");
    let before = received(&stage);
    stage.produce_piece(1, 4, Duration::ZERO);
    stage.produce_piece(2, 4, Duration::ZERO);
    until("nothing is published while the bucket is away", || received(&stage) > before);
    // As much as may wait is less than a piece.
    thread::sleep(Duration::from_secs(3));
    let held = received(&stage);
    assert!(job.is_running(), "it waits for the bucket");
    s3.restart().expect("it comes back");
    let back = epoch(&stage);
    until("nothing is archived after the bucket is back", || epoch(&stage) > back);
    until("it stopped reading when too much waited, and reads on", || received(&stage) > held);
    job.kill();
    stage.produce_piece(3, 4, Duration::ZERO);
    stage.run_until_idle_with(2);
    check(&stage);

    let root = stage.root.path().to_owned();
    let raw = golden("raw").display().to_string();
    let (whole, of_feeds) =
        (replay(&stage, ARCHIVE, "of-archive", &[]), replay(&stage, &raw, "of-feeds", &[]));
    check_files(&root.join("of-archive"), "in a bucket");
    assert_eq!(whole["feeds"], of_feeds["feeds"], "no record twice and none missing");
    let verify = ["verify", "--archive", ARCHIVE, "--config", "live.toml"];
    assert!(program(&stage, &verify).contains("equal: what is published"));

    let range = ["--since", "2026-03-01T10:30:00Z", "--until", "2026-03-01T10:45:00Z"];
    let (part, of_feeds) =
        (replay(&stage, ARCHIVE, "part", &range), replay(&stage, &raw, "part-of-feeds", &range));
    assert_eq!(part["tables"], of_feeds["tables"]);
    let skipped = |what: &str| part[what].as_u64().expect("a number");
    assert!(skipped("files_skipped") > 20 && skipped("row_groups_skipped") > 0, "{part}");

    // The golden day is long ago.
    configure(&mut stage, &s3, "cold_after_days = 1\n");
    let said = program(&stage, &["archive", "retain", "--config", "live.toml"]);
    assert!(said.contains("were moved"), "{said}");
    let said = program(&stage, &["archive", "list", "--archive", ARCHIVE, "--config", "live.toml"]);
    assert!(said.contains("cold") && !said.contains("hot") && said.contains("2026-03-01"), "{said}");
    assert_eq!(replay(&stage, ARCHIVE, "of-cold", &[])["tables"], whole["tables"]);
    let into = ["replay", "-q", "--into", "clickhouse", "--config", "live.toml", "--input", ARCHIVE];
    program(&stage, &into);
    check(&stage);

    // State and database are lost.
    fs::remove_dir_all(root.join("state")).expect("removed");
    ClickHouse::connect(stage.clickhouse.clone()).expect("the server").drop_database().expect("dropped");
    let rest = ["--from-archive", ARCHIVE, "--until-idle-ms", "1500"];
    program(&stage, &[&["run", "--config", "live.toml"], &rest[..]].concat());
    check(&stage);
    assert!(program(&stage, &verify).contains("equal: what is published"));

    tell_what_is_wrong(&stage, &s3, &root);
}

fn tell_what_is_wrong(stage: &Stage, s3: &S3, root: &Path) {
    let said = refused(stage, "s3://advertisex/nothing");
    assert!(
        said.contains("s3://advertisex/nothing holds no manifest") && said.contains("directory"),
        "{said}"
    );
    for (kind, what) in [(Kind::Bids, "half"), (Kind::Clicks, "gone"), (Kind::Rejected, "gone")] {
        let archive = catalog(stage).expect("an archive");
        let entry = archive.files.iter().find(|file| file.kind == kind).expect("a file");
        let (file, copy) = (s3.file(&format!("cold/{}", entry.name)), root.join("copy"));
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
