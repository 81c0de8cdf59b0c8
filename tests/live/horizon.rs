//! A horizon of hours over days of traffic: what has expired is missed by no number, over restarts
//! too; what comes too late changes none.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use advertisex::generate::{Counts, Format, IdStyle, Plan, write};
use advertisex::sinks::clickhouse::ClickHouse;
use tempfile::TempDir;

use crate::server;
use crate::stage::{Stage, kafka};

/// The tables, with the number of their key columns.
pub const TABLES: [(&str, usize); 7] = [
    ("performance_minute", 2),
    ("performance_hour", 6),
    ("attribution_hour", 3),
    ("reach_day", 2),
    ("supply_hour", 4),
    ("quality_minute", 2),
    ("conversion_paths", 2),
];
const PIECES: usize = 6;

/// The value of a metric, all its labels together.
fn metric(port: u16, name: &str) -> f64 {
    let mut answer = String::new();
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    // It may not listen yet.
    let lines = answer.lines().filter(|_| asked.is_ok());
    let values = lines.filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<f64>().ok()).sum()
}

/// Waits until a metric says so.
fn wait(port: u16, name: &str, enough: impl Fn(f64) -> bool) -> f64 {
    let began = Instant::now();
    loop {
        let value = metric(port, name);
        if enough(value) {
            return value;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{name} is {value}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn lookups(dir: &Path) {
    let rules = "advertiser_id,click_lookback,view_lookback,half_life,default_model\n,6h,1h,,\n";
    fs::write(dir.join("attribution_rules.csv"), rules).expect("written");
}

#[test]
fn what_has_expired_is_missed_by_no_number_and_what_is_too_late_changes_none() {
    let Some(server) = server::shared() else { return };
    let Some(kafka) = kafka(services::Kafka::given_or_start(&services::KafkaSettings::default())) else {
        return;
    };
    let feeds = TempDir::new().expect("temporary directory");
    let plan = Plan {
        auctions: 6_000,
        days: 4.0,
        bad_records: 0,
        users: 500,
        late_millis: 7_200_000,
        id_style: IdStyle::Uuid,
        ..Plan::DEFAULT
    };
    let written = write(&plan, Format::Raw, feeds.path(), true, &mut |_| ()).expect("generated");
    let Counts { impressions, clicks, conversions, .. } = written.distinct;
    let ids = (impressions + clicks + conversions) as f64;
    lookups(feeds.path());
    let mut stage = Stage::set(&kafka, server::config(server), feeds.path());
    stage.in_step();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let topic = stage.topic("attribution_rules");
    stage.configure_kafka(&format!(
        "[kafka.attribution_rules]\ntopic = \"{topic}\"\n[metrics]\nlisten = \"127.0.0.1:{port}\"\n[time]\n\
         allowed_disorder_ms = 3600000\ncorrection_horizon_hours = 6\nbid_lifetime_hours = 1\n\
         boundary_interval_ms = 100\nidle_timeout_ms = 60000\n"
    ));
    stage.put_row("attribution_rules", "all", Some(",6h,1h,,"));
    stage.produce_campaigns(&feeds.path().join("campaigns.csv"));

    // 1. Four days, with a start after each piece of them, some as several processes; the last one is
    // killed.
    for piece in 0..PIECES - 1 {
        stage.produce_piece(piece, PIECES, Duration::ZERO);
        match piece {
            1 => stage.run_cluster_until_idle(2, 1),
            3 => stage.run_cluster_until_idle(2, 2),
            _ => stage.run_until_idle_with(1 + piece % 3),
        }
    }
    let mut job = stage.start(&[]);
    stage.produce_piece(PIECES - 1, PIECES, Duration::ZERO);
    wait(port, "advertisex_records_received_total", |received| received > 100.0);
    job.kill();
    let mut job = stage.start(&["--workers", "3"]);
    let expired = wait(port, "advertisex_events_expired_total", |expired| expired > 0.0);
    // Their texts go with the checkpoint in which they are expired.
    wait(port, "advertisex_id_texts", |texts| texts > 0.0 && texts < ids * 0.8);
    drop(job);
    stage.run_until_idle();
    let output = stage.program(&[
        "replay",
        "--input",
        &feeds.path().display().to_string(),
        "--lookups",
        &feeds.path().display().to_string(),
        "--output",
        "expected",
        "--workers",
        "1",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = stage.root.path().join("expected");
    TABLES.iter().for_each(|(table, keys)| stage.check(&expected, table, *keys));

    // 2. What is held is what the last days are about.
    job = stage.start(&[]);
    let live = wait(port, "advertisex_live_events", |live| live > 0.0);
    let all = stage.events() as f64;
    assert!(live < all * 0.8 && expired > 0.0, "{live} of {all} events are held, {expired} have expired");

    // 3. The first hour again, under new names: too late, and nothing but the count of rejects moves.
    let first = fs::read_to_string(feeds.path().join("impressions.jsonl")).expect("a feed");
    let late = first
        .lines()
        .next()
        .expect("an impression")
        .replace("\"impression_id\":\"", "\"impression_id\":\"late-");
    stage.put("impressions", 0, Some(late.as_bytes()), None);
    wait(port, "advertisex_records_rejected_total", |rejected| rejected > 0.0);
    drop(job);
    stage.run_until_idle();
    TABLES[..5].iter().for_each(|(table, keys)| stage.check(&expected, table, *keys));
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    let rejects = "SELECT toString(reason), toUInt64(count()) FROM rejects FINAL GROUP BY reason";
    assert_eq!(server::rows(&clickhouse, rejects), ["('too_late',1)"]);
    let counted = "SELECT toUInt64(count()), toUInt64(sum(rejected_too_late)), toUInt64(sum(received)) = \
                   toUInt64(sum(accepted) + sum(duplicate) + sum(rejected_too_late)) \
                   FROM quality_minute_live WHERE rejected_too_late > 0 AND minute > toDateTime(0)";
    assert_eq!(server::rows(&clickhouse, counted), ["(1,1,1)"]);
}
