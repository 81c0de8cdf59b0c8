//! Questions that stay open: what each epoch changes in their answers is sent as it closes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::reply::Refused;
use super::tables::{fits, known_table, past_of};
use super::{Served, pairs};
use crate::serve::access::Principal;
use crate::serve::history::Past;
use crate::serve::query::Query;
use crate::serve::store::{Frontier, Store};
use crate::serve::topic::{News, Tick, Ticket};

/// Questions of one stream.
const QUESTIONS_MAX: usize = 16;
/// Events that wait for a slow reader; behind that its stream falls behind, and ends.
const EVENTS_WAITING: usize = 64;
/// How often older windows are read again because newer ones have become older meanwhile.
const ATTEMPTS: usize = 6;
/// How long ClickHouse is given to have what has just been published.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a reader may take for an event.
const READER: Duration = Duration::from_secs(10);

/// Follows questions.
pub async fn stream(
    State(served): State<Arc<Served>>,
    principal: Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refused> {
    let queries = questions(&pairs(query.as_deref()), &principal)?;
    let store = served.store()?;
    if store.streams() >= served.limits.streams_max {
        return Err(Refused::busy("as many streams are open as this server allows"));
    }
    let each = if served.access.is_open() { usize::MAX } else { served.limits.streams_each_max };
    let seat = served.seats.take(&principal.name, each).ok_or_else(Refused::too_many_streams)?;
    let followed = served.ask(move |served| follow(served, &store, &queries)).await?;
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING);
    let remains = principal.remains();
    tokio::spawn(async move {
        let _seat = seat;
        let tell = followed.tell(sender);
        match remains {
            // A token that ends, ends what it opened.
            Some(remains) => _ = tokio::time::timeout(remains, tell).await,
            None => tell.await,
        }
    });
    let events = futures_util::stream::unfold(receiver, async |mut receiver| {
        let event = receiver.recv().await?;
        Some((Ok(event), receiver))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))))
}

fn questions(all: &[(String, String)], principal: &Extension<Principal>) -> Result<Vec<Query>, Refused> {
    let mut queries = Vec::new();
    for (name, text) in all {
        if name != "q" {
            return Err(Refused::bad(name, "a stream has the parameter q alone, as often as needed"));
        }
        let (table, parameters) = text.split_once('?').unwrap_or((text, ""));
        let table = known_table(table, principal)?;
        let pairs = pairs(Some(parameters));
        if let Some((name, _)) = pairs.iter().find(|(name, _)| is_of_page(name)) {
            return Err(Refused::bad(name, "a stream has all rows of its answers, in no order"));
        }
        queries.push(Query::parse(table, &pairs, principal.scope())?);
    }
    match queries.len() {
        1..=QUESTIONS_MAX => Ok(queries),
        _ => Err(Refused::bad("q", format!("one to {QUESTIONS_MAX} questions are expected"))),
    }
}

fn is_of_page(name: &str) -> bool {
    matches!(name, "sort" | "limit" | "offset" | "format")
}

/// The questions of one stream.
struct Followed {
    tickets: Vec<Ticket>,
    snapshots: Vec<Arc<str>>,
    frontier: Frontier,
    ticks: Receiver<Arc<Tick>>,
}

/// Follows all questions from one epoch on. Rows are gathered one question after the other, while the
/// run goes on; each is kept true from then on, until all of them can be shown together.
fn follow(served: &Served, store: &Store, queries: &[Query]) -> Result<Followed, Refused> {
    for _ in 0..ATTEMPTS {
        let tickets =
            queries.iter().map(|query| hold(served, store, query)).collect::<Result<Vec<_>, _>>()?;
        let (shown, ticks) = store.follow(|state| {
            let all = queries.iter().map(|query| state.snapshot(query));
            all.collect::<Option<Vec<_>>>().map(|snapshots| (snapshots, state.frontier()))
        });
        if let Some((snapshots, frontier)) = shown {
            return Ok(Followed { tickets, snapshots, frontier, ticks });
        }
        // One of them has ended meanwhile.
    }
    Err(Refused::busy("the newest windows move on faster than ClickHouse answers; ask again"))
}

/// A ticket of a question's topic.
fn hold(served: &Served, store: &Store, query: &Query) -> Result<Ticket, Refused> {
    let mut past: Option<Past> = None;
    for attempt in 0..ATTEMPTS {
        let state = store.read();
        if let Some(ticket) = state.topics.ticket(query) {
            return Ok(ticket);
        }
        // What has changed behind the edge must be in ClickHouse by now: nobody would tell of it.
        let late = past.as_ref().is_some_and(|past| past.epoch < state.gone(query.table));
        if fits(past.as_ref(), served, query, &state) && !late {
            let (epoch, gathered) = (state.frontier().epoch, state.gather(query, past.as_ref()));
            drop(state);
            if let Some(ticket) = store.start(epoch, gathered)? {
                return Ok(ticket);
            }
            continue;
        }
        drop(state);
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        past = past_of(served, store, query)?;
    }
    Err(Refused::busy("the newest windows move on faster than ClickHouse answers; ask again"))
}

impl Followed {
    /// Tells the reader, until they leave, fall behind, or have to ask again.
    async fn tell(mut self, reader: mpsc::Sender<Event>) {
        for (at, snapshot) in self.snapshots.iter().enumerate() {
            if !hand(&reader, event("snapshot", at, snapshot)).await {
                return;
            }
        }
        if !hand(&reader, frontier(self.frontier)).await {
            return;
        }
        loop {
            let tick = tokio::select! {
                tick = self.ticks.recv() => tick,
                () = reader.closed() => return,
            };
            let tick = match tick {
                Ok(tick) => tick,
                // Who is too slow begins anew.
                Err(RecvError::Lagged(_) | RecvError::Closed) => return,
            };
            for (at, ticket) in self.tickets.iter().enumerate() {
                let event = match tick.news.get(&ticket.topic) {
                    None => continue,
                    Some(News::Over) => return,
                    Some(News::Snapshot(rest)) => event("snapshot", at, rest),
                    Some(News::Change(rest)) => event("change", at, rest),
                };
                if !hand(&reader, event).await {
                    return;
                }
            }
            if !hand(&reader, frontier(tick.frontier)).await {
                return;
            }
        }
    }
}

/// Hands an event to a reader; whether they took it.
async fn hand(reader: &mpsc::Sender<Event>, event: Event) -> bool {
    matches!(tokio::time::timeout(READER, reader.send(event)).await, Ok(Ok(())))
}

fn event(name: &str, query: usize, rest: &str) -> Event {
    Event::default().event(name).data(format!("{{\"query\":{query},{rest}"))
}

fn frontier(frontier: Frontier) -> Event {
    let data = serde_json::to_string(&frontier).unwrap_or_default();
    Event::default().event("frontier").id(frontier.epoch.to_string()).data(data)
}
