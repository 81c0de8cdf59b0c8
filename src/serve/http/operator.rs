//! How the run goes, for who runs it.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::{Extension, Json};
use dataflows::model::reject::{Feed, Reason};
use serde_json::{Map, Value, json};

use super::reply::Refused;
use super::{Served, needs, pairs};
use crate::serve::access::{Principal, Role};
use crate::serve::query::Page;
use crate::serve::shape::TableId;
use crate::serve::store::Store;

/// Rejected records that one answer shows.
const REJECTS_MAX: usize = 200;

/// Everything that the operator's page shows of the run.
pub async fn operator(
    State(served): State<Arc<Served>>,
    principal: Extension<Principal>,
) -> Result<Json<Value>, Refused> {
    needs(Role::Operator, &principal)?;
    let store = served.store.get().cloned();
    let rows = match store.clone() {
        None => None,
        Some(store) => Some(served.ask(move |_| Ok(rows(&store))).await?),
    };
    let frontier = store.as_ref().map(|store| store.frontier()).unwrap_or_default();
    let about = &served.about;
    let mut answer = serde_json::to_value(served.telemetry.board()).unwrap_or_default();
    answer["frontier"] = json!(frontier);
    answer["job"] = about.job.as_str().into();
    answer["version"] = env!("CARGO_PKG_VERSION").into();
    answer["started"] = about.started.into();
    answer["now"] = jiff::Timestamp::now().as_millisecond().into();
    answer["processes"] = about.processes.into();
    answer["workers"] = about.workers.into();
    answer["served"] = json!({
        "streams": store.map_or(0, |store| store.streams()),
        "rows": rows,
    });
    Ok(Json(answer))
}

/// How many rows of each table are held.
fn rows(store: &Store) -> Map<String, Value> {
    let state = store.read();
    TableId::ALL.map(|table| (table.shape().name.to_owned(), state.rows(table).into())).into_iter().collect()
}

/// The latest rejected records.
pub async fn rejects(
    State(served): State<Arc<Served>>,
    principal: Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Refused> {
    needs(Role::Operator, &principal)?;
    let pairs = pairs(query.as_deref());
    let page = Page::parse(&pairs, REJECTS_MAX)?;
    let (mut feed, mut reason) = (None, None);
    for (name, text) in &pairs {
        match name.as_str() {
            "feed" => one(&mut feed, name, text, Feed::ALL.map(Feed::as_str))?,
            "reason" => one(&mut reason, name, text, Reason::ALL.map(Reason::as_str))?,
            "limit" => {}
            _ => return Err(Refused::bad(name, "rejects has feed, reason and limit")),
        }
    }
    let rows = served.telemetry.rejects(feed, reason, page.limit.unwrap_or(REJECTS_MAX));
    Ok(Json(json!({ "rows": rows })))
}

/// One of some words, said once.
fn one<const N: usize>(
    said: &mut Option<&'static str>,
    name: &str,
    text: &str,
    words: [&'static str; N],
) -> Result<(), Refused> {
    let known = words.into_iter().find(|word| *word == text).filter(|_| said.is_none());
    let word =
        known.ok_or_else(|| Refused::bad(name, format!("one of {} is expected, once", words.join(", "))))?;
    *said = Some(word);
    Ok(())
}
