//! Random changes: whatever came before, answers equal those that are worked out from scratch, and a
//! page that follows the changes holds what one sees that has just been opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataflows::model::events::{Country, Device, Placed};
use dataflows::model::ids::Name;
use dataflows::model::measures::{Measures, Reach};
use dataflows::model::time::{Day, Hour};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::groups::Groups;
use super::query::{Query, Scope};
use super::shape::TableId;
use super::store::Store;
use super::topic::{News, Ticket};
use super::update::Update;
use crate::formats::dimension::Dimension;
use crate::names::Names;
use crate::sinks::clickhouse::{Epochs, Upserts};

const CAMPAIGNS: usize = 6;
const SITES: usize = 3;
const HOURS: u32 = 30;

/// What is published, and who owns what, plainly.
#[derive(Default)]
struct Plain {
    rows: BTreeMap<(u32, usize, usize, usize), Measures>,
    reach: BTreeMap<(u32, usize), Reach>,
    owners: BTreeMap<usize, usize>,
}

fn campaign(n: usize) -> String {
    format!("campaign number {n}")
}

fn advertiser(n: usize) -> String {
    format!("adv{n}")
}

fn pairs(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

struct Game {
    dice: ChaCha8Rng,
    names: Arc<Names>,
    store: Store,
    plain: Plain,
    epoch: u64,
}

impl Game {
    fn new(seed: u64, rows_max: usize) -> Self {
        let names = Arc::new(Names::default());
        let store = Store::new(Arc::clone(&names), rows_max);
        let dice = ChaCha8Rng::seed_from_u64(seed);
        Self { dice, names, store, plain: Plain::default(), epoch: 0 }
    }

    /// A topic of a query, from the present epoch on.
    fn open(&self, query: &Query) -> Ticket {
        let state = self.store.read();
        let (epoch, gathered) = (state.frontier().epoch, state.gather(query, None));
        drop(state);
        self.store.start(epoch, gathered).expect("few").expect("no epoch passes meanwhile")
    }

    fn name(&self, text: &str) -> Name {
        self.names.name(text).expect("no collision")
    }

    /// One epoch of changes, also such that take everything back.
    fn play(&mut self) {
        self.epoch += 1;
        let mut upserts = Upserts::new(Epochs { first: self.epoch, last: self.epoch });
        for _ in 0..self.dice.random_range(0..12) {
            let (hour, of) = (self.dice.random_range(0..HOURS), self.dice.random_range(0..CAMPAIGNS));
            let (site, device) = (self.dice.random_range(0..SITES), self.dice.random_range(0..6));
            let sums = self.dice.random_bool(0.7).then(|| Measures {
                bids: self.dice.random_range(1..9),
                clicks: self.dice.random_range(0..3),
                spend_micros: self.dice.random_range(0..1_000_000_000),
                ..Measures::default()
            });
            let key = (hour, of, site, device);
            match sums {
                Some(sums) => _ = self.plain.rows.insert(key, sums),
                None => _ = self.plain.rows.remove(&key),
            }
            let place = Placed {
                window: Hour(hour),
                campaign: self.name(&campaign(of)),
                creative: Name::EMPTY,
                site: self.name(&format!("s{site}")),
                country: Country::parse("DE").expect("a country"),
                device: Device::ALL[device],
            };
            upserts.performance_hour.retain(|(known, _)| *known != place);
            upserts.performance_hour.push((place, sums));
        }
        let (day, of) = (self.dice.random_range(0..2), self.dice.random_range(0..CAMPAIGNS));
        let reach = Reach { users: self.dice.random_range(1..9), impressions: self.dice.random_range(9..99) };
        self.plain.reach.insert((day, of), reach);
        upserts.reach_day.push(((Day(day), self.name(&campaign(of))), Some(reach)));
        if self.dice.random_bool(0.3) {
            let of = self.dice.random_range(0..CAMPAIGNS);
            let owner = self.dice.random_bool(0.8).then(|| self.dice.random_range(0..2));
            match owner {
                Some(owner) => _ = self.plain.owners.insert(of, owner),
                None => _ = self.plain.owners.remove(&of),
            }
            let attributes = owner.map(|owner| [advertiser(owner).into(), "".into()]);
            let id = self.name(&campaign(of));
            upserts.dimensions[Dimension::Campaign as usize].push((id, attributes));
        }
        self.store.apply(&[Update::from(&upserts)], None);
    }

    fn query(&self, table: TableId, text: &str, scope: Scope) -> Query {
        Query::parse(table, &pairs(text), scope).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The rows of an answer, by their keys.
    fn answer(&self, query: &Query) -> BTreeMap<String, Value> {
        let mut groups = Groups::new(query.clone(), 10_000);
        let state = self.store.read();
        state.sum_up(&mut groups).expect("few groups");
        let page = super::query::Page::default();
        let rows = super::answer::rows(&groups, &page, 10_000, &state.labels).expect("no order is asked for");
        let shown = rows.cells.iter().map(|cells| {
            // By way of text, as a page reads it.
            let text = serde_json::to_string(&super::answer::Row(&rows.columns, cells)).expect("JSON");
            let row = serde_json::from_str(&text).expect("JSON");
            (key_of(&row), row)
        });
        shown.collect()
    }
}

/// What tells a row from others: all of it that is no number, and its time.
fn key_of(row: &Value) -> String {
    let row = row.as_object().expect("a row");
    let key = row.iter().filter(|(name, value)| *name == "time" || value.is_string());
    key.map(|(name, value)| format!("{name}={value} ")).collect()
}

#[test]
fn answers_equal_what_is_worked_out_from_scratch() {
    for seed in 0..40 {
        let mut game = Game::new(seed, 1_000_000);
        for _ in 0..30 {
            game.play();
        }
        let hour = 3_600_000;
        let (since, until) = (5 * hour, 29 * hour + 1);
        let text =
            format!("since={since}&until={until}&step=day&group_by=site&advertiser_id=adv1&device=ctv");
        let answer = game.answer(&game.query(TableId::PerformanceHour, &text, Scope::All));
        let mut expected: BTreeMap<(i64, String), (i64, i64)> = BTreeMap::new();
        for ((at, of, site, device), sums) in &game.plain.rows {
            let start = i64::from(*at) * hour;
            let ours = game.plain.owners.get(of) == Some(&1) && Device::ALL[*device] == Device::Ctv;
            if ours && since <= start && start < until {
                let sum = expected.entry((start / (24 * hour) * 24 * hour, format!("s{site}"))).or_default();
                sum.0 += i64::from(sums.bids);
                sum.1 += sums.spend_micros;
            }
        }
        let found = answer.values().map(|row| {
            let number = |name: &str| row[name].as_i64().expect("a number");
            let site = row["site"].as_str().expect("a site").to_owned();
            ((number("time"), site), (number("bids"), number("spend_micros")))
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "seed {seed}");
    }
}

#[test]
fn a_viewer_sees_the_campaigns_of_their_advertisers_and_no_others() {
    for seed in 0..40 {
        let mut game = Game::new(seed, 1_000_000);
        for _ in 0..30 {
            game.play();
            let scope = Scope::Advertisers([game.name(&advertiser(0))].into());
            let query = game.query(TableId::PerformanceHour, "step=all&group_by=campaign_id", scope.clone());
            let owned = |of: &usize| game.plain.owners.get(of) == Some(&0);
            let mut expected: Vec<_> =
                game.plain.rows.keys().map(|(_, of, _, _)| *of).filter(owned).map(campaign).collect();
            expected.sort();
            expected.dedup();
            let found = game.answer(&query);
            let found: Vec<_> =
                found.values().map(|row| row["campaign_id"].as_str().expect("an id")).collect();
            assert_eq!(found, expected, "seed {seed}");
            let others = game.query(TableId::PerformanceHour, "advertiser_id=adv1", scope);
            assert!(game.answer(&others).is_empty(), "seed {seed}");
        }
    }
}

/// A page, as a browser keeps it.
struct PageRows(Ticket, BTreeMap<String, Value>);

impl PageRows {
    fn take(&mut self, rest: &str, replaces: bool) {
        let news: Value = serde_json::from_str(&format!("{{{rest}")).expect("JSON");
        if replaces {
            self.1.clear();
        }
        let rows = news["rows"].as_array().expect("rows").iter();
        rows.for_each(|row| _ = self.1.insert(key_of(row), row.clone()));
        for gone in news["gone"].as_array().into_iter().flatten() {
            assert!(self.1.remove(&key_of(gone)).is_some(), "it was there");
        }
        assert_eq!(news["total"], self.1.len());
    }
}

#[test]
fn who_follows_the_changes_holds_what_a_new_answer_says() {
    for seed in 0..40 {
        let mut game = Game::new(seed, 1_000_000);
        let ours = || Scope::Advertisers([Name::new("adv0")].into());
        let queries = [
            game.query(TableId::PerformanceHour, "", Scope::All),
            game.query(TableId::PerformanceHour, "step=all&group_by=", Scope::All),
            game.query(TableId::PerformanceHour, "step=day&group_by=campaign_id&site=s1", ours()),
            game.query(TableId::ReachDay, "step=all&group_by=campaign_id", Scope::All),
            game.query(TableId::ReachDay, "advertiser_id=adv1", Scope::All),
        ];
        game.play();
        let tickets: Vec<_> = queries.iter().map(|query| game.open(query)).collect();
        let (mut pages, mut ticks) = game.store.follow(|state| {
            let open = queries.iter().zip(tickets).map(|(query, ticket)| {
                let mut page = PageRows(ticket, BTreeMap::new());
                page.take(&state.snapshot(query).expect("a topic"), true);
                page
            });
            open.collect::<Vec<_>>()
        });
        for _ in 0..40 {
            game.play();
            let tick = ticks.try_recv().expect("one for each epoch");
            assert_eq!(tick.frontier.epoch, game.epoch);
            for (page, query) in pages.iter_mut().zip(&queries) {
                match tick.news.get(&page.0.topic) {
                    None => {}
                    Some(News::Snapshot(all)) => page.take(all, true),
                    Some(News::Change(rest)) => page.take(rest, false),
                    Some(News::Over) => panic!("nothing is missed"),
                }
                assert_eq!(page.1, game.answer(query), "seed {seed}");
            }
        }
    }
}

#[test]
fn users_of_several_days_are_not_added_up() {
    let mut game = Game::new(7, 1_000_000);
    for _ in 0..60 {
        game.play();
    }
    let answer = game.answer(&game.query(TableId::ReachDay, "step=all", Scope::All));
    for row in answer.values() {
        let id = row["campaign_id"].as_str().expect("an id");
        let days: Vec<_> = game.plain.reach.iter().filter(|((_, of), _)| campaign(*of) == id).collect();
        let users = if let [(_, reach)] = days[..] { Some(reach.users) } else { None };
        assert_eq!(row["users"].as_i64(), users, "{id}");
        let impressions: i64 = days.iter().map(|(_, reach)| reach.impressions).sum();
        assert_eq!(row["impressions"], impressions);
        assert_eq!(row["frequency"].is_null(), users.is_none());
    }
}

#[test]
fn what_is_not_held_any_more_ends_the_topics_that_rest_on_it() {
    let mut game = Game::new(3, 40);
    let query = game.query(TableId::PerformanceHour, "", Scope::All);
    let open = |game: &Game| {
        let ticket = game.open(&query);
        game.store.follow(|_| ticket)
    };
    let mut over = 0;
    let (mut ticket, mut ticks) = open(&game);
    for _ in 0..60 {
        let edge = game.store.read().edge(TableId::PerformanceHour);
        game.play();
        assert!(game.store.read().edge(TableId::PerformanceHour) >= edge, "what has gone doesn't come back");
        if let Some(News::Over) = ticks.try_recv().expect("a tick").news.get(&ticket.topic) {
            over += 1;
            (ticket, ticks) = open(&game);
        }
    }
    let state = game.store.read();
    assert!(over > 0 && state.edge(TableId::PerformanceHour) > 0);
    let edge = state.edge(TableId::PerformanceHour);
    drop(state);
    let held = game.answer(&query).len();
    let expected = game.plain.rows.keys().filter(|(hour, ..)| i64::from(*hour) * 3_600_000 >= edge).count();
    assert_eq!(held, expected, "from the edge on, all of it");
}

#[test]
fn what_nobody_follows_any_more_is_asked_for_anew_and_others_campaigns_are_no_news() {
    let mut game = Game::new(5, 1_000_000);
    for _ in 0..10 {
        game.play();
    }
    let ours = Scope::Advertisers([game.name(&advertiser(0))].into());
    let query = game.query(TableId::PerformanceHour, "step=all&group_by=campaign_id", ours);
    let ticket = game.open(&query);
    let ((), mut ticks) = game.store.follow(|_| ());
    let mut upserts = Upserts::new(Epochs { first: 100, last: 100 });
    let stranger = game.name("a campaign of somebody else");
    for name in ["one name", "another"] {
        upserts.dimensions[Dimension::Campaign as usize] =
            vec![(stranger, Some(["adv9".into(), name.into()]))];
        game.store.apply(&[Update::from(&upserts)], None);
        assert!(ticks.try_recv().expect("a tick").news.is_empty(), "it is nobody's news but theirs");
    }
    assert!(game.store.follow(|state| state.topics.has(&query)).0);
    drop(ticket);
    assert!(!game.store.follow(|state| state.topics.has(&query)).0);
}
