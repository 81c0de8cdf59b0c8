//! `advertisex erase`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{args, show};
use crate::archive::Removed;
use crate::config::Config;
use crate::runtime::cluster::Cluster;
use crate::runtime::live;
use crate::runtime::live::erasure::{Options, Receipt, erase};

const BAR: &str = "{msg:>28} {bar:32.cyan/blue} {pos}/{len}";

/// Erases, and says what was.
pub fn run(args: &args::Erase) -> anyhow::Result<()> {
    let config = Config::load(Some(&args.config))?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || asked.store(true, Relaxed))?;
    let run = live::Options {
        job: args.job.clone(),
        state: args.state.clone(),
        from_archive: None,
        cluster: Cluster::alone(super::run::workers(args.workers, &config)),
        epoch: Duration::ZERO,
        until_idle: None,
        stop,
    };
    let (policy, request, dry_run) = (args.policy, args.request.clone(), args.dry_run);
    let options =
        Options { run, users: users(args)?, policy, request, receipt: args.receipt.clone(), dry_run };
    let (receipt, written) = with_progress(|tell| erase(&config, &options, tell))?;
    tell(&receipt, dry_run)?;
    written.map_or(Ok(()), |path| show::line(&format!("the receipt is {}", path.display())))
}

/// All users that are named.
fn users(args: &args::Erase) -> anyhow::Result<Vec<String>> {
    let mut users = args.user.clone();
    if let Some(path) = &args.users {
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
        users.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        if users.is_empty() {
            bail!("{} names no user; write one id a line", path.display());
        }
    }
    if users.iter().any(String::is_empty) {
        bail!("--user is empty; name the id as it stands in the feeds");
    }
    users.sort();
    users.dedup();
    Ok(users)
}

fn with_progress<T>(work: impl FnOnce(&live::erasure::Tell<'_>) -> T) -> T {
    let terminal = std::io::stderr().is_terminal();
    let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(0), target).with_style(style);
    let last = std::cell::Cell::new("");
    let done = work(&|what, done, all| {
        if last.replace(what) != what && !terminal {
            tracing::info!("{what}");
        }
        bar.set_message(what);
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    done
}

fn tell(receipt: &Receipt, dry_run: bool) -> anyhow::Result<()> {
    let counts = |Removed { bids, impressions, clicks, conversions }: Removed| {
        [bids, impressions, clicks, conversions].map(show::count)
    };
    let mut rows = vec![("state", counts(receipt.state))];
    rows.extend(receipt.archive.map(|removed| ("archive", counts(removed))));
    let rows = rows.into_iter().map(|(place, counts)| [place.to_owned()].into_iter().chain(counts).collect());
    show::line(&show::table(&["removed from", "bids", "impressions", "clicks", "conversions"], rows))?;
    let mut moved: BTreeMap<&str, u64> = BTreeMap::new();
    receipt.cells.iter().for_each(|cell| *moved.entry(&cell.table).or_insert(0) += 1);
    let rows = moved.into_iter().map(|(table, cells)| vec![table.to_owned(), show::count(cells)]);
    let stay = receipt.policy == live::erasure::Policy::Freeze;
    let header = ["table", if stay { "rows that stay as they were" } else { "rows that moved" }];
    show::line(&show::table(&header, rows))?;
    let (paths, rejects) = (show::count(receipt.paths), show::count(receipt.rejects));
    let would = if dry_run { "; nothing was changed" } else { "" };
    show::line(&format!("{paths} conversion paths and {rejects} rejects{would}"))
}
