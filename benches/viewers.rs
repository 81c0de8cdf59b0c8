//! A live run that many people look at: how late they see an epoch, how long an answer takes, and what
//! that costs the run. Broker, server, producer, viewers and job share the machine.
//!
//! ```sh
//! cargo build --release -p advertisex-services
//! cargo bench --bench viewers -- --rate 20000 --seconds 60 --viewers 200 --out DIR
//! ```
//!
//! writes DIR/README.md: the same run without viewers and with them, in turn. A viewer follows the
//! questions of an overview of 24 hours by one stream, and asks for a page of campaigns every ten
//! seconds. An epoch is seen so long after it was opened; one lasts 200 ms, an emission is made every
//! 500 ms.

use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use advertisex::generate::{Format, Plan, write};
use advertisex::sinks::clickhouse::ClickHouse;
use clap::Parser;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/live/server.rs"]
mod server;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/live/stage.rs"]
mod stage;

use stage::{Job, Stage};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// From one question of a viewer to the next.
const PERIOD: Duration = Duration::from_secs(10);
/// Before anything is measured.
const WARM_UP: Duration = Duration::from_secs(10);
/// For viewers to arrive.
const SETTLE: Duration = Duration::from_secs(3);
const SEEN: &str = "SELECT toUInt64(sum(received)) FROM quality_minute_live";

#[derive(Parser)]
struct Arguments {
    /// Events a second.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// How long each run is measured.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many look.
    #[arg(long, default_value_t = 200)]
    viewers: usize,
    /// How often each of the two runs is made.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Where the results go.
    #[arg(long, default_value = "target/viewers")]
    out: PathBuf,
    /// Cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What one run came to.
#[derive(Default)]
struct Figures {
    viewers: usize,
    /// Records that the tables showed per second, from the first to the last.
    rate: f64,
    /// Milliseconds: from the opening of an epoch until a viewer had all of it.
    delays: Vec<f64>,
    /// Milliseconds: a question and its answer.
    answers: Vec<f64>,
    /// Processor seconds of the job per million records.
    processor: f64,
}

fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * part).ceil() as usize;
    values.get(at.max(1) - 1).copied().unwrap_or(f64::NAN)
}

fn millis() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

/// Processor seconds that a process has used.
fn processor(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

/// What viewers tell.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<(Vec<f64>, Vec<f64>)>>);

/// Follows the stream of an overview.
async fn follow(address: String, since: i64, told: Told) -> std::io::Result<()> {
    let question = |text: String| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let questions = [
        format!("performance_minute?since={since}&step=all&group_by="),
        format!("performance_minute?since={since}&step=minute&group_by="),
        format!("performance_minute?since={since}&step=all&group_by=campaign_id"),
    ];
    let query: Vec<_> = questions.into_iter().map(|text| format!("q={}", question(text))).collect();
    let mut stream = TcpStream::connect(&address).await?;
    let path = query.join("&");
    stream
        .write_all(format!("GET /api/v1/stream?{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
        .await?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    let mut is_frontier = false;
    loop {
        line.clear();
        if lines.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if let Some(name) = line.strip_prefix("event: ") {
            is_frontier = name.trim() == "frontier";
        } else if let Some(epoch) = line.strip_prefix("id: ").filter(|_| is_frontier)
            && let Ok(epoch) = epoch.trim().parse::<f64>()
            && let Ok(mut told) = told.0.lock()
        {
            told.0.push(millis() - epoch);
        }
    }
}

/// Asks for a page of campaigns, again and again.
async fn ask(address: String, since: i64, first: Duration, told: Told) -> std::io::Result<()> {
    tokio::time::sleep(first).await;
    loop {
        let began = Instant::now();
        let mut stream = TcpStream::connect(&address).await?;
        let path = format!(
            "/api/v1/tables/performance_hour?since={since}&step=all&group_by=campaign_id&sort=-spend_micros&limit=50"
        );
        let text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(std::io::Error::other(
                String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned(),
            ));
        }
        if let Ok(mut told) = told.0.lock() {
            told.1.push(began.elapsed().as_secs_f64() * 1e3);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn measure(arguments: &Arguments, viewers: usize) -> Outcome<Figures> {
    let Arguments { rate, seconds, .. } = arguments;
    let events = rate * (seconds + WARM_UP.as_secs() + 10);
    let feeds = TempDir::new()?;
    let days = events as f64 / *rate as f64 / 86_400.0;
    let plan = Plan {
        auctions: events / 3,
        days,
        bad_records: 0,
        campaigns: 200,
        sites: 200,
        users: 50_000,
        ..Plan::default()
    };
    write(&plan, Format::Raw, feeds.path(), true, &mut |_| ())?;
    let kafka = services::Kafka::start(&services::KafkaSettings::default())?;
    let clickhouse = services::ClickHouse::start(&services::ClickHouseSettings::default())?;
    let mut stage = Stage::set(&kafka, server::config(&clickhouse), feeds.path());
    stage.set_pace(200, 500);
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    stage.rest = format!(
        "[serve]\nlisten = \"127.0.0.1:{port}\"\nrequests_per_second = 100000\nstreams_max = 10000\nconnections_max = 10000\n"
    );
    stage.configure();
    stage.produce_campaigns(&feeds.path().join("campaigns.csv"));
    // All kinds at once.
    stage.disturb(&mut StdRng::seed_from_u64(1), 0.0);
    let job: Job = stage.start(&[]);
    let client = ClickHouse::new(stage.clickhouse.clone())?;
    let seen = || client.call(SEEN, client.database().query(SEEN).fetch_one::<u64>()).unwrap_or_default();
    let (told, over) = (Told::default(), Arc::new(AtomicBool::new(false)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let length = Duration::from_secs(*seconds);
    let (records, took, used) = thread::scope(|scope| -> Outcome<(f64, f64, f64)> {
        scope.spawn(|| stage.produce_at(*rate, WARM_UP + length + SETTLE));
        thread::sleep(WARM_UP);
        for viewer in 0..viewers {
            let address = format!("127.0.0.1:{port}");
            let first = PERIOD.mul_f64(viewer as f64 / viewers as f64);
            runtime
                .spawn(watched(follow(address.clone(), plan.start_millis, told.clone()), Arc::clone(&over)));
            runtime.spawn(watched(ask(address, plan.start_millis, first, told.clone()), Arc::clone(&over)));
        }
        thread::sleep(SETTLE);
        if let Ok(mut told) = told.0.lock() {
            *told = Default::default();
        }
        let (before, began, used) = (seen(), Instant::now(), processor(job.pid()));
        thread::sleep(length);
        let (records, took) = (seen() - before, began.elapsed().as_secs_f64());
        Ok((records as f64, took, processor(job.pid()) - used))
    })?;
    over.store(true, Ordering::Relaxed);
    let (delays, answers) = std::mem::take(&mut *told.0.lock().map_err(|_| "a viewer failed")?);
    runtime.shutdown_background();
    Ok(Figures { viewers, rate: records / took, delays, answers, processor: used / records * 1e6 })
}

/// Says so if a viewer is sent away before it is over.
async fn watched(view: impl Future<Output = std::io::Result<()>>, over: Arc<AtomicBool>) {
    let done = view.await;
    if !over.load(Ordering::Relaxed) {
        services::tell(&format!("a viewer was sent away: {done:?}"));
    }
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let Arguments { rate, seconds, viewers, rounds, out, .. } = &arguments;
    let mut rows = String::new();
    for _ in 0..*rounds {
        for viewers in [0, *viewers] {
            let mut figures = measure(&arguments, viewers)?;
            let Figures { viewers, rate, delays, answers, processor } = &mut figures;
            let quantiles = |values: &mut Vec<f64>| match values.is_empty() {
                true => "– | – | –".to_owned(),
                false => format!(
                    "{:.0} | {:.0} | {:.0}",
                    quantile(values, 0.5),
                    quantile(values, 0.99),
                    quantile(values, 1.0)
                ),
            };
            let row = format!(
                "| {viewers} | {rate:.0} | {processor:.1} | {} | {} |\n",
                quantiles(delays),
                quantiles(answers)
            );
            services::tell(row.trim());
            rows += &row;
        }
    }
    fs::create_dir_all(out)?;
    let text = format!(
        "# A live run that many look at\n\n- command: `cargo bench --bench viewers -- --rate {rate} --seconds {seconds} \
         --viewers {viewers} --rounds {rounds}`\n- broker, ClickHouse, producer, viewers and job share the machine; two \
         workers; an epoch of 200 ms, an emission every 500 ms\n- each viewer follows three questions over all of the \
         traffic by one stream, and asks for the campaigns every ten seconds\n- *seen*: from the opening of an epoch until a \
         viewer has all of it; *answer*: from the connection to its end\n\n| viewers | records/s shown | job, CPU s per million | seen p50 ms | p99 \
         | max | answer p50 ms | p99 | max |\n|-:|-:|-:|-:|-:|-:|-:|-:|-:|\n{rows}"
    );
    fs::write(out.join("README.md"), text)?;
    Ok(())
}
