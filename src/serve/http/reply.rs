//! Answers that say no, and what every answer says besides.

use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::serve::groups::TooMany;
use crate::serve::history::HistoryError;
use crate::serve::query::QueryError;
use crate::serve::topic::TopicError;

/// A request that can't be answered.
#[derive(Debug)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// For programs.
    pub code: &'static str,
    /// For people: what to do.
    pub message: String,
    /// The parameter at fault.
    pub parameter: Option<String>,
    /// Seconds after which it may be tried again.
    pub retry_after: Option<u32>,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), parameter: None, retry_after: None }
    }

    /// There is no such thing.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what}"))
    }

    /// Nobody is signed in.
    pub fn unauthorized() -> Self {
        let message = "sign in: send a token as `Authorization: Bearer …`, or to POST /api/v1/session";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// By a name that isn't this machine's.
    pub fn strange_host() -> Self {
        let message = "without [serve.tokens] only this machine may ask, by localhost or a loopback address";
        Self::new(StatusCode::FORBIDDEN, "strange_host", message)
    }

    /// The role may not.
    pub fn forbidden(needed: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", format!("this needs the role {needed}"))
    }

    /// Something was asked that makes no sense.
    pub fn bad(parameter: &str, message: impl Into<String>) -> Self {
        let parameter = Some(parameter.to_owned());
        Self { parameter, ..Self::new(StatusCode::BAD_REQUEST, "bad_parameter", message) }
    }

    /// There is nothing to show yet.
    pub fn catching_up() -> Self {
        let message = "the run reads what it has read before; ask again in a moment";
        let refused = Self::new(StatusCode::SERVICE_UNAVAILABLE, "catching_up", message);
        Self { retry_after: Some(1), ..refused }
    }

    /// Too much is asked at once.
    pub fn busy(message: impl Into<String>) -> Self {
        let refused = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
        Self { retry_after: Some(1), ..refused }
    }

    /// Too often.
    pub fn too_often() -> Self {
        let message = "too many requests; wait a second, or follow /api/v1/stream instead of asking again";
        let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        Self { retry_after: Some(1), ..refused }
    }

    /// One asker has opened as many streams as one may.
    pub fn too_many_streams() -> Self {
        let message = "as many streams are open for this token as for any one; close some";
        let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", message);
        Self { retry_after: Some(10), ..refused }
    }

    /// Something broke here.
    pub fn fault(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", message)
    }

    /// As JSON.
    pub fn body(&self) -> serde_json::Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(parameter) = &self.parameter {
            error["parameter"] = parameter.as_str().into();
        }
        json!({ "error": error })
    }
}

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        Self::bad(&error.parameter, error.message)
    }
}

impl From<TooMany> for Refused {
    fn from(error: TooMany) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too_many_rows", error.to_string())
    }
}

impl From<TopicError> for Refused {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::TooMany(error) => error.into(),
            TopicError::Full => Self::busy(error.to_string()),
        }
    }
}

impl From<HistoryError> for Refused {
    fn from(error: HistoryError) -> Self {
        if let HistoryError::TooMany = error {
            return Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too_many_rows", error.to_string());
        }
        tracing::warn!(error = ?error, "older windows can't be read from ClickHouse");
        let message =
            "older windows can't be read from ClickHouse at the moment; ask for newer ones, or again later";
        Self {
            retry_after: Some(5),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "history_unavailable", message)
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        (self.status, headers, self.body().to_string()).into_response()
    }
}

/// What a browser is told with every answer: nothing may be loaded from or shown elsewhere.
const SECURITY: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

/// Adds what every answer says; over TLS also that it shall stay so.
pub fn secure(mut response: Response, tls: bool) -> Response {
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if tls {
        let value = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
