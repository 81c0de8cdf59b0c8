//! What stays published of records that were taken out without a trace: sums that no record stands
//! behind any more.
//!
//! Who erases a user's records and leaves the published numbers as they are adds as residues what the
//! numbers lose. They are added up with what records give, so a later correction moves a number by
//! its difference, as ever.

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use crate::model::events::Placed;
use crate::model::horizon::Freezes;
use crate::model::ids::{Id, Name};
use crate::model::lookups::Model;
use crate::model::measures::{Credit, Measures, Reach, Supply};
use crate::model::reject::{Quality, QualityKey};
use crate::model::time::{Day, Epoch, EventTime, Hour, Minute};

use super::auctions::SupplyKey;

/// What is added to a key of a table.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub enum Residue {
    /// In `performance_minute`.
    PerformanceMinute((Minute, Name), Measures),
    /// In `performance_hour`.
    PerformanceHour(Placed<Hour>, Measures),
    /// In `attribution_hour`.
    AttributionHour(((Hour, Name), Model), Credit),
    /// In `reach_day`.
    ReachDay((Day, Name), Reach),
    /// In `supply_hour`.
    SupplyHour(SupplyKey, Supply),
    /// In `quality_minute`.
    QualityMinute(QualityKey, i64),
}

impl Residue {
    /// Whether it belongs to a window that is frozen: nobody needs it any more.
    pub fn is_frozen(&self, freeze: EventTime) -> bool {
        match self {
            Self::PerformanceMinute((minute, _), _) => minute.is_frozen(freeze),
            Self::PerformanceHour(place, _) => place.window.is_frozen(freeze),
            Self::AttributionHour(((hour, _), _), _) => hour.is_frozen(freeze),
            Self::ReachDay((day, _), _) => day.is_frozen(freeze),
            Self::SupplyHour(key, _) => key.hour.is_frozen(freeze),
            Self::QualityMinute(key, _) => key.minute != Minute(0) && key.minute.is_frozen(freeze),
        }
    }

    /// When its window begins, in milliseconds since 1970.
    pub fn start_millis(&self) -> i64 {
        match self {
            Self::PerformanceMinute((minute, _), _) => minute.start_millis(),
            Self::PerformanceHour(place, _) => place.window.start_millis(),
            Self::AttributionHour(((hour, _), _), _) => hour.start_millis(),
            Self::ReachDay((day, _), _) => day.start_millis(),
            Self::SupplyHour(key, _) => key.hour.start_millis(),
            Self::QualityMinute(key, _) => key.minute.start_millis(),
        }
    }

    /// The names in its key.
    pub fn names(&self) -> Vec<Name> {
        match self {
            Self::PerformanceMinute((_, campaign), _)
            | Self::AttributionHour(((_, campaign), _), _)
            | Self::ReachDay((_, campaign), _) => vec![*campaign],
            Self::PerformanceHour(place, _) => vec![place.campaign, place.creative, place.site],
            Self::SupplyHour(key, _) => vec![key.site],
            Self::QualityMinute(..) => Vec::new(),
        }
    }

    /// How many records more a feed seems to have received.
    pub fn received(&self) -> Option<(QualityKey, i64)> {
        match *self {
            Self::QualityMinute(key, count) if key.what == Quality::Received => Some((key, count)),
            _ => None,
        }
    }
}

/// The residues of each table.
pub struct Residues<'scope> {
    /// By campaign alone.
    pub performance_minute: VecCollection<'scope, Epoch, Placed<Minute>, Measures>,
    /// Placed in the hour's first minute.
    pub performance_hour: VecCollection<'scope, Epoch, Placed<Minute>, Measures>,
    /// By hour, campaign and model.
    pub attribution_hour: VecCollection<'scope, Epoch, ((Hour, Name), Model), Credit>,
    /// By campaign, and no user.
    pub reach_day: VecCollection<'scope, Epoch, ((Day, Name), Id), Reach>,
    /// By key.
    pub supply_hour: VecCollection<'scope, Epoch, SupplyKey, Supply>,
    /// By key.
    pub quality_minute: VecCollection<'scope, Epoch, QualityKey, isize>,
}

/// Sorts residues by their tables.
pub fn sort<'scope>(residues: VecCollection<'scope, Epoch, Residue, isize>) -> Residues<'scope> {
    let residues = || residues.clone();
    Residues {
        performance_minute: residues().explode(|residue| match residue {
            Residue::PerformanceMinute((window, campaign), sums) => {
                Some((Placed { window, campaign, ..Placed::default() }, sums))
            }
            _ => None,
        }),
        performance_hour: residues().explode(|residue| match residue {
            Residue::PerformanceHour(place, sums) => Some((place.first_minute(), sums)),
            _ => None,
        }),
        attribution_hour: residues().explode(|residue| match residue {
            Residue::AttributionHour(key, sums) => Some((key, sums)),
            _ => None,
        }),
        reach_day: residues().explode(|residue| match residue {
            Residue::ReachDay(key, sums) => Some(((key, Id::default()), sums)),
            _ => None,
        }),
        supply_hour: residues().explode(|residue| match residue {
            Residue::SupplyHour(key, sums) => Some((key, sums)),
            _ => None,
        }),
        quality_minute: residues().explode(|residue| match residue {
            Residue::QualityMinute(key, count) => Some((key, count as isize)),
            _ => None,
        }),
    }
}
