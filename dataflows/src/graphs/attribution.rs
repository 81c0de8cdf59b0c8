//! Which touches does a conversion owe itself to, under every model at once?
//!
//! SQL: conversions `JOIN` touches on `(user_id, advertiser_id)` within the lookback windows;
//! credit by window functions over each path.
//!
//! ```text
//!   conversions by (user, advertiser) ──┐         ┌─▶ path steps by conversion
//!   touches by (user, advertiser) ──────┼─ rule ──┼─▶ credit by hour, campaign and model
//!   attribution rules ──────────────────┘         └─▶ bookings by impression
//! ```
//!
//! *Keys*: the user and the advertiser. *State*: conversions and touches. *Late events*: a touch
//! that comes late changes the paths of its user's conversions with that advertiser, no others.
//! *Rules*: a changed rule re-evaluates the conversions of the advertisers it speaks of.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::model::ids::{Id, Name};
use crate::model::lookups::{Attribution as Settings, Lookups, Model, Subject};
use crate::model::measures::Credit;
use crate::model::money::Micros;
use crate::model::time::{EventTime, Hour, Millis, Minute};
use crate::operators::regroup::{GroupRule, Lanes};
use crate::rules::attribution::{credits, leader, path, revenue};

use super::touches::Touch;

/// A conversion, under its user and advertiser.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct ConversionAt {
    /// When it happened.
    pub ts: EventTime,
    /// The conversion.
    pub conversion: Id,
    /// What it was worth.
    pub value: Micros,
}

/// One touch on the path of a conversion, with what each model owes it.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct PathStep {
    /// Its place on the path, from 0.
    pub position: u32,
    /// The minute of the conversion, by which its path freezes.
    pub minute: Minute,
    /// The touch.
    pub touch: Id,
    /// When it was,
    pub ts: EventTime,
    /// whether it was a click,
    pub click: bool,
    /// and the campaign of its impression.
    pub campaign: Name,
    /// Credit and revenue by model, in the order of [`Model::ALL`].
    pub owed: [Credit; Model::COUNT],
}

/// What the default model books under an impression's dimensions.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Booked {
    /// The conversion's minute.
    pub minute: Minute,
    /// 1 for the touch that the conversion counts for.
    pub conversions: i32,
    /// The touch's part of the revenue.
    pub revenue: Micros,
}

/// The rule. *First*: path steps. *Second*: credit. *Third*: bookings.
pub struct Attribution;

impl GroupRule for Attribution {
    type Key = (Id, Name);
    type Left = ConversionAt;
    type Right = Touch;
    type First = (Id, PathStep);
    type FirstDiff = isize;
    type Second = ((Hour, Name), Model);
    type SecondDiff = Credit;
    type Third = (Id, Booked);
    type ThirdDiff = isize;
    const NEEDS_RIGHT: bool = true;

    fn worth(
        &self,
        (_, advertiser): &(Id, Name),
        conversions: &[(ConversionAt, isize)],
        touches: &[(Touch, isize)],
        lookups: &Lookups,
        lanes: &mut Lanes<Self>,
    ) {
        // Most users never convert: they must cost nothing.
        if conversions.is_empty() || touches.is_empty() {
            return;
        }
        let settings = lookups.attribution(*advertiser);
        let touches: Vec<Touch> = touches.iter().map(|(touch, _)| *touch).collect();
        for (conversion, _) in conversions {
            attribute(conversion, &path(&touches, conversion.ts, &settings), &settings, lanes);
        }
    }

    fn depends_on(&self, changed: &HashSet<Subject>, key: &(Id, Name), _: &ConversionAt) -> bool {
        changed.contains(&Subject::Advertisers) || changed.contains(&Subject::Advertiser(key.1))
    }
}

fn attribute(
    conversion: &ConversionAt,
    path: &[&Touch],
    settings: &Settings,
    lanes: &mut Lanes<Attribution>,
) {
    let ages: Vec<_> = path.iter().map(|touch| Millis(conversion.ts.millis() - touch.ts.millis())).collect();
    let minute = conversion.ts.minute();
    let mut steps: Vec<PathStep> = (0..)
        .zip(path)
        .map(|(position, touch)| {
            let Touch { ts, touch, campaign, click, .. } = **touch;
            PathStep { position, minute, touch, ts, click, campaign, ..PathStep::default() }
        })
        .collect();
    for model in Model::ALL {
        let credits = credits(model, &ages, settings.half_life);
        let revenues = revenue(conversion.value, &credits);
        let winner = leader(&credits).filter(|_| model == settings.default_model);
        for (i, touch) in path.iter().enumerate() {
            let owed = Credit { credit_micros: credits[i], revenue_micros: revenues[i] };
            steps[i].owed[model as usize] = owed;
            lanes.second.give(((minute.hour(), touch.campaign), model), owed);
            let conversions = i32::from(winner == Some(i));
            if model == settings.default_model && (conversions, owed.revenue_micros) != (0, 0) {
                let booked = Booked { minute, conversions, revenue: Micros(owed.revenue_micros) };
                lanes.third.give((touch.impression, booked), 1);
            }
        }
    }
    for step in steps {
        lanes.first.give((conversion.conversion, step), 1);
    }
}
