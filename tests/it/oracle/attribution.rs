//! Conversions: their paths, what each model owes each touch, and what is booked.

use std::collections::BTreeSet;

use dataflows::graphs::attribution::PathStep;
use dataflows::model::events::{Conversion, Dims};
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::Model;
use dataflows::model::measures::Credit;
use dataflows::model::time::EventTime;

use super::coverage::{Case, Coverage};
use super::lookups::{Lookups, Settings};
use super::tables::{Tables, hour, minute};
use super::traffic::{Accepted, Traffic};

const WHOLE: i64 = 1_000_000;

#[derive(Copy, Clone, Debug)]
struct Touch {
    ts: EventTime,
    id: Id,
    is_click: bool,
    user: Id,
    advertiser: Name,
    dims: Dims,
}

pub fn attribute(
    accepted: &Accepted,
    traffic: &Traffic,
    lookups: &Lookups,
    tables: &mut Tables,
    coverage: &mut Coverage,
) {
    let touches = touches(traffic, lookups, coverage);
    for (&id, conversion) in &accepted.conversions {
        let settings = lookups.settings(conversion.advertiser, coverage);
        let path = path(conversion, &touches, &settings, coverage);
        coverage.saw(Case::Unattributed, path.is_empty());
        if !path.is_empty() {
            book(id, conversion, &path, &settings, tables, coverage);
        }
    }
}

fn touches(traffic: &Traffic, lookups: &Lookups, coverage: &mut Coverage) -> Vec<Touch> {
    let mut touches = Vec::new();
    for (&id, (click, impression)) in &traffic.clicks {
        let advertiser = lookups.advertiser(impression.dims.campaign, coverage);
        let (user, dims) = (impression.user, impression.dims);
        touches.push(Touch { ts: click.ts, id, is_click: true, user, advertiser, dims });
    }
    let clicked: BTreeSet<Id> = traffic.clicks.values().map(|(click, _)| click.impression).collect();
    for (&id, impression) in &traffic.impressions {
        if !clicked.contains(&id) {
            let advertiser = lookups.advertiser(impression.dims.campaign, coverage);
            let (user, dims) = (impression.user, impression.dims);
            touches.push(Touch { ts: impression.ts, id, is_click: false, user, advertiser, dims });
        }
    }
    touches.retain(|touch| touch.advertiser != Name::EMPTY);
    touches
}

fn path(
    conversion: &Conversion,
    touches: &[Touch],
    settings: &Settings,
    coverage: &mut Coverage,
) -> Vec<Touch> {
    coverage.saw(Case::ConversionWithoutAdvertiser, conversion.advertiser == Name::EMPTY);
    let own = |touch: &&Touch| touch.user == conversion.user && touch.advertiser == conversion.advertiser;
    let (mut clicks, mut views) = (Vec::new(), Vec::new());
    for touch in touches.iter().filter(own) {
        let age = conversion.ts.millis() - touch.ts.millis();
        let (lookback, eligible, at, beyond) = match touch.is_click {
            true => {
                (settings.click_lookback, &mut clicks, Case::ClickAtLookback, Case::ClickJustBeyondLookback)
            }
            false => (settings.view_lookback, &mut views, Case::ViewAtLookback, Case::ViewJustBeyondLookback),
        };
        coverage.saw(at, age == lookback && lookback > 0);
        coverage.saw(beyond, age == lookback + 1);
        coverage.saw(Case::TouchAtConversion, age == 0);
        coverage.saw(Case::TouchAfterConversion, age == -1);
        if 0 <= age && age <= lookback {
            eligible.push(*touch);
        }
    }
    coverage.saw(Case::ClicksShadowViews, !clicks.is_empty() && !views.is_empty());
    coverage.saw(Case::LongClickPath, clicks.len() > 2);
    coverage.saw(Case::LongViewPath, clicks.is_empty() && views.len() > 2);
    let mut path = if clicks.is_empty() { views } else { clicks };
    path.sort_by_key(|touch| (touch.ts, touch.id));
    path
}

fn book(
    id: Id,
    conversion: &Conversion,
    path: &[Touch],
    settings: &Settings,
    tables: &mut Tables,
    coverage: &mut Coverage,
) {
    let ages: Vec<i64> = path.iter().map(|touch| conversion.ts.millis() - touch.ts.millis()).collect();
    let owed = Model::ALL.map(|model| owed(model, &ages, settings.half_life, conversion.value.0));
    let step = |position: usize| PathStep {
        position: position as u32,
        minute: minute(conversion.ts),
        touch: path[position].id,
        ts: path[position].ts,
        click: path[position].is_click,
        campaign: path[position].dims.campaign,
        owed: Model::ALL.map(|model| owed[model as usize][position]),
    };
    tables.conversion_paths.insert(id, (0..path.len()).map(step).collect());
    for model in Model::ALL {
        for (touch, owed) in path.iter().zip(&owed[model as usize]) {
            let key = ((hour(conversion.ts), touch.dims.campaign), model);
            let sum = tables.attribution_hour.entry(key).or_default();
            sum.credit_micros += owed.credit_micros;
            sum.revenue_micros += owed.revenue_micros;
        }
    }

    let by_default = &owed[settings.default_model as usize];
    let most = by_default.iter().map(|owed| owed.credit_micros).max().unwrap_or(0);
    let chosen = by_default.iter().position(|owed| owed.credit_micros == most);
    for (position, (touch, owed)) in path.iter().zip(by_default).enumerate() {
        tables.perform(conversion.ts, &touch.dims, |measures| {
            measures.conversions += i32::from(chosen == Some(position));
            measures.revenue_micros += owed.revenue_micros;
        });
    }
    observe(conversion, path, settings, &owed, coverage);
}

/// What a model owes each touch of a path, given how long before the conversion each lies.
fn owed(model: Model, ages: &[i64], half_life: i64, value: i64) -> Vec<Credit> {
    let n = ages.len();
    let credits = match model {
        Model::FirstTouch => (0..n).map(|i| if i == 0 { WHOLE } else { 0 }).collect(),
        Model::LastTouch => (0..n).map(|i| if i == n - 1 { WHOLE } else { 0 }).collect(),
        Model::Linear => split(WHOLE, &vec![1; n]),
        Model::PositionBased if n <= 2 => split(WHOLE, &vec![1; n]),
        Model::PositionBased => {
            // 2/5 to either end, and 1/5 over n - 2: as whole numbers, 2(n - 2) against 1.
            let end = 2 * (n as i64 - 2);
            let weights: Vec<i64> = (0..n).map(|i| if i == 0 || i == n - 1 { end } else { 1 }).collect();
            split(WHOLE, &weights)
        }
        Model::TimeDecay => decayed(ages, half_life),
    };
    let revenues = split(value, &credits);
    let credit = |(credit_micros, revenue_micros)| Credit { credit_micros, revenue_micros };
    credits.into_iter().zip(revenues).map(credit).collect()
}

/// Splits an amount in proportion to weights by largest remainder, ties to the earlier.
fn split(amount: i64, weights: &[i64]) -> Vec<i64> {
    let total: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    let product = |weight: &i64| i128::from(amount) * i128::from(*weight);
    let mut parts: Vec<i64> = weights.iter().map(|weight| (product(weight) / total) as i64).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|&i| -(product(&weights[i]) % total));
    for &i in by_remainder.iter().take((amount - parts.iter().sum::<i64>()) as usize) {
        parts[i] += 1;
    }
    parts
}

/// The whole credit in proportion to `2^(-age / half_life)`, by largest remainder.
fn decayed(ages: &[i64], half_life: i64) -> Vec<i64> {
    // Only the proportions matter: relative to the latest touch, not all can vanish.
    let least = ages.iter().min().copied().unwrap_or(0);
    let weight = |age: &i64| (-((age - least) as f64) / half_life as f64).exp2();
    let weights: Vec<f64> = ages.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    let shares: Vec<f64> = weights.iter().map(|weight| weight / total * WHOLE as f64).collect();
    let mut parts: Vec<i64> = shares.iter().map(|share| share.floor() as i64).collect();
    let mut by_remainder: Vec<usize> = (0..ages.len()).collect();
    by_remainder.sort_by(|&a, &b| shares[b].fract().total_cmp(&shares[a].fract()));
    for &i in by_remainder.iter().take((WHOLE - parts.iter().sum::<i64>()) as usize) {
        parts[i] += 1;
    }
    parts
}

fn observe(
    conversion: &Conversion,
    path: &[Touch],
    settings: &Settings,
    owed: &[Vec<Credit>; Model::COUNT],
    coverage: &mut Coverage,
) {
    let default = match settings.default_model {
        Model::FirstTouch => Case::ByFirstTouch,
        Model::LastTouch => Case::ByLastTouch,
        Model::Linear => Case::ByLinear,
        Model::PositionBased => Case::ByPositionBased,
        Model::TimeDecay => Case::ByTimeDecay,
    };
    let n = path.len() as i64;
    coverage.saw(default, n > 1);
    coverage.saw(Case::SingleTouch, n == 1);
    coverage.saw(Case::TwoTouches, n == 2);
    coverage.saw(Case::TouchesTiedInTime, path.windows(2).any(|pair| pair[0].ts == pair[1].ts));
    let other_campaign = |touch: &Touch| touch.dims.campaign != path[0].dims.campaign;
    coverage.saw(Case::PathOfSeveralCampaigns, path.iter().any(other_campaign));
    coverage.saw(Case::WorthlessConversion, conversion.value.0 == 0);
    coverage.saw(Case::UnevenRevenue, conversion.value.0 % n != 0);
    coverage.saw(Case::HugeRevenue, n > 1 && conversion.value.0.checked_mul(WHOLE).is_none());
    let vanished = |owed: &Credit| owed.credit_micros == 0;
    coverage.saw(Case::DecayedToNothing, owed[Model::TimeDecay as usize].iter().any(vanished));
}
