//! The API of a live run: what its document says is what it does, whoever asks what, and whatever becomes
//! of ClickHouse.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::golden::{golden, stage};
use crate::server;
use crate::stage::{Stage, kafka};

/// How long anything may take.
const SOON: Duration = Duration::from_secs(60);

/// Makes runs serve; of each table so many rows are held, older windows come from ClickHouse.
fn serve(stage: &mut Stage, rows_max: usize) -> SocketAddr {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    stage.rest =
        format!("[serve]\nlisten = \"{address}\"\nrequests_per_second = 100000\nrows_max = {rows_max}\n");
    stage.configure();
    address
}

/// Asks; the status, and what the answer says. Nothing while nobody listens.
fn get(address: SocketAddr, path: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}

/// Asks until the answer is as wished for.
fn until(address: SocketAddr, path: &str, wished: impl Fn(u16, &Value) -> bool) -> (u16, Value) {
    let began = Instant::now();
    loop {
        let answer = get(address, path);
        if let Some((status, said)) = answer.as_ref().filter(|(status, said)| wished(*status, said)) {
            return (*status, said.clone());
        }
        assert!(began.elapsed() < SOON, "{path}: {answer:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_clickhouse_that_is_away_takes_older_windows_with_it_and_nothing_else() {
    let Some(mut clickhouse) = server::own() else { return };
    let Some(kafka) = kafka(services::Kafka::given_or_start(&services::KafkaSettings::default())) else {
        return;
    };
    let mut stage = Stage::set(&kafka, server::config(&clickhouse), &golden("raw"));
    let address = serve(&mut stage, 500);
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce(1, Duration::ZERO);
    let _job = stage.start(&[]);
    let all = "/tables/performance_minute?step=all&group_by=";
    let impressions = |said: &Value| said["sums"]["impressions"].as_i64();
    let (_, whole) = until(address, all, |status, said| status == 200 && impressions(said) == Some(4_946));
    let edge = whole["frontier"]["live_since"].as_i64().expect("some of it is ClickHouse's");
    let newest = format!("{all}&since={}", edge + 60_000);
    let (_, live) = until(address, &newest, |status, _| status == 200);
    assert!(live["frontier"]["history_epoch"].is_null());

    clickhouse.kill().expect("killed");
    let began = Instant::now();
    let (status, said) = get(address, all).expect("it listens");
    assert_eq!((status, said["error"]["code"].as_str()), (503, Some("history_unavailable")), "{said}");
    assert!(began.elapsed() < SOON);
    let (status, again) = get(address, &newest).expect("it listens");
    assert_eq!((status, &again["sums"]), (200, &live["sums"]), "what is held needs no ClickHouse");
    clickhouse.restart().expect("restarted");
    let (_, back) = until(address, all, |status, _| status == 200);
    assert_eq!(back["sums"], whole["sums"]);
}

#[test]
fn what_its_document_allows_is_answered_as_it_says_and_all_else_is_refused() {
    let schemathesis = match services::schemathesis() {
        Ok(found) => found,
        Err(error) => {
            return services::tell(&format!("skipped: the test of the API's document: {}", error.chain()));
        }
    };
    let Some((_kafka, mut stage)) = stage() else { return };
    let address = serve(&mut stage, 500);
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce(1, Duration::ZERO);
    let _job = stage.start(&[]);
    until(address, "/tables/reach_day", |status, said| status == 200 && said["total"].as_i64() > Some(0));
    let seed = std::env::var("ADVERTISEX_SEED").unwrap_or_else(|_| "1".to_owned());
    let mut check: Command = schemathesis;
    // A stream does not end.
    check
        .args(["run", &format!("http://{address}/api/v1/openapi.json"), "--exclude-path", "/stream"])
        .args(["--max-examples", "15", "--seed", &seed, "--phases", "coverage,fuzzing", "--no-color"])
        .current_dir(stage.root.path());
    let done = check.output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stdout);
    let closing = said.lines().rev().take(12).collect::<Vec<_>>();
    services::tell(&closing.into_iter().rev().collect::<Vec<_>>().join("\n"));
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
}
