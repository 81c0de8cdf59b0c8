//! Serves what somebody may look at.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::serve::ServeConfig;
use crate::serve::access::{Access, Issuer};
use crate::serve::http::{About, Served, Server, ServerError};
use crate::serve::tls::Certificates;
use crate::telemetry::Telemetry;

/// Starts to serve; there is nothing to see until what is served is opened.
///
/// # Errors
/// See [`ServerError`].
pub fn serve(
    config: &ServeConfig,
    listen: SocketAddr,
    about: About,
    telemetry: &Arc<Telemetry>,
) -> Result<(Arc<Served>, Server), ServerError> {
    let tls =
        config.tls.as_ref().map(|(certificate, key)| Certificates::load(certificate, key)).transpose()?;
    let access = Access::new(config.bearers.clone(), config.issuer.clone().map(Issuer::new));
    let served =
        Served::new(about, Arc::clone(telemetry), access, config.limits, tls.is_some() || config.plain);
    let served = Arc::new(served);
    let server = Server::start(listen, Arc::clone(&served), tls)?;
    Ok((served, server))
}
