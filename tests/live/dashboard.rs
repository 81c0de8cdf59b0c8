//! The pages, in a real browser, over a live run with Kafka and ClickHouse.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use advertisex::generate::{Format, Plan, write};
use advertisex::sinks::clickhouse::ClickHouse;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::{Browser, View};
use crate::server;
use crate::stage::{Stage, kafka};

const WIDE: View = View { name: "wide", width: 1440, height: 900, is_phone: false, is_dark: true };
const PHONE: View = View { name: "phone", width: 390, height: 844, is_phone: true, is_dark: false };
const VIEWS: [View; 4] = [
    WIDE,
    View { name: "wide-light", is_dark: false, ..WIDE },
    PHONE,
    View { name: "phone-dark", is_dark: true, ..PHONE },
];
const PAGES: [(&str, &str); 11] = [
    ("overview", "/?view=overview"),
    ("campaigns", "/?view=campaigns"),
    ("breakdown", "/?view=breakdown"),
    ("attribution", "/?view=attribution"),
    ("reach", "/?view=reach"),
    ("paths", "/?view=paths"),
    ("operator-health", "/operator?view=health"),
    ("operator-feeds", "/operator?view=feeds"),
    ("operator-rejects", "/operator?view=rejects"),
    ("operator-state", "/operator?view=state"),
    ("operator-dataflow", "/operator?view=dataflow"),
];
/// A clock that is `ahead` of the real one.
const AHEAD: &str = "var ahead = 3 * 3600e3; Date = class extends Date { \
    constructor(...at) { at.length ? super(...at) : super(Object.getPrototypeOf(Date).now() + ahead); } \
    static now() { return super.now() + ahead; } };";
/// What the run says of the range that the page shows, and how the page's stream is.
const ANSWER: &str = "(async () => { const { since, until } = document.querySelector('#main').dataset; \
    const asked = await fetch(`/api/v1/tables/performance_minute?step=all&group_by=&since=${since}&until=${until}`); \
    const status = { ...document.querySelector('[data-testid=\"status\"]').dataset }; \
    return JSON.stringify([since, until, status, (await asked.json()).sums]); })()";
const LIVE: &str = "document.querySelector('[data-testid=\"status\"]').dataset.state === 'live'";
/// How long a change may take until it shows.
const PROMPT: Duration = Duration::from_secs(2);

/// Where pictures are left, if somebody wants them.
fn gallery() -> Option<PathBuf> {
    std::env::var_os("ADVERTISEX_PICTURES").map(PathBuf::from)
}

/// What axe-core finds that matters.
fn serious(browser: &mut Browser, axe: &str) -> Vec<String> {
    browser.eval(&format!("{axe}; true"));
    let found =
        browser.eval("axe.run(document, { resultTypes: ['violations'] }).then(found => found.violations)");
    let matters = |found: &&Value| matches!(found["impact"].as_str(), Some("serious" | "critical"));
    let found = found.as_array().expect("a list").iter().filter(matters);
    found.map(|found| format!("{}: {}", found["id"], found["nodes"][0]["target"])).collect()
}

/// The number that stands under a test id.
fn number(browser: &mut Browser, id: &str) -> f64 {
    let value =
        browser.eval(&format!("document.querySelector('[data-testid=\"{id}\"]')?.dataset.value ?? ''"));
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

/// The sums of the range that the page shows, in ClickHouse.
fn published(clickhouse: &ClickHouse, browser: &mut Browser) -> Vec<i64> {
    let bound = |browser: &mut Browser, name: &str| {
        let text = browser.eval(&format!("document.querySelector('#main').dataset.{name}"));
        text.as_str().and_then(|text| text.parse::<i64>().ok()).expect("a range")
    };
    let (since, until) = (bound(browser, "since"), bound(browser, "until"));
    let sql = "SELECT toInt64(sum(bids)), toInt64(sum(wins)), toInt64(sum(impressions)), toInt64(sum(clicks)), \
               toInt64(sum(conversions)), toInt64(sum(spend_micros)), toInt64(sum(revenue_micros)) \
               FROM performance_minute_live \
               WHERE toUnixTimestamp(minute) * 1000 >= {since:Int64} AND toUnixTimestamp(minute) * 1000 < {until:Int64}";
    let query = clickhouse.database().query(sql).param("since", since).param("until", until);
    let row: (i64, i64, i64, i64, i64, i64, i64) =
        clickhouse.call("sum up", query.fetch_one()).expect("an answer");
    let (bids, wins, impressions, clicks, conversions, spend, revenue) = row;
    vec![bids, wins, impressions, clicks, conversions, spend, revenue]
}

const SHOWN: [&str; 7] = [
    "funnel-bids",
    "funnel-wins",
    "funnel-impressions",
    "funnel-clicks",
    "funnel-conversions",
    "kpi-spend",
    "kpi-revenue",
];

/// Waits until the page shows what ClickHouse holds.
fn agree(browser: &mut Browser, clickhouse: &ClickHouse) -> Vec<i64> {
    browser.wait("Number(document.querySelector('#main')?.dataset.since) > 0");
    let began = Instant::now();
    loop {
        let shown: Vec<f64> = SHOWN.iter().map(|id| number(browser, id)).collect();
        let expected = published(clickhouse, browser);
        let equal = shown.iter().zip(&expected).all(|(shown, expected)| *shown == *expected as f64);
        if equal && expected[0] > 0 {
            return expected;
        }
        if began.elapsed() >= Duration::from_secs(60) {
            let said = browser.eval(ANSWER);
            panic!("the page shows {shown:?}, ClickHouse {expected:?}; asked anew, the run says {said}");
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The same, once nothing more comes.
fn settle(browser: &mut Browser, clickhouse: &ClickHouse) -> Vec<i64> {
    let mut before = agree(browser, clickhouse);
    loop {
        thread::sleep(Duration::from_secs(2));
        let now = agree(browser, clickhouse);
        if now == before {
            return now;
        }
        before = now;
    }
}

/// Waits until the page shows something that is newer than this.
fn back(browser: &mut Browser) {
    let now = jiff::Timestamp::now().as_millisecond();
    browser
        .wait(&format!("Number(document.querySelector('[data-testid=\"status\"]').dataset.epoch) > {now}"));
}

fn serve(stage: &mut Stage) -> String {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    stage.rest =
        format!("[serve]\nlisten = \"127.0.0.1:{port}\"\ncurrency = \"EUR\"\nrequests_per_second = 1000\n");
    stage.configure();
    format!("http://127.0.0.1:{port}")
}

/// Every page in every view: readable for all, no complaint in the console, nothing beside the screen.
fn walk(browser: &mut Browser, site: &str, axe: &str) {
    // The other two differ in colours or in width alone.
    let views = if gallery().is_some() { &VIEWS[..] } else { &[WIDE, PHONE] };
    for (page, path) in PAGES {
        for &view in views {
            browser.open(&format!("{site}{path}"), view);
            thread::sleep(Duration::from_millis(300));
            let wide = browser.eval("document.documentElement.scrollWidth - innerWidth");
            assert!(wide.as_i64().is_some_and(|wide| wide <= 0), "{page} {}: {wide} too wide", view.name);
            let found = serious(browser, axe);
            assert!(found.is_empty(), "{page} {}: {found:?}", view.name);
            if let Some(gallery) = gallery() {
                fs::create_dir_all(&gallery).expect("a directory");
                let picture = browser.picture();
                fs::write(gallery.join(format!("{page}-{}.png", view.name)), picture).expect("written");
            }
        }
    }
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

/// Waits until the operator is shown what both processes read, and what they have not read yet.
fn operated(browser: &mut Browser) {
    let began = Instant::now();
    loop {
        let shown = browser.eval("fetch('/api/v1/operator').then(answer => answer.json())");
        let list = |name: &str| shown[name].as_array().cloned().unwrap_or_default();
        let processes: BTreeSet<_> =
            list("workers_load").iter().filter_map(|load| load["process"].as_u64()).collect();
        let partitions = list("partitions");
        let told = partitions.iter().filter(|partition| partition["behind"].is_number()).count();
        if processes == [0, 1].into() && (partitions.len(), told) == (8, 8) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{shown:#}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// Every panel of Grafana's dashboard is a question that ClickHouse answers, and with something.
fn panels(clickhouse: &ClickHouse) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/campaigns.json");
    let dashboard: Value = serde_json::from_slice(&fs::read(file).expect("a dashboard")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    for panel in panels {
        let sql = panel["targets"][0]["rawSql"].as_str().expect("SQL");
        let mut asked = sql.to_owned();
        while let Some((before, rest)) = asked.clone().split_once("$__timeFilter(") {
            let (column, behind) = rest.split_once(')').expect("a column");
            asked = format!("{before}{column} > toDateTime(0){behind}");
        }
        assert!(!server::rows(clickhouse, &asked).is_empty(), "{}: {asked}", panel["title"]);
    }
}

fn traffic(dir: &Path) {
    let plan = Plan {
        auctions: 8_000,
        days: 2.0,
        campaigns: 12,
        advertisers: 4,
        sites: 30,
        users: 400,
        ..Plan::DEFAULT
    };
    write(&plan, Format::Raw, dir, true, &mut |_| ()).expect("generated");
}

#[test]
fn pages_show_what_clickhouse_holds_as_it_comes_and_after_a_restart() {
    let Some(server) = server::shared() else { return };
    let Some(kafka) = kafka(services::Kafka::given_or_start(&services::KafkaSettings::default())) else {
        return;
    };
    let found = services::chromium().and_then(|chromium| Ok((chromium, services::axe()?)));
    let (chromium, axe) = match found {
        Ok(found) => found,
        Err(error) => return services::tell(&format!("skipped: live tests of the pages: {}", error.chain())),
    };
    let feeds = TempDir::new().expect("temporary directory");
    traffic(feeds.path());
    let mut stage = Stage::set(&kafka, server::config(server), feeds.path());
    let site = serve(&mut stage);
    stage.produce_campaigns(&feeds.path().join("campaigns.csv"));
    stage.put_row("campaigns", "c0", Some("c0,adv0,Spring sale"));
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("it answers");
    let mut browser = Browser::start(&chromium);

    // 1. A page that is open while traffic comes.
    let job = stage.start(&[]);
    stage.produce_piece(0, 2, Duration::ZERO);
    let overview = format!("{site}/?view=overview&range=30d");
    let began = Instant::now();
    while std::net::TcpStream::connect(site.trim_start_matches("http://")).is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "it listens");
        thread::sleep(Duration::from_millis(50));
    }
    browser.open(&overview, WIDE);
    agree(&mut browser, &clickhouse);
    stage.produce_piece(1, 2, Duration::ZERO);
    let before = settle(&mut browser, &clickhouse);

    // 2. One impression shows at once, and a page opened anew has it, too.
    let event = r#"{"impression_id":"one more","auction_id":"no such","timestamp":1772409600000,"user_id":"u","campaign_id":"c0","win_price_cpm":1.5,"site":"site1","country":"DE","device":"mobile"}"#;
    let mut prompt = Duration::MAX;
    stage.put("impressions", 0, Some(event.as_bytes()), None);
    let sent = Instant::now();
    while prompt == Duration::MAX {
        if number(&mut browser, "funnel-impressions") == (before[2] + 1) as f64 {
            prompt = sent.elapsed();
        }
        assert!(sent.elapsed() < Duration::from_secs(30), "it shows");
    }
    assert!(prompt < PROMPT, "it took {prompt:?}");
    agree(&mut browser, &clickhouse);

    // 3. Every page, for everybody. Before, while there was nothing to be seen yet, the browser had
    // complained of answers that said so.
    browser.complaints.clear();
    walk(&mut browser, &site, &axe);

    panels(&clickhouse);

    // 4. The run ends; the page says so, and is right again once there is another.
    browser.open(&overview, WIDE);
    drop(job);
    browser.wait("document.querySelector('[data-testid=\"status\"]').dataset.state !== 'live'");
    let job = stage.start(&["--workers", "1"]);
    back(&mut browser);
    agree(&mut browser, &clickhouse);
    drop(job);

    // 5. So it is when two processes share the work: the page shows what both publish.
    let jobs = stage.start_cluster(2, 1, &[]);
    back(&mut browser);
    let before = agree(&mut browser, &clickhouse);
    stage.put("impressions", 0, Some(event.replace("one more", "another").as_bytes()), None);
    let began = Instant::now();
    while agree(&mut browser, &clickhouse)[2] != before[2] + 1 {
        assert!(began.elapsed() < Duration::from_secs(30), "it shows");
    }

    operated(&mut browser);

    // 6. A browser whose clock is three hours ahead; its tab sleeps for what it takes for another hour,
    // while something happens.
    browser.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": AHEAD }));
    // As a laptop's: the page is in front, before and after.
    browser.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }));
    browser.open(&overview, WIDE);
    browser.wait(LIVE);
    let before = agree(&mut browser, &clickhouse);
    browser.call("Page.setWebLifecycleState", json!({ "state": "frozen" }));
    stage.put("impressions", 0, Some(event.replace("one more", "a third").as_bytes()), None);
    thread::sleep(Duration::from_secs(4));
    browser.eval("ahead += 3600e3");
    browser.call("Page.setWebLifecycleState", json!({ "state": "active" }));
    let began = Instant::now();
    while agree(&mut browser, &clickhouse)[2] != before[2] + 1 {
        assert!(began.elapsed() < Duration::from_secs(30), "it shows");
    }
    browser.wait(LIVE);
    back(&mut browser);
    drop(jobs);
}
