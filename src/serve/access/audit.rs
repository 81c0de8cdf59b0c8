//! Who has seen what: a line for each request, apart from what the program logs of itself.

use std::net::IpAddr;

use super::Principal;

/// Notes a request. Parameters are left out: they may name persons.
pub fn audit(principal: Option<&Principal>, peer: IpAddr, method: &str, path: &str, status: u16) {
    let who = principal.map_or("-", |principal| &principal.name);
    let role = principal.map_or("-", |principal| principal.role.as_str());
    tracing::info!(target: "audit", who, role, %peer, method, path, status, "request");
}
