//! Rejected records: in their topic and in ClickHouse, and sent again once they are corrected.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use advertisex::sinks::clickhouse::ClickHouse;

use crate::golden::{golden, stage};
use crate::server::rows;

#[test]
fn rejects_are_told_everywhere_and_a_corrected_record_counts() {
    let Some((_kafka, stage)) = stage() else { return };
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce(1, Duration::ZERO);
    stage.run_until_idle();

    // 1. The table, the topic and the list tell of the same records.
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    let ids = "SELECT concat(origin, '/', toString(place), '/', toString(position), '/', toString(record)) \
               FROM rejects_live";
    let ids: BTreeSet<String> =
        rows(&clickhouse, ids).iter().map(|row| row.trim_matches(['(', ')', '\'']).to_owned()).collect();
    assert!(ids.len() > 10, "{} rejects", ids.len());
    assert_eq!(stage.keys("rejects", ids.len()), ids);
    let run = |arguments: &[&str]| {
        let done = stage.program(&[&["rejects", "--config", "live.toml"], arguments].concat());
        let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (done.status.success(), text.concat())
    };
    let (done, list) = run(&["list", "--limit", "100000"]);
    assert!(done && ids.iter().all(|id| list.contains(id.as_str())), "{list}");
    let (_, few) = run(&["list", "--feed", "impressions", "--reason", "bad_timestamp"]);
    assert!(few.contains("bad_timestamp") && !few.contains("missing_field"), "{few}");

    // 2. A corrected record counts.
    let id =
        ids.iter().find(|id| id.starts_with(&stage.topic("impressions/"))).expect("a rejected impression");
    let (done, shown) = run(&["show", id]);
    assert!(
        done && shown.contains(&format!("id      {id}")) && shown.contains("feed    impressions"),
        "{shown}"
    );
    let payload = shown.split_once("\n\n").expect("a payload").1;
    fs::write(stage.root.path().join("same.json"), payload).expect("written");
    let (done, refused) = run(&["retry", id, "--payload", "same.json"]);
    assert!(!done && refused.contains("correct it first"), "{refused}");
    let raw = fs::read_to_string(golden("raw/impressions.jsonl")).expect("committed");
    let mut right: serde_json::Value =
        raw.lines().find_map(|line| serde_json::from_str(line).ok()).expect("a record");
    right["impression_id"] = "corrected-by-hand".into();
    fs::write(stage.root.path().join("right.json"), format!("{right}\n")).expect("written");
    let counted = "SELECT sum(accepted) FROM quality_minute_live WHERE feed = 'impressions'";
    let before = rows(&clickhouse, counted);
    let (done, said) = run(&["retry", id, "--payload", "right.json"]);
    assert!(done, "{said}");
    stage.run_until_idle();
    let number = |rows: Vec<String>| -> i64 { rows[0].trim_matches(['(', ')']).parse().expect("a number") };
    assert_eq!(number(rows(&clickhouse, counted)), number(before) + 1);

    let (done, unknown) = run(&["show", &stage.topic("impressions/0/999999/0")]);
    assert!(!done && unknown.contains("there is no reject"), "{unknown}");
}
