//! `advertisex check`.

use super::{args, show};
use crate::config::Config;

/// Loads a configuration, and says that it is right or what is wrong where.
pub fn run(args: &args::Check) -> anyhow::Result<()> {
    Config::load(Some(&args.file))?;
    if args.print {
        return show::line(&Config::effective(&args.file)?);
    }
    show::line(&format!("{} is a valid configuration", args.file.display()))
}
