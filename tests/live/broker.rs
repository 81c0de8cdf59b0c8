//! What only a real broker does: it keeps and loses messages, grows partitions, knows times.

use std::time::{Duration, Instant};

use advertisex::sinks::clickhouse::ClickHouse;

use crate::golden::{golden, stage};
use crate::server::{self, rows};
use crate::stage::{Stage, kafka};

/// 2026-03-01, and a second more for each number.
const TIME: i64 = 1_772_323_200_000;

fn impression(number: i64) -> Vec<u8> {
    let ts = TIME + number * 1_000;
    format!(
        r#"{{"impression_id":"i{number}","auction_id":"a{number}","timestamp":{ts},"user_id":"u","campaign_id":"c1","win_price_cpm":1}}"#
    )
    .into_bytes()
}

fn quality(stage: &Stage) -> Vec<String> {
    let Ok(clickhouse) = ClickHouse::connect(stage.clickhouse.clone()) else { return Vec::new() };
    let sql = "SELECT toString(tuple(toString(feed), sum(received), sum(accepted), sum(duplicate), \
               sum(q.rejected))) FROM quality_minute_live AS q GROUP BY feed ORDER BY feed";
    // The job may not have made the view yet.
    clickhouse.call(sql, clickhouse.database().query(sql).fetch_all()).unwrap_or_default()
}

fn await_quality(stage: &Stage, expected: &[&str]) {
    let began = Instant::now();
    while quality(stage) != expected {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?} instead of {expected:?}", quality(stage));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn messages_that_are_no_records_are_rejected_and_others_go_on() {
    let Some((_kafka, stage)) = stage() else { return };
    let large = vec![b'x'; 10 << 20];
    for payload in [Some(&large[..]), Some(b""), None, Some(b"{"), Some(&impression(1))] {
        stage.put("impressions", 0, payload, None);
    }
    stage.put("events", 0, Some(b"no commas at all"), None);
    stage.put("events", 1, None, None);
    stage.put("bid_requests", 0, Some(b"\x00\x01\x02"), None);
    stage.put("bid_requests", 2, Some(&large), None);
    stage.run_until_idle();
    let expected = ["('bid_requests',2,0,0,2)", "('events',2,0,0,2)", "('impressions',5,1,0,4)"];
    assert_eq!(quality(&stage), expected);
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    let reasons = rows(
        &clickhouse,
        "SELECT toString(feed), toString(reason), count(), max(length(payload)) FROM rejects_live \
         GROUP BY 1, 2 ORDER BY 1, 2",
    );
    assert_eq!(
        reasons,
        [
            "('bid_requests','malformed',2,4096)",
            "('events','malformed',2,16)",
            "('impressions','malformed',4,4096)"
        ]
    );
}

#[test]
fn reading_starts_at_a_time_and_finds_partitions_that_come_later() {
    let Some((_kafka, mut stage)) = stage() else { return };
    // Of the messages, not of the events; older ones than a week the broker may forget.
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let start = start.as_millis() as i64 - 60_000;
    stage.configure_kafka(&format!("start = {{ timestamp_ms = {start} }}\ndiscovery_interval_ms = 300\n"));
    stage.put("impressions", 0, Some(&impression(1)), Some(start - 1_000));
    stage.put("impressions", 0, Some(&impression(2)), Some(start + 1_000));
    stage.put("impressions", 1, Some(&impression(3)), Some(start - 1));
    let mut job = stage.start(&[]);
    await_quality(&stage, &["('impressions',1,1,0,0)"]);

    // Meanwhile nobody else may write under the same name from the same place.
    let second = stage.program(&["run", "--config", "live.toml"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && said.contains("locked"), "{said}");

    // What comes into a new partition is read from its beginning, whatever the start.
    stage.add_partitions("impressions", 5);
    stage.put("impressions", 4, Some(&impression(4)), Some(start - 5_000));
    await_quality(&stage, &["('impressions',2,2,0,0)"]);
    assert!(job.is_running());
    job.kill();
    stage.put("impressions", 3, Some(&impression(5)), None);
    stage.run_until_idle();
    assert_eq!(quality(&stage), ["('impressions',3,3,0,0)"]);
}

#[test]
fn a_run_stops_when_kafka_has_lost_what_it_needs() {
    let Some((_kafka, stage)) = stage() else { return };
    for number in 1..=4 {
        stage.put("impressions", 2, Some(&impression(number)), None);
    }
    stage.run_until_idle();
    for number in 5..=8 {
        stage.put("impressions", 2, Some(&impression(number)), None);
    }
    stage.delete_before("impressions", 2, 6);
    let done = stage.program(&["run", "--config", "live.toml", "--until-idle-ms", "1500"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{said}");
    for part in [&*stage.topic("impressions/2"), "offset 4", "earliest is 6"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert_eq!(quality(&stage), ["('impressions',4,4,0,0)"], "what was published stays");
}

/// A broker that lets in only who has a password.
fn guarded() -> services::KafkaSettings {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"broker\" \
                password=\"its-own\" user_broker=\"its-own\" user_advertisex=\"open-sesame\";";
    let properties = [
        ("listener.security.protocol.map", "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("sasl.mechanism.inter.broker.protocol", "PLAIN"),
        ("listener.name.plaintext.plain.sasl.jaas.config", jaas),
    ];
    let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    services::KafkaSettings { properties, ..Default::default() }
}

#[test]
fn a_login_is_handed_through_and_a_wrong_one_is_told() {
    let Some(server) = server::shared() else { return };
    let Some(kafka) = kafka(services::Kafka::start(&guarded())) else { return };
    let login = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "advertisex"),
        ("sasl.password", "open-sesame"),
    ];
    let stage = Stage::set_as(&login, &kafka, server::config(server), &golden("raw"));
    stage.put("impressions", 1, Some(&impression(1)), None);
    stage.run_until_idle();
    assert_eq!(quality(&stage), ["('impressions',1,1,0,0)"]);

    let file = stage.root.path().join("live.toml");
    let text = std::fs::read_to_string(&file).expect("written").replace("open-sesame", "guessed-word");
    std::fs::write(&file, text).expect("written");
    let done = stage.program(&["run", "--config", "live.toml", "--until-idle-ms", "1500"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(1) && said.contains("uthentication"), "{said}");
    assert!(!said.contains("guessed-word"), "a secret is logged: {said}");
}
