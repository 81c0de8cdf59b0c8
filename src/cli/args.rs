//! The arguments.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use dataflows::model::time::Millis;

use super::launch::Processes;
use crate::formats::lookup::duration;
use crate::generate::{Format, Plan};
use crate::runtime::live::erasure::Policy;
use crate::serve::access::Role;
use crate::sinks::clickhouse::RejectId;
use crate::sinks::table_file::TableFormat;
use crate::store::{Place, PlaceError};

/// Exact, incremental numbers for ad traffic.
///
/// Bids, impressions, clicks and conversions go in; campaign performance, attribution, reach,
/// supply and data quality come out, exact to the last micro.
#[derive(Debug, Parser)]
#[command(name = "advertisex", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// Write log lines as JSON, with the names of the Elastic Common Schema.
    #[arg(long, global = true)]
    pub log_json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed; 2 bad arguments; 3 bad config or lookup table; 4 the output directory \
already holds files, or something published would be lost; 5 verify found a difference; 6 the processes of a cluster failed too often; 70 the \
numbers did not add up and nothing was published.
Logs go to stderr; ADVERTISEX_LOG sets their level (error, warn, info, debug).";

/// What stands for a place in help.
const PLACE: &str = "DIR|s3://BUCKET/PREFIX";

/// Reads a directory's path, or a part of a bucket.
fn place() -> impl TypedValueParser<Value = Place> {
    let read = |path: PathBuf| match path.to_str() {
        Some(text) => Place::parse(text),
        None => Ok::<_, PlaceError>(Place::Directory(path)),
    };
    PathBufValueParser::new().try_map(read)
}

/// Reads how long windows can be corrected.
fn horizon(text: &str) -> Result<Millis, &'static str> {
    // A thousand years: what is longer is a mistake.
    let sensible = |length: &Millis| length.0 <= Millis::days(365_000).0;
    duration(text).filter(sensible).ok_or("a number with a unit is expected, such as 35d, 36h or 90m")
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the feeds from Kafka and keep the tables in ClickHouse up to date.
    Run(Run),
    /// Compute every table from files of history.
    Replay(Replay),
    /// Run either on several processes of this machine, started and watched over.
    Cluster(Cluster),
    /// Write believable traffic to try things with.
    Generate(Generate),
    /// See it work: a day of generated traffic, epoch by epoch. Needs nothing.
    Demo(Demo),
    /// Check a configuration file.
    Check(Check),
    /// Look at records that a live run rejected, and send them corrected.
    Rejects(Rejects),
    /// List the archive of a live run, or move and delete old files of it.
    Archive(Archive),
    /// Compute the tables from an archive, and compare them with what is published.
    Verify(Verify),
    /// Take all that some users have left out of state, archive and rejects.
    Erase(Erase),
    /// Print the ClickHouse schema, as a live run creates it.
    Schema(Schema),
    /// Make a token for somebody who may look at the dashboards or ask the API.
    Token(Token),
    /// Print a completion script for a shell.
    ///
    /// Example: advertisex completions bash > /etc/bash_completion.d/advertisex
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// `run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  advertisex run --config live.toml
  advertisex run --config live.toml --workers 4 --state /var/lib/advertisex
  advertisex run --config live.toml --until-idle-ms 5000
  advertisex run --config live.toml --state new/ --from-archive archive/
  advertisex run --config live.toml --hosts hosts.txt --process 0
Ctrl-C or SIGTERM ends a run; the next one goes on where it stopped, whatever ended it. Topics and addresses \
are set in [kafka] and [clickhouse] of the config; `advertisex check --print` shows all settings.")]
pub struct Run {
    /// Configuration; what it leaves out is built in.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Worker threads [default: replay.workers of the config; 0: one per core].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Where the binding log lies: which offsets each epoch was made of. Keep it.
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
    /// Begin with what an archive holds, and go on in Kafka where it ends. Only an empty state and
    /// an empty database begin so; later starts go on as ever.
    #[arg(long, value_name = PLACE, value_parser = place())]
    pub from_archive: Option<Place>,
    /// The run's name, under which ClickHouse keeps how far it is.
    #[arg(long, value_name = "NAME", default_value = "advertisex")]
    pub job: String,
    /// Milliseconds from one epoch to the next.
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub epoch_ms: u64,
    /// End once nothing has arrived for this long and everything is published.
    #[arg(long, value_name = "MS")]
    pub until_idle_ms: Option<u64>,
    /// The cluster.
    #[command(flatten)]
    pub processes: Processes,
}

/// `rejects`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  advertisex rejects --config live.toml list --feed impressions --reason bad_number
  advertisex rejects --config live.toml show impressions/2/1234/0
  advertisex rejects --config live.toml retry impressions/2/1234/0 --payload corrected.json
An id is topic/partition/offset/record. A corrected record is a new message of the same topic; the reject \
stays in the table, as what once happened.")]
pub struct Rejects {
    /// Configuration of the live run.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: RejectsCommand,
}

/// The commands of `rejects`.
#[derive(Debug, Subcommand)]
pub enum RejectsCommand {
    /// List the newest.
    List {
        /// Only those of this feed: impressions, events or bid_requests.
        #[arg(long)]
        feed: Option<String>,
        /// Only those for this reason, as in `rejected_*` of `quality_minute`.
        #[arg(long)]
        reason: Option<String>,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u64,
    },
    /// Show one with its payload (the first 4 KiB).
    Show {
        /// Its id.
        id: RejectId,
    },
    /// Send the corrected record to the topic it came from.
    Retry {
        /// Its id.
        id: RejectId,
        /// The corrected record, as a message holds it; `-` reads stdin.
        #[arg(long, value_name = "FILE")]
        payload: PathBuf,
    },
}

/// `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  advertisex verify --archive archive/ --config live.toml
  advertisex verify --archive s3://ads/archive --config live.toml
  advertisex verify --archive archive/ --lookups lookups/ --against tables/
Exit code 0: every table is equal, by its digest. 5: one is not; the cells that differ are listed. Stop the live \
run first, or what it has published since the last files differs.")]
pub struct Verify {
    /// Where the archive is.
    #[arg(long, value_name = PLACE, value_parser = place())]
    pub archive: Place,
    /// The directory of lookup tables [default: the lookup rows that the archive holds].
    #[arg(long, value_name = "DIR")]
    pub lookups: Option<PathBuf>,
    /// Attribution rules to use beside those of the lookups.
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Configuration of the live run, whose [clickhouse] is compared with.
    #[arg(long, value_name = "FILE", required_unless_present = "against")]
    pub config: Option<PathBuf>,
    /// Compare with the tables of a replay instead.
    #[arg(long, value_name = "DIR")]
    pub against: Option<PathBuf>,
    /// Where tables are put while they are compared [default: the system's temporary directory].
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Worker threads [default: replay.workers of the config].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// List so many differences of a table at most.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

/// `erase`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  advertisex erase --config live.toml --user 4711 --request GDPR-2026-118
  advertisex erase --config live.toml --users requests.txt --policy freeze --receipt receipts/118.json
  advertisex erase --config live.toml --users requests.txt --dry-run
  advertisex erase --config live.toml                   # ends what was cut short
End the run first, and start it again afterwards: Kafka keeps what arrives meanwhile. What Kafka itself still \
holds goes by the retention of its topics. docs/privacy.md says what is removed, and what is not.")]
pub struct Erase {
    /// Configuration of the live run.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// A user's id, as it stands in the feeds; can be given again for more.
    #[arg(long, value_name = "ID")]
    pub user: Vec<String>,
    /// A file of users' ids, one a line.
    #[arg(long, value_name = "FILE")]
    pub users: Option<PathBuf>,
    /// What becomes of the published numbers: those that can still be corrected are, or they stay as
    /// they are.
    #[arg(long, value_enum, default_value_t)]
    pub policy: Policy,
    /// What the request is known by elsewhere; it stands in the receipt.
    #[arg(long, value_name = "TEXT")]
    pub request: Option<String>,
    /// Where the receipt is written [default: erasure-EPOCH.json].
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Only say what would be removed, and which numbers would move.
    #[arg(long)]
    pub dry_run: bool,
    /// Worker threads [default: replay.workers of the config].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// The state directory of the run.
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
    /// The run's name.
    #[arg(long, value_name = "NAME", default_value = "advertisex")]
    pub job: String,
}

/// `archive`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  advertisex archive list --archive /var/lib/advertisex/archive
  advertisex archive list --archive s3://ads/archive --config live.toml
  advertisex archive retain --config live.toml --dry-run
A live run applies the rules of age itself, every archive.interval_ms; `retain` does it while none runs.")]
pub struct Archive {
    /// What to do.
    #[command(subcommand)]
    pub command: ArchiveCommand,
}

/// The commands of `archive`.
#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// List its files by day and kind.
    List {
        /// Where it is.
        #[arg(long, value_name = PLACE, value_parser = place())]
        archive: Place,
        /// Configuration, whose [s3] says how a bucket is reached.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Move and delete files as archive.cold_after_days and archive.delete_after_days say.
    Retain {
        /// Configuration of the live run.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

/// `replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  advertisex replay --input day/ --lookups day/ --output tables/
  advertisex replay --input history/ --lookups lookups/ --output tables/ --format parquet --workers 8
  advertisex replay --input day/ --lookups day/ --output week/ --since 2026-03-01T00:00:00Z --until 2026-03-08T00:00:00Z
  advertisex replay --input day/ --lookups day/ --output tables/ --hosts hosts.txt --process 1
  advertisex replay --input archive/ --output tables/ --horizon 35d
  advertisex replay --input archive/ --rules new_rules.csv --into clickhouse --config live.toml
  advertisex cluster -n 4 -w 2 -- replay --input archive/ --into clickhouse --config live.toml
  advertisex replay --input s3://ads/archive --output tables/ --config live.toml

Input files, in any number and in subfolders too: impressions*.jsonl|json, events*.csv, bid_requests*.avro \
(text also .gz or .zst), and canonical impressions|clicks|conversions|bids*.parquet. --config maps other names \
and fields. Records that break a rule go to OUTPUT/rejects.jsonl; OUTPUT/run.json says what was done. --into \
clickhouse wants the archive of the live run, which is ended before and started again afterwards. From buckets \
archives are read, as [s3] of --config or AWS_* of the environment say.")]
pub struct Replay {
    /// The directory of feeds, or an archive.
    #[arg(long, value_name = PLACE, value_parser = place())]
    pub input: Place,
    /// The directory of campaigns.csv and, if there are any, traffic.csv and attribution_rules.csv
    /// [default: the lookup rows that an archive holds].
    #[arg(long, value_name = "DIR")]
    pub lookups: Option<PathBuf>,
    /// Where the tables go; appears whole or not at all.
    #[arg(long, value_name = "DIR", required_unless_present = "into", conflicts_with = "into")]
    pub output: Option<PathBuf>,
    /// Instead of writing files, replace the published tables: all are computed beside them, and
    /// then take their place at once. [clickhouse] of the config says where; no live run may go on.
    #[arg(long, value_enum, requires = "config", conflicts_with_all = ["format", "since", "until"])]
    pub into: Option<Destination>,
    /// With --into: the live run's name [default: that of the archive, else advertisex].
    #[arg(long, value_name = "NAME", requires = "into")]
    pub job: Option<String>,
    /// The format of the tables.
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
    /// Worker threads [default: from the config; there 0 means one per core].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Configuration; what it leaves out is built in.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Attribution rules to use beside those of the lookups (same columns).
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Leave out events before this time (RFC 3339).
    #[arg(long, value_name = "T")]
    pub since: Option<jiff::Timestamp>,
    /// Leave out events at and after this time (RFC 3339).
    #[arg(long, value_name = "T")]
    pub until: Option<jiff::Timestamp>,
    /// Judge events as a live run does: windows freeze so long behind what was read (such as 35d or
    /// 36h), what comes for them still is rejected as too_late, and what no open window needs is let
    /// go of, so that memory follows the horizon and not the length of history [without a value:
    /// time.correction_horizon_hours of the config]. In one process.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = horizon, conflicts_with = "epoch_events")]
    pub horizon: Option<Option<Millis>>,
    /// Close an epoch after this many events per worker [default: from the config; 0: one epoch].
    #[arg(long, value_name = "N")]
    pub epoch_events: Option<usize>,
    /// Replace what the output directory holds; with --into, also what is published and the input
    /// may not hold.
    #[arg(long)]
    pub force: bool,
    /// Show no progress and no summary.
    #[arg(long, short)]
    pub quiet: bool,
    /// The cluster.
    #[command(flatten)]
    pub processes: Processes,
}

/// Where tables go that are not written to files.
#[derive(Copy, Clone, Debug, Eq, PartialEq, ValueEnum)]
pub enum Destination {
    /// The database of a live run.
    #[value(name = "clickhouse")]
    ClickHouse,
}

/// `cluster`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  advertisex cluster -n 3 -w 2 -- run --config live.toml
  advertisex cluster -n 2 -- replay --input day/ --lookups day/ --output tables/
Each log line says which process it is from; what process 0 prints goes through. When one process ends, the rest \
are ended; `run` is then started again, as often as [cluster] of the config allows (else exit code 6), `replay` \
is not. Ctrl-C or SIGTERM ends all. On several machines, start each process yourself, with --hosts and --process.")]
pub struct Cluster {
    /// How many processes.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub processes: u64,
    /// Worker threads of each [default: as in the config].
    #[arg(long, short = 'w', value_name = "W")]
    pub workers: Option<usize>,
    /// What to run: run or replay, and their arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `generate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  advertisex generate --output day/ --auctions 100000 --seed 1
  advertisex generate --output history/ --auctions 1000000 --seed 7 --format parquet --days 30
The same options give the same bytes. campaigns.csv is written beside the feeds, so that the directory serves \
as --input and as --lookups.")]
pub struct Generate {
    /// Where the feeds go; appears whole or not at all.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// raw: as feeds arrive (JSON, CSV, Avro); parquet: canonical events.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Replace generated files that the output directory holds.
    #[arg(long)]
    pub force: bool,
    /// Show no progress and no summary.
    #[arg(long, short)]
    pub quiet: bool,
    /// The traffic.
    #[command(flatten)]
    pub plan: Plan,
}

/// `demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  advertisex demo --auctions 50000 --seed 3
  advertisex demo --listen 127.0.0.1:8080
  advertisex demo --live
  advertisex demo --live --config live.toml --rate 50000
Without --live nothing is needed. With it, Kafka and ClickHouse are: those of deploy/compose.yaml, or of a \
config. It makes topics of its own, which it deletes again, and the database advertisex_demo, which stays.")]
pub struct Demo {
    /// Where feeds, tables and state go; replaced on every run.
    #[arg(long, value_name = "DIR", default_value = "advertisex-demo")]
    pub output: PathBuf,
    /// Auctions in the day.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub auctions: u64,
    /// The seed of the traffic.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Serve the dashboard at this address, until Ctrl-C [default: 127.0.0.1:8080 on a terminal, else none].
    #[arg(long, value_name = "ADDRESS", conflicts_with = "live")]
    pub listen: Option<std::net::SocketAddr>,
    /// Send the traffic through Kafka into ClickHouse.
    #[arg(long)]
    pub live: bool,
    /// Where Kafka and ClickHouse are [default: as in config/examples/laptop.toml].
    #[arg(long, value_name = "FILE", requires = "live")]
    pub config: Option<PathBuf>,
    /// Records a second.
    #[arg(long, value_name = "N", default_value_t = 20_000, requires = "live", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
}

/// `token`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  advertisex token alice --role viewer --advertiser adv1 --advertiser adv2 >> live.toml
  advertisex token grafana --role analyst >> live.toml
The token goes to stderr, once: nothing keeps it. What belongs into the config, its hash, goes to stdout.")]
pub struct Token {
    /// Whose it is, as the audit log will call them.
    pub name: String,
    /// What they may do.
    #[arg(long, value_enum, default_value_t = Role::Viewer)]
    pub role: Role,
    /// An advertiser whose campaigns they see; may be given several times.
    #[arg(long = "advertiser", value_name = "ID", required_if_eq("role", "viewer"))]
    pub advertisers: Vec<String>,
}

/// `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example: advertisex check config/examples/ipinyou.toml")]
pub struct Check {
    /// The configuration file.
    pub file: PathBuf,
    /// Print the whole configuration that results, defaults included.
    #[arg(long)]
    pub print: bool,
}

/// `schema`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  advertisex schema
  advertisex schema --database ads | clickhouse client --multiquery
  advertisex schema --config live.toml > schema.sql
A live run creates the same database, tables and views itself; print them to review them, or when its user may \
not create.")]
pub struct Schema {
    /// The database [default: clickhouse.database of the config].
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Configuration; what it leaves out is built in.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
