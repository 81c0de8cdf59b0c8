//! From the append to Kafka until a number in ClickHouse shows it, at steady rates; then with
//! ClickHouse down for a while. Broker, server, producer and job share the machine.
//!
//! ```sh
//! cargo build --release -p advertisex-services
//! cargo bench --bench live -- --rates 10000,50000,100000 --seconds 20 --backlog 2000000 --outage 120 --out DIR
//! ```
//!
//! writes DIR/README.md. A message's latency runs from just before it is handed to the producer
//! until a query that counts it has been answered; queries follow each other every 200 ms.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advertisex::generate::{Format, Plan, write};
use advertisex::sinks::clickhouse::ClickHouse;
use clap::Parser;
use tempfile::TempDir;

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/live/server.rs"]
mod server;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/live/stage.rs"]
mod stage;

use stage::Stage;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The rate at which the outage is sat out, in events a second.
const OUTAGE_RATE: u64 = 10_000;

/// Before latency is measured: a broker that was just started compiles itself.
const WARM_UP: u64 = 20;

const DAY_SECONDS: f64 = 86_400.0;

/// How many events the tables show.
const SEEN: &str = "SELECT toUInt64(sum(received)) FROM quality_minute_live";

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long the tables may take to catch up after the last event.
const CATCH_UP: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Arguments {
    /// Events a second.
    #[arg(long, value_delimiter = ',', default_value = "10000,50000,100000")]
    rates: Vec<u64>,
    /// How long each rate is kept up.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Milliseconds from one epoch to the next.
    #[arg(long, default_value_t = 200)]
    epoch_ms: u64,
    /// Milliseconds from one emission to the next.
    #[arg(long, default_value_t = 500)]
    emission_ms: u64,
    /// How many events are in Kafka before the job starts; 0: none.
    #[arg(long, default_value_t = 2_000_000)]
    backlog: u64,
    /// For how many seconds ClickHouse is down; 0: not at all.
    #[arg(long, default_value_t = 120)]
    outage: u64,
    /// Where the results go.
    #[arg(long, default_value = "target/live")]
    out: PathBuf,
    /// Cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Counts at instants, both rising.
type Counts = Vec<(Instant, u64)>;

/// A run's surroundings, with services of its own.
struct Site {
    kafka: services::Kafka,
    clickhouse: services::ClickHouse,
    stage: Stage,
}

impl Site {
    /// With so many events at least, of so many days.
    fn set(events: u64, days: f64, pace: (u64, u64)) -> Outcome<Self> {
        let feeds = TempDir::new()?;
        // An auction leaves about three events.
        // A rejected request counts as one record, whatever it holds: counts are compared here.
        let plan = Plan { auctions: (events / 3).max(1_000), days, bad_records: 0, ..Plan::default() };
        write(&plan, Format::Raw, feeds.path(), true, &mut |_| ())?;
        let kafka = services::Kafka::start(&services::KafkaSettings::default())?;
        let clickhouse = services::ClickHouse::start(&services::ClickHouseSettings::default())?;
        let mut stage = Stage::set(&kafka, server::config(&clickhouse), feeds.path());
        stage.set_pace(pace.0, pace.1);
        stage.produce_campaigns(&feeds.path().join("campaigns.csv"));
        Ok(Self { kafka, clickhouse, stage })
    }
}

/// How many events the tables show, again and again until it is over, or they are enough.
fn watch(stage: &Stage, over: &AtomicBool, enough: u64) -> Outcome<Counts> {
    let clickhouse = ClickHouse::new(stage.clickhouse.clone())?;
    let (mut seen, began) = (Counts::new(), Instant::now());
    while !over.load(Ordering::SeqCst) && began.elapsed() < PATIENCE {
        // The server may be away, and the view not be there yet.
        if let Ok(count) = clickhouse.call(SEEN, clickhouse.database().query(SEEN).fetch_one::<u64>()) {
            seen.push((Instant::now(), count));
            if count >= enough {
                break;
            }
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(seen)
}

/// The latencies of messages, in rising order: of each instant of sending until its count is seen.
fn latencies(sent: &Counts, seen: &Counts) -> Outcome<Vec<Duration>> {
    let mut latencies = Vec::new();
    for (at, count) in sent {
        let shown = seen.partition_point(|(_, shown)| shown < count);
        let (shown, _) = seen.get(shown).ok_or("not all that was sent was seen")?;
        latencies.push(shown.duration_since(*at));
    }
    latencies.sort_unstable();
    Ok(latencies)
}

/// Seconds of CPU that a process has used.
fn cpu_seconds(pid: Option<u32>) -> f64 {
    let text = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok()).unwrap_or_default();
    // Behind the name, which may hold anything, user and system time are the 12th and 13th.
    let ticks = text.rsplit(')').next().unwrap_or("").split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Bytes that a process holds in memory.
fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// CPU that each part uses, from one reading to the next.
struct Cpu {
    pids: [Option<u32>; 4],
    used: [f64; 4],
    since: Instant,
}

impl Cpu {
    fn of(site: &Site, job: &stage::Job) -> Self {
        let pids = [Some(job.pid()), site.kafka.pid(), site.clickhouse.pid(), Some(std::process::id())];
        Self { pids, used: pids.map(cpu_seconds), since: Instant::now() }
    }

    /// Cores in use on average: job, Kafka, ClickHouse, and producer with reader.
    fn cells(&self) -> String {
        let now = self.pids.map(cpu_seconds);
        let seconds = self.since.elapsed().as_secs_f64();
        let cores =
            std::array::from_fn::<_, 4, _>(|at| format!("{:.2}", (now[at] - self.used[at]) / seconds));
        cores.join(" | ")
    }
}

fn at_rate(rate: u64, seconds: u64, pace: (u64, u64), text: &mut String) -> Outcome<()> {
    let (warm, measured) = (Duration::from_secs(WARM_UP), Duration::from_secs(seconds));
    let length = WARM_UP + seconds + 2;
    let site = Site::set(rate * length, length as f64 / DAY_SECONDS, pace)?;
    let (stage, over) = (&site.stage, AtomicBool::new(false));
    let mut job = stage.start(&[]);
    // Until it reads: the start is not measured.
    thread::sleep(Duration::from_secs(3));
    let began = Instant::now();
    thread::scope(|scope| -> Outcome<()> {
        let watching = scope.spawn(|| watch(stage, &over, u64::MAX).map_err(|error| error.to_string()));
        let producing = scope.spawn(move || stage.produce_at(rate, warm + measured));
        thread::sleep(warm);
        let cpu = Cpu::of(&site, &job);
        thread::sleep(measured);
        let (cores, memory) = (cpu.cells(), resident(job.pid()));
        let sent = producing.join().map_err(|_| "the producer failed")?;
        thread::sleep(Duration::from_secs(8));
        over.store(true, Ordering::SeqCst);
        let seen = watching.join().map_err(|_| "the reader failed")??;
        let late: Counts = sent.iter().copied().filter(|(at, _)| at.duration_since(began) >= warm).collect();
        let reached = match (late.first(), late.last()) {
            (Some(first), Some(last)) => (last.1 - first.1) / seconds,
            _ => 0,
        };
        let done = latencies(&late, &seen);
        let cell = |share: usize| match &done {
            Ok(sorted) => format!("{:.0}", sorted[(sorted.len() - 1) * share / 100].as_secs_f64() * 1e3),
            Err(_) => "> 8000".to_owned(),
        };
        writeln!(
            text,
            "| {rate} | {reached} | {} | {} | {} | {cores} | {} |",
            cell(50),
            cell(99),
            cell(100),
            memory >> 20
        )?;
        writeln!(stderr(), "{rate}/s: p50 {} ms, p99 {} ms", cell(50), cell(99))?;
        Ok(())
    })?;
    job.kill();
    Ok(())
}

/// Everything is in Kafka before the job starts.
fn backlog(events: u64, pace: (u64, u64), text: &mut String) -> Outcome<()> {
    let site = Site::set(events, 3.0, pace)?;
    let stage = &site.stage;
    stage.produce(1, Duration::ZERO);
    let sent = stage.events();
    let began = Instant::now();
    let mut job = stage.start(&[]);
    let cpu = Cpu::of(&site, &job);
    let seen = watch(stage, &AtomicBool::new(false), sent)?;
    let cores = cpu.cells();
    let done = seen.iter().find(|(_, shown)| *shown >= sent).ok_or("not all of the backlog was shown")?;
    let seconds = done.0.duration_since(began).as_secs_f64();
    writeln!(
        text,
        "A backlog of {sent} events was in the tables {seconds:.1} s after the start of the job: {:.0} \
         events/s. Cores in use meanwhile: job | Kafka | ClickHouse | reader: {cores}.\n",
        sent as f64 / seconds
    )?;
    job.kill();
    Ok(())
}

fn outage(seconds: u64, pace: (u64, u64), text: &mut String) -> Outcome<()> {
    let mut site = Site::set(OUTAGE_RATE * (seconds + 40), (seconds + 40) as f64 / DAY_SECONDS, pace)?;
    let (stage, over) = (&site.stage, AtomicBool::new(false));
    let mut job = stage.start(&[]);
    thread::sleep(Duration::from_secs(3));
    let clickhouse = &mut site.clickhouse;
    thread::scope(|scope| -> Outcome<()> {
        let watching = scope.spawn(|| watch(stage, &over, u64::MAX).map_err(|error| error.to_string()));
        let total = Duration::from_secs(seconds + 20);
        let producing = scope.spawn(move || stage.produce_at(OUTAGE_RATE, total));
        thread::sleep(Duration::from_secs(10));
        let before = resident(job.pid());
        clickhouse.kill()?;
        let (mut held, began) = (Vec::new(), Instant::now());
        for eighth in 1..=8 {
            thread::sleep(
                Duration::from_secs_f64(seconds as f64 * f64::from(eighth) / 8.0)
                    .saturating_sub(began.elapsed()),
            );
            held.push((resident(job.pid()) >> 20).to_string());
        }
        clickhouse.restart()?;
        let back = Instant::now();
        let sent = producing.join().map_err(|_| "the producer failed")?;
        thread::sleep(CATCH_UP);
        over.store(true, Ordering::SeqCst);
        let seen = watching.join().map_err(|_| "the reader failed")??;
        let sent_all = sent.last().map_or(0, |sent| sent.1);
        // Behind by less than what is sent in a second.
        let caught_up = seen.iter().find(|(at, shown)| {
            let sent_by_then = sent.partition_point(|(when, _)| when <= at);
            *at > back && sent_by_then > 0 && shown + OUTAGE_RATE >= sent[sent_by_then - 1].1
        });
        let caught_up = caught_up.map(|(at, _)| at.duration_since(back).as_secs_f64());
        writeln!(
            text,
            "ClickHouse was killed and {seconds} s later started again, under {OUTAGE_RATE} events/s. The job \
             held {} MiB before, and after each eighth of the outage {} MiB. {:.1} s after the restart the \
             tables were less than a second behind; of {sent_all} events sent, {} were shown at the end.",
            before >> 20,
            held.join(", "),
            caught_up.unwrap_or(f64::INFINITY),
            seen.last().map_or(0, |seen| seen.1),
        )?;
        Ok(())
    })?;
    job.kill();
    Ok(())
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores, {}", cpu.trim_start_matches(['\t', ' ', ':']))
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let Arguments { rates, seconds, backlog: behind, outage: down, epoch_ms, emission_ms, out, .. } =
        &arguments;
    let pace = (*epoch_ms, *emission_ms);
    let rates_text = rates.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let mut text = format!(
        "# From Kafka to ClickHouse\n\n- machine: {}\n- command: `cargo bench --bench live -- --rates \
         {rates_text} --seconds {seconds} --backlog {behind} --outage {down} \
         --epoch-ms {epoch_ms} --emission-ms {emission_ms}`\n- epochs of {epoch_ms} ms, published every {emission_ms} ms, 2 workers; broker, server and producer on the same machine\n\nMilliseconds from before a \
         message is handed to the producer until a query shows it, after {WARM_UP} s at the same rate; the \
         cores that each part keeps busy; the job's memory at the end.\n\n| events/s asked | sent | p50 ms | \
         p99 ms | max ms | job | Kafka | ClickHouse | producer and reader | job MiB |\n|-:|-:|-:|-:|-:|-:|-:|-:|-:|-:|\n",
        machine()
    );
    for rate in rates {
        at_rate(*rate, *seconds, pace, &mut text)?;
    }
    text.push('\n');
    if *behind > 0 {
        backlog(*behind, pace, &mut text)?;
    }
    if *down > 0 {
        outage(*down, pace, &mut text)?;
    }
    print_to(out, &text)
}

fn print_to(out: &Path, text: &str) -> Outcome<()> {
    fs::create_dir_all(out)?;
    fs::write(out.join("README.md"), text)?;
    write!(stdout(), "{text}")?;
    Ok(())
}
