//! The program `services`: starts Kafka, ClickHouse and an S3 server for a developer, and supervises each for
//! everybody.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what people see")]

mod engine;
mod supervise;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use services::{ClickHouse, ClickHouseSettings, Kafka, KafkaSettings, S3, S3Settings};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Kafka, ClickHouse and an S3 server on loopback, fetched from the package registries.
#[derive(Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  services up                        all, until Ctrl-C
  services up kafka --kafka-port 19092
  services up --data dev-data/       the data is kept, and found again the next time
  services fetch                     downloads only, as for a machine that goes offline

Downloads lie in `services` of cargo's target directory, or where ADVERTISEX_SERVICES_DIR says."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts services, prints their addresses, and stops them on Ctrl-C.
    Up(Up),
    /// Downloads what the services need, and starts nothing.
    Fetch {
        /// Which; all by default.
        services: Vec<Service>,
    },
    /// Runs a command; kills it when stdin closes.
    #[command(hide = true)]
    Supervise {
        /// Where its output goes.
        #[arg(long)]
        log: PathBuf,
        /// What is removed when stdin closes.
        #[arg(long)]
        remove: Option<PathBuf>,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Runs the ClickHouse engine of a library.
    #[command(hide = true)]
    Engine {
        /// The library.
        library: PathBuf,
        /// The engine's arguments.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(clap::Args)]
struct Up {
    /// Which; all by default.
    services: Vec<Service>,
    /// The port of the broker.
    #[arg(long, default_value_t = 9092)]
    kafka_port: u16,
    /// The HTTP port of ClickHouse.
    #[arg(long, default_value_t = 8123)]
    clickhouse_port: u16,
    /// The port of the S3 server.
    #[arg(long, default_value_t = 9000)]
    s3_port: u16,
    /// Keeps the data in this folder; without it, the data goes with the services.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Service {
    Kafka,
    Clickhouse,
    S3,
}

impl Service {
    fn is_wanted(self, chosen: &[Service]) -> bool {
        chosen.is_empty() || chosen.contains(&self)
    }
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Up(arguments) => up(&arguments),
        Command::Fetch { services } => fetch(&services),
        Command::Supervise { log, remove, command } => supervise::run(&log, remove.as_deref(), &command),
        Command::Engine { library, arguments } => engine::run(&library, &arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("services: {}", chain(&*error));
        ExitCode::FAILURE
    })
}

/// The error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause))).unwrap_or_default();
    format!("{error}{cause}")
}

fn fetch(chosen: &[Service]) -> Outcome {
    if Service::Kafka.is_wanted(chosen) {
        services::fetch_kafka()?;
    }
    if Service::Clickhouse.is_wanted(chosen) {
        services::fetch_clickhouse()?;
    }
    if Service::S3.is_wanted(chosen) {
        services::fetch_s3()?;
    }
    println!("all there");
    Ok(ExitCode::SUCCESS)
}

/// On Ctrl-C the services are stopped in an orderly way, so that kept data needs no repair.
fn up(arguments: &Up) -> Outcome {
    let data = |name: &str| arguments.data.as_ref().map(|dir| dir.join(name));
    let mut kafka = None;
    if Service::Kafka.is_wanted(&arguments.services) {
        let settings = KafkaSettings {
            port: Some(arguments.kafka_port),
            data: data("kafka"),
            ..KafkaSettings::default()
        };
        let started = Kafka::start(&settings)?;
        println!("{}={}", services::KAFKA_VARIABLE, started.bootstrap());
        kafka = Some(started);
    }
    let mut clickhouse = None;
    if Service::Clickhouse.is_wanted(&arguments.services) {
        let settings = ClickHouseSettings {
            port: Some(arguments.clickhouse_port),
            data: data("clickhouse"),
            ..ClickHouseSettings::default()
        };
        let started = ClickHouse::start(&settings)?;
        let host = started.url().trim_start_matches("http://");
        let (user, password) = (started.user(), started.password());
        println!("{}=http://{user}:{password}@{host}", services::CLICKHOUSE_VARIABLE);
        clickhouse = Some(started);
    }
    let mut s3 = None;
    if Service::S3.is_wanted(&arguments.services) {
        let settings =
            S3Settings { port: Some(arguments.s3_port), data: data("s3"), ..S3Settings::default() };
        let started = S3::start(&settings)?;
        println!("AWS_ENDPOINT={} AWS_ALLOW_HTTP=true", started.url());
        println!("AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}", started.key_id(), started.key());
        println!("# its bucket: s3://{}/", started.bucket());
        s3 = Some(started);
    }
    // Only now: Ctrl-C during a start or a download ends this program, and with it what has started.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    eprintln!("services: running; Ctrl-C stops them");
    let _ = signals.forever().next();
    eprintln!("services: stopping");
    if let Some(mut kafka) = kafka {
        kafka.stop()?;
    }
    if let Some(mut clickhouse) = clickhouse {
        clickhouse.stop()?;
    }
    if let Some(mut s3) = s3 {
        s3.stop()?;
    }
    Ok(ExitCode::SUCCESS)
}
