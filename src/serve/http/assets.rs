//! The pages, which are part of the program.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use include_dir::{Dir, include_dir};
use xxhash_rust::xxh3::xxh3_64;

use super::reply::Refused;

static PAGE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/serve/page");

const KINDS: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

/// The campaign manager's page.
pub async fn index(headers: HeaderMap) -> Response {
    file("index.html", &headers)
}

/// The operator's page.
pub async fn operator(headers: HeaderMap) -> Response {
    file("operator.html", &headers)
}

/// What the pages consist of.
pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&name, &headers)
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let kind = KINDS.iter().find(|(ending, _)| name.rsplit('.').next() == Some(ending));
    let (Some(file), Some((_, kind))) = (PAGE.get_file(name), kind) else {
        return Refused::not_found("such page").into_response();
    };
    // The browser asks each time, and is told that it has the newest: a new version shows at once.
    let tag = format!("\"{:016x}\"", xxh3_64(file.contents()));
    let fresh = [(CONTENT_TYPE, *kind), (CACHE_CONTROL, "no-cache"), (ETAG, tag.as_str())];
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, fresh).into_response();
    }
    (fresh, file.contents()).into_response()
}
