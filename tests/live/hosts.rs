//! A live run whose processes are on hosts of their own, of which one is cut off for a while.

use std::fs;
use std::time::Duration;

use services::{ClickHouse, ClickHouseSettings, Kafka, KafkaSettings};

use crate::cluster::await_rows;
use crate::golden::{check, golden};
use crate::network::{Network, network};
use crate::server;
use crate::stage::{Job, Stage, kafka};

const HOSTS: usize = 3;
const PIECES: usize = HOSTS + 1;
/// How soon a process notices that another is silent.
const SOON: Duration = Duration::from_secs(40);

/// Starts a run with a process on each of these hosts.
fn start(stage: &Stage, network: &Network, hosts: &[usize], more: &[&str]) -> Vec<Job> {
    let lines = fs::read_to_string(network.hosts_file(stage.root.path())).expect("readable");
    let lines: Vec<&str> = lines.lines().collect();
    let names: String = hosts.iter().map(|host| format!("{}\n", lines[*host])).collect();
    fs::write(stage.root.path().join("hosts"), names).expect("written");
    let start = |(process, host): (usize, &usize)| {
        let log = fs::OpenOptions::new().create(true).append(true).open(stage.log(*host)).expect("a log");
        let mut program = network.program(*host);
        program.args(["run", "--config", "live.toml", "--hosts", "hosts", "--workers", "1"]);
        program.args(["--process", &process.to_string(), "--epoch-ms", "50"]).args(more).stderr(log);
        Job::of(program.current_dir(stage.root.path()).spawn().expect("the program starts"))
    };
    hosts.iter().enumerate().map(start).collect()
}

#[test]
fn a_host_that_is_cut_off_for_a_while_is_missed_by_no_number() {
    let Some(mut network) = network("live", HOSTS) else { return };
    let host = network.join();
    let settings = KafkaSettings { host: host.clone(), ..KafkaSettings::default() };
    let Some(broker) = kafka(Kafka::start(&settings)) else { return };
    if server::shared().is_none() {
        return;
    }
    let clickhouse = ClickHouse::start(&ClickHouseSettings { host, ..ClickHouseSettings::default() });
    let clickhouse = clickhouse.expect("the engine is here");
    let mut stage = Stage::set(&broker, server::config(&clickhouse), &golden("raw"));
    stage.rest = "[cluster]\nsilence_timeout_ms = 1000\n".to_owned();
    stage.configure();
    stage.produce_campaigns(&golden("campaigns.csv"));
    for cut in 0..HOSTS {
        let mut jobs = start(&stage, &network, &[0, 1, 2], &[]);
        stage.produce_piece(cut, PIECES, Duration::from_millis(300));
        await_rows(&stage);
        network.cut_off(cut);
        for job in &mut jobs {
            assert_eq!(job.ended(SOON).code(), Some(1), "{:#?}", stage.logs(HOSTS));
        }
        // The others go on without it, and then with it.
        let others: Vec<usize> = (0..HOSTS).filter(|host| *host != cut).collect();
        for mut job in start(&stage, &network, &others, &["--until-idle-ms", "1000"]) {
            assert!(job.ended(3 * SOON).success(), "{:#?}", stage.logs(HOSTS));
        }
        network.reconnect(cut);
    }
    stage.produce_piece(HOSTS, PIECES, Duration::ZERO);
    for mut job in start(&stage, &network, &[0, 1, 2], &["--until-idle-ms", "1500"]) {
        assert!(job.ended(3 * SOON).success(), "{:#?}", stage.logs(HOSTS));
    }
    check(&stage);
    let logs = stage.logs(HOSTS).concat();
    assert!(logs.contains("lost the connection to process") && !logs.contains("panicked"), "{logs}");
}
