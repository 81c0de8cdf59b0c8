//! ClickHouse keeps what it acknowledged over a SIGKILL.

use std::fs;
use std::path::Path;

use services::{ClickHouse, ClickHouseSettings};
use ureq::Agent;

/// Runs a query over HTTP as a user; the text of the answer.
fn query_as(url: &str, user: &str, password: &str, sql: &str) -> Result<String, ureq::Error> {
    let agent: Agent = Agent::config_builder().proxy(None).build().into();
    let request = agent.post(url).header("X-ClickHouse-User", user).header("X-ClickHouse-Key", password);
    request.send(sql)?.body_mut().read_to_string()
}

fn query(clickhouse: &ClickHouse, sql: &str) -> Result<String, ureq::Error> {
    query_as(clickhouse.url(), clickhouse.user(), clickhouse.password(), sql)
}

fn asked(clickhouse: &ClickHouse, sql: &str) -> String {
    query(clickhouse, sql).unwrap_or_else(|error| panic!("{sql}: {error}")).trim().to_owned()
}

#[test]
fn rows_survive_a_kill_and_an_orderly_stop() {
    let mut clickhouse = ClickHouse::start(&ClickHouseSettings::default())
        .unwrap_or_else(|error| panic!("ClickHouse can't be had: {}", error.chain()));
    assert_eq!(asked(&clickhouse, "SELECT 1"), "1");
    asked(&clickhouse, "CREATE TABLE clicks (id UInt64) ENGINE = MergeTree ORDER BY id");
    asked(&clickhouse, "INSERT INTO clicks SELECT number FROM numbers(1000)");

    let (address, first) = (clickhouse.url().to_owned(), clickhouse.pid());
    clickhouse.kill().expect("a kill");
    assert!(query(&clickhouse, "SELECT 1").is_err(), "it is dead");
    clickhouse.restart().expect("a restart");
    assert_eq!(clickhouse.url(), address);
    assert_ne!(clickhouse.pid(), first);
    assert_eq!(asked(&clickhouse, "SELECT count(), sum(id) FROM clicks"), "1000\t499500");

    clickhouse.stop().expect("an orderly stop");
    clickhouse.restart().expect("a restart");
    assert_eq!(asked(&clickhouse, "SELECT count() FROM clicks"), "1000");
}

#[test]
fn nobody_gets_in_without_the_password_and_settings_arrive() {
    let settings = ClickHouseSettings {
        profile: vec![("max_execution_time".to_owned(), "17".to_owned())],
        memory_mib_max: 2048,
        ..ClickHouseSettings::default()
    };
    let clickhouse = ClickHouse::start(&settings)
        .unwrap_or_else(|error| panic!("ClickHouse can't be had: {}", error.chain()));
    assert_eq!(asked(&clickhouse, "SELECT getSetting('max_execution_time')"), "17");
    let memory = "SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'";
    assert_eq!(asked(&clickhouse, memory), (2048_u64 << 20).to_string());
    asked(&clickhouse, "CREATE TABLE clicks (id UInt64) ENGINE = MergeTree ORDER BY id");
    for (user, password) in [("advertisex", "wrong"), ("default", "")] {
        let refused = query_as(clickhouse.url(), user, password, "SELECT count() FROM clicks");
        assert!(refused.is_err(), "{user} is refused");
    }
}

#[test]
fn kept_data_has_one_server_at_a_time() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kept");
    let settings = ClickHouseSettings { data: Some(dir.clone()), ..ClickHouseSettings::default() };
    let start = || ClickHouse::start(&settings);
    let first = start().unwrap_or_else(|error| panic!("ClickHouse can't be had: {}", error.chain()));
    let error = start().err().expect("an error").to_string();
    assert!(error.contains("ended while it was starting") && error.contains("lock"), "{error}");
    drop(first);
    assert!(dir.join("data").is_dir(), "a folder of the caller's stays");
    fs::remove_dir_all(&dir).expect("removal");
}
