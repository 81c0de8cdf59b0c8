//! The ClickHouse sink against the real engine.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use advertisex::formats::dimension::Dimension;
use advertisex::names::Names;
use advertisex::sinks::clickhouse::*;
use dataflows::graphs::attribution::PathStep;
use dataflows::graphs::auctions::SupplyKey;
use dataflows::model::events::{Country, Device, Placed};
use dataflows::model::lookups::Model;
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::reject::{Feed, Reason};
use dataflows::model::time::{Day, EventTime, Hour, Minute};

use crate::server::{config, own, rows, run, shared};

/// 2026-03-01T00:00:00Z, as a day.
const DAY: u32 = 20_513;

fn epochs(first: u64, last: u64) -> Epochs {
    Epochs { first, last }
}

fn publish(clickhouse: &ClickHouse, names: &Names, upserts: &Upserts) {
    let never = AtomicBool::new(false);
    let writer = Writer::new("test", 0);
    clickhouse
        .publish(upserts, &writer, names, &never, &|_, _, error| panic!("{error}"))
        .unwrap_or_else(|error| panic!("{error}"));
}

fn impressions(impressions: i32) -> Option<Measures> {
    let spend_micros = i64::from(impressions) * 2_000;
    Some(Measures {
        bids: 2 * impressions,
        wins: impressions,
        impressions,
        clicks: 1,
        spend_micros,
        ..Measures::default()
    })
}

/// A schema in a database of its own, or nothing when there is no server.
fn with_schema() -> Option<ClickHouse> {
    let clickhouse = ClickHouse::connect(config(shared()?)).unwrap_or_else(|error| panic!("{error}"));
    clickhouse.create_schema().unwrap_or_else(|error| panic!("{error}"));
    Some(clickhouse)
}

#[test]
fn the_schema_is_created_once_and_is_what_was_asked_for() {
    let Some(clickhouse) = with_schema() else { return };
    clickhouse.create_schema().expect("again");
    clickhouse.verify_schema().expect("the same");
    assert_eq!(rows(&clickhouse, "SELECT name, version FROM schema_version"), ["('advertisex',2)"]);
    assert_eq!(clickhouse.frontier("test", 0).expect("readable"), None);
    run(&clickhouse, "ALTER TABLE reach_day ADD COLUMN note String DEFAULT ''");
    clickhouse.verify_schema().expect("a column of one's own does no harm");
}

#[test]
fn every_table_shows_what_was_published() {
    let Some(clickhouse) = with_schema() else { return };
    let names = Names::default();
    let name = |text: &str| names.name(text).expect("no collision");
    let (campaign, site) = (name("a-campaign-with-a-long-name"), name("news.example"));
    let id = |text: &str| names.id(text, EventTime::MAX).expect("no collision");
    let (country, device) = (Country::parse("DE").expect("two letters"), Device::Mobile);
    let hour = Hour(DAY * 24 + 1);
    let place = Placed { window: hour, campaign, creative: name("cr1"), site, country, device };
    let owed = [Credit { credit_micros: 500_000, revenue_micros: 7 }; Model::COUNT];
    let step = |position, touch| PathStep { position, touch, owed, ..PathStep::default() };
    let mut counts = [0; 14];
    counts[..5].copy_from_slice(&[10, 7, 1, 2, 0]);

    let mut batch = Upserts::new(epochs(1, 5));
    batch.performance_minute.push(((Minute(DAY * 1440 + 61), campaign), impressions(8)));
    batch.performance_hour.push((place, impressions(8)));
    batch.attribution_hour.push((((hour, campaign), Model::Linear), Some(owed[0])));
    batch.reach_day.push(((Day(DAY), campaign), Some(Reach { users: 4, impressions: 8 })));
    let supply = Supply { bid_requests: 5, bids: 10, wins: 0 };
    batch.supply_hour.push((SupplyKey { hour, country, device, site }, Some(supply)));
    batch.quality_minute.push(((Minute(0), Feed::Events), Some(counts)));
    let latest = EventTime::MAX.minute();
    batch.quality_minute.push(((latest, Feed::Events), Some([0; 14])));
    let path: Arc<[PathStep]> = [step(0, id("an-impression-id-that-is-long")), step(1, id("click"))].into();
    batch.conversion_paths.push((id("conversion"), Some(path)));
    batch.dimensions[Dimension::Campaign as usize].push((campaign, Some(["adv".into(), "Spring".into()])));
    let reject = Reject {
        feed: Feed::Events,
        reason: Reason::BadNumber,
        origin: "clicks".into(),
        place: 3,
        position: 9,
        record: 0,
        time: EventTime::from_millis(1_500),
        payload: vec![b'a', 0xff, 0],
        hint: "value".to_owned(),
    };
    batch.rejects.push((reject, Some(())));
    publish(&clickhouse, &names, &batch);

    let shown = |sql: &str| rows(&clickhouse, sql).join("\n");
    assert_eq!(
        shown("SELECT * EXCEPT version FROM performance_minute_live"),
        "('2026-03-01 01:01:00','a-campaign-with-a-long-name',16,8,8,0,1,0,16000,0,0,0.125,0,0.016,2,NULL,0,0.5)"
    );
    assert_eq!(
        shown("SELECT hour, site, country, device, impressions, ctr FROM performance_hour_live"),
        "('2026-03-01 01:00:00','news.example','DE','mobile',8,0.125)"
    );
    assert_eq!(
        shown("SELECT model, credit_micros, revenue_micros, conversions FROM attribution_hour_live"),
        "('linear',500000,7,0.5)"
    );
    assert_eq!(shown("SELECT day, users, frequency FROM reach_day_live"), "('2026-03-01 00:00:00',4,2)");
    assert_eq!(
        shown("SELECT bid_requests, bids, wins, bid_rate, win_rate FROM supply_hour_live"),
        "(5,10,0,2,0)"
    );
    assert_eq!(
        shown(
            "SELECT toUnixTimestamp64Second(minute), received, rejected, reject_rate FROM quality_minute_live ORDER BY 1"
        ),
        format!("(0,10,2,0.2)\n({},0,0,NULL)", latest.start_millis() / 1_000)
    );
    assert_eq!(
        shown(
            "SELECT conversion_id, touches, credits, revenues FROM conversion_paths_live WHERE model = 'linear'"
        ),
        "('conversion',['an-impression-id-that-is-long','click'],[500000,500000],[7,7])"
    );
    assert_eq!(shown("SELECT count() FROM conversion_paths_live"), "(5)");
    assert_eq!(
        shown("SELECT reason, origin, place, position, time, hex(payload) FROM rejects_live"),
        "('bad_number','clicks',3,9,'1970-01-01 00:00:01.500','61FF00')"
    );
    assert_eq!(
        shown(
            "SELECT day, advertiser_id, campaign_name, impressions, users, frequency FROM campaign_day_live"
        ),
        "('2026-03-01 00:00:00','adv','Spring',8,4,2)"
    );
    assert_eq!(shown("SELECT job, epoch, shards FROM frontier_live"), "('test',5,1)");
    assert_eq!(clickhouse.frontier("test", 0).expect("readable"), Some(5));
}

#[test]
fn the_newest_state_shows_whatever_is_written_again_or_late() {
    let Some(clickhouse) = with_schema() else { return };
    let names = Names::default();
    let key = |text: &str| (Minute(DAY * 1440), names.name(text).expect("no collision"));
    let batch = |first, last, rows: &[(&str, Option<Measures>)]| {
        let mut batch = Upserts::new(epochs(first, last));
        batch.performance_minute.extend(rows.iter().map(|(name, value)| (key(name), *value)));
        batch
    };
    let shown =
        || rows(&clickhouse, "SELECT campaign_id, impressions FROM performance_minute_live ORDER BY 1");
    let first = batch(1, 3, &[("a", impressions(1)), ("b", impressions(2))]);
    let second = batch(4, 6, &[("a", impressions(5)), ("b", None), ("c", impressions(9))]);

    publish(&clickhouse, &names, &first);
    assert_eq!(shown(), ["('a',1)", "('b',2)"]);
    publish(&clickhouse, &names, &second);
    let expected = ["('a',5)", "('c',9)"];
    assert_eq!(shown(), expected, "an update, a deletion, a new key");
    publish(&clickhouse, &names, &second);
    assert_eq!(shown(), expected, "the same batch again");
    publish(&clickhouse, &names, &first);
    publish(&clickhouse, &names, &batch(1, 4, &[("a", impressions(3)), ("b", impressions(7))]));
    assert_eq!(shown(), expected, "older states don't win");
    assert_eq!(clickhouse.frontier("test", 0).expect("readable"), Some(6), "the frontier doesn't go back");
    run(&clickhouse, "OPTIMIZE TABLE performance_minute FINAL");
    assert_eq!(shown(), expected, "merged");
    publish(&clickhouse, &names, &batch(7, 7, &[("b", impressions(4))]));
    assert_eq!(shown(), ["('a',5)", "('b',4)", "('c',9)"], "what was deleted may come back");
}

#[test]
fn one_token_is_stored_once_and_parts_are_all_stored() {
    let Some(server) = shared() else { return };
    let mut config = config(server);
    config.insert_rows_max = 3;
    let clickhouse = ClickHouse::connect(config).expect("there");
    clickhouse.create_schema().expect("created");
    let names = Names::default();
    let mut batch = Upserts::new(epochs(1, 1));
    let campaign = names.name("a").expect("no collision");
    batch.performance_minute.extend((0..10).map(|m| ((Minute(DAY * 1440 + m), campaign), impressions(1))));
    let (writer, never) = (Writer::new("test", 0), AtomicBool::new(false));
    run(&clickhouse, "SYSTEM STOP MERGES performance_minute");
    for _ in 0..2 {
        clickhouse
            .publish(&batch, &writer, &names, &never, &|_, _, error| panic!("{error}"))
            .expect("published");
        let stored = rows(&clickhouse, "SELECT count(), uniqExact(_part) FROM performance_minute");
        assert_eq!(stored, ["(10,4)"], "four parts; with the same tokens again, no more");
    }
    let restarted = Writer::new("test", 0);
    clickhouse
        .publish(&batch, &restarted, &names, &never, &|_, _, error| panic!("{error}"))
        .expect("published");
    assert_eq!(
        rows(&clickhouse, "SELECT count() FROM performance_minute"),
        ["(20)"],
        "another run is believed"
    );
    assert_eq!(rows(&clickhouse, "SELECT sum(impressions) FROM performance_minute_live"), ["(10)"]);
}

#[test]
fn a_wrong_table_a_wrong_password_and_a_lost_table_are_told_apart() {
    let Some(clickhouse) = with_schema() else { return };
    let shared = shared().expect("there");
    run(&clickhouse, "DROP TABLE supply_hour SYNC");
    let names = Names::default();
    let mut batch = Upserts::new(epochs(1, 1));
    let key = SupplyKey::default();
    batch.supply_hour.push((key, Some(Supply::default())));
    let never = AtomicBool::new(false);
    let error =
        clickhouse.publish(&batch, &Writer::new("test", 0), &names, &never, &|_, _, _| ()).expect_err("lost");
    assert_eq!(error.fault(), Fault::Schema, "{error}");
    let columns = "hour DateTime64(0, 'UTC'), site String, version UInt64";
    run(&clickhouse, &format!("CREATE TABLE supply_hour ({columns}) ENGINE = MergeTree ORDER BY hour"));
    let error = clickhouse.create_schema().expect_err("another table").to_string();
    let found = "supply_hour: column site is String, but should be LowCardinality(String); rename or drop";
    assert!(error.contains(found), "{error}");

    let mut wrong = config(shared);
    wrong.password = advertisex::config::clickhouse::Secret::Text("not-the-password".to_owned());
    let error = ClickHouse::connect(wrong).expect_err("refused");
    assert_eq!(error.fault(), Fault::Auth, "{error}");
    assert!(
        error.to_string().contains("check clickhouse.user") && !error.to_string().contains("not-the-"),
        "{error}"
    );

    let mut nowhere = config(shared);
    nowhere.url = "http://127.0.0.1:9".to_owned();
    let error = ClickHouse::connect(nowhere).expect_err("nobody there");
    assert_eq!(error.fault(), Fault::Retry, "{error}");
}

/// Epoch `e` adds the keys of minute `e` and sets all of minute 0 to `e`, and deletes minute
/// `e - 1` again when it is odd.
fn epoch(e: u64, names: &Names) -> Upserts {
    let mut batch = Upserts::new(epochs(e, e));
    for key in 0..400 {
        let campaign = names.name(&format!("campaign-{key}")).expect("no collision");
        let minute = |number: u64| (Minute(DAY * 1440 + number as u32), campaign);
        batch.performance_minute.push((minute(0), impressions(e as i32)));
        batch.performance_minute.push((minute(e), impressions(1)));
        if e > 1 && e.is_multiple_of(2) {
            batch.performance_minute.push((minute(e - 1), None));
        }
    }
    batch
}

#[test]
fn killing_the_server_amid_publishing_loses_and_doubles_nothing() {
    const LAST: u64 = 120;
    let Some(mut server) = own() else { return };
    let mut config = config(&server);
    config.retry_max = Duration::from_millis(200);
    config.queue_bytes_max = 1 << 20;
    let clickhouse = ClickHouse::connect(config.clone()).expect("there");
    clickhouse.create_schema().expect("created");
    let names = Arc::new(Names::default());
    let publisher = Publisher::start(clickhouse, Writer::new("test", 0), names.clone()).expect("a thread");

    let mut kills = 0;
    for e in 1..=LAST {
        let killed = e % 30 == 0;
        if killed {
            // The queue is full of earlier epochs, so this falls into an insert.
            server.kill().expect("killed");
            kills += 1;
        }
        let mut refused = publisher.offer(epoch(e, &names));
        if killed {
            let began = Instant::now();
            while !matches!(publisher.health(), Health::Retrying { .. }) {
                assert!(began.elapsed() < Duration::from_secs(20), "an outage shows");
                std::thread::sleep(Duration::from_millis(5));
            }
            server.restart().expect("back");
        }
        while let Err(Refused::Full(batch)) = refused {
            std::thread::sleep(Duration::from_millis(2));
            refused = publisher.offer(*batch);
        }
        refused.expect("the publisher goes on");
    }
    publisher.close().expect("published");
    assert_eq!(kills, 4);

    let clickhouse = ClickHouse::connect(config).expect("there");
    assert_eq!(clickhouse.frontier("test", 0).expect("readable"), Some(LAST));
    let sums = "SELECT minute = toDateTime64('2026-03-01', 0, 'UTC') AS first, count(), sum(impressions), \
                uniqExact(minute, campaign_id) FROM performance_minute_live GROUP BY first ORDER BY first";
    let kept = 400 * LAST / 2;
    assert_eq!(
        rows(&clickhouse, sums),
        [format!("(0,{kept},{kept},{kept})"), format!("(1,400,{},400)", 400 * LAST)]
    );
}

#[test]
fn a_publisher_without_a_server_takes_no_more_than_its_bound_and_stops_when_told() {
    let Some(server) = shared() else { return };
    let mut config = config(server);
    config.url = "http://127.0.0.1:9".to_owned();
    config.queue_bytes_max = 200_000;
    let names = Arc::new(Names::default());
    let clickhouse = ClickHouse::new(config).expect("set up without a server");
    let publisher = Publisher::start(clickhouse, Writer::new("test", 0), names.clone()).expect("a thread");
    let refused = (1..1_000).find(|e| publisher.offer(epoch(*e, &names)).is_err());
    assert!(refused.is_some_and(|e| e < 10), "{refused:?}");
    assert!(!publisher.has_room() && publisher.published().is_none());
    publisher.stop();
    assert!(matches!(publisher.close(), Err(ClickHouseError::Stopped)));
}
