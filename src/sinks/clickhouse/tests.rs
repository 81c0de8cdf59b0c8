//! Rows against the schema, how batches are cut and named, and answers of a server that fails.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use clickhouse::Row;
use dataflows::model::events::{Country, Device, Placed};
use dataflows::model::measures::Measures;
use dataflows::model::time::{EventTime, Hour, Minute};

use super::tables::Table;
use super::upserts::parts;
use super::*;
use crate::config::Config;
use crate::config::clickhouse::{ClickHouseConfig, Secret};
use crate::names::Names;

fn rows_of<T: Table>(key: &T::Key, value: Option<&T::Value>, names: &Names) -> Vec<T::Row> {
    let mut rows = Vec::new();
    T::rows(key, value, 9, names, &mut |row| rows.push(row));
    rows
}

#[test]
fn rows_have_the_columns_of_the_schema() {
    fn columns<R: Row>() -> Vec<&'static str> {
        R::COLUMN_NAMES.to_vec()
    }
    let declared = schema::tables();
    for (table, columns) in [
        ("performance_minute", columns::<PerformanceMinuteRow>()),
        ("performance_hour", columns::<PerformanceHourRow>()),
        ("attribution_hour", columns::<AttributionHourRow>()),
        ("reach_day", columns::<ReachDayRow>()),
        ("supply_hour", columns::<SupplyHourRow>()),
        ("quality_minute", columns::<QualityMinuteRow>()),
        ("conversion_paths", columns::<ConversionPathRow>()),
        ("dim_campaign", columns::<CampaignRow>()),
        ("dim_advertiser", columns::<AdvertiserRow>()),
        ("dim_creative", columns::<CreativeRow>()),
        ("dim_site", columns::<SiteRow>()),
        ("rejects", columns::<RejectRow>()),
        ("frontier", columns::<FrontierRow>()),
        ("generation", columns::<GenerationRow>()),
    ] {
        let shape = declared.iter().find(|shape| shape.name == table).expect("declared");
        assert_eq!(
            shape.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            columns,
            "{table}"
        );
    }
}

#[test]
fn a_row_holds_texts_seconds_and_its_version() {
    let names = Names::default();
    let name = |text: &str| names.name(text).expect("no collision");
    let place = Placed {
        window: Hour(2),
        campaign: name("a-name-too-long-for-its-key"),
        creative: name("cr"),
        site: name(""),
        country: Country::parse("de").expect("two letters"),
        device: Device::Ctv,
    };
    let sums = Measures { bids: 3, spend_micros: -5, ..Measures::default() };
    let live = rows_of::<tables::PerformanceHour>(&place, Some(&sums), &names).remove(0);
    assert_eq!(
        (live.hour, live.campaign_id.as_str(), live.site.as_str()),
        (7_200, "a-name-too-long-for-its-key", "")
    );
    assert_eq!((live.country.as_str(), live.device, live.bids, live.spend_micros), ("DE", "ctv", 3, -5));
    assert_eq!((live.version, live.is_deleted), (9, 0));
    let gone = rows_of::<tables::PerformanceHour>(&place, None, &names).remove(0);
    let zero = PerformanceHourRow { bids: 0, spend_micros: 0, is_deleted: 1, ..live };
    assert_eq!(gone, zero);
}

#[test]
fn a_conversion_is_a_row_per_model_and_so_is_its_end() {
    let names = Names::default();
    let id = names.id("conversion", EventTime::MIN).expect("no collision");
    let gone = rows_of::<tables::ConversionPaths>(&id, None, &names);
    let models: Vec<_> = gone.iter().map(|row| row.model).collect();
    assert_eq!(models, ["first_touch", "last_touch", "linear", "position_based", "time_decay"]);
    assert!(gone.iter().all(|row| row.is_deleted == 1 && row.path.is_empty()));
}

#[test]
fn a_large_batch_is_cut_into_parts_that_hold_everything_once() {
    let upserts: Vec<_> =
        (0..10).map(|m| ((Minute(m), dataflows::model::ids::Name::new("c")), None)).collect();
    let each = tables::PerformanceMinute::bytes(&upserts[0].0, None);
    let cut =
        |rows_max, bytes_max| parts::<tables::PerformanceMinute>(&upserts, Limits { rows_max, bytes_max });
    assert_eq!(cut(4, usize::MAX), [0..4, 4..8, 8..10]);
    assert_eq!(cut(100, 5 * each), [0..5, 5..10]);
    assert_eq!(cut(100, 1).len(), 10, "an upsert larger than the limit goes alone");
    assert!(parts::<tables::PerformanceMinute>(&[], Limits { rows_max: 1, bytes_max: 1 }).is_empty());
}

#[test]
fn no_two_inserts_share_a_token() {
    let (writer, restarted) = (Writer::new("job", 0), Writer::new("job", 0));
    let mut tokens = HashSet::new();
    for writer in [&writer, &restarted, &Writer::new("job", 1), &Writer::new("other", 0)] {
        for epochs in [(1, 1), (1, 2), (2, 2)].map(|(first, last)| Epochs { first, last }) {
            for table in ["reach_day", "frontier"] {
                for part in [0..3, 3..6, 0..6] {
                    assert!(tokens.insert(writer.token(epochs, table, &part)));
                }
            }
        }
    }
    let epochs = Epochs { first: 1, last: 2 };
    assert_eq!(writer.token(epochs, "reach_day", &(0..3)), writer.token(epochs, "reach_day", &(0..3)));
}

/// A server that gives each request the next of these answers, the last again and again; how many
/// requests came is counted.
fn server(answers: &'static [(&'static str, &'static str)]) -> (ClickHouseConfig, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut config = Config::load(None).expect("the defaults").clickhouse;
    config.url = format!("http://{}", listener.local_addr().expect("bound"));
    config.password = Secret::Text("hunter2".to_owned());
    config.retry_min = Duration::from_millis(1);
    config.request_timeout = Duration::from_millis(400);
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    // The thread ends with the test's process.
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            match answers[counted.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)] {
                // It holds the line and says nothing.
                ("", _) => silent.push(stream),
                said => answer(&mut stream, said),
            }
        }
    });
    (config, requests)
}

fn answer(stream: &mut TcpStream, (status, body): (&str, &str)) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).expect("a header") > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).expect("the body");
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
}

fn publish_to(config: ClickHouseConfig) -> (ClickHouseError, u32) {
    let clickhouse = ClickHouse::new(config).expect("set up");
    let told = std::cell::Cell::new(0);
    let upserts = Upserts::new(Epochs { first: 1, last: 1 });
    let (writer, names, never) = (Writer::new("job", 0), Names::default(), AtomicBool::new(false));
    let error = clickhouse
        .publish(&upserts, &writer, &names, &never, &|failed, _, _| told.set(failed))
        .expect_err("the last answer is permanent");
    (error, told.get())
}

const DENIED: (&str, &str) = ("403 Forbidden", "Code: 516. DB::Exception: default: Authentication failed.");

#[test]
fn what_may_pass_is_repeated_until_something_permanent_comes() {
    let (config, requests) = server(&[
        ("503 Service Unavailable", ""),
        ("502 Bad Gateway", "<html><title>502 Bad Gateway</title></html>"),
        ("500 Internal Server Error", "Code: 241. DB::Exception: memory limit exceeded"),
        ("500 Internal Server Error", "Code: 252. DB::Exception: Too many parts"),
        ("", ""),
        DENIED,
    ]);
    let (error, told) = publish_to(config);
    assert_eq!((error.fault(), told, requests.load(Ordering::SeqCst)), (Fault::Auth, 5, 6), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn wrong_schema_and_rights_are_permanent_at_once() {
    let missing: &[(&str, &str)] =
        &[("404 Not Found", "Code: 60. DB::Exception: Table ads.frontier does not exist")];
    let large: &[(&str, &str)] = &[("413 Request Entity Too Large", "")];
    let denied: &[(&str, &str)] = &[DENIED];
    for (answers, fault) in [(missing, Fault::Schema), (large, Fault::TooBig), (denied, Fault::Auth)] {
        let (config, requests) = server(answers);
        let (error, _) = publish_to(config);
        assert_eq!((error.fault(), requests.load(Ordering::SeqCst)), (fault, 1), "{error}");
    }
}

#[test]
fn what_nobody_understands_is_given_up_after_a_few_attempts() {
    let (config, requests) = server(&[("418 I'm a teapot", "short and stout")]);
    let (error, _) = publish_to(config);
    assert_eq!((error.fault(), requests.load(Ordering::SeqCst)), (Fault::Other, 8), "{error}");
    assert!(
        error.to_string().contains("can't insert into frontier: bad response: short and stout"),
        "{error}"
    );
}
