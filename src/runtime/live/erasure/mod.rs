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

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use dataflows::graphs::residue::Residue;
use dataflows::model::ids::Id;
use dataflows::model::time::Epoch;
use dataflows::rules::erasure::{Concerns, Subject};

use self::forget::{Forgotten, forget};
pub use self::mark::MARK;
use self::mark::Mark;
pub use self::receipt::{Cell, Policy, Receipt};
use super::opening::{is_foreign, place, run_name, store};
use super::{LiveError, Options as RunOptions};
use crate::archive::{Archive, ArchiveError, Keeper, Shard};
use crate::bindings::Bindings;
use crate::checkpoint::{CheckpointError, HeldResidues, LEASE, MARGIN, Recovery, Rewriter};
use crate::config::Config;
use crate::formats::Batch;
use crate::names::{Names, SharedNames};
use crate::runtime::archives;
use crate::sinks::clickhouse::{ClickHouse, ClickHouseError, Upserts, Writer};

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
    let (job, state) = (&options.run.job, &options.run.state);
    // 1. Nobody else is at work, and nothing is on its way.
    let (log, history) = Bindings::open(state, job).map_err(LiveError::from)?;
    let mut mark = Mark::find(state)?;
    let asked = asked(options, mark.as_ref(), state)?;
    let (store, run) = (store(config, &options.run)?, run_name(&options.run));
    let found = Recovery::find(&store, job, &run)?;
    if found.latest == 0 {
        let place = place(config, &options.run).to_string();
        return Err(EraseError::NoState { place, job: job.clone() });
    }
    let clickhouse = ClickHouse::connect(config.clickhouse.clone())?;
    clickhouse.create_schema()?;
    let mut archive = find_archive(config, options, &run, found.manifest.epoch)?;
    let published = clickhouse.frontier(job, 0)?.unwrap_or_default();
    let settled = Settled {
        checkpoint: found.manifest.epoch,
        published,
        archived: archive.as_ref().map_or(published, |archive| archive.found.manifest.epoch),
        bound: history.last().map_or(0, |binding| binding.epoch).max(log.last_epoch().unwrap_or(0)),
    };
    settled.check(mark.as_ref().map(|mark| mark.epoch))?;
    let epoch = super::coordinator::first_epoch(settled.last());
    if !options.dry_run {
        let known = mark.take().unwrap_or_else(|| Mark::new(&asked));
        mark = Some(Mark { epoch: settled.last(), ..known });
        mark.iter().try_for_each(|mark| mark.write(state))?;
    }
    // 2. Who still lives of the last run writes nothing more.
    let mut rewriter = match options.dry_run {
        true => None,
        false => Some(claim(config, options, &store, &found, &run)?),
    };
    if clickhouse.frontier(job, 0)?.unwrap_or_default() != published {
        let Settled { checkpoint, archived, .. } = settled;
        return Err(EraseError::Unsettled { checkpoint, published, archived });
    }
    let recovery = match &rewriter {
        Some(rewriter) => Recovery::share(&store, rewriter.manifest(), 0, 1)?,
        None => Recovery::find(&store, job, &run)?,
    };
    let keeper = archive.take().map(|archive| archive.open(options.dry_run, &run)).transpose()?;
    let (mut keeper, _lock) = keeper.map_or((None, None), |(keeper, lock)| (Some(keeper), lock));
    // 3. What is theirs, and what moves without it.
    let names: SharedNames = Arc::new(Names::default());
    let mut subject = Subject::new(asked.users.iter().map(|user| Id::new(user)));
    if let Some(keeper) = &keeper {
        let (all, count) = (keeper.current.files.len(), std::cell::Cell::new(0));
        keeper.look_up(&mut subject, &|_| step(tell, "looking through the archive", &count, all))?;
    }
    learn(&found, &store, &mut subject, tell)?;
    let freeze = recovery.manifest.horizon.freeze;
    let forgotten = forget(
        (recovery, Arc::clone(&store)),
        &names,
        &subject,
        (epoch, options.run.cluster.workers()),
        tell,
    )?;
    let Forgotten { removed, before, after } = forgotten;
    let residues: Vec<Residue> = match asked.policy {
        Policy::Restate => Vec::new(),
        Policy::Freeze => receipt::residues(&before, &after),
    };
    let mut receipt = Receipt::new(job, &asked, epoch, removed, (&before, &after), &names);
    if options.dry_run {
        receipt.archive = keeper.as_ref().map(|keeper| keeper.count(&subject, &|_| {})).transpose()?;
        receipt.rejects = rejects::find(&clickhouse, &asked.users)?.len() as u64;
        return Ok((receipt, None));
    }
    let Some(mut mark) = mark else { return Ok((receipt, None)) };
    receipt.take_over(mark.receipt.take());
    (mark.epoch, mark.receipt) = (epoch, Some(receipt.clone()));
    mark.write(state)?;
    // 4. Published, then written anew.
    tell("publishing what moves", 0, 0);
    publish(&clickhouse, options, &after, asked.policy, &names)?;
    let held = |old: &[Residue]| HeldResidues::new(old.iter().chain(&residues).copied().collect(), &names);
    found.residues.restore(&names).map_err(CheckpointError::from)?;
    let open: Vec<Residue> = found.residues.open(freeze).collect();
    if let Some(rewriter) = &mut rewriter {
        tell("writing the checkpoint anew", 0, 0);
        rewriter.write_without(epoch, &held(&open), &|batch| retain(batch, &subject))?;
    }
    if let Some(keeper) = &mut keeper {
        let old = keeper.residues()?;
        old.restore(&names).map_err(CheckpointError::from)?;
        let (all, count) = (keeper.current.files.len(), std::cell::Cell::new(0));
        let shape = archives::plan(&config.archive, 1).merging.shape;
        let step = |_: &_| step(tell, "writing the archive anew", &count, all);
        let removed = keeper.erase(&subject, epoch, &held(&old.residues), shape, &step)?;
        receipt.archive = Some(receipt.archive.filter(|_| removed.total() == 0).unwrap_or(removed));
        mark.receipt = Some(receipt.clone());
        mark.write(state)?;
    }
    // 5. What was rejected.
    tell("looking through the rejects", 0, 0);
    let theirs = rejects::find(&clickhouse, &asked.users)?;
    clickhouse.delete_rejects(&theirs)?;
    receipt.rejects = receipt.rejects.max(theirs.len() as u64);
    let path = options.receipt.clone().unwrap_or_else(|| format!("erasure-{epoch}.json").into());
    receipt.write(&path)?;
    mark.remove(state)?;
    tracing::info!(
        job,
        policy = asked.policy.as_str(),
        request = asked.request,
        users = asked.users.len(),
        epoch,
        state = receipt.state.total(),
        archive = receipt.archive.map(|removed| removed.total()),
        rejects = receipt.rejects,
        cells = receipt.cells.len(),
        paths = receipt.paths,
        "erased"
    );
    Ok((receipt, Some(path)))
}

/// Who is meant, and how.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
struct Asked {
    users: Vec<String>,
    policy: Policy,
    request: Option<String>,
}

/// What is asked for now, or was when it was cut short.
fn asked(options: &Options, mark: Option<&Mark>, state: &std::path::Path) -> Result<Asked, EraseError> {
    let Options { users, policy, request, .. } = options.clone();
    match mark {
        None if users.is_empty() => Err(EraseError::NobodyNamed),
        None => Ok(Asked { users, policy, request }),
        Some(mark) if users.is_empty() || mark.asked == Asked { users, policy, request } => {
            Ok(mark.asked.clone())
        }
        Some(_) => Err(EraseError::Unfinished { path: state.join(MARK) }),
    }
}

/// How far everything is.
struct Settled {
    checkpoint: Epoch,
    published: Epoch,
    archived: Epoch,
    bound: Epoch,
}

impl Settled {
    fn last(&self) -> Epoch {
        self.checkpoint.max(self.published).max(self.archived).max(self.bound)
    }

    /// All that was bound must be in the checkpoint, published and archived; but the archive may lack
    /// what an erasure that was cut short has published in epoch `erased`.
    fn check(&self, erased: Option<Epoch>) -> Result<(), EraseError> {
        let &Self { checkpoint, published, archived, bound } = self;
        // Epochs into which nothing was read are published, but in no checkpoint.
        let in_step = archived == published || erased == Some(published);
        if in_step && published >= checkpoint && bound <= checkpoint {
            return Ok(());
        }
        Err(EraseError::Unsettled { checkpoint, published, archived })
    }
}

/// The archive, not yet taken over.
struct FoundArchive {
    store: Arc<crate::store::Store>,
    cold: Option<Arc<crate::store::Store>>,
    lock: Option<std::fs::File>,
    found: Archive,
}

impl FoundArchive {
    fn open(self, only_look: bool, run: &str) -> Result<(Keeper, Option<std::fs::File>), ArchiveError> {
        let Self { store, cold, lock, found } = self;
        let keeper = match only_look {
            true => Keeper::look(store, cold, found, run),
            false => Keeper::claim(store, cold, found, run)?,
        };
        Ok((keeper, lock))
    }
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
    store: &Arc<crate::store::Store>,
    found: &Recovery,
    run: &str,
) -> Result<Rewriter, EraseError> {
    let rewriter = Rewriter::claim(Arc::clone(store), found, run, config.checkpoint.segment_bytes_max)?;
    if is_foreign(found, &options.run) {
        let claimed = Instant::now();
        std::thread::sleep((LEASE + MARGIN).saturating_sub(claimed.elapsed()));
    }
    Ok(rewriter)
}

/// What the checkpoint's impressions tell of clicks and bids.
fn learn(
    found: &Recovery,
    store: &crate::store::Store,
    subject: &mut Subject,
    tell: &Tell<'_>,
) -> Result<(), EraseError> {
    let (mut batch, names, mut done) = (Batch::default(), Names::default(), 0);
    let segments = found.manifest.segments.len() + found.manifest.kept.len();
    let mut more = true;
    while more {
        tell("looking through the checkpoint", done, segments);
        done += 1;
        more = found.next::<CheckpointError>(store, &names, &mut batch, |batch, _| {
            for (id, impression) in &batch.impressions {
                subject.learn(*id, impression.auction, impression.user);
            }
            Ok(())
        })?;
    }
    Ok(())
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
    let stop: &AtomicBool = &options.run.stop;
    let tell = |failed: u32, _: Instant, error: &ClickHouseError| {
        if failed == 1 {
            tracing::warn!(%error, "ClickHouse can't be written to; trying again until it can");
        }
    };
    Ok(clickhouse.publish(upserts, &Writer::new(options.run.job.clone(), 0), names, stop, &tell)?)
}

fn step(tell: &Tell<'_>, what: &'static str, count: &std::cell::Cell<usize>, all: usize) {
    count.set(count.get() + 1);
    tell(what, count.get(), all);
}
