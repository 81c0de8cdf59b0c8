//! Sends the metrics to a collector, as OTLP over HTTP in JSON, in a thread of its own.
//!
//! What is sent is what `/metrics` shows: the text is read back, so that no metric has two homes.

mod translate;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::oneshot;

use self::translate::{Origin, request};
use super::Telemetry;

/// Where metrics are sent to, and how.
#[derive(Clone)]
pub struct Target {
    /// The address of the collector's metrics, as in `http://127.0.0.1:4318/v1/metrics`.
    pub url: String,
    /// From one time to the next.
    pub interval: Duration,
    /// How long one request may take.
    pub timeout: Duration,
    /// What is sent along, such as a key.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may be secrets.
        f.debug_struct("Target")
            .field("url", &self.url)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A header.
    #[error("metrics.otlp_headers: {name:?} is no header, or its value holds what no header may")]
    Header {
        /// Its name.
        name: String,
    },
    /// The client.
    #[error("can't set up what sends metrics")]
    Client(#[from] reqwest::Error),
    /// A thread or its runtime.
    #[error("can't start the thread that sends metrics")]
    Thread(#[source] std::io::Error),
}

/// What sends metrics; dropped, it sends once more and ends.
#[derive(Debug)]
pub struct Exporter {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Starts to send what a process of a job tells.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn start(
        target: Target,
        (job, process): (&str, usize),
        telemetry: Arc<Telemetry>,
    ) -> Result<Self, ExportError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &target.headers {
            let wrong = || ExportError::Header { name: name.clone() };
            let (name, mut value) = (
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?,
                HeaderValue::from_str(value).map_err(|_| wrong())?,
            );
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Who was first has chosen the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(target.timeout).default_headers(headers).build()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ExportError::Thread)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let sender = Sender { client, target, origin: Origin::new(job, process), telemetry, failed: false };
        let thread = std::thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || runtime.block_on(sender.run(stopped)))
            .map_err(ExportError::Thread)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic there has been reported there.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Sender {
    client: reqwest::Client,
    target: Target,
    origin: Origin,
    telemetry: Arc<Telemetry>,
    failed: bool,
}

impl Sender {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let over = tokio::select! {
                () = tokio::time::sleep(self.target.interval) => false,
                _ = &mut stopped => true,
            };
            let sent = self.send().await;
            self.tell(sent);
            if over {
                return;
            }
        }
    }

    async fn send(&self) -> Result<(), String> {
        let body = request(&self.telemetry.text(), &self.origin).to_string();
        let answer = self.client.post(&self.target.url).body(body).send().await;
        let answer = answer.map_err(|error| error.without_url().to_string())?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("the collector answered {status}")),
        }
    }

    /// Says when it begins to fail, and when it works again. Sums go on, so nothing is lost but points.
    fn tell(&mut self, sent: Result<(), String>) {
        match (sent, self.failed) {
            (Err(reason), false) => {
                tracing::warn!(
                    url = self.target.url,
                    reason,
                    "metrics can't be sent; trying again each time"
                );
                self.failed = true;
            }
            (Ok(()), true) => {
                tracing::info!(url = self.target.url, "metrics are sent again");
                self.failed = false;
            }
            _ => {}
        }
    }
}
