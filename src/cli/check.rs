//! `advertisex check`.

use super::{args, show};
use crate::config::Config;

/// Loads a configuration, and says that it is right or what is wrong where.
pub fn run(args: &args::Check) -> anyhow::Result<()> {
    let config = Config::load(Some(&args.file))?;
    if args.print {
        show::line(&config.to_toml())?;
    }
    show::line(&format!("{} is a valid configuration", args.file.display()))
}
