//! Where a live run shows how it goes.

use std::net::SocketAddr;
use std::time::Duration;

use super::client::expand;
use super::raw;
use super::validate::{Wrong, wrong};
use crate::telemetry::otlp::Target;

/// Where a live run shows how it goes.
#[derive(Clone, Debug)]
pub struct MetricsConfig {
    /// The address that is listened on; none: nothing is shown.
    pub listen: Option<SocketAddr>,
    /// Where it is sent to; none: nowhere.
    pub otlp: Option<Target>,
}

pub(super) fn validate(raw: &raw::Metrics) -> Result<MetricsConfig, Wrong> {
    let listen = match (raw.listen.as_str(), raw.listen.parse()) {
        ("", _) => None,
        (_, Ok(listen)) => Some(listen),
        (_, Err(_)) => {
            return wrong("metrics.listen", "an address and a port are expected, as in 127.0.0.1:9464");
        }
    };
    let otlp = (!raw.otlp_url.is_empty()).then(|| target(raw)).transpose()?;
    Ok(MetricsConfig { listen, otlp })
}

fn target(raw: &raw::Metrics) -> Result<Target, Wrong> {
    let server = raw.otlp_url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
    if server.is_none_or(|(_, rest)| rest.is_empty() || rest.starts_with('/')) {
        return wrong("metrics.otlp_url", "an address is expected, as in http://127.0.0.1:4318/v1/metrics");
    }
    for (key, value) in
        [("metrics.otlp_interval_ms", raw.otlp_interval_ms), ("metrics.otlp_timeout_ms", raw.otlp_timeout_ms)]
    {
        if value == 0 {
            return wrong(key, "a number above 0 is expected");
        }
    }
    let header = |(name, value): (&String, &String)| {
        Ok((name.clone(), expand(&format!("metrics.otlp_headers.{name}"), value)?))
    };
    Ok(Target {
        url: raw.otlp_url.clone(),
        interval: Duration::from_millis(raw.otlp_interval_ms),
        timeout: Duration::from_millis(raw.otlp_timeout_ms),
        headers: raw.otlp_headers.iter().map(header).collect::<Result<_, Wrong>>()?,
    })
}
