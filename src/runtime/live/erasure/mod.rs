//! Erasure: what some users have left is taken out of everything, while no run is at work.
//!
//! ```text
//!   1. whose it is     archive, checkpoint ─▶ impressions and auctions of the users
//!   2. what it moves   checkpoint ─▶ the same graphs ─ their records retracted ─▶ changed rows
//!   3. published       restate: these rows         freeze: none, the difference stays as residues
//!   4. written anew    checkpoint and archive without the records; nothing names the old objects
//!   5. rejects         those whose payload names a user
//!   6. receipt
//! ```
//!
//! Before anything is changed a mark is put into the state directory, with which no run starts. Whoever
//! was killed on the way does all of it again: each step, done twice, changes nothing.

mod forget;
mod mark;
mod receipt;
mod rejects;

use std::cell::Cell;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use dataflows::graphs::residue::Residue;
use dataflows::model::ids::Id;
use dataflows::model::time::Epoch;
use dataflows::rules::erasure::{Concerns, Subject};

use self::forget::forget;
pub use self::mark::MARK;
use self::mark::Mark;
pub use self::receipt::{Policy, Receipt};
use super::coordinator::first_epoch;
use super::opening::{is_foreign, place, run_name, store};
use super::{LiveError, Options as RunOptions};
use crate::archive::{Archive, ArchiveError, Entry, Keeper, Shard};
use crate::bindings::Bindings;
use crate::checkpoint::{CheckpointError, HeldResidues, LEASE, MARGIN, Recovery, Rewriter};
use crate::config::Config;
use crate::formats::Batch;
use crate::names::{Names, SharedNames};
use crate::runtime::archives;
use crate::sinks::clickhouse::{ClickHouse, ClickHouseError, Upserts, Writer};
use crate::store::Store;

/// What is to be erased.
#[derive(Clone, Debug)]
pub struct Options {
    /// As the run is run whose state it is.
    pub run: RunOptions,
    /// The users' ids, as they stand in the feeds. None: end what was begun.
    pub users: Vec<String>,
    /// What becomes of the published numbers.
    pub policy: Policy,
    /// What the request is known by elsewhere.
    pub request: Option<String>,
    /// Where the receipt is written; none: in the working directory, named by its epoch.
    pub receipt: Option<PathBuf>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// How far it is: what is done, and how much of how much.
pub type Tell<'a> = dyn Fn(&'static str, usize, usize) + 'a;

/// Why nothing, or not all, was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// As for a run.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// There is no state.
    #[error(
        "{place} holds no checkpoint of job {job:?}, so there is nothing to erase from; name --state and --job of the run"
    )]
    NoState {
        /// Where the checkpoint should be.
        place: String,
        /// The job.
        job: String,
    },
    /// Something was read that is not in the checkpoint, or not published.
    #[error(
        "the last run has not ended by itself: its checkpoint goes up to epoch {checkpoint}, ClickHouse to \
         {published}, the archive to {archived}; start it once more, end it with Ctrl-C, SIGTERM or --until-idle-ms, \
         and erase then"
    )]
    Unsettled {
        /// The checkpoint's epoch.
        checkpoint: Epoch,
        /// The frontier in ClickHouse.
        published: Epoch,
        /// The archive's epoch, or that of ClickHouse where there is none.
        archived: Epoch,
    },
    /// An erasure was cut short.
    #[error(
        "an erasure of other users was cut short ({path}); end it first: run erase again without --user and --users"
    )]
    Unfinished {
        /// The mark.
        path: PathBuf,
    },
    /// There is nothing to end.
    #[error("no erasure was cut short; name the users with --user or --users")]
    NobodyNamed,
    /// The mark or the receipt.
    #[error("can't read or write {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<CheckpointError> for EraseError {
    fn from(error: CheckpointError) -> Self {
        Self::Live(error.into())
    }
}

impl From<ArchiveError> for EraseError {
    fn from(error: ArchiveError) -> Self {
        Self::Live(error.into())
    }
}

impl From<ClickHouseError> for EraseError {
    fn from(error: ClickHouseError) -> Self {
        Self::Live(error.into())
    }
}

/// Erases what `options` say, or ends what was begun. Returns the receipt, and where it was written.
///
/// # Errors
/// See [`EraseError`]. After a failure, run it again.
pub fn erase(
    config: &Config,
    options: &Options,
    tell: &Tell<'_>,
) -> Result<(Receipt, Option<PathBuf>), EraseError> {
    let ground = Ground::survey(config, options)?;
    match options.dry_run {
        true => Ok((ground.look(options, tell)?, None)),
        false => ground.clear(config, options, tell).map(|(receipt, path)| (receipt, Some(path))),
    }
}

/// All that there is, while nobody else is at work and nothing is on its way.
struct Ground {
    /// Locks the state directory.
    _log: Bindings,
    mark: Option<Mark>,
    asked: Asked,
    run: String,
    store: Arc<Store>,
    found: Recovery,
    clickhouse: ClickHouse,
    archive: Option<FoundArchive>,
    published: Epoch,
    /// Behind all that was published, archived or kept.
    epoch: Epoch,
}

impl Ground {
    fn survey(config: &Config, options: &Options) -> Result<Self, EraseError> {
        let (job, state) = (&options.run.job, &options.run.state);
        let (log, _) = Bindings::open(state, job).map_err(LiveError::from)?;
        let mark = Mark::find(state)?;
        let asked = asked(options, mark.as_ref())?;
        let (store, run) = (store(config, &options.run)?, run_name(&options.run));
        let found = Recovery::find(&store, job, &run)?;
        if found.latest == 0 {
            let place = place(config, &options.run).to_string();
            return Err(EraseError::NoState { place, job: job.clone() });
        }
        let clickhouse = ClickHouse::connect(config.clickhouse.clone())?;
        clickhouse.create_schema()?;
        let checkpoint = found.manifest.epoch;
        let archive = find_archive(config, options, &run, checkpoint)?;
        let published = clickhouse.frontier(job, 0)?.unwrap_or_default();
        let archived = archive.as_ref().map_or(published, |archive| archive.found.manifest.epoch);
        let bound = log.last_epoch().unwrap_or_default();
        // Epochs into which nothing was read are published, but in no checkpoint. An archive may lack what
        // an erasure that was cut short has published.
        let in_step = archived == published || mark.as_ref().is_some_and(|mark| mark.epoch == published);
        if !in_step || published < checkpoint || bound > checkpoint {
            return Err(EraseError::Unsettled { checkpoint, published, archived });
        }
        let epoch = first_epoch(published.max(archived));
        Ok(Self { _log: log, mark, asked, run, store, found, clickhouse, archive, published, epoch })
    }

    /// What would be done.
    fn look(self, options: &Options, tell: &Tell<'_>) -> Result<Receipt, EraseError> {
        let recovery = Recovery::find(&self.store, &options.run.job, &self.run)?;
        let Self { asked, run, store, found, clickhouse, archive, epoch, .. } = self;
        let keeper = archive
            .map(|FoundArchive { store, cold, found, lock }| (Keeper::look(store, cold, found, &run), lock));
        let keeper = keeper.as_ref().map(|(keeper, _)| keeper);
        let (names, subject) = (SharedNames::default(), subject(&asked, keeper, (&found, &store), tell)?);
        let workers = options.run.cluster.workers();
        let forgotten = forget((recovery, store), &names, &subject, (epoch, workers), tell)?;
        let mut receipt = Receipt::new(&options.run.job, &asked, epoch, &forgotten, &names);
        receipt.archive = keeper.map(|keeper| keeper.count(&subject, &|_| {})).transpose()?;
        receipt.rejects = rejects::find(&clickhouse, &asked.users)?.len() as u64;
        Ok(receipt)
    }

    fn clear(
        self,
        config: &Config,
        options: &Options,
        tell: &Tell<'_>,
    ) -> Result<(Receipt, PathBuf), EraseError> {
        let Self { _log, mark, asked, run, store, found, clickhouse, archive, published, epoch } = self;
        let (job, state) = (&options.run.job, &options.run.state);
        // 1. A run that still lives elsewhere ends, and none starts before this is done.
        let mut rewriter = claim(config, options, &store, &found, &run)?;
        let now = clickhouse.frontier(job, 0)?.unwrap_or_default();
        if now != published {
            let (checkpoint, archived) = (found.manifest.epoch, published);
            return Err(EraseError::Unsettled { checkpoint, published: now, archived });
        }
        let mut mark = mark.unwrap_or_else(|| Mark::new(&asked, published));
        mark.write(state)?;
        let keeper = archive.map(|FoundArchive { store, cold, found, lock }| {
            Keeper::claim(store, cold, found, &run).map(|keeper| (keeper, lock))
        });
        let mut keeper = keeper.transpose()?;
        // 2. What is theirs, and what moves without it.
        let names = SharedNames::default();
        let subject = subject(&asked, keeper.as_ref().map(|(keeper, _)| keeper), (&found, &store), tell)?;
        let recovery = Recovery::share(&store, rewriter.manifest(), 0, 1)?;
        let workers = options.run.cluster.workers();
        let forgotten = forget((recovery, store), &names, &subject, (epoch, workers), tell)?;
        let mut receipt = Receipt::new(job, &asked, epoch, &forgotten, &names);
        receipt.take_over(mark.receipt.take());
        mark.note(epoch, &receipt, state)?;
        // 3. Published, then written anew.
        tell("publishing what moves", 0, 0);
        publish(&clickhouse, options, &forgotten.after, asked.policy, &names)?;
        let left = match asked.policy {
            Policy::Restate => Vec::new(),
            Policy::Freeze => receipt::residues(&forgotten.before, &forgotten.after),
        };
        tell("writing the checkpoint anew", 0, 0);
        let freeze = found.manifest.horizon.freeze;
        let open: Vec<Residue> = found.residues.open(freeze).chain(left).collect();
        let residues = HeldResidues::new(open.clone(), &names);
        rewriter.write_without(epoch, &residues, &|batch| retain(batch, &subject))?;
        if let Some((keeper, _)) = &mut keeper {
            let before = keeper.residues()?;
            before.restore(&names).map_err(CheckpointError::from)?;
            // Those of frozen windows are in no checkpoint any more.
            let frozen = before.residues.into_iter().filter(|residue| residue.is_frozen(freeze));
            let residues = HeldResidues::new(frozen.chain(open).collect(), &names);
            let shape = archives::plan(&config.archive, workers).merging.shape;
            let step = counting(tell, "writing the archive anew", keeper);
            let removed = keeper.erase(&subject, epoch, &residues, shape, &step)?;
            receipt.archive = receipt.archive.filter(|_| removed.total() == 0).or(Some(removed));
            mark.note(epoch, &receipt, state)?;
        }
        // 4. What was rejected.
        tell("looking through the rejects", 0, 0);
        let theirs = rejects::find(&clickhouse, &asked.users)?;
        clickhouse.delete_rejects(&theirs)?;
        receipt.rejects += theirs.len() as u64;
        let path = options.receipt.clone().unwrap_or_else(|| format!("erasure-{epoch}.json").into());
        receipt.write(&path)?;
        mark.remove(state)?;
        receipt.log();
        Ok((receipt, path))
    }
}

/// Who is meant, and how.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
struct Asked {
    users: Vec<String>,
    policy: Policy,
    request: Option<String>,
}

/// What is asked for now, or was when it was cut short.
fn asked(options: &Options, mark: Option<&Mark>) -> Result<Asked, EraseError> {
    let Options { users, policy, request, .. } = options.clone();
    match mark {
        None if users.is_empty() => Err(EraseError::NobodyNamed),
        None => Ok(Asked { users, policy, request }),
        Some(mark) if users.is_empty() || mark.asked == Asked { users, policy, request } => {
            Ok(mark.asked.clone())
        }
        Some(_) => Err(EraseError::Unfinished { path: options.run.state.join(MARK) }),
    }
}

/// The archive, not yet taken over.
struct FoundArchive {
    store: Arc<Store>,
    cold: Option<Arc<Store>>,
    lock: Option<File>,
    found: Archive,
}

fn find_archive(
    config: &Config,
    options: &Options,
    run: &str,
    checkpoint: Epoch,
) -> Result<Option<FoundArchive>, ArchiveError> {
    let Some((store, cold)) = archives::places(&config.archive, &config.s3)? else { return Ok(None) };
    let lock = archives::lock(&config.archive, true)?;
    let found = Archive::find(&store, &options.run.job, run, Shard::ONLY, checkpoint)?;
    Ok((!found.found.is_empty()).then_some(FoundArchive { store, cold, lock, found }))
}

/// Claims the checkpoint. Who may still be at work elsewhere ends before this returns.
fn claim(
    config: &Config,
    options: &Options,
    store: &Arc<Store>,
    found: &Recovery,
    run: &str,
) -> Result<Rewriter, EraseError> {
    let rewriter = Rewriter::claim(Arc::clone(store), found, run, config.checkpoint.segment_bytes_max)?;
    if is_foreign(found, &options.run) {
        std::thread::sleep(LEASE + MARGIN);
    }
    Ok(rewriter)
}

/// What is theirs, as far as the archive and the checkpoint's impressions tell.
fn subject(
    asked: &Asked,
    keeper: Option<&Keeper>,
    (found, store): (&Recovery, &Store),
    tell: &Tell<'_>,
) -> Result<Subject, EraseError> {
    let mut subject = Subject::new(asked.users.iter().map(|user| Id::new(user)));
    if let Some(keeper) = keeper {
        keeper.look_up(&mut subject, &counting(tell, "looking through the archive", keeper))?;
    }
    let (mut batch, names, mut more) = (Batch::default(), Names::default(), true);
    tell("looking through the checkpoint", 0, 0);
    while more {
        more = found.next::<CheckpointError>(store, &names, &mut batch, |batch, _| {
            for (id, impression) in &batch.impressions {
                subject.learn(*id, impression.auction, impression.user);
            }
            Ok(())
        })?;
    }
    Ok(subject)
}

/// Tells of each file of an archive.
fn counting<'a>(tell: &'a Tell<'_>, what: &'static str, keeper: &Keeper) -> impl Fn(&Entry) + use<'a> {
    let (all, count) = (keeper.current.files.len(), Cell::new(0));
    move |_| {
        count.set(count.get() + 1);
        tell(what, count.get(), all);
    }
}

/// Takes the events of the subject out of a batch.
fn retain(batch: &mut Batch, subject: &Subject) {
    batch.bids.retain(|bid| !bid.concerns(subject));
    batch.impressions.retain(|impression| !impression.concerns(subject));
    batch.clicks.retain(|click| !click.concerns(subject));
    batch.conversions.retain(|conversion| !conversion.concerns(subject));
}

/// Publishes what has moved. Where numbers stay as they are, only the paths of conversions go: they
/// are records of the users, and no numbers.
fn publish(
    clickhouse: &ClickHouse,
    options: &Options,
    after: &Upserts,
    policy: Policy,
    names: &Names,
) -> Result<(), EraseError> {
    let mut paths = Upserts::new(after.epochs);
    paths.conversion_paths = after.conversion_paths.clone();
    let upserts = match policy {
        Policy::Restate => after,
        Policy::Freeze => &paths,
    };
    let tell = |failed: u32, _: Instant, error: &ClickHouseError| {
        if failed == 1 {
            tracing::warn!(%error, "ClickHouse can't be written to; trying again until it can");
        }
    };
    Ok(clickhouse.publish(
        upserts,
        &Writer::new(options.run.job.clone(), 0),
        names,
        &options.run.stop,
        &tell,
    )?)
}
