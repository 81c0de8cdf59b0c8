//! `advertisex schema`.

use super::{args, show};
use crate::config::Config;
use crate::config::clickhouse::{DATABASE_EXPECTED, is_database};
use crate::sinks::clickhouse::schema_text;

/// Prints the ClickHouse schema.
pub fn run(args: &args::Schema) -> anyhow::Result<()> {
    let configured = Config::load(args.config.as_deref())?.clickhouse.database;
    let database = args.database.as_ref().unwrap_or(&configured);
    if !is_database(database) {
        anyhow::bail!("--database is {database:?}, but {DATABASE_EXPECTED}");
    }
    show::bytes(schema_text(database).as_bytes())
}
