//! `[serve]`: the dashboards and the query API: where, to whom, how much at a time.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use super::raw::{self, Jwt};
use super::validate::{Wrong, wrong};
use crate::serve::access::{Bearer, Digest, Keys, Principal, Role, Terms, is_loopback};
use crate::serve::http::Limits;

/// What is served, and to whom.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// The address that is listened on; none: nothing is served.
    pub listen: Option<SocketAddr>,
    /// The files of a certificate and its key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A proxy speaks TLS in front.
    pub plain: bool,
    /// The currency of the account, ISO 4217.
    pub currency: String,
    /// Rows of a table that are held at most; older windows come from ClickHouse.
    pub rows_max: usize,
    /// How much is taken on.
    pub limits: Limits,
    /// Tokens that are taken.
    pub bearers: Vec<Bearer>,
    /// Whose signed tokens are taken.
    pub issuer: Option<Terms>,
}

pub(super) fn validate(raw: &raw::Serve) -> Result<ServeConfig, Wrong> {
    let bearers =
        raw.tokens.iter().map(|(name, token)| bearer(name, token)).collect::<Result<Vec<_>, _>>()?;
    let issuer = issuer(&raw.jwt)?;
    let tls = match (raw.tls_certificate.is_empty(), raw.tls_key.is_empty()) {
        (true, true) => None,
        (false, false) => Some((PathBuf::from(&raw.tls_certificate), PathBuf::from(&raw.tls_key))),
        (true, false) => return wrong("serve.tls_certificate", "a file is expected, as tls_key is set"),
        (false, true) => return wrong("serve.tls_key", "a file is expected, as tls_certificate is set"),
    };
    let listen = match raw.listen.parse() {
        _ if raw.listen.is_empty() => None,
        Ok(listen) => Some(listen),
        Err(_) => return wrong("serve.listen", "an address and a port are expected, as in 127.0.0.1:8080"),
    };
    if let Some(address) = listen.filter(|listen: &SocketAddr| !is_loopback(listen.ip())) {
        if bearers.is_empty() && issuer.is_none() {
            return wrong(
                "serve.listen",
                format!(
                    "without [serve.tokens] or [serve.jwt] only this machine may ask: 127.0.0.1:{} is expected",
                    address.port()
                ),
            );
        }
        if tls.is_none() && !raw.plain {
            return wrong(
                "serve.listen",
                "others can reach this address and tokens would cross the network in plain text: set tls_certificate \
                 and tls_key, or plain = true behind a proxy that speaks TLS",
            );
        }
    }
    let currency = raw.currency.as_bytes();
    if currency.len() != 3 || !currency.iter().all(u8::is_ascii_uppercase) {
        return wrong("serve.currency", "three capital letters (ISO 4217) are expected, as in EUR");
    }
    for (key, value) in [
        ("serve.rows_max", raw.rows_max),
        ("serve.streams_max", raw.streams_max),
        ("serve.streams_each_max", raw.streams_each_max),
        ("serve.connections_max", raw.connections_max),
    ] {
        if value == 0 {
            return wrong(key, "a number above 0 is expected");
        }
    }
    let Some(requests_per_second) = NonZeroU32::new(raw.requests_per_second) else {
        return wrong("serve.requests_per_second", "a number above 0 is expected");
    };
    let (streams_max, connections_max) = (raw.streams_max, raw.connections_max);
    let streams_each_max = raw.streams_each_max;
    Ok(ServeConfig {
        listen,
        tls,
        plain: raw.plain,
        currency: raw.currency.clone(),
        rows_max: raw.rows_max,
        limits: Limits { requests_per_second, streams_max, streams_each_max, connections_max },
        bearers,
        issuer,
    })
}

fn issuer(raw: &raw::Jwt) -> Result<Option<Terms>, Wrong> {
    if raw.issuer.is_empty() {
        return match raw.audience.is_empty() && raw.keys_file.is_empty() && raw.keys_url.is_empty() {
            true => Ok(None),
            false => wrong(
                "serve.jwt.issuer",
                "the `iss` of its tokens is expected, as in https://login.example.com",
            ),
        };
    }
    for (key, value) in [
        ("serve.jwt.audience", &raw.audience),
        ("serve.jwt.role_claim", &raw.role_claim),
        ("serve.jwt.advertisers_claim", &raw.advertisers_claim),
    ] {
        if value.is_empty() {
            return wrong(key, "a text is expected, as serve.jwt.issuer is set");
        }
    }
    if raw.keys_file.is_empty() && raw.keys_url.is_empty() && !is_safe(&raw.issuer) {
        return wrong(
            "serve.jwt.issuer",
            "https:// is expected, as its keys are asked for there; or set keys_file",
        );
    }
    let keys = match (raw.keys_file.as_str(), raw.keys_url.as_str()) {
        ("", "") => Keys::Discovered,
        (file, "") => Keys::File(PathBuf::from(file)),
        ("", url) if is_safe(url) => Keys::Url(url.to_owned()),
        ("", _) => {
            return wrong(
                "serve.jwt.keys_url",
                "https:// is expected: who changes keys on their way signs in",
            );
        }
        _ => return wrong("serve.jwt.keys_url", "either keys_file or keys_url is expected"),
    };
    let Jwt { issuer, audience, role_claim, advertisers_claim, .. } = raw.clone();
    Ok(Some(Terms { issuer, audience, role_claim, advertisers_claim, keys }))
}

/// Whether nobody on the way can change what is had from an address.
fn is_safe(url: &str) -> bool {
    let host = url.strip_prefix("http://").and_then(|rest| rest.split(['/', ':']).next());
    url.starts_with("https://") || host.is_some_and(|host| matches!(host, "localhost" | "127.0.0.1"))
}

fn bearer(name: &str, token: &raw::Token) -> Result<Bearer, Wrong> {
    let key = |part: &str| format!("serve.tokens.{name}.{part}");
    let Some(digest) = Digest::parse(&token.sha256) else {
        return wrong(key("sha256"), "the 64 digits that `advertisex token` prints are expected");
    };
    let Some(role) = Role::parse(&token.role) else {
        return wrong(key("role"), "viewer, analyst, operator or admin is expected");
    };
    if role == Role::Viewer && token.advertisers.is_empty() {
        return wrong(
            key("advertisers"),
            "a viewer sees the advertisers that are listed here: at least one is expected",
        );
    }
    if role >= Role::Operator && !token.advertisers.is_empty() {
        return wrong(key("advertisers"), "who runs the job sees all advertisers: none is expected");
    }
    Ok(Bearer { digest, principal: Principal::new(name, role, token.advertisers.clone(), None) })
}
