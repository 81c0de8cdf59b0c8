//! Connections: plain or over TLS, so many at a time, none of which can stand still for long.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Extension;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{Served, router};
use crate::serve::tls::{Certificates, TlsError};

/// Threads that answer.
const THREADS: usize = 2;
/// Threads that work on questions.
const BLOCKING_THREADS: usize = 8;
/// How long a client may take to send the head of a request,
const HEAD: Duration = Duration::from_secs(10);
/// and to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may leave lie what is sent.
#[cfg(target_os = "linux")]
const SILENCE: Duration = Duration::from_secs(30);
/// How long is waited when no connection can be taken.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes that are read of a request's head at most.
const HEAD_MAX: usize = 64 << 10;
/// How often it is looked whether there is a new certificate.
const LOOK: Duration = Duration::from_secs(5);

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address.
    #[error("can't listen on serve.listen = {address:?}; choose another address, or \"\" for none")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A thread or its runtime.
    #[error("can't start the threads that serve")]
    Thread(#[source] io::Error),
}

/// A running server; dropped, it ends.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tls: bool,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn start(
        address: SocketAddr,
        served: Arc<Served>,
        tls: Option<Certificates>,
    ) -> Result<Self, ServerError> {
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(ServerError::Thread)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let is_tls = tls.is_some();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::select! {
                () = accept(listener, served, tls) => Ok(()),
                // Whoever still listens is not waited for.
                _ = stopped => io::Result::Ok(()),
            }
        };
        let thread = std::thread::Builder::new().name("serve".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                tracing::warn!(%error, "nothing is served any more");
            }
            runtime.shutdown_background();
        });
        let thread = Some(thread.map_err(ServerError::Thread)?);
        Ok(Self { address, tls: is_tls, stop: Some(stop), thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same, for a browser.
    pub fn url(&self) -> String {
        format!("{}://{}/", if self.tls { "https" } else { "http" }, self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic there has been reported there.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: tokio::net::TcpListener, served: Arc<Served>, tls: Option<Certificates>) {
    let places = Arc::new(Semaphore::new(served.limits.connections_max));
    let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(tls.server()));
    tokio::spawn(look(Arc::clone(&served), tls));
    let router = router(Arc::clone(&served));
    loop {
        // Further ones wait in the system's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection can't be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let connection = Connection { peer, router: router.clone(), _place: place };
        tokio::spawn(connection.shake_hands(stream, acceptor.clone()));
    }
}

/// Takes new certificates and keys of an issuer, for as long as the server runs.
async fn look(served: Arc<Served>, tls: Option<Certificates>) {
    loop {
        if let Err(error) = served.access.look().await {
            let error: &dyn std::error::Error = &error;
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%error, reason, "the issuer's keys can't be had; tokens it signs by new ones are refused");
        }
        tokio::time::sleep(LOOK).await;
        tls.iter().for_each(Certificates::look);
        served.rates.retain_recent();
    }
}

struct Connection {
    peer: SocketAddr,
    router: axum::Router,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn shake_hands(self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        // Events are small, and wanted at once.
        let _ = stream.set_nodelay(true);
        // Who takes nothing of what is sent for so long is gone.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(SILENCE));
        match acceptor {
            None => self.serve(stream).await,
            Some(acceptor) => {
                if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    self.serve(stream).await;
                }
            }
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { peer, router, _place } = self;
        let router = router.layer(Extension(ConnectInfo(peer)));
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let router = router.clone();
            async move {
                let request: Request = request.map(axum::body::Body::new);
                Ok::<Response, Infallible>(
                    router.oneshot(request).await.unwrap_or_else(|never| match never {}),
                )
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, %peer, "a connection broke");
        }
    }
}
