//! Servers that the environment names, to be used instead of started ones.

use std::env;

use crate::error::{Error, Result};

/// An address from the environment; `None` if the variable isn't set, or is empty.
pub(crate) fn address(variable: &str) -> Option<String> {
    env::var(variable).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// A ClickHouse server's address, in parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HttpAddress {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl HttpAddress {
    /// Reads `http://user:password@host:port`; in user and password `%` escapes a byte.
    pub(crate) fn parse(variable: &'static str, text: &str) -> Result<HttpAddress> {
        Self::parts(text).ok_or_else(|| {
            let value = text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned();
            Error::Address { variable, value, expected: "http://user:password@host:port" }
        })
    }

    fn parts(text: &str) -> Option<HttpAddress> {
        let (scheme, rest) =
            text.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme))?;
        let (login, host) = rest.rsplit_once('@').unwrap_or(("default", rest));
        let host = host.trim_end_matches('/');
        if host.is_empty() {
            return None;
        }
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let url = format!("{scheme}://{host}");
        Some(HttpAddress { url, user: unescaped(user)?, password: unescaped(password)? })
    }
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let address = HttpAddress::parse("V", "https://ads:p%40ss:w@ch.example:8443/").expect("an address");
        assert_eq!(address.url, "https://ch.example:8443");
        assert_eq!((address.user.as_str(), address.password.as_str()), ("ads", "p@ss:w"));
        let plain = HttpAddress::parse("V", "http://127.0.0.1:8123").expect("an address");
        assert_eq!((plain.user.as_str(), plain.password.as_str()), ("default", ""));
    }

    #[test]
    fn a_wrong_address_is_refused_without_telling_the_password() {
        for wrong in ["127.0.0.1:8123", "tcp://ads:secret@h:9000", "http://ads:secret@", "http://a:%zz@h"] {
            let error = HttpAddress::parse("ADVERTISEX_CLICKHOUSE", wrong).expect_err(wrong).to_string();
            assert!(error.contains("expected http://") && !error.contains("secret"), "{error}");
        }
    }
}
