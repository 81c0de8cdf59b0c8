//! Who is signed in, and signing in and out with a browser.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Served;
use super::reply::Refused;
use crate::serve::access::{Principal, audit};

/// How long a client may take to say its token.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
/// What a browser's cookie begins with.
pub const COOKIE_START: &str = "advertisex=";

/// Who is signed in, and what the pages say of the run.
pub async fn show(
    State(served): State<Arc<Served>>,
    Extension(principal): Extension<Principal>,
) -> Json<Value> {
    let frontier = served.store.get().map(|store| store.frontier()).unwrap_or_default();
    Json(json!({
        "name": &*principal.name,
        "role": principal.role,
        "advertisers": principal.advertisers.as_deref(),
        "currency": served.about.currency,
        "job": served.about.job,
        "version": env!("CARGO_PKG_VERSION"),
        "now": jiff::Timestamp::now().as_millisecond(),
        "sign_in": !served.access.is_open(),
        "frontier": frontier,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    token: String,
}

/// Gives a browser a cookie that only it reads, so that no script of a page ever holds the token.
pub async fn sign_in(
    State(served): State<Arc<Served>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    request: Request,
) -> Response {
    if served.rates.check_key(&("sign in".into(), peer.ip())).is_err() {
        return Refused::too_often().into_response();
    }
    let body = axum::body::to_bytes(request.into_body(), super::BODY_MAX);
    let body = match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let Ok(SignIn { token }) = serde_json::from_slice(&body) else {
        return Refused::bad("token", "a JSON object with one text, `token`, is expected").into_response();
    };
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b';' && byte != b',';
    if token.is_empty() || !token.bytes().all(fits) {
        return Refused::bad("token", "a token has no spaces, commas or semicolons").into_response();
    }
    let admitted = served.access.admit(Some(&token)).ok();
    let answer = match &admitted {
        None => Refused::unauthorized().into_response(),
        Some(_) => (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie(&token, served.tls, ""))]).into_response(),
    };
    audit(admitted.as_ref(), peer.ip(), "POST", "/session", answer.status().as_u16());
    answer
}

/// Takes the cookie away.
pub async fn sign_out(State(served): State<Arc<Served>>) -> Response {
    (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie("", served.tls, "; Max-Age=0"))]).into_response()
}

fn cookie(token: &str, tls: bool, rest: &str) -> String {
    let secure = if tls { "; Secure" } else { "" };
    format!("{COOKIE_START}{token}; Path=/; HttpOnly; SameSite=Strict{secure}{rest}")
}
