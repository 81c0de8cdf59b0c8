//! Answers to questions about tables.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::export::{self, Form};
use super::reply::Refused;
use super::{Served, needs, pairs};
use crate::formats::dimension::Dimension;
use crate::serve::access::{Principal, Role};
use crate::serve::answer::{Row, Rows, rows, sums};
use crate::serve::groups::Groups;
use crate::serve::history::Past;
use crate::serve::paths::{PathQuery, flat};
use crate::serve::query::{LIMIT, LIMIT_MAX, Page, Query};
use crate::serve::shape::TableId;
use crate::serve::store::{self, Frontier, Store};

/// Groups that an answer is made of, at most.
const GROUPS_MAX: usize = 1_000_000;
/// How often older windows are read again because newer ones have become older meanwhile.
const ATTEMPTS: usize = 3;

/// A table, as it is asked for.
pub async fn table(
    State(served): State<Arc<Served>>,
    principal: Extension<Principal>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let table = known_table(&name, &principal)?;
    let pairs = pairs(query.as_deref());
    let form = Form::parse(&pairs)?;
    let limit = rows_of(form);
    let (query, page) = (Query::parse(table, &pairs, principal.scope())?, Page::parse(&pairs, LIMIT_MAX)?);
    served.ask(move |served| answer(served, &query, &page, limit, form)).await
}

/// Rows of an answer that doesn't say how many: files hold all.
fn rows_of(form: Form) -> usize {
    if form == Form::Json { LIMIT } else { GROUPS_MAX }
}

/// The table of this name, if the asker may see it.
pub fn known_table(name: &str, principal: &Extension<Principal>) -> Result<TableId, Refused> {
    let table = TableId::parse(name).ok_or_else(|| {
        let names: Vec<_> = TableId::ALL.iter().map(|table| table.shape().name).collect();
        Refused::not_found(&format!("table {name:?}, but {} and conversion_paths", names.join(", ")))
    })?;
    if !table.has_campaigns() {
        // What belongs to no campaign tells of all advertisers.
        needs(Role::Analyst, principal)?;
        if principal.advertisers.is_some() {
            return Err(Refused::forbidden("analyst, for all advertisers"));
        }
    }
    Ok(table)
}

fn answer(
    served: &Served,
    query: &Query,
    page: &Page,
    limit: usize,
    form: Form,
) -> Result<Response, Refused> {
    let store = served.store()?;
    let now = store.frontier();
    // Whoever has waited for another's answer takes it, though an epoch may have passed since they asked.
    // What came from ClickHouse may be behind: then it is asked again.
    let true_still = |then: &Frontier| then.epoch >= now.epoch && then.history_epoch.is_none();
    let (groups, frontier) = served.recent.answer(query, true_still, || groups(served, &store, query))?;
    let state = store.read();
    let part = rows(&groups, page, limit, &state.labels)?;
    drop(state);
    match form {
        Form::Json => Ok(json_answer(query, &groups, &part, frontier)),
        form => export::file(form, query.table.shape().name, &part, frontier),
    }
}

/// The groups of a query, those of older windows included, and what they are true at.
fn groups(served: &Served, store: &Store, query: &Query) -> Result<(Groups, Frontier), Refused> {
    let mut past = None;
    for _ in 0..ATTEMPTS {
        let mut groups = Groups::new(query.clone(), GROUPS_MAX);
        let state = store.read();
        if fits(past.as_ref(), served, query, &state) {
            past.iter().for_each(|past: &Past| past.add_to(&mut groups));
            state.sum_up(&mut groups)?;
            let frontier = state.frontier_of(query);
            return Ok((groups, past.map_or(frontier, |past| frontier.since(past.until, past.epoch))));
        }
        drop(state);
        past = past_of(served, store, query)?;
    }
    Err(Refused::busy("the newest windows move on faster than ClickHouse answers; ask again"))
}

/// Whether what is held and what was read of older windows are all that there is.
pub fn fits(past: Option<&Past>, served: &Served, query: &Query, state: &store::State) -> bool {
    let edge = state.edge(query.table);
    let owned = |past: &Past| !query.asks_for_advertisers() || past.ownership == state.labels.ownership();
    query.since >= edge
        || served.history.get().is_none()
        || past.is_some_and(|past| past.until == edge && owned(past))
}

/// What ClickHouse holds of the windows that are not held any more.
pub fn past_of(served: &Served, store: &Store, query: &Query) -> Result<Option<Past>, Refused> {
    let Some(history) = served.history.get() else { return Ok(None) };
    let state = store.read();
    let edge = state.edge(query.table);
    let question = history.question(query, edge, &state.labels);
    drop(state);
    // Others must not wait for a ClickHouse that doesn't answer.
    let Ok(_turn) = served.histories.try_acquire() else {
        return Err(Refused::busy(
            "ClickHouse is asked for as much as this server asks at a time; ask again",
        ));
    };
    let answer = question.ask()?;
    Ok(Some(answer.read(query, &store.read().labels)?))
}

fn json_answer(query: &Query, groups: &Groups, part: &Rows, frontier: Frontier) -> Response {
    let rows: Vec<_> = part.cells.iter().map(|cells| Row(&part.columns, cells)).collect();
    let said = |bound: i64, none: i64| (bound != none).then_some(bound);
    let everything = (Query::everything(query.table).since, Query::everything(query.table).until);
    Json(json!({
        "frontier": frontier,
        "table": query.table.shape().name,
        "since": said(query.since, everything.0),
        "until": said(query.until, everything.1),
        "step": query.step.as_str(),
        "group_by": query.columns().map(|(_, name, _)| name).collect::<Vec<_>>(),
        "total": groups.len(),
        "sums": sums(query, groups.total()),
        "rows": rows,
    }))
    .into_response()
}

/// Paths of conversions.
pub async fn paths(
    State(served): State<Arc<Served>>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let pairs = pairs(query.as_deref());
    let form = Form::parse(&pairs)?;
    let (limit, page) = (rows_of(form), Page::parse(&pairs, LIMIT_MAX)?);
    let mut query = PathQuery::parse(&pairs, principal.scope())?;
    (query.limit, query.offset) = (page.limit.unwrap_or(limit), page.offset);
    served
        .ask(move |served| {
            let store = served.store()?;
            let state = store.read();
            let edge = state.paths.edge();
            let (rows, total) = state.paths.rows(&query, &state.labels);
            let before = query.since.is_none_or(|since| since < edge) && edge > 0;
            let frontier = Frontier { live_since: before.then_some(edge), ..state.frontier() };
            if form != Form::Json {
                return export::file(form, "conversion_paths", &flat(&rows), frontier);
            }
            let answer =
                json!({ "frontier": frontier, "table": "conversion_paths", "total": total, "rows": rows });
            Ok(Json(answer).into_response())
        })
        .await
}

/// What ids of a kind stand for.
pub async fn dimension(
    State(served): State<Arc<Served>>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    let (dimension, columns) = match name.as_str() {
        "campaign" => (Dimension::Campaign, ["campaign_id", "advertiser_id", "name"]),
        "advertiser" => (Dimension::Advertiser, ["advertiser_id", "name", ""]),
        "creative" => (Dimension::Creative, ["creative_id", "name", "format"]),
        "site" => (Dimension::Site, ["site", "name", "category"]),
        _ => return Err(Refused::not_found("such dimension, but campaign, advertiser, creative and site")),
    };
    if principal.advertisers.is_some() && matches!(dimension, Dimension::Creative | Dimension::Site) {
        // They are not told apart by advertiser.
        return Err(Refused::forbidden("analyst, for all advertisers"));
    }
    let scope = principal.scope();
    let is_ours = move |id: &str| principal.advertisers.as_ref().is_none_or(|ours| ours.contains(id));
    served
        .ask(move |served| {
            let store = served.store()?;
            let state = store.read();
            let listed = state.labels.listed(dimension).into_iter();
            let seen = listed.filter(|(id, text, _)| match dimension {
                Dimension::Campaign => scope.allows(&state.labels, id.raw()),
                _ => is_ours(text),
            });
            let rows: Vec<_> = seen
                .map(|(_, text, attributes)| {
                    let cells = std::iter::once(text.as_str()).chain(attributes.iter().map(|text| &**text));
                    let named = columns.into_iter().zip(cells).filter(|(column, _)| !column.is_empty());
                    named.map(|(column, cell)| (column.to_owned(), cell.into())).collect()
                })
                .map(|row: serde_json::Map<String, Value>| row)
                .collect();
            Ok(Json(json!({ "frontier": state.frontier(), "rows": rows })))
        })
        .await
}
