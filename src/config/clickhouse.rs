//! `[clickhouse]`: where the tables go when the job runs live.

use std::fmt;
use std::time::Duration;

use super::raw;
use super::validate::{Wrong, wrong};
use crate::sinks::clickhouse::{Backoff, Limits};

/// How ClickHouse is reached and written to.
#[derive(Clone, Debug)]
pub struct ClickHouseConfig {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// The database that holds the tables; an identifier.
    pub database: String,
    /// Who writes.
    pub user: String,
    /// With what password.
    pub password: Secret,
    /// Whether bodies are compressed.
    pub lz4: bool,
    /// How much time one emission covers.
    pub emission_interval: Duration,
    /// The most upserts in one insert.
    pub insert_rows_max: usize,
    /// The most bytes in one insert, about, before compression.
    pub insert_bytes_max: usize,
    /// How many bytes of batches wait, about, before the job stops feeding.
    pub queue_bytes_max: usize,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// The first wait before a failed request is repeated.
    pub retry_min: Duration,
    /// The longest such wait.
    pub retry_max: Duration,
}

impl ClickHouseConfig {
    /// How large one insert may be.
    pub fn limits(&self) -> Limits {
        Limits { rows_max: self.insert_rows_max, bytes_max: self.insert_bytes_max }
    }

    /// The waits between attempts.
    pub fn backoff(&self) -> Backoff {
        Backoff { min: self.retry_min, max: self.retry_max }
    }
}

/// Something that is never shown.
#[derive(Clone, Eq, PartialEq)]
pub enum Secret {
    /// As it stands.
    Text(String),
    /// The value of an environment variable when it is needed.
    Environment(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) if text.is_empty() => f.write_str("none"),
            Self::Text(_) => f.write_str("***"),
            Self::Environment(name) => write!(f, "${{{name}}}"),
        }
    }
}

impl Secret {
    /// Reads `${NAME}`, or takes the text as it stands.
    pub fn parse(text: &str) -> Self {
        let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        match name.filter(|name| is_variable(name)) {
            Some(name) => Self::Environment(name.to_owned()),
            None => Self::Text(text.to_owned()),
        }
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A plain identifier that needs no quotes anywhere.
pub fn is_database(name: &str) -> bool {
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    starts && name.len() <= 64 && is_variable(name)
}

/// What a database may be called.
pub const DATABASE_EXPECTED: &str = "letters, digits and _ are expected, at most 64, the first no digit";

pub(super) fn validate(raw: raw::ClickHouse) -> Result<ClickHouseConfig, Wrong> {
    if !is_server(&raw.url) {
        return wrong(
            "clickhouse.url",
            "http://host:port or https://host:port is expected; user and password have keys of their own",
        );
    }
    if !is_database(&raw.database) {
        return wrong("clickhouse.database", DATABASE_EXPECTED);
    }
    if raw.user.is_empty() {
        return wrong("clickhouse.user", "a user name is expected, such as default");
    }
    for (key, value) in [
        ("clickhouse.emission_interval_ms", raw.emission_interval_ms),
        ("clickhouse.insert_rows_max", raw.insert_rows_max as u64),
        ("clickhouse.insert_bytes_max", raw.insert_bytes_max as u64),
        ("clickhouse.queue_bytes_max", raw.queue_bytes_max as u64),
        ("clickhouse.connect_timeout_ms", raw.connect_timeout_ms),
        ("clickhouse.request_timeout_ms", raw.request_timeout_ms),
        ("clickhouse.retry_min_ms", raw.retry_min_ms),
    ] {
        if value == 0 {
            return wrong(key, "a number above 0 is expected");
        }
    }
    if raw.retry_max_ms < raw.retry_min_ms {
        return wrong("clickhouse.retry_max_ms", "a number not below retry_min_ms is expected");
    }
    Ok(ClickHouseConfig {
        url: raw.url.trim_end_matches('/').to_owned(),
        database: raw.database,
        user: raw.user,
        password: Secret::parse(&raw.password),
        lz4: raw.lz4,
        emission_interval: Duration::from_millis(raw.emission_interval_ms),
        insert_rows_max: raw.insert_rows_max,
        insert_bytes_max: raw.insert_bytes_max,
        queue_bytes_max: raw.queue_bytes_max,
        connect_timeout: Duration::from_millis(raw.connect_timeout_ms),
        request_timeout: Duration::from_millis(raw.request_timeout_ms),
        retry_min: Duration::from_millis(raw.retry_min_ms),
        retry_max: Duration::from_millis(raw.retry_max_ms),
    })
}

/// Nothing but a scheme, a host, a port and a path: what else may stand in a URL would be shown
/// in errors.
pub(super) fn is_server(url: &str) -> bool {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    host.is_some_and(|host| {
        let strange = |c: char| matches!(c, '@' | '?' | '#') || c.is_whitespace() || c.is_control();
        !host.is_empty() && !host.starts_with(['/', ':']) && !host.contains(strange)
    })
}

/// Covers a password that stands in a table of settings.
pub(super) fn cover(all: &mut toml::Table) {
    let section = all.get_mut("clickhouse").and_then(toml::Value::as_table_mut);
    let Some(toml::Value::String(password)) = section.and_then(|section| section.get_mut("password")) else {
        return;
    };
    if let Secret::Text(text) = Secret::parse(password)
        && !text.is_empty()
    {
        "***".clone_into(password);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn load(text: &str) -> Result<ClickHouseConfig, String> {
        let config = Config::parse("my.toml", &format!("[clickhouse]\n{text}"));
        config.map(|config| config.clickhouse).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_valid() {
        let config = load("").expect("valid");
        assert_eq!((config.database.as_str(), config.emission_interval.as_millis()), ("advertisex", 1_000));
    }

    #[test]
    fn a_password_is_never_shown() {
        let config = load("password = 'hunter2'").expect("valid");
        assert_eq!(config.password, Secret::Text("hunter2".to_owned()));
        assert!(!format!("{config:?}").contains("hunter2"));
        let config = load("password = '${CLICKHOUSE_PASSWORD}'").expect("valid");
        assert_eq!(config.password, Secret::Environment("CLICKHOUSE_PASSWORD".to_owned()));
        let mut all = "[clickhouse]\npassword = 'hunter2'".parse().expect("TOML");
        cover(&mut all);
        assert!(!all.to_string().contains("hunter2"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for url in ["", "localhost:8123", "http://", "http://u:p@h:8123", "http://h:1?password=x", "ftp://h"]
        {
            let error = load(&format!("url = '{url}'")).expect_err(url);
            assert!(error.starts_with("my.toml:2: clickhouse.url: http://host:port"), "{error}");
            assert!(!error.contains("u:p"), "{error}");
        }
        for database in ["", "1a", "a-b", "a`; DROP", &"a".repeat(65)] {
            assert!(load(&format!("database = \"{database}\"")).is_err(), "{database}");
        }
        assert!(load("insert_rows_max = 0").is_err());
        assert!(load("retry_min_ms = 9\nretry_max_ms = 8").is_err());
    }
}
