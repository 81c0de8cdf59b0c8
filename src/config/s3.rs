//! `[s3]`: how buckets are reached, where a place is one.

use std::time::Duration;

use super::client::{Secret, expand};
use super::raw;
use super::validate::{Wrong, wrong};

/// How buckets are reached. What is none comes from the environment.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// The server; none is Amazon's of the region.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Access key id and secret.
    pub credentials: Option<(Secret, Secret)>,
    /// Whether what is sent may be readable on the way.
    pub allow_http: bool,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// For how long a failed request is repeated.
    pub retry_within: Duration,
}

pub(super) fn validate(raw: &raw::S3) -> Result<S3Config, Wrong> {
    let named = |text: &String| (!text.is_empty()).then(|| text.clone());
    let endpoint = named(&raw.endpoint).map(|url| url.trim_end_matches('/').to_owned());
    if endpoint.as_deref().is_some_and(|url| !super::clickhouse::is_server(url)) {
        return wrong("s3.endpoint", "http://host:port or https://host:port is expected");
    }
    if endpoint.as_deref().is_some_and(|url| url.starts_with("http://")) && !raw.allow_http {
        return wrong("s3.allow_http", "true is expected for an endpoint that starts with http://");
    }
    let credentials = match (named(&raw.access_key_id), named(&raw.secret_access_key)) {
        (None, None) => None,
        (Some(id), Some(key)) => {
            let (id, key) = (expand("s3.access_key_id", &id)?, expand("s3.secret_access_key", &key)?);
            Some((Secret::from(id), Secret::from(key)))
        }
        (Some(_), None) => return wrong("s3.secret_access_key", "the secret of access_key_id is expected"),
        (None, Some(_)) => return wrong("s3.access_key_id", "the id of secret_access_key is expected"),
    };
    for (key, value) in [
        ("s3.connect_timeout_ms", raw.connect_timeout_ms),
        ("s3.request_timeout_ms", raw.request_timeout_ms),
        ("s3.retry_within_ms", raw.retry_within_ms),
    ] {
        if value == 0 {
            return wrong(key, "a number above 0 is expected");
        }
    }
    Ok(S3Config {
        endpoint,
        region: named(&raw.region),
        credentials,
        allow_http: raw.allow_http,
        connect_timeout: Duration::from_millis(raw.connect_timeout_ms),
        request_timeout: Duration::from_millis(raw.request_timeout_ms),
        retry_within: Duration::from_millis(raw.retry_within_ms),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::config::{Config, ConfigError};
    use crate::store::Place;

    fn load(text: &str) -> Result<Config, String> {
        Config::parse("my.toml", text).map_err(|error: ConfigError| error.to_string())
    }

    #[test]
    fn a_bucket_is_reached_by_the_environment_unless_the_file_says_how() {
        let config = load("").expect("valid");
        assert!(config.checkpoint.place.is_none() && config.s3.endpoint.is_none());
        assert!(config.s3.credentials.is_none() && config.s3.region.is_none());
        let text = "[s3]\nendpoint = 'http://s3:9000/'\nallow_http = true\naccess_key_id = 'me'\n\
                    secret_access_key = '${CARGO_PKG_NAME}'\n[checkpoint]\nurl = 's3://ads/live'";
        let config = load(text).expect("valid");
        assert_eq!(config.s3.endpoint.as_deref(), Some("http://s3:9000"));
        let (id, key) = config.s3.credentials.as_ref().expect("set");
        assert_eq!((id.expose(), key.expose()), ("me", "advertisex"));
        assert_eq!(config.checkpoint.place, Some(Place::parse("s3://ads/live").expect("a place")));
        assert!(!format!("{config:?}").contains("\"me\""));
        let config = load("[checkpoint]\ndirectory = 'kept'").expect("valid");
        assert_eq!(config.checkpoint.place, Some(Place::Directory(PathBuf::from("kept"))));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, message) in [
            ("[s3]\nendpoint = 's3:9000'", "my.toml:2: s3.endpoint: http://host:port or"),
            ("[s3]\nendpoint = 'http://s3:9000'", "s3.allow_http: true is expected"),
            ("[s3]\naccess_key_id = 'me'", "s3.secret_access_key: the secret of"),
            ("[s3]\nsecret_access_key = 'x'", "s3.access_key_id: the id of"),
            ("[s3]\nretry_within_ms = 0", "my.toml:2: s3.retry_within_ms: a number above 0"),
            ("[checkpoint]\nurl = 's3://A'", "my.toml:2: checkpoint.url: \"A\" is no bucket"),
            ("[checkpoint]\nurl = 'somewhere'", "my.toml:2: checkpoint.url: s3://bucket/prefix is expected"),
            ("[checkpoint]\nurl = 's3://ads'\ndirectory = 'x'", "my.toml:3: checkpoint.directory: either"),
        ] {
            let error = load(text).expect_err(text);
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_in_the_file_are_not_shown() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("my.toml");
        std::fs::write(&file, "[s3]\naccess_key_id = '${U}'\nsecret_access_key = 'hush'").expect("written");
        assert!(Config::effective(&file).is_err(), "the variable U is not set");
        std::fs::write(&file, "[s3]\naccess_key_id = 'me'\nsecret_access_key = 'hush'").expect("written");
        let shown = Config::effective(&file).expect("valid");
        assert!(!shown.contains("hush") && shown.contains("***"), "{shown}");
    }
}
