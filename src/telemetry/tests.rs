use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use super::*;
use crate::formats::{Origin, Position, Reject};

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn what_is_told_is_shown_and_readiness_follows_the_first_publication() {
    let telemetry = Arc::new(Telemetry::default());
    let server = Server::start("127.0.0.1:0".parse().expect("an address"), Arc::clone(&telemetry));
    let server = server.expect("a free port");
    let mut batch = Batch::default();
    batch.clicks.push(Default::default());
    batch.clicks.push(Default::default());
    let origin = Origin { file: "events".into(), position: Position::Byte(0) };
    for feed in [Feed::Events, Feed::Impressions, Feed::Events] {
        batch.rejects.push(Reject::malformed(feed, origin.clone(), b"?", ""));
    }
    telemetry.batch(&batch);
    telemetry.expired(Kind::Clicks, 1);

    let answer = get(server.address(), "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for line in [
        "advertisex_records_received_total{feed=\"bid_requests\"} 0",
        "advertisex_records_received_total{feed=\"events\"} 4",
        "advertisex_records_received_total{feed=\"impressions\"} 1",
        "advertisex_records_rejected_total{feed=\"events\",reason=\"malformed\"} 2",
        "advertisex_records_rejected_total{feed=\"impressions\",reason=\"malformed\"} 1",
        "advertisex_events_expired_total{kind=\"clicks\"} 1",
        "advertisex_live_events{kind=\"clicks\"} 1",
    ] {
        assert!(answer.contains(line), "{line} is not in:\n{answer}");
    }
    assert!(get(server.address(), "/health/live").starts_with("HTTP/1.1 200"));
    assert!(get(server.address(), "/health/ready").starts_with("HTTP/1.1 503"));
    telemetry.published(1_000);
    assert!(get(server.address(), "/health/ready").starts_with("HTTP/1.1 200"));
    assert!(get(server.address(), "/nothing").starts_with("HTTP/1.1 404"));
}

#[test]
fn an_address_that_is_taken_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let error = Server::start(address, Arc::default()).expect_err("taken");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn every_name_says_its_unit() {
    let telemetry = Telemetry::default();
    let text = telemetry.text();
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in names {
        let units = [
            "_seconds",
            "_bytes",
            "_rows",
            "_records",
            "_events",
            "_segments",
            "_texts",
            "_idle",
            "_received",
            "_rejected",
            "_expired",
        ];
        assert!(name.starts_with("advertisex_") && units.iter().any(|unit| name.ends_with(unit)), "{name}");
    }
}

/// Tells something of everything that has labels: else a metric isn't shown.
fn fill(telemetry: &Telemetry) {
    let mut batch = Batch::default();
    batch.clicks.push(Default::default());
    let origin = Origin { file: "events".into(), position: Position::Byte(0) };
    batch.rejects.push(Reject::malformed(Feed::Events, origin, b"?", ""));
    telemetry.batch(&batch);
    telemetry.expired(Kind::Clicks, 1);
    telemetry.state(StateSize { state: "bids", worker: 0, rows: 1, bytes: 1 });
    let place = TopicPartition { topic: "events".into(), partition: 0 };
    let reading = Reading { greatest: EventTime::from_millis(1), behind: Some(7), idle: false };
    telemetry.partition(&place, reading);
}

#[test]
fn alerts_and_panels_ask_for_metrics_that_there_are() {
    let telemetry = Telemetry::default();
    fill(&telemetry);
    let text = telemetry.text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let endings = |kind: &str| match kind {
        "counter" => &["_total"][..],
        "histogram" => &["_bucket", "_sum", "_count"],
        _ => &[""],
    };
    let known: Vec<String> = types
        .flat_map(|(name, kind)| endings(kind).iter().map(move |ending| format!("{name}{ending}")))
        .collect();
    for file in ["deploy/prometheus/alerts.yaml", "deploy/grafana/run.json"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let asked = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        let words = asked.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let mut count = 0;
        for word in words.filter(|word| word.starts_with("advertisex_")) {
            assert!(known.iter().any(|name| name == word), "{file} asks for {word}");
            count += 1;
        }
        assert!(count > 5, "{file}");
    }
}

/// A collector that answers one request with a status, and returns what it was sent.
fn collect(listener: &std::net::TcpListener, status: &str) -> String {
    let (mut stream, _) = listener.accept().expect("a request");
    let (mut request, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut bytes).expect("readable");
        request.extend_from_slice(&bytes[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.expect("a length") {
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}")
                .expect("answered");
            return text.into_owned();
        }
    }
}

#[test]
fn a_collector_is_sent_all_metrics_again_and_again_though_it_refuses_some() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target = otlp::Target {
        url: format!("http://{}/v1/metrics", listener.local_addr().expect("bound")),
        interval: std::time::Duration::from_millis(20),
        timeout: std::time::Duration::from_secs(20),
        headers: vec![("Authorization".to_owned(), "Bearer key".to_owned())],
    };
    assert!(!format!("{target:?}").contains("key"));
    let telemetry = Arc::new(Telemetry::default());
    let mut batch = Batch::default();
    batch.clicks.push(Default::default());
    telemetry.batch(&batch);
    let exporter = otlp::Exporter::start(target, ("ads", 2), Arc::clone(&telemetry)).expect("started");
    collect(&listener, "503 Service Unavailable");
    let request = collect(&listener, "200 OK");
    // The last is sent when it ends.
    let last = std::thread::spawn(move || {
        loop {
            let request = collect(&listener, "200 OK");
            if request.contains("advertisex_published_epoch_seconds") && request.contains("1234.5") {
                return;
            }
        }
    });
    telemetry.published(1_234_500);
    drop(exporter);
    last.join().expect("the last state was sent");
    let (head, body) = request.split_once("\r\n\r\n").expect("a body");
    let head = head.to_lowercase();
    assert!(
        head.starts_with("post /v1/metrics ") && head.contains("content-type: application/json"),
        "{head}"
    );
    assert!(head.contains("authorization: bearer key"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let metrics = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().expect("metrics");
    let received =
        metrics.iter().find(|metric| metric["name"] == "advertisex_records_received").expect("told");
    let points = received["sum"]["dataPoints"].as_array().expect("points");
    assert!(points.iter().any(|point| {
        point["asInt"] == "1" && point["attributes"][0]["value"]["stringValue"] == "events"
    }));
}

#[test]
fn the_first_process_shows_what_all_of_them_tell() {
    let (first, second) = (Telemetry::default(), Telemetry::default());
    let origin = Origin { file: "events".into(), position: Position::Byte(0) };
    for (telemetry, process, epoch) in [(&first, 0, 9_000), (&second, 1, 7_000)] {
        let mut batch = Batch::default();
        batch.clicks.push(Default::default());
        batch.rejects.push(Reject::malformed(Feed::Events, origin.clone(), b"?", ""));
        telemetry.batch(&batch);
        telemetry.load(Load { process, worker: process, busy: 0.5, records_per_s: 1.0 });
        telemetry.sink(SinkState::new("clickhouse", String::new(), epoch));
        let place = TopicPartition { topic: "events".into(), partition: process as i32 };
        telemetry.partition(&place, Reading { behind: Some(3), ..Reading::default() });
    }
    second.sink(SinkState::new("clickhouse", "away".to_owned(), 7_000));
    // As it comes from another process.
    let written = bincode::serialize(&second.board()).expect("it can be written");
    let (rejected, last) = second.rejected_since(0);
    assert_eq!(second.rejected_since(last).0.len(), 0, "each is told once");
    first.other(1, bincode::deserialize(&written).expect("it can be read"), rejected);
    let shown = serde_json::to_value(first.board()).expect("JSON");
    let events = shown["feeds"].as_array().expect("feeds").iter().find(|feed| feed["feed"] == "events");
    assert_eq!(
        (&events.expect("events")["received"], &events.expect("events")["rejected"]),
        (&4.into(), &2.into())
    );
    assert_eq!(shown["rejects"][0]["count"], 2);
    assert_eq!(
        (shown["partitions"][1]["behind"].as_i64(), shown["live_events"]["clicks"].as_i64()),
        (Some(3), Some(2))
    );
    assert_eq!(shown["workers_load"].as_array().map(Vec::len), Some(2));
    let sink = &shown["sinks"][0];
    assert_eq!(
        (&sink["healthy"], &sink["message"], &sink["epoch"]),
        (&false.into(), &"away".into(), &7_000.into())
    );
    assert_eq!(first.rejects(None, None, 10).len(), 2);
}
