//! The shape of the traffic.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::*;

fn ts(record: &Record) -> i64 {
    match record {
        Record::BidRequest { ts, .. }
        | Record::Impression { ts, .. }
        | Record::Click { ts, .. }
        | Record::Conversion { ts, .. } => *ts,
    }
}

/// If this changes, so does every recorded result that names a seed: change it on purpose only.
#[test]
fn the_traffic_of_a_seed_is_pinned() {
    let plan = Plan { auctions: 2_000, ..plan() };
    let text: String = Traffic::new(&plan).map(|record| format!("{record:?}\n")).collect();
    assert_eq!(xxhash_rust::xxh3::xxh3_64(text.as_bytes()), 4_098_072_435_694_151_876);
}

#[test]
fn counts_are_near_the_plan() {
    let home = temporary();
    let plan = Plan { auctions: 200_000, ..Plan::DEFAULT };
    let written = written(&plan, Format::Raw, &home.path().join("out"));
    let Written { distinct, received, .. } = &written;
    let shown = distinct.impressions as f64;
    assert_eq!(distinct.bid_requests, 200_000);
    near("bids", distinct.bids, 470_000.0, 0.01);
    near("impressions", distinct.impressions, 128_000.0, 0.02);
    near("clicks", distinct.clicks, shown * 0.025 * 1.01, 0.05);
    near("conversions", distinct.conversions, shown * 0.008, 0.1);
    near("orphans", written.orphan_clicks, shown * 0.025 * 0.01, 0.5);
    near("requests received", received.bid_requests, 200_000.0 * 1.021, 0.005);
    assert!(written.flood_clicks >= 5 * 12);
}

#[test]
fn what_waits_in_memory_depends_on_density_not_on_length() {
    let held = |days, auctions| {
        let mut stream = Stream::new(&Plan { auctions, days, ..Plan::DEFAULT });
        let mut most = 0;
        while stream.next_event().is_some() {
            most = most.max(stream.held());
        }
        most
    };
    // Past the longest wait of a conversion, more days hold no more.
    let (short, long) = (held(10.0, 50_000), held(40.0, 200_000));
    assert!(long < short * 5 / 4, "{long} after 40 days, {short} after 10");
    assert!(long < 100, "{long} held at 5,000 auctions a day");
}

/// How far behind the latest event time seen before it each record's own is.
fn lags(plan: &Plan) -> Vec<i64> {
    let mut latest = i64::MIN;
    Traffic::new(plan)
        .map(|record| {
            latest = latest.max(ts(&record));
            latest - ts(&record)
        })
        .collect()
}

#[test]
fn traffic_has_the_disorder_asked_for() {
    let most = |plan: &Plan| lags(plan).into_iter().max().unwrap_or(0);
    let orderly = Plan { disorder_millis: 0, floods: 0, ..calm() };
    assert_eq!(most(&orderly), 0);
    let jittered = most(&Plan { disorder_millis: 120_000, ..calm() });
    assert!((60_000..=120_000).contains(&jittered), "{jittered}");
    let late = Plan { late_rate: 0.01, ..calm() };
    let count = lags(&late).into_iter().filter(|&lag| lag > late.disorder_millis).count();
    near("late records", count as u64, 0.01 * lags(&late).len() as f64, 0.3);
    assert!(most(&late) <= late.late_millis);
}

#[test]
fn arrivals_are_in_order_and_never_before_the_event() {
    let mut traffic = Traffic::new(&plan());
    let mut before = i64::MIN;
    while let Some(record) = traffic.next() {
        let arrival = traffic.arrival_millis();
        assert!(before <= arrival && ts(&record) <= arrival);
        before = arrival;
    }
    assert_eq!(traffic.auctions_done(), 20_000);
}

#[test]
fn a_flood_is_one_user_clicking_too_often_in_one_minute_on_several_impressions() {
    let plan = Plan { floods: 6, click_rate: 0.0, conversion_rate: 0.0, ..calm() };
    let mut users = HashMap::new();
    let mut clicks = Vec::new();
    for record in Traffic::new(&plan) {
        match record {
            Record::Impression { impression_id, user_id, .. } => {
                users.insert(impression_id, user_id);
            }
            Record::Click { impression_id, ts, .. } => clicks.push((impression_id, ts / 60_000)),
            _ => {}
        }
    }
    let mut floods: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for (impression, minute) in &clicks {
        if let Some(user) = users.get(impression) {
            floods.entry((minute, user)).or_default().push(impression);
        }
    }
    assert_eq!(floods.len(), 6);
    for clicked in floods.values() {
        assert!(clicked.len() > 10);
        assert_eq!(clicked.iter().collect::<BTreeSet<_>>().len(), 4);
    }
}

#[test]
fn orphans_point_nowhere_and_other_clicks_follow_their_impression() {
    let plan = Plan { orphan_rate: 0.2, floods: 0, auctions: 60_000, ..calm() };
    let mut shown = HashMap::new();
    let mut clicks = Vec::new();
    for record in Traffic::new(&plan) {
        match record {
            Record::Impression { impression_id, ts, .. } => {
                shown.insert(impression_id, ts);
            }
            Record::Click { impression_id, ts, .. } => clicks.push((impression_id, ts)),
            _ => {}
        }
    }
    let waits: Vec<i64> = clicks.iter().filter_map(|(on, ts)| Some(ts - shown.get(on)?)).collect();
    assert!(waits.iter().all(|&wait| wait > 0));
    assert!(waits.iter().any(|&wait| wait > 86_400_000), "none after the join window");
    let orphans = clicks.len() - waits.len();
    near("orphans", orphans as u64, 0.2 * waits.len() as f64, 0.25);
}

#[test]
fn paths_of_several_touches_come_about() {
    let mut campaigns = HashMap::new();
    let (mut clicks, mut conversions) = (Vec::new(), Vec::new());
    let plan = Plan { auctions: 60_000, days: 10.0, ..calm() };
    for record in Traffic::new(&plan) {
        match record {
            Record::Impression { impression_id, user_id, campaign_id, .. } => {
                let campaign: u32 = campaign_id[1..].parse().expect("a campaign");
                let advertiser = format!("adv{}", campaign % plan.advertisers);
                campaigns.insert(impression_id, (user_id, advertiser));
            }
            Record::Click { impression_id, ts, .. } => clicks.push((impression_id, ts)),
            Record::Conversion { user_id, advertiser_id, ts, .. } => {
                conversions.push(((user_id, advertiser_id), ts));
            }
            Record::BidRequest { .. } => {}
        }
    }
    let mut touches: HashMap<_, Vec<i64>> = HashMap::new();
    for (impression, ts) in &clicks {
        if let Some(pair) = campaigns.get(impression) {
            touches.entry(pair).or_default().push(*ts);
        }
    }
    let seen: HashSet<_> = campaigns.values().collect();
    let path = |(pair, at): &(_, i64)| {
        touches.get(pair).map_or(0, |clicks| clicks.iter().filter(|&ts| ts <= at).count())
    };
    let lengths: Vec<usize> = conversions.iter().map(path).collect();
    let share = |count: usize| count as f64 / conversions.len() as f64;
    let clicked = share(lengths.iter().filter(|&&length| length > 0).count());
    assert!((0.5..0.8).contains(&clicked), "{clicked} after a click");
    let several = share(lengths.iter().filter(|&&length| length > 1).count());
    assert!(several > 0.1, "{several} after several");
    let untouched = share(conversions.iter().filter(|(pair, _)| !seen.contains(pair)).count());
    assert!((0.03..0.2).contains(&untouched), "{untouched} out of the blue");
}

#[test]
fn conflicts_share_an_identity_and_nothing_else() {
    let plan = Plan { conflict_rate: 0.05, ..calm() };
    let mut versions: HashMap<String, Vec<Record>> = HashMap::new();
    for record in Traffic::new(&plan) {
        if let Record::Impression { impression_id, .. } = &record {
            versions.entry(impression_id.clone()).or_default().push(record);
        }
    }
    let conflicting = versions.values().filter(|versions| versions.len() > 1);
    assert!(conflicting.clone().all(|versions| versions[0] != versions[1]));
    near("conflicts", conflicting.count() as u64, versions.len() as f64 * 0.05, 0.2);
}
