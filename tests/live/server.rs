//! A ClickHouse to test with.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use advertisex::config::Config;
use advertisex::config::clickhouse::{ClickHouseConfig, Secret};
use advertisex::sinks::clickhouse::ClickHouse;
use services::ClickHouseSettings;

/// The server that all tests share which don't stop it; `None` when it can't be had.
pub fn shared() -> Option<&'static services::ClickHouse> {
    static SERVER: OnceLock<Option<services::ClickHouse>> = OnceLock::new();
    let start = || services::ClickHouse::given_or_start(&ClickHouseSettings::default());
    SERVER.get_or_init(|| told(start())).as_ref()
}

/// A server of the test's own.
pub fn own() -> Option<services::ClickHouse> {
    // Who can't have a shared one can't have another; it was told already.
    shared()?;
    told(services::ClickHouse::start(&ClickHouseSettings::default()))
}

fn told(server: services::Result<services::ClickHouse>) -> Option<services::ClickHouse> {
    // `.ci/run` looks for this line.
    server
        .map_err(|error| services::tell(&format!("skipped: live tests of ClickHouse: {}", error.chain())))
        .ok()
}

/// How to reach a database of the test's own on a server.
pub fn config(server: &services::ClickHouse) -> ClickHouseConfig {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let mut config = Config::load(None).expect("the defaults").clickhouse;
    config.url = server.url().to_owned();
    config.user = server.user().to_owned();
    config.password = Secret::Text(server.password().to_owned());
    config.database = format!("live_{}_{number}", std::process::id());
    config
}

/// The rows of a query, each as one text.
pub fn rows(clickhouse: &ClickHouse, sql: &str) -> Vec<String> {
    let query = clickhouse.database().query(&format!("SELECT toString(tuple(*)) FROM ({sql})"));
    clickhouse.call(sql, query.fetch_all()).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Runs a statement.
pub fn run(clickhouse: &ClickHouse, sql: &str) {
    let done = clickhouse.call(sql, clickhouse.database().query_raw(sql).execute());
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
