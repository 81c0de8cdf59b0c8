//! `advertisex verify`.

use super::{args, show};
use crate::config::Config;
use crate::runtime::verify::{Difference, Options, Verdict, Verified, verify};

/// What is published isn't what the archive gives.
#[derive(Debug, thiserror::Error)]
#[error("{tables} of {all} tables differ from what the archive gives")]
pub struct Differs {
    tables: usize,
    all: usize,
}

/// Compares, and says what differs.
pub fn run(args: &args::Verify) -> anyhow::Result<()> {
    let config = Config::load(args.config.as_deref())?;
    let options = Options {
        archive: args.archive.clone(),
        lookups: args.lookups.clone(),
        rules: args.rules.clone(),
        against: args.against.clone(),
        work: args.work.clone().unwrap_or_else(std::env::temp_dir),
        workers: super::run::workers(args.workers, &config),
        limit: args.limit,
    };
    let verified = verify(&config, &options)?;
    tell(&verified)?;
    if verified.is_equal() {
        return show::line("equal: what is published is what the archive gives");
    }
    let tables = verified.verdicts.iter().filter(|verdict| !verdict.is_equal()).count();
    Err(Differs { tables, all: verified.verdicts.len() }.into())
}

fn tell(verified: &Verified) -> anyhow::Result<()> {
    let header = ["table", "", "rows", "published rows", "digest", "published digest"];
    show::line(&show::table(&header, verified.verdicts.iter().map(cells)))?;
    for verdict in verified.verdicts.iter().filter(|verdict| !verdict.differences.is_empty()) {
        show::line(&format!("{}:", verdict.table))?;
        verdict
            .differences
            .iter()
            .try_for_each(|difference| show::line(&format!("  {}", line(difference))))?;
    }
    if verified.begins > 0 {
        let begins = verified.begins;
        show::line(&format!(
            "the archive lacks what was read up to epoch {begins}: what rests on that differs"
        ))?;
    }
    match verified.published {
        Some(published) if !verified.is_in_step() => show::line(&format!(
            "the archive goes up to epoch {}, ClickHouse up to {published}: stop the run, or wait for the next files",
            verified.archived
        )),
        _ => Ok(()),
    }
}

fn cells(verdict: &Verdict) -> Vec<String> {
    let Verdict { table, archived, published, .. } = verdict;
    let said = if verdict.is_equal() { "equal" } else { "DIFFERS" };
    let words =
        [(*table).to_owned(), said.to_owned(), show::count(archived.rows), show::count(published.rows)];
    words.into_iter().chain([archived.digest.clone(), published.digest.clone()]).collect()
}

fn line(Difference { key, column, archived, published }: &Difference) -> String {
    let or_none = |cell: &Option<String>| cell.clone().unwrap_or_default();
    match (column, archived, published) {
        (Some(column), ..) => {
            format!("{key}: {column} is {}, the archive gives {}", or_none(published), or_none(archived))
        }
        (None, Some(row), _) => format!("{key}: is missing; the archive gives {row}"),
        (None, None, row) => format!("{key}: is {}, of which the archive knows nothing", or_none(row)),
    }
}
