//! Serves the run to who looks at it, from its first process.

use std::sync::Arc;

use super::screen::Screen;
use super::{LiveError, Options, Process};
use crate::config::Config;
use crate::names::SharedNames;
use crate::runtime::showing;
use crate::serve::history::History;
use crate::serve::http::{About, Served, Server};
use crate::serve::store::Store;
use crate::sinks::clickhouse::ClickHouse;
use crate::telemetry::Telemetry;

/// Starts to serve, if that is wanted and this is the first process.
///
/// # Errors
/// See [`LiveError`].
pub fn serve(
    config: &Config,
    options: &Options,
    telemetry: &Arc<Telemetry>,
) -> Result<Option<(Arc<Served>, Server)>, LiveError> {
    let serve = &config.serve;
    let Some(listen) = serve.listen.filter(|_| options.cluster.is_first()) else { return Ok(None) };
    let about = About {
        job: options.job.clone(),
        currency: serve.currency.clone(),
        processes: options.cluster.processes(),
        workers: options.cluster.workers(),
        started: jiff::Timestamp::now().as_millisecond(),
    };
    let (served, server) = showing::serve(serve, listen, about, telemetry)?;
    tracing::info!(url = server.url(), "dashboards and the query API");
    Ok(Some((served, server)))
}

/// What is served, in the first process, once the run is open.
///
/// # Errors
/// See [`LiveError`].
pub fn screen(process: &Process, names: &SharedNames) -> Result<Option<Screen>, LiveError> {
    let Some(served) = &process.served else { return Ok(None) };
    let Process { config, options, telemetry, .. } = process;
    let store = Arc::new(Store::new(Arc::clone(names), config.serve.rows_max));
    let clickhouse = ClickHouse::new(config.clickhouse.clone())?;
    served.open(Arc::clone(&store), Some(History::new(clickhouse, &options.job)));
    let processes = options.cluster.processes();
    Screen::start(store, processes, Arc::clone(telemetry)).map(Some).map_err(LiveError::Thread)
}
