//! The certificate: an archive is replayed, and its tables are held against what is published.
//!
//! ```text
//!   archive ─▶ replay ─▶ tables, digests ─┐
//!                                         ├─ equal, or the cells that differ
//!   ClickHouse, or another replay's tables┘
//! ```
//!
//! Digests are compared first. Only of a table whose digests differ are both sides read in order
//! of their keys, side by side, so that no table is ever in memory.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use csv::{Reader, StringRecord};
use dataflows::model::time::Epoch;
use serde::Deserialize;

use super::archives;
use super::cluster::Cluster;
use super::job::TimeRange;
use super::output::Output;
use super::replay::{self, ReplayError, Replayed};
use crate::archive::{ArchiveError, Catalog};
use crate::config::Config;
use crate::sinks::cells::{ColumnKind, Digest};
use crate::sinks::clickhouse::{ClickHouse, ClickHouseError};
use crate::sinks::table_file::TableFormat;
use crate::sinks::tables::Shape;
use crate::store::Place;

/// How long ClickHouse may take for one table.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What is compared.
#[derive(Clone, Debug)]
pub struct Options {
    /// The archive.
    pub archive: Place,
    /// Lookup tables; those of the archive when there are none.
    pub lookups: Option<PathBuf>,
    /// Attribution rules besides.
    pub rules: Option<PathBuf>,
    /// The tables of another replay; ClickHouse when there are none.
    pub against: Option<PathBuf>,
    /// Where the tables are computed; removed when done.
    pub work: PathBuf,
    /// Worker threads.
    pub workers: usize,
    /// Differences listed of a table at most.
    pub limit: usize,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No archive.
    #[error("{0} is no archive: it holds no manifest")]
    NoArchive(Place),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The replay.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// ClickHouse.
    #[error(transparent)]
    ClickHouse(#[from] ClickHouseError),
    /// A file.
    #[error("can't read or write {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The tables compared with aren't a replay's.
    #[error("{path} can't be compared with: {what}")]
    NoTables {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Rows and digest of a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sum {
    /// Rows.
    pub rows: u64,
    /// The digest.
    pub digest: String,
}

/// What came of one table.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The table.
    pub table: &'static str,
    /// As the archive has it.
    pub archived: Sum,
    /// As it is published.
    pub published: Sum,
    /// What differs, up to the limit.
    pub differences: Vec<Difference>,
}

impl Verdict {
    /// Whether both are equal.
    pub fn is_equal(&self) -> bool {
        self.archived == self.published
    }
}

/// Something that differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// The key of the row.
    pub key: String,
    /// The column; none when one side lacks the row.
    pub column: Option<String>,
    /// By the archive.
    pub archived: Option<String>,
    /// As published.
    pub published: Option<String>,
}

/// What came of all tables.
#[derive(Debug)]
pub struct Verified {
    /// By table.
    pub verdicts: Vec<Verdict>,
    /// The archive's last epoch.
    pub archived: Epoch,
    /// What was read up to this epoch is not in the archive.
    pub begins: Epoch,
    /// The frontier of the archive's job in ClickHouse.
    pub published: Option<Epoch>,
}

impl Verified {
    /// Whether what is published goes as far as the archive.
    pub fn is_in_step(&self) -> bool {
        archives::is_in_step(self.archived, self.published)
    }

    /// Whether all tables are equal.
    pub fn is_equal(&self) -> bool {
        self.verdicts.iter().all(Verdict::is_equal)
    }
}

/// Removes a directory at its end.
struct Work(PathBuf);

impl Drop for Work {
    fn drop(&mut self) {
        // What is left is in a place for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Replays an archive and compares.
///
/// # Errors
/// See [`VerifyError`]. That something differs is no error.
pub fn verify(config: &Config, options: &Options) -> Result<Verified, VerifyError> {
    let archive = Catalog::open(&options.archive, &config.s3)?;
    let archive = archive.ok_or_else(|| VerifyError::NoArchive(options.archive.clone()))?;
    let work = Work(options.work.join(format!("advertisex-verify-{}", std::process::id())));
    let recomputed = work.0.join("archived");
    let replayed = recompute(config, options, &recomputed)?;
    let other = match &options.against {
        Some(directory) => Other::Directory(Published::read(directory)?, directory.clone()),
        None => {
            let mut settings = config.clickhouse.clone();
            settings.request_timeout = PATIENCE;
            Other::ClickHouse(Box::new(ClickHouse::connect(settings)?), work.0.join("published"))
        }
    };
    let published = match &other {
        Other::ClickHouse(clickhouse, _) => clickhouse.frontier(&archive.job, 0)?,
        Other::Directory(..) => None,
    };
    let verdicts =
        Shape::all().into_iter().map(|shape| judge(&shape, (&replayed, &recomputed), &other, options.limit));
    let verdicts = verdicts.collect::<Result<_, _>>()?;
    Ok(Verified { verdicts, archived: archive.epoch, begins: archive.begins, published })
}

fn recompute(config: &Config, options: &Options, output: &Path) -> Result<Replayed, VerifyError> {
    if let Some(parent) = output.parent() {
        fs::create_dir_all(parent).map_err(|source| failed(parent, source))?;
    }
    let replayed = replay::replay(
        config,
        &replay::Options {
            input: options.archive.clone(),
            lookups: options.lookups.clone(),
            rules: options.rules.clone(),
            cluster: Cluster::alone(options.workers),
            epoch_events: config.replay.epoch_events,
            range: TimeRange::default(),
            horizon: None,
            quiet: true,
            stop: Arc::default(),
        },
        &Output::Directory { path: output.to_owned(), format: TableFormat::Csv, force: false },
    )?;
    // Alone, it always says what was done.
    replayed.ok_or(VerifyError::Replay(ReplayError::Stopped))
}

/// What the archive is held against.
enum Other {
    /// The tables of a replay.
    Directory(Published, PathBuf),
    /// The server, and where tables are put that differ.
    ClickHouse(Box<ClickHouse>, PathBuf),
}

/// `run.json`, as far as it is of interest.
#[derive(Deserialize)]
struct Published {
    tables: Vec<PublishedTable>,
}

#[derive(Deserialize)]
struct PublishedTable {
    table: String,
    rows: u64,
    digest: String,
}

impl Published {
    fn read(directory: &Path) -> Result<Self, VerifyError> {
        let path = directory.join("run.json");
        let bytes = fs::read(&path).map_err(|source| failed(&path, source))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| VerifyError::NoTables { path, what: error.to_string() })
    }
}

fn judge(
    shape: &Shape,
    (replayed, recomputed): (&Replayed, &Path),
    other: &Other,
    limit: usize,
) -> Result<Verdict, VerifyError> {
    let table = shape.table;
    let ours = replayed.report.tables.iter().find(|report| report.table == table);
    let archived = ours.map_or(Sum { rows: 0, digest: Digest::default().hex() }, |report| Sum {
        rows: report.rows,
        digest: report.digest.clone(),
    });
    let published = match other {
        Other::Directory(published, directory) => {
            let theirs = published.tables.iter().find(|theirs| theirs.table == table);
            let theirs = theirs.ok_or_else(|| VerifyError::NoTables {
                path: directory.join("run.json"),
                what: format!("it names no table {table}"),
            })?;
            Sum { rows: theirs.rows, digest: theirs.digest.clone() }
        }
        Other::ClickHouse(clickhouse, _) => {
            let mut digest = Digest::default();
            clickhouse.lines(shape, false, |line| digest.add_line(line.as_bytes()))?;
            Sum { rows: digest.rows(), digest: digest.hex() }
        }
    };
    let mut verdict = Verdict { table, archived, published, differences: Vec::new() };
    if !verdict.is_equal() && limit > 0 {
        let file = |directory: &Path| directory.join(format!("{table}.csv"));
        let (ours, theirs) = (
            file(recomputed),
            match other {
                Other::Directory(_, directory) => file(directory),
                Other::ClickHouse(clickhouse, directory) => store(clickhouse, shape, &file(directory))?,
            },
        );
        // Of tables in Parquet only the digests are compared.
        if theirs.is_file() {
            verdict.differences = differences(&ours, &theirs, shape, limit)?;
        }
    }
    Ok(verdict)
}

/// Puts a table of ClickHouse into a file, in order of its key.
fn store(clickhouse: &ClickHouse, shape: &Shape, path: &Path) -> Result<PathBuf, VerifyError> {
    let fail = |source| failed(path, source);
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(fail)?;
    let mut file = BufWriter::new(File::create(path).map_err(fail)?);
    let header: Vec<_> = shape.columns.iter().map(|column| column.name).collect();
    let mut written = writeln!(file, "{}", header.join(","));
    clickhouse.lines(shape, true, |line| {
        if written.is_ok() {
            written = writeln!(file, "{line}");
        }
    })?;
    written.and_then(|()| file.flush()).map_err(fail)?;
    Ok(path.to_owned())
}

/// Reads two files of a table side by side.
fn differences(
    ours: &Path,
    theirs: &Path,
    shape: &Shape,
    limit: usize,
) -> Result<Vec<Difference>, VerifyError> {
    let (mut ours, mut theirs) = (Rows::open(ours)?, Rows::open(theirs)?);
    let mut found = Vec::new();
    while found.len() < limit {
        let order = match (&ours.row, &theirs.row) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => by_key(a, b, shape),
        };
        let key = |row: &Option<StringRecord>| {
            row.iter().flat_map(|row| row.iter().take(shape.keys)).collect::<Vec<_>>().join(",")
        };
        let rest = |row: &Option<StringRecord>| {
            Some(row.iter().flat_map(|row| row.iter().skip(shape.keys)).collect::<Vec<_>>().join(","))
        };
        match order {
            Ordering::Less => {
                found.push(Difference {
                    key: key(&ours.row),
                    column: None,
                    archived: rest(&ours.row),
                    published: None,
                });
                ours.next()?;
            }
            Ordering::Greater => {
                found.push(Difference {
                    key: key(&theirs.row),
                    column: None,
                    archived: None,
                    published: rest(&theirs.row),
                });
                theirs.next()?;
            }
            Ordering::Equal => {
                let pairs = ours.row.iter().flatten().zip(theirs.row.iter().flatten());
                for (column, (a, b)) in shape.columns.iter().zip(pairs).filter(|(_, (a, b))| a != b) {
                    let (archived, published) = (Some(a.to_owned()), Some(b.to_owned()));
                    found.push(Difference {
                        key: key(&ours.row),
                        column: Some(column.name.to_owned()),
                        archived,
                        published,
                    });
                }
                ours.next()?;
                theirs.next()?;
            }
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// The order in which tables are written: windows as numbers, texts bytewise.
fn by_key(a: &StringRecord, b: &StringRecord, shape: &Shape) -> Ordering {
    let cells = shape.columns.iter().take(shape.keys).zip(a.iter().zip(b.iter()));
    let orders = cells.map(|(column, (a, b))| match (column.kind, a.parse::<i64>(), b.parse::<i64>()) {
        (ColumnKind::Int, Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    });
    orders.fold(Ordering::Equal, Ordering::then)
}

/// The rows of a file of CSV, one at a time.
struct Rows {
    path: PathBuf,
    reader: Reader<File>,
    row: Option<StringRecord>,
}

impl Rows {
    fn open(path: &Path) -> Result<Self, VerifyError> {
        let reader = Reader::from_path(path)
            .map_err(|error| VerifyError::NoTables { path: path.to_owned(), what: error.to_string() })?;
        let mut rows = Self { path: path.to_owned(), reader, row: None };
        rows.next()?;
        Ok(rows)
    }

    fn next(&mut self) -> Result<(), VerifyError> {
        let mut row = StringRecord::new();
        let read = self.reader.read_record(&mut row);
        let more =
            read.map_err(|error| VerifyError::NoTables { path: self.path.clone(), what: error.to_string() })?;
        self.row = more.then_some(row);
        Ok(())
    }
}

fn failed(path: &Path, source: std::io::Error) -> VerifyError {
    VerifyError::File { path: path.to_owned(), source }
}
