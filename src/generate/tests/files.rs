//! What is in the files.

use std::fs::{self, File};
use std::path::Path;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use dataflows::model::reject::Feed;

use super::*;

fn column_text(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch.column_by_name(name).expect("the column");
    column.as_string::<i32>().iter().map(|text| text.expect("no null").to_owned()).collect()
}

fn column_number(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch.column_by_name(name).expect("the column").as_primitive::<Int64Type>().values().to_vec()
}

fn parquet_batches(path: &Path) -> Vec<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("the file"));
    builder
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .expect("Parquet")
        .map(|batch| batch.expect("a batch"))
        .collect()
}

/// Ids and amounts of one column pair of a Parquet file, in order.
fn parquet_rows(dir: &Path, kind: &str, id: &str, amount: &str) -> Vec<(String, i64)> {
    let batches = parquet_batches(&dir.join(format!("{kind}.parquet")));
    let rows =
        batches.iter().flat_map(|batch| column_text(batch, id).into_iter().zip(column_number(batch, amount)));
    rows.collect()
}

/// `text × 10^places`, rounded half to even, computed from the text as the specification asks.
fn scaled(text: &str, places: usize) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<9}");
    let exact: i128 = if text.is_empty() { 0 } else { digits.parse().expect("a decimal") };
    let unit = 10i128.pow(9 - places as u32);
    let (down, rest) = (exact / unit, exact % unit * 2);
    (if rest > unit || (rest == unit && down % 2 == 1) { down + 1 } else { down }) as i64
}

#[test]
fn raw_and_parquet_tell_the_same_events() {
    let home = temporary();
    let plan = Plan { auctions: 8_000, ..plan() };
    let (raw, columns) = (home.path().join("raw"), home.path().join("parquet"));
    let one = written(&plan, Format::Raw, &raw);
    let other = written(&plan, Format::Parquet, &columns);
    assert_eq!((one.received, one.distinct), (other.received, other.distinct));
    assert_eq!(other.planted.total(), 0);

    let good = |line: &serde_json::Value| {
        line["impression_id"].as_str().is_some_and(|id| !id.starts_with('x'))
            && line["country"] != ""
            && line["site"].is_string()
    };
    let impressions: Vec<(String, i64)> = fs::read_to_string(raw.join("impressions.jsonl"))
        .expect("impressions")
        .lines()
        .filter_map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            let price = line.rsplit_once(r#""win_price_cpm":"#)?.1.strip_suffix('}')?;
            good(&value).then(|| (value["impression_id"].as_str().unwrap_or("").to_owned(), scaled(price, 3)))
        })
        .collect();
    assert_eq!(impressions.len() as u64, one.received.impressions);
    assert_eq!(impressions, parquet_rows(&columns, "impressions", "impression_id", "cost_micros"));

    let requests = File::open(raw.join("bid_requests.avro")).expect("requests");
    let mut bids = Vec::new();
    for request in apache_avro::Reader::new(requests).expect("a container") {
        let request: Request = apache_avro::from_value(&request.expect("a datum")).expect("a request");
        if !request.auction_id.starts_with('x') && !request.auction_id.is_empty() {
            let micros = |price: f64| (price * 1_000.0).round_ties_even() as i64;
            bids.extend(request.bids.iter().map(|bid| (request.auction_id.clone(), micros(bid.price_cpm))));
        }
    }
    assert_eq!(bids.len() as u64, one.received.bids);
    assert!(bids.iter().filter(|bid| bid.0.starts_with('x')).count() == 0);
    assert_eq!(bids, parquet_rows(&columns, "bids", "auction_id", "bid_micros"));

    let mut lines = csv::Reader::from_path(raw.join("events.csv")).expect("events");
    let good = lines.records().filter_map(Result::ok).filter(|line| line[1].starts_with(['k', 'v']));
    let (mut clicks, mut conversions) = (Vec::new(), Vec::new());
    for line in good {
        let at: jiff::Timestamp = line[2].parse().expect("a time");
        match &line[0] {
            "click" => clicks.push((line[1].to_owned(), at.as_millisecond())),
            _ => conversions.push((line[1].to_owned(), scaled(&line[8], 6))),
        }
    }
    assert_eq!(clicks, parquet_rows(&columns, "clicks", "click_id", "ts"));
    assert_eq!(conversions, parquet_rows(&columns, "conversions", "conversion_id", "value_micros"));
    assert_eq!(bytes_of(&raw)["campaigns.csv"], bytes_of(&columns)["campaigns.csv"]);
}

#[derive(serde::Deserialize)]
struct Request {
    auction_id: String,
    bids: Vec<Offer>,
}

#[derive(serde::Deserialize)]
struct Offer {
    price_cpm: f64,
}

#[test]
fn every_planted_record_is_counted_and_there_is_one_of_every_reason() {
    let home = temporary();
    for (auctions, bad_records) in [(2_000, 42), (3, 10), (500, 0)] {
        let dir = home.path().join(auctions.to_string());
        let plan = Plan { auctions, bad_records, ..plan() };
        let written = written(&plan, Format::Raw, &dir);
        let of_feed = |wanted| written.planted.iter().filter(move |(feed, ..)| *feed == wanted);
        for feed in Feed::ALL {
            assert_eq!(of_feed(feed).map(|(.., count)| count).sum::<u64>(), u64::from(bad_records));
        }
        if bad_records >= 7 {
            assert_eq!(Feed::ALL.map(|feed| of_feed(feed).count()), [6, 7, 7]);
        }
        let lines = |name: &str| fs::read_to_string(dir.join(name)).expect("a feed").lines().count() as u64;
        let received = written.received;
        assert_eq!(lines("impressions.jsonl"), received.impressions + u64::from(bad_records));
        assert_eq!(lines("events.csv"), 1 + received.clicks + received.conversions + u64::from(bad_records));
        let requests = File::open(dir.join("bid_requests.avro")).expect("requests");
        let requests = apache_avro::Reader::new(requests).expect("a container").count() as u64;
        assert_eq!(requests, received.bid_requests + u64::from(bad_records));
    }
}

#[test]
fn equal_plans_make_equal_bytes_and_another_seed_does_not() {
    let home = temporary();
    let small = Plan { auctions: 3_000, ..plan() };
    for format in [Format::Raw, Format::Parquet] {
        let dirs = ["one", "two", "other"].map(|name| home.path().join(format!("{name}-{format:?}")));
        assert_eq!(written(&small, format, &dirs[0]), written(&small, format, &dirs[1]));
        written(&Plan { seed: 2, ..small.clone() }, format, &dirs[2]);
        assert_eq!(bytes_of(&dirs[0]), bytes_of(&dirs[1]));
        assert_ne!(bytes_of(&dirs[0]), bytes_of(&dirs[2]));
    }
}

#[test]
fn the_output_replaces_nothing_unasked_and_nothing_foreign_ever() {
    let home = temporary();
    let (plan, dir) = (Plan { auctions: 50, ..plan() }, home.path().join("deep/out"));
    let run = |force| write(&plan, Format::Raw, &dir, force, &mut |_| {});
    run(false).expect("a new directory");
    assert!(matches!(run(false), Err(GenerateError::NotEmpty { .. })));
    run(true).expect("ours may be replaced");
    fs::write(dir.join("diary.txt"), "dear").expect("a file");
    assert!(matches!(run(true), Err(GenerateError::NotOurs { entry, .. }) if entry == "diary.txt"));
    let dirs = fs::read_dir(home.path().join("deep")).expect("a directory").count();
    assert_eq!(dirs, 1, "something was left behind");
}

#[test]
fn a_long_id_style_and_tiny_worlds_work() {
    let home = temporary();
    let tiny = Plan { auctions: 40, campaigns: 1, advertisers: 1, users: 1, sites: 1, ..plan() };
    let written =
        written(&Plan { id_style: IdStyle::Uuid, ..tiny }, Format::Parquet, &home.path().join("out"));
    let rows = parquet_rows(&home.path().join("out"), "impressions", "impression_id", "ts");
    assert_eq!(rows.len() as u64, written.received.impressions);
    assert!(rows.iter().all(|(id, _)| id.len() == 36));
}

#[test]
fn campaigns_are_listed_once_each() {
    let table = campaigns_csv(&Plan { campaigns: 30, advertisers: 4, ..Plan::DEFAULT });
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "campaign_id,advertiser_id,name,starts,ends,daily_budget");
    assert_eq!(lines.len(), 31);
    assert!(lines[6].starts_with("c5,adv1,") && lines[6].contains(",2026-02-01,2026-04-04,"), "{}", lines[6]);
}
