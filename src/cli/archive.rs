//! `advertisex archive`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use dataflows::model::time::Day;

use super::{args, show};
use crate::archive::{Catalog, Entry, Kind};
use crate::config::Config;
use crate::runtime::archives::{self, retained};
use crate::store::Place;

/// Lists an archive, or applies its rules of age.
pub fn run(args: &args::Archive) -> anyhow::Result<()> {
    match &args.command {
        args::ArchiveCommand::List { archive, config } => list(archive, config.as_deref()),
        args::ArchiveCommand::Retain { config, dry_run } => retain(config, *dry_run),
    }
}

fn list(place: &Place, config: Option<&Path>) -> anyhow::Result<()> {
    let archive = Catalog::open(place, &Config::load(config)?.s3)?
        .with_context(|| format!("{place} is no archive: it holds no manifest"))?;
    show::line(&table(&archive.files))?;
    let rows = |kind: Option<Kind>| {
        let files = archive.files.iter().filter(move |file| kind.is_none_or(|kind| file.kind == kind));
        files.map(|file| file.rows).sum::<u64>()
    };
    show::line(&format!(
        "job {}: {} rows in {} files, everything up to epoch {}",
        archive.job,
        show::count(rows(None) - rows(Some(Kind::Rejected))),
        show::count(archive.files.len() as u64),
        archive.epoch
    ))?;
    if archive.begins > 0 {
        show::line(&format!("what was read up to epoch {} is not in it", archive.begins))?;
    }
    Ok(())
}

/// Files by day, kind and place.
fn table(files: &[Entry]) -> String {
    let mut days: BTreeMap<(u32, Kind, bool), [u64; 3]> = BTreeMap::new();
    for file in files {
        let sums = days.entry((file.hour / 24, file.kind, file.cold)).or_default();
        let one = [1, file.rows, file.bytes];
        sums.iter_mut().zip(one).for_each(|(sum, more)| *sum += more);
    }
    let rows = days.into_iter().map(|((day, kind, cold), [files, rows, bytes])| {
        let at = jiff::Timestamp::from_millisecond(Day(day).start_millis()).unwrap_or_default();
        let mut cells = vec![at.strftime("%Y-%m-%d").to_string(), kind.as_str().to_owned()];
        cells.extend([files, rows].map(show::count));
        cells.push(indicatif::HumanBytes(bytes).to_string());
        cells.push(if cold { "cold" } else { "hot" }.to_owned());
        cells
    });
    show::table(&["day", "kind", "files", "rows", "bytes", "tier"], rows)
}

fn retain(config: &Path, dry_run: bool) -> anyhow::Result<()> {
    let Config { archive: config, s3, .. } = Config::load(Some(config))?;
    let Some(place) = &config.place else {
        bail!("the configuration has neither archive.directory nor archive.url; set one");
    };
    let aged = if dry_run {
        let archive = Catalog::open(place, &s3)?.context("there is no archive yet")?;
        archives::retention(&config).aged(&archive.files, archives::now())
    } else {
        retained(&config, &s3)?
    };
    let said = if dry_run { "would be" } else { "were" };
    for (files, what) in [(&aged.cool, "moved"), (&aged.delete, "deleted")] {
        let bytes = files.iter().map(|file| file.bytes).sum();
        let (count, bytes) = (show::count(files.len() as u64), indicatif::HumanBytes(bytes));
        show::line(&format!("{count} files ({bytes}) {said} {what}"))?;
        if dry_run && !files.is_empty() {
            show::line(&table(files))?;
        }
    }
    Ok(())
}
