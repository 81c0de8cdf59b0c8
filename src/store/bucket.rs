//! Buckets: Amazon S3, and what speaks as it does.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::{ClientConfigKey, RetryConfig};

use super::error::StoreError;
use crate::config::S3Config;

/// How often a request is repeated at most; the time that this may take is set.
const RETRIES_MAX: usize = 8;

/// A client of a bucket. What the settings leave open comes from the environment: `AWS_REGION`,
/// `AWS_ACCESS_KEY_ID`, a web identity token, the role of the machine.
pub fn open(place: &str, bucket: &str, config: &S3Config) -> Result<AmazonS3, StoreError> {
    // The one that the rest of the program uses; somebody may have chosen it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig {
        max_retries: RETRIES_MAX,
        retry_timeout: config.retry_within,
        ..RetryConfig::default()
    };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_config(client(ClientConfigKey::ConnectTimeout), millis(config.connect_timeout))
        .with_config(client(ClientConfigKey::Timeout), millis(config.request_timeout))
        .with_retry(retry)
        // The fence rests on it, whatever the environment says.
        .with_conditional_put(S3ConditionalPut::ETagMatch);
    if config.allow_http {
        builder = builder.with_allow_http(true);
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &config.region {
        builder = builder.with_region(region);
    }
    if let Some((id, key)) = &config.credentials {
        builder = builder.with_access_key_id(id.expose()).with_secret_access_key(key.expose());
    }
    builder
        .build()
        .map_err(|error| StoreError::Settings { place: place.to_owned(), reason: error.to_string() })
}

fn client(key: ClientConfigKey) -> AmazonS3ConfigKey {
    AmazonS3ConfigKey::Client(key)
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
