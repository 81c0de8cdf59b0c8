//! Who asks, and what they may see.
//!
//! Without credentials in the configuration there is nobody to tell apart: the server then listens on
//! loopback only, and whoever is on the machine may see everything. With them, every request names its
//! bearer by a token: one of the configured, of which only hashes are kept, or a signed one of an issuer.

mod audit;
mod jwt;
mod token;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dataflows::model::ids::Name;
use serde::{Deserialize, Serialize};

use super::query::Scope;

pub use audit::audit;
pub use jwt::{Issuer, IssuerError, Keys, Terms};
pub use token::{Digest, digest, fresh_token};

/// What someone may do; each may do what those before it may, but for a viewer's limits.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees the campaigns of some advertisers.
    Viewer,
    /// Sees all campaigns, supply and quality.
    Analyst,
    /// Sees how the run goes, and rejected records.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Analyst, Role::Operator, Role::Admin];

    /// Its name in the configuration, in claims and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Analyst => "analyst",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// Somebody who asks.
#[derive(Clone, Debug)]
pub struct Principal {
    /// As the configuration or the issuer calls them.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// The ids of the advertisers that they are limited to.
    pub advertisers: Option<Arc<BTreeSet<String>>>,
    /// Until when that holds.
    pub expires: Option<SystemTime>,
}

impl Principal {
    /// Whoever is on this machine, where nobody is told apart.
    fn local() -> Self {
        Self { name: "local".into(), role: Role::Admin, advertisers: None, expires: None }
    }

    /// Someone of this role; a viewer who is given no advertiser sees none.
    pub fn new(name: &str, role: Role, advertisers: Vec<String>, expires: Option<SystemTime>) -> Self {
        let limited = role == Role::Viewer || !advertisers.is_empty();
        let advertisers = limited.then(|| Arc::new(advertisers.into_iter().collect()));
        Self { name: name.into(), role, advertisers, expires }
    }

    /// The same, who sees these advertisers only.
    pub fn limited_to(self, advertisers: Vec<String>) -> Self {
        Self { advertisers: Some(Arc::new(advertisers.into_iter().collect())), ..self }
    }

    /// Which rows they may see.
    pub fn scope(&self) -> Scope {
        match &self.advertisers {
            None => Scope::All,
            Some(ours) => Scope::Advertisers(ours.iter().map(|advertiser| Name::new(advertiser)).collect()),
        }
    }

    /// How long they may still see it.
    pub fn remains(&self) -> Option<Duration> {
        self.expires.map(|expires| expires.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

/// A token of the configuration.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The SHA-256 of the token.
    pub digest: Digest,
    /// Whose it is.
    pub principal: Principal,
}

/// Tells who asks.
#[derive(Debug, Default)]
pub struct Access {
    bearers: Vec<Bearer>,
    issuer: Option<Issuer>,
}

/// Why somebody isn't let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// They showed no token.
    Nobody,
    /// Their token is none of ours, or no longer.
    Unknown,
}

impl Access {
    /// Lets in who has one of these tokens, or one of this issuer.
    pub fn new(bearers: Vec<Bearer>, issuer: Option<Issuer>) -> Self {
        Self { bearers, issuer }
    }

    /// Asks for the issuer's keys, if that is due.
    ///
    /// # Errors
    /// See [`IssuerError`].
    pub async fn look(&self) -> Result<(), IssuerError> {
        match &self.issuer {
            Some(issuer) => issuer.look().await,
            None => Ok(()),
        }
    }

    /// Whether nobody is told apart.
    pub fn is_open(&self) -> bool {
        self.bearers.is_empty() && self.issuer.is_none()
    }

    /// Who has shown this token. Every token is compared, in a time that doesn't depend on it.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn admit(&self, token: Option<&str>) -> Result<Principal, Refusal> {
        if self.is_open() {
            return Ok(Principal::local());
        }
        let token = token.ok_or(Refusal::Nobody)?;
        let shown = digest(token);
        let mut found = None;
        for bearer in &self.bearers {
            if bearer.digest.is(&shown) {
                found = Some(bearer.principal.clone());
            }
        }
        let issued = || self.issuer.as_ref().and_then(|issuer| issuer.admit(token));
        found.or_else(issued).ok_or(Refusal::Unknown)
    }
}

/// Whether only this machine can reach an address.
pub fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback(),
    }
}
