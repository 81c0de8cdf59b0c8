//! `advertisex demo --live`: what it leaves in ClickHouse equals a replay of the same traffic.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use advertisex::config::clickhouse::Secret;

use crate::server;
use crate::stage::{check, kafka};

fn program(root: &Path, arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_advertisex"));
    let done = program.args(arguments).current_dir(root).output().expect("the program starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done
}

#[test]
fn the_live_demo_ends_with_the_tables_of_a_replay() {
    let Some(server) = server::shared() else { return };
    let Some(kafka) = kafka(services::Kafka::given_or_start(&services::KafkaSettings::default())) else {
        return;
    };
    let mut clickhouse = server::config(server);
    let Secret::Text(password) = &clickhouse.password else { panic!("the server's own password") };
    let root = tempfile::TempDir::new().expect("temporary directory");
    let text = format!(
        "[kafka]\nbootstrap_servers = {:?}\n[clickhouse]\nurl = {:?}\nuser = {:?}\npassword = {password:?}\n",
        kafka.bootstrap(),
        clickhouse.url,
        clickhouse.user,
    );
    fs::write(root.path().join("live.toml"), text).expect("written");
    let shown = program(
        root.path(),
        &["demo", "--live", "--config", "live.toml", "--auctions", "5000", "--seed", "4", "--output", "demo"],
    );
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(shown.contains("campaign_day_live"), "{shown}");

    program(
        root.path(),
        &["generate", "--quiet", "--auctions", "5000", "--seed", "4", "--days", "1", "--output", "day"],
    );
    program(root.path(), &["replay", "--quiet", "--input", "day", "--lookups", "day", "--output", "tables"]);
    "advertisex_demo".clone_into(&mut clickhouse.database);
    let tables = root.path().join("tables");
    for (table, keys) in
        [("performance_minute", 2), ("reach_day", 2), ("conversion_paths", 2), ("quality_minute", 2)]
    {
        check(&clickhouse, &tables, table, keys);
    }
}
