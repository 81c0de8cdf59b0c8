//! `advertisex token`.

use std::io::Write;

use super::{args, show};
use crate::serve::access::{Role, digest, fresh_token};

/// Makes a token; prints it once, and what belongs into the configuration.
pub fn run(args: &args::Token) -> anyhow::Result<()> {
    let args::Token { name, role, advertisers } = args;
    if *role >= Role::Operator && !advertisers.is_empty() {
        anyhow::bail!("who is {} sees all advertisers: leave --advertiser out", role.as_str());
    }
    let token = fresh_token();
    let entry = toml::Table::from_iter([
        ("sha256".to_owned(), digest(&token).text().into()),
        ("role".to_owned(), role.as_str().into()),
        ("advertisers".to_owned(), advertisers.clone().into()),
    ]);
    // Written as TOML writes a name that may hold anything.
    let nest = |name: &str, inner: toml::Table| toml::Table::from_iter([(name.to_owned(), inner.into())]);
    let text = nest("serve", nest("tokens", nest(name, entry))).to_string();
    writeln!(std::io::stderr().lock(), "the token of {name}, shown this once: {token}")?;
    show::line(&text)
}
