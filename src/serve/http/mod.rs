//! The server: who asks is told apart first, then what they ask is answered.

mod assets;
mod export;
mod operator;
mod recent;
mod reply;
mod seats;
mod server;
mod session;
mod stream;
mod tables;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;

use self::recent::Recent;
use self::reply::Refused;
use self::seats::Seats;
use super::access::{Access, Principal, Role, audit, is_loopback};
use super::history::History;
use super::store::Store;
use super::update::Update;
use crate::telemetry::Telemetry;

pub use server::{Server, ServerError};

/// Bytes of a request's body.
const BODY_MAX: usize = 16 << 10;
/// Questions that are worked on at a time; others wait.
const QUESTIONS: usize = 4;
/// Of these, so many may ask ClickHouse.
const HISTORIES: usize = 2;

/// What the pages say of the run.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name.
    pub job: String,
    /// The currency of the account, ISO 4217.
    pub currency: String,
    /// Its processes,
    pub processes: usize,
    /// and the workers of each.
    pub workers: usize,
    /// When it started, in milliseconds since 1970.
    pub started: i64,
}

/// How much is taken on.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    /// Requests per second of one asker at one address, on average.
    pub requests_per_second: NonZeroU32,
    /// Open streams,
    pub streams_max: usize,
    /// and of one asker, where askers are told apart.
    pub streams_each_max: usize,
    /// Open connections.
    pub connections_max: usize,
}

/// What is served, and to whom.
pub struct Served {
    about: About,
    telemetry: Arc<Telemetry>,
    store: OnceLock<Arc<Store>>,
    history: OnceLock<History>,
    access: Access,
    limits: Limits,
    rates: DefaultKeyedRateLimiter<(Arc<str>, IpAddr)>,
    questions: Arc<Semaphore>,
    histories: Semaphore,
    recent: Recent,
    seats: Arc<Seats>,
    tls: bool,
}

impl Served {
    /// Something to be served as soon as there is a [`Store`].
    pub fn new(about: About, telemetry: Arc<Telemetry>, access: Access, limits: Limits, tls: bool) -> Self {
        Self {
            about,
            telemetry,
            store: OnceLock::new(),
            history: OnceLock::new(),
            access,
            limits,
            rates: RateLimiter::keyed(Quota::per_second(limits.requests_per_second)),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
            histories: Semaphore::new(HISTORIES),
            recent: Recent::default(),
            seats: Arc::default(),
            tls,
        }
    }

    /// From now on this is served, and older windows from there.
    pub fn open(&self, store: Arc<Store>, history: Option<History>) {
        // A run is opened once.
        let _ = self.store.set(store);
        history.into_iter().for_each(|history| _ = self.history.set(history));
    }

    /// Takes an update in outside of a run.
    pub fn pulse(&self, update: Update) {
        self.store.get().iter().for_each(|store| store.apply(std::slice::from_ref(&update), None));
    }

    /// What is served, once there is something.
    fn store(&self) -> Result<Arc<Store>, Refused> {
        let store = self.store.get().filter(|store| store.frontier().epoch > 0);
        store.cloned().ok_or_else(Refused::catching_up)
    }

    /// Works on a question in a thread that may block, with few others.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Self) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let turn = Arc::clone(&self.questions).acquire_owned().await;
        let turn = turn.map_err(|_| Refused::busy("the run ends"))?;
        let served = Arc::clone(self);
        let answer = tokio::task::spawn_blocking(move || {
            // Held until it is worked out, also if nobody waits for it any more.
            let _turn = turn;
            question(&served)
        })
        .await;
        answer
            .unwrap_or_else(|_| Err(Refused::fault("the question could not be worked on; please report it")))
    }
}

/// All there is to ask for.
fn router(served: Arc<Served>) -> Router {
    let api = Router::new()
        .route("/session", get(session::show))
        .route("/dimensions/{dimension}", get(tables::dimension))
        .route("/tables/conversion_paths", get(tables::paths))
        .route("/tables/{table}", get(tables::table))
        .route("/stream", get(stream::stream))
        .route("/operator", get(operator::operator))
        .route("/rejects", get(operator::rejects))
        .route("/openapi.json", get(described))
        .layer(from_fn_with_state(Arc::clone(&served), admit))
        .route("/session", axum::routing::post(session::sign_in).delete(session::sign_out))
        .fallback(async || Refused::not_found("such resource"))
        .method_not_allowed_fallback(not_allowed);
    Router::new()
        .nest("/api/v1", api)
        .route("/", get(assets::index))
        .route("/operator", get(assets::operator))
        .route("/assets/{file}", get(assets::asset))
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(ready))
        .fallback(async || Refused::not_found("such page"))
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(Arc::clone(&served), every))
        .with_state(served)
}

async fn described(State(served): State<Arc<Served>>) -> axum::Json<serde_json::Value> {
    axum::Json(super::openapi::document(served.access.is_open()))
}

async fn not_allowed() -> Refused {
    let mut refused = Refused::not_found("such method here");
    refused.status = StatusCode::METHOD_NOT_ALLOWED;
    refused.code = "method_not_allowed";
    refused
}

async fn ready(State(served): State<Arc<Served>>) -> impl IntoResponse {
    match served.telemetry.is_ready() || served.store().is_ok() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "catching up\n"),
    }
}

/// What holds for every request.
async fn every(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    reply::secure(next.run(request).await, served.tls)
}

/// Lets in who may be let in, not too often, and notes it.
async fn admit(
    State(served): State<Arc<Served>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    if served.access.is_open() && !is_local(request.headers()) {
        return Refused::strange_host().into_response();
    }
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let admitted = served.access.admit(token(request.headers()));
    let answer = match &admitted {
        Err(_) => {
            // Whoever tries tokens is slowed down by where they come from.
            match served.rates.check_key(&("".into(), peer.ip())) {
                Ok(()) => Refused::unauthorized().into_response(),
                Err(_) => Refused::too_often().into_response(),
            }
        }
        Ok(principal) => match served.rates.check_key(&(Arc::clone(&principal.name), peer.ip())) {
            Err(_) => Refused::too_often().into_response(),
            Ok(()) => {
                request.extensions_mut().insert(principal.clone());
                next.run(request).await
            }
        },
    };
    if !served.access.is_open() {
        audit(admitted.as_ref().ok(), peer.ip(), &method, &path, answer.status().as_u16());
    }
    answer
}

/// Whether a request is for a name of this machine. Where nobody is told apart, a page from elsewhere
/// could otherwise ask by a name of its own that it lets point here.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let authority = host.parse::<axum::http::uri::Authority>();
    authority.is_ok_and(|authority| {
        let name = authority.host().trim_matches(['[', ']']);
        name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
    })
}

/// The token that a request shows: programs in a header, browsers in a cookie.
fn token(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let cookies =
        || text(COOKIE)?.split(';').find_map(|cookie| cookie.trim().strip_prefix(session::COOKIE_START));
    bearer.map(str::trim).or_else(cookies)
}

/// The decoded parameters of a URL.
fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// # Errors
/// The asker is of a lesser role.
fn needs(role: Role, Extension(principal): &Extension<Principal>) -> Result<(), Refused> {
    match principal.role >= role {
        true => Ok(()),
        false => Err(Refused::forbidden(role.as_str())),
    }
}
