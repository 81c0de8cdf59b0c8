//! Schemas by id, from a schema registry. Requests are made in a thread of their own, so that a
//! slow registry never holds up a worker; it is asked until it answers.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::error::KafkaSourceError;
use crate::config::RegistryConfig;

/// How long an id that the registry did not know is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const SCHEMA_BYTES_MAX: u64 = 16 << 20;

/// A schema registry, shared by the workers of a process.
#[derive(Debug)]
pub struct Registry {
    known: Arc<Known>,
    wanted: Sender<u32>,
}

#[derive(Debug)]
struct Known {
    url: String,
    schemas: Mutex<HashMap<u32, Entry>>,
    /// Why the registry can't be reached, while it can't.
    trouble: Mutex<Option<String>>,
}

#[derive(Clone, Debug)]
enum Entry {
    Asked,
    Answered(Answer),
    Unknown(Instant),
    Denied(u16),
}

/// What is known of a schema.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Its text.
    Schema(Arc<str>),
    /// There is none of this id.
    Unknown,
    /// There is one, but it is not Avro, or not whole.
    Unusable(String),
    /// The registry has not answered yet.
    Waits,
}

impl Registry {
    /// Starts asking a registry. The thread ends when the registry is dropped.
    pub fn start(config: &RegistryConfig) -> Self {
        let (wanted, ids) = channel();
        let (schemas, trouble) = (Mutex::default(), Mutex::default());
        let known = Arc::new(Known { url: config.url.clone(), schemas, trouble });
        let client = HttpClient::new(config);
        let asker = Asker { client, known: Arc::downgrade(&known), ids, queue: VecDeque::new() };
        let started = std::thread::Builder::new().name("schema-registry".to_owned()).spawn(|| asker.run());
        if let Err(error) = started {
            *lock(&known.trouble) = Some(format!("its thread can't be started: {error}"));
        }
        Self { known, wanted }
    }

    /// What is known of a schema; asks for it if nothing is. Does not block.
    ///
    /// # Errors
    /// When the registry refuses the login.
    pub fn schema(&self, id: u32) -> Result<Answer, KafkaSourceError> {
        let mut schemas = lock(&self.known.schemas);
        match schemas.get(&id) {
            Some(Entry::Answered(answer)) => return Ok(answer.clone()),
            Some(Entry::Asked) => return Ok(Answer::Waits),
            Some(Entry::Unknown(since)) if since.elapsed() < UNKNOWN_FOR => return Ok(Answer::Unknown),
            Some(Entry::Denied(status)) => {
                let (url, status) = (self.known.url.clone(), *status);
                return Err(KafkaSourceError::RegistryDenied { url, status });
            }
            Some(Entry::Unknown(_)) | None => {}
        }
        schemas.insert(id, Entry::Asked);
        // A thread that could not be started has left its reason in `trouble`.
        let _ = self.wanted.send(id);
        Ok(Answer::Waits)
    }

    /// Why the registry can't be reached, while it can't.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.known.trouble).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Asker {
    client: HttpClient,
    known: Weak<Known>,
    ids: Receiver<u32>,
    queue: VecDeque<u32>,
}

impl Asker {
    fn run(mut self) {
        let mut backoff = Duration::ZERO;
        loop {
            match self.ids.recv_timeout(if self.queue.is_empty() { BACKOFF_MAX } else { backoff }) {
                Ok(id) => self.queue.push_back(id),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let Some(id) = self.queue.pop_front() else { continue };
            let answer = self.client.ask(id);
            let Some(known) = self.known.upgrade() else { return };
            match answer {
                Ok(entry) => {
                    backoff = Duration::ZERO;
                    if lock(&known.trouble).take().is_some() {
                        tracing::info!(url = known.url, "the schema registry answers again");
                    }
                    lock(&known.schemas).insert(id, entry);
                }
                Err(what) => {
                    backoff = (backoff * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
                    self.queue.push_back(id);
                    let mut trouble = lock(&known.trouble);
                    if trouble.is_none() {
                        tracing::warn!(url = known.url, error = what, "the schema registry can't be reached");
                    }
                    *trouble = Some(what);
                }
            }
        }
    }
}

struct HttpClient {
    agent: ureq::Agent,
    url: String,
    authorization: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    schema: String,
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<serde_json::Value>,
}

impl HttpClient {
    fn new(config: &RegistryConfig) -> Self {
        let agent =
            ureq::Agent::config_builder().timeout_global(Some(config.timeout)).http_status_as_error(false);
        #[cfg(feature = "tls")]
        let agent = agent.tls_config(
            ureq::tls::TlsConfig::builder()
                .provider(ureq::tls::TlsProvider::NativeTls)
                .root_certs(ureq::tls::RootCerts::PlatformVerifier)
                .build(),
        );
        let authorization = config.login.as_ref().map(|(user, password)| {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.expose())))
        });
        Self { agent: agent.build().into(), url: config.url.clone(), authorization }
    }

    /// Asks once. An error is worth another try.
    fn ask(&self, id: u32) -> Result<Entry, String> {
        let mut request = self.agent.get(format!("{}/schemas/ids/{id}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.call().map_err(|error| error.to_string())?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(Entry::Unknown(Instant::now())),
            status @ (401 | 403) => return Ok(Entry::Denied(status)),
            status => return Err(format!("it answers {status}")),
        }
        let text = response.body_mut().with_config().limit(SCHEMA_BYTES_MAX).read_to_string();
        let body: Body = serde_json::from_str(&text.map_err(|error| error.to_string())?)
            .map_err(|error| format!("its answer is no schema: {error}"))?;
        Ok(Entry::Answered(match body.kind.as_deref() {
            None | Some("AVRO") if body.references.is_empty() => Answer::Schema(body.schema.into()),
            None | Some("AVRO") => Answer::Unusable("it refers to other schemas".to_owned()),
            Some(kind) => Answer::Unusable(format!("it is of type {kind}, not AVRO")),
        }))
    }
}
