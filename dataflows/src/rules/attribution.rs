//! Attribution: which touches a conversion owes itself to, and how much each is owed.

use crate::model::lookups::{Attribution, Model};
use crate::model::money::Micros;
use crate::model::time::{EventTime, Millis};

/// The credit of one conversion, under any model.
pub const WHOLE: i64 = 1_000_000;

/// What the rules need to know of a touch.
pub trait TouchLike {
    /// When the user clicked, or saw.
    fn ts(&self) -> EventTime;
    /// Whether it is a click.
    fn is_click(&self) -> bool;
}

/// The path of a conversion at `at` among touches in path order: the eligible clicks if there are
/// any, else the eligible views.
pub fn path<'a, T: TouchLike>(touches: &'a [T], at: EventTime, settings: &Attribution) -> Vec<&'a T> {
    let within = |clicks: bool, lookback: Millis| {
        touches
            .iter()
            .filter(|t| t.is_click() == clicks && at.since(t.ts()).is_some_and(|age| age <= lookback))
            .collect::<Vec<_>>()
    };
    let clicks = within(true, settings.click_lookback);
    if clicks.is_empty() { within(false, settings.view_lookback) } else { clicks }
}

/// The credit of each touch of a path, in path order; sums to [`WHOLE`] unless the path is empty.
/// `ages` are the times from each touch to the conversion.
pub fn credits(model: Model, ages: &[Millis], half_life: Millis) -> Vec<i64> {
    let n = ages.len();
    if n == 0 {
        return Vec::new();
    }
    let only = |index: usize| (0..n).map(|i| if i == index { WHOLE } else { 0 }).collect();
    match (model, n) {
        (Model::FirstTouch, _) | (_, 1) => only(0),
        (Model::LastTouch, _) => only(n - 1),
        (Model::Linear, _) | (Model::PositionBased, 2) => evenly(WHOLE, n),
        (Model::PositionBased, _) => {
            let ends = WHOLE * 2 / 5;
            let mut credits = vec![ends];
            credits.extend(evenly(WHOLE - 2 * ends, n - 2));
            credits.push(ends);
            credits
        }
        (Model::TimeDecay, _) => decayed(ages, half_life),
    }
}

/// `total` in `n` parts as equal as can be, the larger ones first.
fn evenly(total: i64, n: usize) -> Vec<i64> {
    let (part, rest) = (total / n as i64, (total % n as i64) as usize);
    (0..n).map(|i| part + i64::from(i < rest)).collect()
}

/// Shares that halve with every half-life of age. Ages are taken from the youngest touch, so the
/// weights can't all vanish.
fn decayed(ages: &[Millis], half_life: Millis) -> Vec<i64> {
    let youngest = ages.iter().map(|age| age.0).min().unwrap_or(0);
    let weights: Vec<f64> =
        ages.iter().map(|age| (-((age.0 - youngest) as f64) / half_life.0 as f64).exp2()).collect();
    let sum: f64 = weights.iter().sum();
    let shares: Vec<f64> = weights.iter().map(|weight| weight / sum * WHOLE as f64).collect();
    let floors = shares.iter().map(|share| share.floor() as i64).collect();
    let remainders = shares.iter().map(|share| share - share.floor()).collect();
    hand_out(WHOLE, floors, remainders)
}

/// Splits `value` in proportion to credits that sum to [`WHOLE`]; the parts sum to `value`.
pub fn revenue(value: Micros, credits: &[i64]) -> Vec<i64> {
    let whole = i128::from(WHOLE);
    let exact: Vec<i128> = credits.iter().map(|&credit| i128::from(value.0) * i128::from(credit)).collect();
    let floors = exact.iter().map(|share| share.div_euclid(whole) as i64).collect();
    let remainders = exact.iter().map(|share| share.rem_euclid(whole)).collect();
    hand_out(value.0, floors, remainders)
}

/// Largest remainder: gives what `parts` lack of `total` to the parts of the largest remainders,
/// one each, ties to the earlier.
fn hand_out<R: PartialOrd + Copy>(total: i64, mut parts: Vec<i64>, remainders: Vec<R>) -> Vec<i64> {
    let lacking = total - parts.iter().sum::<i64>();
    if lacking > 0 && !parts.is_empty() {
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order
            .sort_by(|&a, &b| remainders[b].partial_cmp(&remainders[a]).unwrap_or(std::cmp::Ordering::Equal));
        for turn in 0..lacking as usize {
            parts[order[turn % order.len()]] += 1;
        }
    }
    parts
}

/// The touch with the most credit, ties to the earlier.
pub fn leader(credits: &[i64]) -> Option<usize> {
    (0..credits.len()).max_by_key(|&i| (credits[i], std::cmp::Reverse(i)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPEC's golden example: paths of campaigns A, B, C with the hours before the conversion.
    const PATHS: [(&[(usize, i64)], i64); 3] =
        [(&[(0, 72), (1, 24), (2, 0)], 3), (&[(0, 336), (2, 168)], 1), (&[(2, 48), (0, 1)], 2)];

    fn totals(model: Model) -> [i64; 3] {
        let mut totals = [0; 3];
        for (path, times) in PATHS {
            let ages: Vec<_> = path.iter().map(|&(_, hours)| Millis::hours(hours)).collect();
            for (credit, &(campaign, _)) in credits(model, &ages, Millis::days(7)).iter().zip(path) {
                totals[campaign] += credit * times;
            }
        }
        totals
    }

    #[test]
    fn the_golden_example_holds() {
        assert_eq!(totals(Model::FirstTouch), [4_000_000, 0, 2_000_000]);
        assert_eq!(totals(Model::LastTouch), [2_000_000, 0, 4_000_000]);
        // A>B>C has a third of a micro to hand out, three times over: A gets it each time.
        assert_eq!(totals(Model::Linear), [2_500_002, 999_999, 2_499_999]);
        assert_eq!(totals(Model::PositionBased), [2_700_000, 600_000, 2_700_000]);
        // 2.27152, 1.02584 and 2.70263 to five digits. Whole micros of six conversions add up to
        // within six of that, give or take the digits that were cut off.
        for (micros, expected) in totals(Model::TimeDecay).into_iter().zip([2_271_520, 1_025_840, 2_702_630])
        {
            assert!((micros - expected).abs() <= 5 + 6, "{micros} is not {expected}");
        }
    }

    #[test]
    fn parts_always_sum_to_the_whole() {
        for n in 1..60i64 {
            let ages: Vec<_> = (0..n).rev().map(|i| Millis(i * 7_777_777)).collect();
            for model in Model::ALL {
                for half_life in [Millis(1), Millis::days(7), Millis(i64::MAX)] {
                    let credits = credits(model, &ages, half_life);
                    assert_eq!(credits.iter().sum::<i64>(), WHOLE, "{model:?} of {n}");
                    let parts = revenue(Micros(1_000_003 * n + 1), &credits);
                    assert_eq!(parts.iter().sum::<i64>(), 1_000_003 * n + 1, "{model:?} of {n}");
                }
            }
        }
    }

    #[test]
    fn a_tie_leads_to_the_earlier_touch() {
        assert_eq!(leader(&[500_000, 500_000]), Some(0));
        assert_eq!(leader(&[1, 7, 7]), Some(1));
        assert_eq!(leader(&[]), None);
    }
}
