//! History through other rules into the published tables: a replay fills a new generation of them in
//! ClickHouse, and takes their place at once.
//!
//! ```text
//!   archive ─▶ replay ─▶ tables beside the published ones ─▶ nothing missing? ─▶ exchanged
//!      └── locked until the end: no live run goes on meanwhile
//! ```
//!
//! Its rows hold as of the frontier. So whatever the live run publishes when it goes on, which is of
//! later epochs, wins over them as over any row.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dataflows::model::time::Epoch;

use super::archives;
use super::filling::Filling;
use super::output::Output;
use super::replay::{self, ReplayError, Replayed, replay};
use crate::archive::{ArchiveError, Catalog};
use crate::config::Config;
use crate::sinks::clickhouse::{ClickHouse, ClickHouseError, Frontier, Generation, Staging, Swapped};
use crate::store::Place;

/// How long ClickHouse may take to count a table.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The job whose tables they are, unless the archive names another.
const JOB: &str = "advertisex";

/// What is replaced.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The live run's name; none: as the archive says, else as `run` has it.
    pub job: Option<String>,
    /// Also replace what the input may not hold.
    pub force: bool,
}

/// Why no generation took the place of the published tables. They are as they were, unless a swap
/// had begun; the next start finishes it then.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// ClickHouse.
    #[error(transparent)]
    ClickHouse(#[from] ClickHouseError),
    /// The replay.
    #[error(transparent)]
    Replay(ReplayError),
    /// What is published may be lost.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<ReplayError> for GenerationError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Refused(refusal) => refusal.into(),
            ReplayError::Exchange(error) => (*error).into(),
            error => Self::Replay(error),
        }
    }
}

/// What would be lost.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Archive and ClickHouse are at different epochs.
    #[error(
        "the archive goes up to epoch {archived}, but ClickHouse to {published}: what only one of them has \
         would be lost; start the live run once more, end it with Ctrl-C or --until-idle-ms, which writes the \
         rest of the archive, and replay again"
    )]
    OutOfStep {
        /// The archive's last epoch.
        archived: Epoch,
        /// The frontier in ClickHouse.
        published: Epoch,
    },
    /// The archive was begun later than its job.
    #[error(
        "the archive lacks what was read up to epoch {begins}, before there was an archive; add --force to \
         publish tables without it"
    )]
    PartOfArchive {
        /// Where it begins.
        begins: Epoch,
    },
    /// Something is published, and the input is not its archive.
    #[error(
        "ClickHouse holds what job {job:?} published up to epoch {published}, which these files may not hold; \
         replay the archive of the job (--input), or add --force to replace what is published"
    )]
    Published {
        /// The job.
        job: String,
        /// Its frontier.
        published: Epoch,
    },
    /// Others publish here, too.
    #[error(
        "ClickHouse also holds what shard {shard} of job {job:?} published, in the same tables; give each job \
         a database of its own, or add --force to replace that, too"
    )]
    Others {
        /// Another job, or the same.
        job: String,
        /// Its shard.
        shard: u32,
    },
    /// Records that are published did not come in.
    #[error(
        "{feed}: {published} records are published, but the input holds {found}; files that retention deleted \
         are gone, and so would be what rests on them; restore them, or add --force to publish without them"
    )]
    Missing {
        /// The feed.
        feed: String,
        /// Records received, by the published `quality_minute`.
        published: i64,
        /// By the new one.
        found: i64,
    },
    /// Somebody went on publishing.
    #[error("a live run has published meanwhile; end it, and replay again")]
    Moved,
}

/// What was done.
#[derive(Debug)]
pub struct Regenerated {
    /// The replay, with rows and digests of the tables.
    pub replayed: Replayed,
    /// The generation.
    pub swapped: Swapped,
}

/// Replays what `input` says into a new generation of the tables in ClickHouse, and puts it in place
/// of the published one. What else ClickHouse holds stays as it is. Of several processes, the first
/// one says what was done.
///
/// # Errors
/// See [`GenerationError`].
pub fn regenerate(
    config: &Config,
    input: &replay::Options,
    options: &Options,
) -> Result<Option<Regenerated>, GenerationError> {
    let shard = u32::try_from(input.cluster.process()).unwrap_or(u32::MAX);
    let staging = Staging::new(&config.clickhouse, shard, Arc::clone(&input.stop))?;
    if input.cluster.is_first() {
        return replace(config, input, options, staging).map(Some);
    }
    replay(config, input, &Output::Generation(Arc::new(Filling::help(staging))))?;
    Ok(None)
}

/// The first process's part.
fn replace(
    config: &Config,
    input: &replay::Options,
    options: &Options,
    staging: Staging,
) -> Result<Regenerated, GenerationError> {
    // 1. Nobody else may write: a live run holds these locks, too.
    let _locks = lock(config, &input.input)?;
    let archive = Catalog::open(&input.input, &config.s3)?;
    // 2. What is there, and whether it may be replaced.
    let mut settings = config.clickhouse.clone();
    settings.request_timeout = PATIENCE;
    let server = ClickHouse::connect(settings)?;
    server.create_schema()?;
    server.finish_swap()?;
    let before = server.frontiers()?;
    let job = options.job.as_deref().or(archive.as_ref().map(|archive| &*archive.job)).unwrap_or(JOB);
    let extent = archive.as_ref().map(|archive| (archive.begins, archive.epoch));
    let version = admit(job, &before, extent, options.force)?.unwrap_or(1);
    // 3. The tables, beside the others. Once they are filled they take their place.
    let generation = Generation::begin(server, (job, version), Arc::clone(&input.stop))?;
    let filling = Arc::new(Filling::own(staging, generation, before, options.force));
    let replayed = replay(config, input, &Output::Generation(Arc::clone(&filling)));
    let replayed = replayed.inspect_err(|_| filling.abandon())?;
    let (Some(replayed), Some(swapped)) = (replayed, filling.swapped()) else {
        return Err(ReplayError::Stopped.into());
    };
    Ok(Regenerated { replayed, swapped })
}

/// Locks the archive that is read, and the one that a live run of this configuration writes, as far
/// as they lie in directories.
fn lock(config: &Config, input: &Place) -> Result<Vec<File>, ArchiveError> {
    let read = Catalog::open(input, &config.s3)?.map(|_| input);
    let mut directories: Vec<PathBuf> = Vec::new();
    for place in read.into_iter().chain(&config.archive.place) {
        let Place::Directory(path) = place else { continue };
        // One that isn't there yet is no other.
        let path = path.canonicalize().unwrap_or_else(|_| path.clone());
        if !directories.contains(&path) {
            directories.push(path);
        }
    }
    directories.iter().map(|path| archives::lock_directory(path, true)).collect()
}

/// Whether what is published may be replaced by an input: an archive with so much (from, to), or
/// files. Returns the frontier of the job.
fn admit(
    job: &str,
    published: &[Frontier],
    archive: Option<(Epoch, Epoch)>,
    force: bool,
) -> Result<Option<Epoch>, Refusal> {
    let is_own = |frontier: &&Frontier| frontier.job == job && frontier.shard == 0;
    let own = published.iter().find(is_own).map(|frontier| frontier.epoch);
    if let Some((_, archived)) = archive
        && let Some(published) = own.filter(|_| !archives::is_in_step(archived, own))
    {
        return Err(Refusal::OutOfStep { archived, published });
    }
    if force {
        return Ok(own);
    }
    match (archive, own) {
        (Some((begins, _)), _) if begins > 0 => return Err(Refusal::PartOfArchive { begins }),
        (None, Some(published)) => return Err(Refusal::Published { job: job.to_owned(), published }),
        _ => {}
    }
    match published.iter().find(|frontier| !is_own(frontier)) {
        Some(Frontier { job, shard, .. }) => Err(Refusal::Others { job: job.clone(), shard: *shard }),
        None => Ok(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontier(job: &str, shard: u32, epoch: Epoch) -> Frontier {
        Frontier { job: job.to_owned(), shard, epoch }
    }

    #[test]
    fn an_archive_replaces_what_it_holds_and_nothing_else() {
        let ours = [frontier("ads", 0, 7)];
        assert_eq!(admit("ads", &[], Some((0, 7)), false), Ok(None));
        assert_eq!(admit("ads", &ours, Some((0, 7)), false), Ok(Some(7)));
        for (archived, force) in [(6, false), (8, false), (6, true)] {
            let refused = Refusal::OutOfStep { archived, published: 7 };
            assert_eq!(admit("ads", &ours, Some((0, archived)), force), Err(refused));
        }
        assert_eq!(admit("ads", &ours, Some((3, 7)), false), Err(Refusal::PartOfArchive { begins: 3 }));
        assert_eq!(admit("ads", &ours, Some((3, 7)), true), Ok(Some(7)));
        let others = [frontier("ads", 0, 7), frontier("other", 0, 9)];
        let refused = Refusal::Others { job: "other".to_owned(), shard: 0 };
        assert_eq!(admit("ads", &others, Some((0, 7)), false), Err(refused));
        let shards = [frontier("ads", 0, 7), frontier("ads", 1, 7)];
        let refused = Refusal::Others { job: "ads".to_owned(), shard: 1 };
        assert_eq!(admit("ads", &shards, Some((0, 7)), false), Err(refused));
    }

    #[test]
    fn files_replace_what_is_published_by_force_only() {
        let ours = [frontier("ads", 0, 7)];
        assert_eq!(admit("ads", &[], None, false), Ok(None));
        let refused = Refusal::Published { job: "ads".to_owned(), published: 7 };
        assert_eq!(admit("ads", &ours, None, false), Err(refused));
        assert_eq!(admit("ads", &ours, None, true), Ok(Some(7)));
    }
}
