//! The query API over real sockets: who may see what, what is said to whom asks strangely, and that
//! nothing of what one advertiser owns shows in what another is told.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use advertisex::serve::http::Limits;
use advertisex::serve::openapi;
use serde_json::{Value, json};

use crate::site::{HOUR, Site, bearer, bearers, limits, request};

/// Alpha's campaigns are there in both; the others' only in the second.
fn two_sites() -> [Site; 2] {
    let [mut alone, mut shared] = [(); 2].map(|()| Site::open(bearers(), limits()));
    for hour in [1, 2, 30] {
        for campaign in ["alpha-1", "alpha 2, \"quoted\""] {
            alone.publish(hour, campaign, Some("alpha"));
            shared.publish(hour, campaign, Some("alpha"));
        }
        shared.publish(hour, "bravo-1", Some("bravo"));
        shared.publish(hour, "nobody-1", None);
    }
    shared.publish_supply();
    for site in [&mut alone, &mut shared] {
        site.reach(1_000);
    }
    [alone, shared]
}

/// Values to ask with, for any parameter.
fn values(name: &str) -> &'static [&'static str] {
    match name {
        "since" | "until" => &["0", "1970-01-02T00:00:00Z", "3600000"],
        "step" => &["minute", "hour", "day", "all"],
        "group_by" => &["", "campaign_id", "campaign_id,site", "device"],
        "campaign_id" => &["alpha-1", "bravo-1", "nobody-1"],
        "advertiser_id" => &["alpha", "bravo", ""],
        "creative_id" => &["creative of bravo-1", "creative of alpha-1"],
        "site" => &["news.example"],
        "conversion_id" => &["conversion of bravo-1 1", "conversion of alpha-1 1"],
        "sort" => &["-time", "time", "-spend_micros,campaign_id", "users"],
        "limit" => &["0", "1", "1000"],
        "offset" => &["0", "1"],
        "format" => &["csv", "parquet", "json"],
        "q" => &["performance_minute", "performance_hour?step=all&group_by=campaign_id&advertiser_id=bravo"],
        _ => &["DE", "mobile", "last_touch", "events", "malformed"],
    }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Every address that the document describes, asked with no parameter, with each one alone, and with
/// each two.
fn addresses() -> BTreeSet<String> {
    let document = openapi::document(false);
    let mut addresses = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let get = &methods["get"];
        let parameters = get["parameters"].as_array().cloned().unwrap_or_default();
        let in_query = |parameter: &&Value| parameter["in"] == "query";
        let names: Vec<_> = parameters
            .iter()
            .filter(in_query)
            .map(|parameter| parameter["name"].as_str().expect("a name"))
            .collect();
        let paths: Vec<String> = match path.contains("{dimension}") {
            true => ["campaign", "advertiser", "creative", "site"]
                .map(|dimension| path.replace("{dimension}", dimension))
                .into(),
            false => vec![path.clone()],
        };
        for path in paths {
            if path == "/stream" {
                // Streams don't end; they have a test of their own.
                continue;
            }
            addresses.insert(path.clone());
            for (at, one) in names.iter().enumerate() {
                for value in values(one) {
                    addresses.insert(format!("{path}?{}", encoded(&[(one, value)])));
                    for other in &names[at + 1..] {
                        for more in values(other) {
                            addresses.insert(format!("{path}?{}", encoded(&[(one, value), (other, more)])));
                        }
                    }
                }
            }
        }
    }
    addresses
}

#[test]
fn nothing_of_others_changes_what_a_viewer_is_told() {
    let [alone, shared] = two_sites();
    let addresses = addresses();
    assert!(addresses.len() > 2_000, "{}", addresses.len());
    let mut good = 0;
    for address in &addresses {
        // Of these the first says what time it is, the others are the same for all.
        if address.starts_with("/session") || address.starts_with("/openapi") {
            continue;
        }
        for token in ["alpha-viewer", "alpha-analyst"] {
            let (here, there) = (alone.get(token, address), shared.get(token, address));
            assert_eq!(here, there, "{token} {address}");
            good += usize::from(here.0 == 200);
            assert!(matches!(here.0, 200 | 400 | 403 | 422), "{address}: {here:?}");
        }
    }
    assert!(good > 1_000, "{good}");
    let seen = shared.json("bravo-viewer", "/tables/performance_minute");
    assert_eq!(seen["total"], 3, "there was something to be seen: {seen}");
}

#[test]
fn a_stream_tells_a_viewer_nothing_of_others() {
    let [mut alone, mut shared] = two_sites();
    let questions = [
        ("q", "performance_minute?step=all&group_by="),
        ("q", "performance_hour?group_by=campaign_id,site"),
        ("q", "attribution_hour?step=day"),
        ("q", "reach_day?advertiser_id=bravo"),
    ];
    let address = format!("GET /api/v1/stream?{}", encoded(&questions));
    let open = |site: &Site| {
        let mut stream = TcpStream::connect(site.server.address()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let text = format!("{address} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", bearer("alpha-viewer"));
        stream.write_all(text.as_bytes()).expect("asked");
        stream
    };
    let mut streams = [open(&alone), open(&shared)];
    let until = |stream: &mut TcpStream, epoch: u64| {
        let mut text = Vec::new();
        let (end, began) = (format!("\"epoch\":{epoch},"), Instant::now());
        while !String::from_utf8_lossy(&text).contains(&format!("event: frontier\nid: {epoch}\n")) {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).unwrap_or_else(|error| panic!("{end}: {error}"));
            assert!(read > 0 && began.elapsed() < Duration::from_secs(20), "the stream goes on");
            text.extend_from_slice(&bytes[..read]);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let data = text.lines().filter(|line| line.starts_with("data: {\"query\""));
        data.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut told: [Vec<String>; 2] = Default::default();
    for (told, stream) in told.iter_mut().zip(&mut streams) {
        told.extend(until(stream, 1_000));
    }
    for (site, is_shared) in [(&mut alone, false), (&mut shared, true)] {
        site.publish(31, "alpha-1", Some("alpha"));
        if is_shared {
            site.publish(31, "bravo-1", Some("bravo"));
        }
        site.reach(2_000);
        // A campaign changes hands.
        site.publish(32, "alpha-1", Some("charlie"));
        site.reach(3_000);
    }
    for (told, stream) in told.iter_mut().zip(&mut streams) {
        told.extend(until(stream, 3_000));
    }
    let [here, there] = &told;
    assert!(here.len() >= 8, "all of it, a change, a change of hands: {here:?}");
    assert_eq!(here, there);
}

#[test]
fn who_may_not_is_told_so() {
    let [_, site] = two_sites();
    assert_eq!(site.get("", "/session").0, 401);
    assert_eq!(site.get("a-token-that-nobody-has", "/session").0, 401);
    assert_eq!(site.json("analyst", "/session")["role"], "analyst");
    let cases = [
        ("alpha-viewer", "/tables/supply_hour", 403),
        ("alpha-viewer", "/tables/quality_minute", 403),
        ("alpha-analyst", "/tables/supply_hour", 403),
        ("alpha-viewer", "/dimensions/site", 403),
        ("alpha-viewer", "/operator", 403),
        ("analyst", "/operator", 403),
        ("analyst", "/rejects", 403),
        ("alpha-viewer", "/stream?q=supply_hour", 403),
        ("analyst", "/tables/supply_hour", 200),
        ("operator", "/operator", 200),
        ("operator", "/rejects", 200),
    ];
    for (token, path, status) in cases {
        let (found, body) = site.get(token, path);
        assert_eq!(found, status, "{token} {path}: {body}");
        if status == 403 {
            assert!(body.contains("this needs the role"), "{body}");
        }
    }
}

#[test]
fn a_browser_signs_in_with_a_cookie_that_no_script_reads() {
    let [_, site] = two_sites();
    let address = site.server.address();
    let sign_in = |body: &str| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let length = body.len();
        write!(stream, "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let answer = sign_in(&json!({ "token": "analyst" }).to_string());
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let shown = format!("Cookie: other=1; {}\r\n", cookie.split(';').next().expect("a value"));
    let (status, body) = request(address, "GET /api/v1/session", &shown, "");
    assert!(status == 200 && body.contains("\"analyst\""), "{body}");
    for wrong in ["", "{}", "{\"token\":1}", "[]", "{\"token\":\"no\"}"] {
        assert!(!sign_in(wrong).starts_with("HTTP/1.1 2"), "{wrong}");
    }
}

#[test]
fn strange_questions_are_answered_and_nothing_breaks() {
    let [_, site] = two_sites();
    let cases = [
        ("/tables/performance_minute?limit=-1", 400, "whole number"),
        ("/tables/performance_minute?limit=10001", 400, "10000"),
        ("/tables/performance_minute?since=yesterday", 400, "milliseconds"),
        ("/tables/performance_minute?since=99999999999999999999", 400, "milliseconds"),
        ("/tables/performance_minute?step=second", 400, "minute, hour, day, all"),
        ("/tables/reach_day?step=hour", 400, "day, all"),
        ("/tables/performance_minute?site=x", 400, "campaign_id"),
        ("/tables/performance_minute?sort=site", 400, "no column"),
        ("/tables/performance_minute?group_by=sites", 400, "no key column"),
        ("/tables/performance_hour?country=Germany", 400, "no value"),
        ("/tables/performance_hour?format=xml", 400, "csv or parquet"),
        ("/tables/system.users", 404, "no table"),
        ("/tables/..%2f..%2fetc", 404, "no table"),
        ("/stream", 400, "questions are expected"),
        ("/stream?q=performance_minute%3Flimit%3D3", 400, "all rows"),
        ("/nothing", 404, "no such resource"),
        ("/tables/performance_minute?%FF%FE=%00", 400, "no such parameter"),
    ];
    for (path, status, said) in cases {
        let (found, body) = site.get("analyst", path);
        assert!(found == status && body.contains(said), "{path}: {found} {body}");
        let error: Value = serde_json::from_str(&body).expect("errors are JSON");
        assert!(error["error"]["code"].is_string());
    }
    let address = site.server.address();
    let many = (0..201).map(|n| format!("campaign_id=c{n}")).collect::<Vec<_>>().join("&");
    assert_eq!(site.get("analyst", &format!("/tables/performance_minute?{many}")).0, 400);
    for line in ["GET /api/v1/session\r\nX: y", "\0\0\0", "GET /\x7f", "PUT /api/v1/session", "DELETE /"] {
        let (status, _) = request(address, line, "", "");
        assert!(matches!(status, 0 | 400 | 404 | 405), "{line:?}: {status}");
    }
    let long = "x".repeat(200_000);
    assert!(matches!(site.get("analyst", &format!("/tables/{long}")).0, 0 | 400 | 414 | 431));
    let (status, _) = request(address, "POST /api/v1/session", "", &long);
    assert!(matches!(status, 0 | 413), "{status}");
    assert_eq!(site.json("analyst", "/tables/performance_minute?step=all&group_by=")["total"], 1);
}

#[test]
fn whoever_asks_too_often_waits() {
    let limits = Limits { requests_per_second: NonZeroU32::new(5).expect("above 0"), ..limits() };
    let mut site = Site::open(bearers(), limits);
    site.publish(1, "alpha-1", Some("alpha"));
    let statuses: Vec<_> = (0..40).map(|_| site.get("analyst", "/session").0).collect();
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    assert_eq!(site.get("operator", "/session").0, 200, "others don't wait for them");
    let guesses: Vec<_> = (0..40).map(|n| site.get(&format!("guess-{n}"), "/session").0).collect();
    assert!(guesses.contains(&429), "guessing is slow: {guesses:?}");
}

#[test]
fn nobody_takes_the_streams_of_all_others() {
    let mut site = Site::open(bearers(), Limits { streams_each_max: 2, ..limits() });
    site.publish(1, "alpha-1", Some("alpha"));
    let open = |token: &str| {
        let mut stream = TcpStream::connect(site.server.address()).expect("it listens");
        write!(
            stream,
            "GET /api/v1/stream?q=performance_minute%3Fstep%3Dall HTTP/1.1\r\nHost: here\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        )
        .expect("asked");
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("an answer");
        (String::from_utf8_lossy(&head[9..]).into_owned(), stream)
    };
    let opened: Vec<_> = (0..3).map(|_| open("analyst")).collect();
    let statuses: Vec<&str> = opened.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(statuses, ["200", "200", "429"]);
    assert_eq!(open("operator").0, "200");
    drop(opened);
    let again = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        open("analyst").0 == "200"
    });
    assert!(again, "a stream that is closed makes room");
}

#[test]
fn a_page_from_elsewhere_gets_nothing_by_a_name_that_points_here() {
    let mut site = Site::open(Vec::new(), limits());
    site.publish(1, "alpha-1", Some("alpha"));
    let ask = |host: &str| {
        let mut stream = TcpStream::connect(site.server.address()).expect("it listens");
        write!(stream, "GET /api/v1/session HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).map(str::to_owned)
    };
    for ours in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080"] {
        assert_eq!(ask(ours).as_deref(), Some("200"), "{ours}");
    }
    for strange in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1"] {
        assert_eq!(ask(strange).as_deref(), Some("403"), "{strange}");
    }
}

#[test]
fn silent_connections_hold_nobody_up() {
    let mut site = Site::open(bearers(), limits());
    site.publish(1, "alpha-1", Some("alpha"));
    let silent: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(site.server.address()).expect("it listens");
            stream.write_all(b"GET /api/v1/ses").expect("begun");
            stream
        })
        .collect();
    assert_eq!(site.get("analyst", "/session").0, 200);
    drop(silent);
}

#[test]
fn pages_sum_filter_sort_and_export() {
    let mut site = Site::open(Vec::new(), limits());
    for hour in [1, 2, 30] {
        for (campaign, advertiser) in [("c1", "alpha"), ("c2", "alpha"), ("c3", "bravo")] {
            site.publish(hour, campaign, Some(advertiser));
        }
    }
    let answer = site.json(
        "",
        "/tables/performance_minute?step=day&group_by=campaign_id&sort=-spend_micros,campaign_id&limit=2",
    );
    assert_eq!(answer["total"], 6);
    let rows = answer["rows"].as_array().expect("rows");
    let of = |row: &Value| (row["time"].as_i64(), row["campaign_id"].clone(), row["spend_micros"].as_i64());
    assert_eq!(of(&rows[0]), (Some(0), json!("c1"), Some(14_000_003)));
    assert_eq!(of(&rows[1]), (Some(0), json!("c2"), Some(14_000_003)));
    assert_eq!(answer["sums"]["bids"], 90);
    assert_eq!(answer["sums"]["ctr"], 0.5);
    assert_eq!(answer["frontier"]["epoch"], 9);
    let next = site.json("", "/tables/performance_minute?step=day&group_by=campaign_id&sort=-spend_micros,campaign_id&limit=2&offset=2");
    assert_eq!(next["rows"][0]["campaign_id"], "c3");
    let ours = site.json(
        "",
        "/tables/performance_hour?advertiser_id=bravo&since=1970-01-01T02:00:00Z&step=all&group_by=",
    );
    assert_eq!(ours["sums"]["bids"], 20);
    let reach = site.json("", "/tables/reach_day?step=all&group_by=");
    assert_eq!((&reach["sums"]["users"], &reach["sums"]["impressions"]), (&Value::Null, &json!(24)));

    let (_, csv) = site.get("", "/tables/attribution_hour?campaign_id=c1&model=linear&format=csv");
    let body: String =
        csv.lines().filter(|line| line.contains(',')).map(|line| format!("{line}\n")).collect();
    let expected = "time,campaign_id,model,credit_micros,revenue_micros\n3600000,c1,linear,1000000,9000000\n\
                    7200000,c1,linear,1000000,9000000\n108000000,c1,linear,1000000,9000000\n";
    assert_eq!(body, expected);
    let paths = site.json("", "/tables/conversion_paths?campaign_id=c2&limit=1");
    assert_eq!((&paths["total"], &paths["rows"][0]["time"]), (&json!(3), &json!(30 * HOUR)));
    assert_eq!(paths["rows"][0]["touches"][0]["credit_micros"]["time_decay"], 1_000_000);
    let (status, flat) = site.get("", "/tables/conversion_paths?format=csv");
    assert!(status == 200 && flat.contains("touch of c3"), "{flat}");
}
