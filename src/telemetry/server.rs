//! Shows the metrics over HTTP, in a thread of its own.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::oneshot;

use super::Telemetry;

const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address.
    #[error("can't listen on metrics.listen = {address:?}; choose another address, or \"\" for none")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A thread or its runtime.
    #[error("can't start the thread that shows metrics")]
    Thread(#[source] std::io::Error),
}

/// A running server; dropped, it ends.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn start(address: SocketAddr, telemetry: Arc<Telemetry>) -> Result<Self, ServerError> {
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(ServerError::Thread)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let router = router(telemetry);
            tokio::select! {
                served = axum::serve(listener, router) => served,
                // Whoever still listens is not waited for.
                _ = stopped => Ok(()),
            }
        };
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                tracing::warn!(%error, "metrics are not shown any more");
            }
        });
        let thread = Some(thread.map_err(ServerError::Thread)?);
        Ok(Self { address, stop: Some(stop), thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic there has been reported there.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn router(telemetry: Arc<Telemetry>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(ready))
        .with_state(telemetry)
}

async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, METRICS)], telemetry.text())
}

async fn ready(State(telemetry): State<Arc<Telemetry>>) -> impl IntoResponse {
    match telemetry.is_ready() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "catching up\n"),
    }
}
