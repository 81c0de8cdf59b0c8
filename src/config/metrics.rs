//! Where a live run shows how it goes.

use std::net::SocketAddr;

use super::raw;
use super::validate::{Wrong, wrong};

/// Where a live run shows how it goes.
#[derive(Clone, Debug)]
pub struct MetricsConfig {
    /// The address that is listened on; none: nothing is shown.
    pub listen: Option<SocketAddr>,
}

pub(super) fn validate(raw: &raw::Metrics) -> Result<MetricsConfig, Wrong> {
    if raw.listen.is_empty() {
        return Ok(MetricsConfig { listen: None });
    }
    match raw.listen.parse() {
        Ok(listen) => Ok(MetricsConfig { listen: Some(listen) }),
        Err(_) => wrong("metrics.listen", "an address and a port are expected, as in 127.0.0.1:9464"),
    }
}
