//! Days of traffic in minutes, at a steady rate and with a short horizon: memory and checkpoint must
//! not grow, and at the end the tables must be those that the archive gives.
//!
//! ```sh
//! cargo build --release -p advertisex-services
//! cargo bench --bench soak -- --rate 20000 --seconds 1800 --days 24 --out DIR
//! ```
//!
//! writes DIR/samples.csv, DIR/soak.svg and DIR/README.md. Broker, server and producer share the
//! machine.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _, stderr};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advertisex::config::{Config, KafkaConfig};
use advertisex::generate::{IdStyle, Plan, campaigns_csv, send};
use advertisex::sinks::topic::{Topic, create_topics};
use clap::{Parser, ValueEnum};
use tempfile::TempDir;

type Outcome<T> = Result<T, Box<dyn Error>>;

const SAMPLE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(120);
/// An auction leaves about this many events.
const EVENTS_PER_AUCTION: f64 = 3.1;

#[derive(Parser)]
struct Arguments {
    /// Events a second.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// How long.
    #[arg(long, default_value_t = 1_800)]
    seconds: u64,
    /// Days that the traffic is of.
    #[arg(long, default_value_t = 24.0)]
    days: f64,
    /// How ids are written: long ones have texts of their own in memory.
    #[arg(long, value_enum, default_value_t = IdStyle::Uuid)]
    id_style: IdStyle,
    /// Processes of the run.
    #[arg(long, default_value_t = 1)]
    processes: usize,
    /// Start again at the end, and measure until the run is ready.
    #[arg(long)]
    recover: bool,
    /// Where the results go.
    #[arg(long, default_value = "target/soak")]
    out: PathBuf,
    /// Cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What one process tells of itself.
#[derive(Clone, Copy, Default)]
struct Sample {
    seconds: f64,
    resident: f64,
    live: f64,
    state: f64,
    checkpoint: f64,
    texts: f64,
    expired: f64,
    received: f64,
}

/// The processes, which end with this value.
struct Run(Vec<Child>);

impl Drop for Run {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_ports(count: usize) -> Outcome<Vec<u16>> {
    // Held together, so that they differ.
    let held = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    Ok(held.iter().map(|port| Ok(port.local_addr()?.port())).collect::<Result<Vec<_>, std::io::Error>>()?)
}

fn configuration(kafka: &services::Kafka, clickhouse: &services::ClickHouse, port: u16) -> String {
    format!(
        "[kafka]\nbootstrap_servers = {:?}\n[kafka.impressions]\ntopic = \"impressions\"\n\
         [kafka.events]\ntopic = \"events\"\n[kafka.bid_requests]\ntopic = \"bid_requests\"\n\
         [kafka.campaigns]\ntopic = \"campaigns\"\n\
         [kafka.attribution_rules]\ntopic = \"attribution_rules\"\n[kafka.traffic]\ntopic = \"traffic\"\n\
         [clickhouse]\nurl = {:?}\nuser = {:?}\npassword = {:?}\ndatabase = \"soak\"\n\
         [checkpoint]\ndirectory = \"checkpoint\"\n[archive]\ndirectory = \"archive\"\n[metrics]\nlisten = \"127.0.0.1:{port}\"\n\
         [time]\nallowed_disorder_ms = 3600000\ncorrection_horizon_hours = 6\nbid_lifetime_hours = 1\n",
        kafka.bootstrap(),
        clickhouse.url(),
        clickhouse.user(),
        clickhouse.password(),
    )
}

/// Sends the lookups.
fn send_lookups(kafka: &KafkaConfig, lookups: &[(&str, String)]) -> Outcome<()> {
    for (topic, rows) in lookups {
        let topic = Topic::open(kafka, topic)?;
        for row in rows.lines().skip(1) {
            topic.send(row.split(',').next(), row.as_bytes())?;
        }
        topic.flush(PATIENCE)?;
    }
    Ok(())
}

/// Sends the traffic at its rate; says how many records were sent by now.
fn produce(kafka: &KafkaConfig, plan: &Plan, rate: u64, sent: &AtomicU64) -> Outcome<()> {
    let topics = kafka.feeds.iter().map(|feed| Ok((feed.layout.feed, Topic::open(kafka, &feed.topic)?)));
    let topics = topics.collect::<Outcome<Vec<_>>>()?;
    let began = Instant::now();
    send(plan, &mut |feed, payload, records| {
        for (_, topic) in topics.iter().filter(|(of, _)| *of == feed) {
            while !topic.send(None, payload)? {
                thread::sleep(Duration::from_millis(2));
            }
        }
        let now = sent.fetch_add(records, Ordering::Relaxed) + records;
        let ahead = Duration::from_secs_f64(now as f64 / rate as f64).saturating_sub(began.elapsed());
        if ahead > Duration::from_millis(2) {
            thread::sleep(ahead);
        }
        Ok(())
    })?;
    topics.iter().try_for_each(|(_, topic)| topic.flush(PATIENCE))?;
    Ok(())
}

/// What a process answers.
fn ask(port: u16, path: &str) -> Option<String> {
    let mut answer = String::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").ok()?;
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// All processes together.
fn sample(ports: &[u16], seconds: f64) -> Option<Sample> {
    let mut all = Sample { seconds, ..Sample::default() };
    for port in ports {
        let text = ask(*port, "/metrics")?;
        let sum = |name: &str| {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
        };
        all.resident += sum("advertisex_memory_resident_bytes");
        all.live += sum("advertisex_live_events");
        all.state += sum("advertisex_state_bytes");
        all.checkpoint += sum("advertisex_checkpoint_bytes");
        all.texts += sum("advertisex_id_texts");
        all.expired += sum("advertisex_events_expired_total");
        all.received += sum("advertisex_records_received_total");
    }
    Some(all)
}

/// What is drawn and written of a sample, and its title.
type Curve = (&'static str, fn(&Sample) -> f64);

const CURVES: [Curve; 5] = [
    ("resident memory, MiB", |sample| sample.resident / MIB),
    ("state, MiB", |sample| sample.state / MIB),
    ("events held, thousands", |sample| sample.live / 1e3),
    ("texts of ids, thousands", |sample| sample.texts / 1e3),
    ("checkpoint, MiB", |sample| sample.checkpoint / MIB),
];
const MIB: f64 = 1_048_576.0;

/// The curves over time, one below the other, as SVG.
fn plot(samples: &[Sample]) -> Result<String, std::fmt::Error> {
    const WIDTH: f64 = 800.0;
    const HEIGHT: f64 = 150.0;
    const LEFT: f64 = 70.0;
    let end = samples.last().map_or(1.0, |last| last.seconds);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 1070\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"900\" height=\"1070\" fill=\"white\"/>\n",
    );
    for (number, (title, value)) in CURVES.iter().enumerate() {
        let floor = 190.0 + 210.0 * number as f64;
        let top = samples.iter().map(value).fold(1.0, f64::max) * 1.1;
        let x = |seconds: f64| LEFT + WIDTH * seconds / end;
        writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\">{title}</text>", floor - HEIGHT - 10.0)?;
        for part in 0..=4 {
            let share = f64::from(part) / 4.0;
            let (y, at) = (floor - HEIGHT * share, x(end * share));
            writeln!(svg, "<path d=\"M{LEFT} {y:.1}h{WIDTH}\" stroke=\"#ddd\"/>")?;
            writeln!(
                svg,
                "<text x=\"62\" y=\"{:.1}\" text-anchor=\"end\">{:.0}</text>",
                y + 4.0,
                top * share
            )?;
            let minute = end * share / 60.0;
            writeln!(
                svg,
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{minute:.1} min</text>",
                floor + 18.0
            )?;
        }
        let point =
            |sample: &Sample| format!("{:.1},{:.1}", x(sample.seconds), floor - HEIGHT * value(sample) / top);
        let points: Vec<String> = samples.iter().map(point).collect();
        writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"#05c\"/>", points.join(" "))?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// The mean of each tenth of the run.
fn tenths(samples: &[Sample], value: fn(&Sample) -> f64) -> String {
    let size = samples.len().div_ceil(10).max(1);
    let mean = |tenth: &[Sample]| tenth.iter().map(value).sum::<f64>() / tenth.len() as f64;
    samples.chunks(size).map(|tenth| format!("{:.0}", mean(tenth))).collect::<Vec<_>>().join(" | ")
}

/// Starts the run again; says how long it took until every process was ready: what was published is
/// loaded, and something was published anew.
fn recovery(start: &mut dyn FnMut() -> std::io::Result<Vec<Child>>, shown: &[u16]) -> Outcome<String> {
    let began = Instant::now();
    let mut run = Run(start()?);
    while !shown.iter().all(|port| is_ready(*port)) {
        if began.elapsed() > PATIENCE {
            return Err("the run does not get ready".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    let took = began.elapsed();
    let held = sample(shown, 0.0).ok_or("the run doesn't show itself")?;
    for child in &mut run.0 {
        child.wait()?;
    }
    Ok(format!(
        "\nStarted again, all of it was ready {:.2} s after the start of its processes, holding {:.0} live events ({:.0} MiB \
         of state).\n",
        took.as_secs_f64(),
        held.live,
        held.state / MIB
    ))
}

fn is_ready(port: u16) -> bool {
    ask(port, "/health/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let Arguments { rate, seconds, days, id_style, processes, out, .. } = &arguments;
    let site = TempDir::new_in("target")?;
    let kafka = services::Kafka::start(&services::KafkaSettings::default())?;
    let clickhouse = services::ClickHouse::start(&services::ClickHouseSettings::default())?;
    let mut ports = free_ports(2 * processes)?;
    let hosts = ports.split_off(*processes);
    // The processes of one machine show themselves at ports that follow each other.
    let first = ports[0];
    let shown: Vec<u16> = (0..*processes as u16).map(|process| first + process).collect();
    let file = site.path().join("soak.toml");
    fs::write(&file, configuration(&kafka, &clickhouse, first))?;
    let hosts: String = hosts.iter().map(|port| format!("127.0.0.1:{port}\n")).collect();
    fs::write(site.path().join("hosts"), hosts)?;
    let config = Config::load(Some(&file))?;
    let topics = config.kafka.as_ref().ok_or("no Kafka")?;
    let feeds = ["impressions", "events", "bid_requests"].map(|topic| (topic, 4));
    create_topics(
        topics,
        &[&feeds[..], &[("campaigns", 1), ("attribution_rules", 1), ("traffic", 1)]].concat(),
    )?;

    let auctions = (rate * seconds) as f64 / EVENTS_PER_AUCTION;
    let plan = Plan {
        auctions: auctions as u64,
        days: *days,
        late_millis: 7_200_000,
        bad_records: 1_000,
        users: 50_000,
        campaigns: 200,
        sites: 200,
        id_style: *id_style,
        ..Plan::DEFAULT
    };
    // The generator's latest clicks come after two days. With a shorter window their impression would be
    // gone by then, and they would be orphans, which a replay of the archive does not say.
    let lookups = [
        ("campaigns", campaigns_csv(&plan)),
        (
            "attribution_rules",
            "advertiser_id,click_lookback,view_lookback,half_life,default_model\n,6h,1h,,\n".to_owned(),
        ),
        ("traffic", "rule,value\nclick_join_window,50h\n".to_owned()),
    ];
    for (table, rows) in &lookups {
        fs::write(site.path().join(format!("{table}.csv")), rows)?;
    }
    send_lookups(topics, &lookups)?;

    let start = |process: usize| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_advertisex"));
        program.args(["run", "--config", "soak.toml", "--workers"]);
        program.arg((2 / *processes).max(1).to_string()).current_dir(site.path());
        if *processes > 1 {
            program.args(["--hosts", "hosts", "--process", &process.to_string()]);
        }
        program.args(["--until-idle-ms", "20000"]).env("ADVERTISEX_LOG", "warn").spawn()
    };
    let mut run = Run((0..*processes).map(start).collect::<Result<_, _>>()?);
    let (sent, began, mut samples) = (AtomicU64::new(0), Instant::now(), Vec::new());
    thread::scope(|scope| -> Outcome<()> {
        let producing =
            scope.spawn(|| produce(topics, &plan, *rate, &sent).map_err(|error| error.to_string()));
        while run.0[0].try_wait()?.is_none() {
            thread::sleep(SAMPLE);
            if !producing.is_finished() {
                samples.extend(sample(&shown, began.elapsed().as_secs_f64()));
            }
        }
        Ok(producing.join().map_err(|_| "the producer failed")??)
    })?;
    for child in &mut run.0 {
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("the run ended with {status}").into());
        }
    }
    let took = samples.last().map_or(0.0, |last| last.seconds);
    let recovery = match arguments.recover {
        true => recovery(&mut || (0..*processes).map(start).collect(), &shown)?,
        false => String::new(),
    };

    let mut verify = Command::new(env!("CARGO_BIN_EXE_advertisex"));
    verify.args(["verify", "--archive", "archive", "--lookups", ".", "--config", "soak.toml"]);
    let done = verify.current_dir(site.path()).output()?;
    stderr().write_all(&done.stderr)?;
    let checked = format!(
        "`advertisex verify` against the archive at the end ({}):\n\n```\n{}```\n",
        done.status,
        String::from_utf8_lossy(&done.stdout)
    );
    let differs = (!done.status.success()).then(|| site.keep());

    fs::create_dir_all(out)?;
    let mut csv = String::from(
        "seconds,resident_bytes,state_bytes,live_events,checkpoint_bytes,id_texts,expired,received\n",
    );
    for Sample { seconds, resident, live, state, checkpoint, texts, expired, received } in &samples {
        writeln!(csv, "{seconds:.1},{resident},{state},{live},{checkpoint},{texts},{expired},{received}")?;
    }
    fs::write(out.join("samples.csv"), csv)?;
    fs::write(out.join("soak.svg"), plot(&samples)?)?;
    let sent = sent.load(Ordering::Relaxed);
    let style = id_style.to_possible_value().map_or_else(String::new, |style| style.get_name().to_owned());
    let mean = |(title, value): &Curve| format!("| {title} | {} |\n", tenths(&samples, *value));
    let means: String = CURVES.iter().map(mean).collect();
    let again = if arguments.recover { " --recover" } else { "" };
    let text = format!(
        "# Days of traffic, with a horizon of six hours\n\n- command: `cargo bench --bench soak -- --rate {rate} \
         --seconds {seconds} --days {days} --id-style {style} --processes {processes}{again}`\n- {sent} records in {took:.0} s ({:.0} a second) of {days} days of \
         event time; correction horizon 6 h, click join window 50 h, click lookback 6 h, view lookback 1 h, bid lifetime 1 h; broker, \
         server and producer on the same machine\n- {:.0} events had expired at the end\n\nMeans of each tenth of the run; all samples are in \
         `samples.csv`, drawn in `soak.svg`.\n\n| | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 |\n|:-|-:|-:|-:|-:|-:|-:|-:|-:|-:|-:|\n\
{means}\n![the run](soak.svg)\n{recovery}\n{checked}",
        sent as f64 / took.max(1.0),
        samples.last().map_or(0.0, |last| last.expired),
    );
    fs::write(out.join("README.md"), text)?;
    match differs {
        Some(kept) => Err(format!("the tables are not what {} gives", kept.display()).into()),
        None => Ok(()),
    }
}
