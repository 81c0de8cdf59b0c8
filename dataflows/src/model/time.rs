//! Time as data: event times and the windows they fall in. All UTC.

use serde::{Deserialize, Serialize};

use super::ids::{Route, mix};

/// The dataflow's timestamp: strictly increasing within a run; milliseconds when live.
pub type Epoch = u64;

/// When something happened: milliseconds since 1970-01-01T00:00:00Z.
///
/// Always within [`EventTime::MAX`], so every window number below fits its type.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct EventTime(i64);

impl EventTime {
    /// The first millisecond of 1970.
    pub const MIN: EventTime = EventTime(0);
    /// The last millisecond of the year 9999.
    pub const MAX: EventTime = EventTime(253_402_300_799_999);

    /// An event time, unless `millis` lies before 1970 or after the year 9999.
    pub fn from_millis(millis: i64) -> Option<Self> {
        (0..=Self::MAX.0).contains(&millis).then_some(Self(millis))
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// The UTC minute this falls in.
    pub fn minute(self) -> Minute {
        Minute((self.0 / 60_000) as u32)
    }

    /// The UTC day this falls in.
    pub fn day(self) -> Day {
        Day((self.0 / 86_400_000) as u32)
    }

    /// How long after `earlier` this is; `None` when it is before.
    pub fn since(self, earlier: EventTime) -> Option<Millis> {
        (self.0 >= earlier.0).then_some(Millis(self.0 - earlier.0))
    }
}

/// A length of time in milliseconds.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Millis(pub i64);

impl Millis {
    /// `n` hours.
    pub const fn hours(n: i64) -> Self {
        Self(n * 3_600_000)
    }

    /// `n` days.
    pub const fn days(n: i64) -> Self {
        Self::hours(24 * n)
    }
}

macro_rules! window {
    ($(#[$doc:meta])* $name:ident, $millis:expr) => {
        $(#[$doc])*
        #[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
        pub struct $name(pub u32);

        impl $name {
            /// The window's first instant, in milliseconds since the Unix epoch.
            pub fn start_millis(self) -> i64 {
                i64::from(self.0) * $millis
            }
        }

        impl Route for $name {
            const LEAD_BITS: u32 = 32;

            fn lead(&self) -> u128 {
                u128::from(self.0) << 96
            }

            fn route(&self) -> u64 {
                mix(u64::from(self.0))
            }
        }
    };
}

window!(/** A UTC minute, counted from 1970. */ Minute, 60_000);
window!(/** A UTC hour, counted from 1970. */ Hour, 3_600_000);
window!(/** A UTC day, counted from 1970. */ Day, 86_400_000);

impl Minute {
    /// The hour this minute lies in.
    pub fn hour(self) -> Hour {
        Hour(self.0 / 60)
    }

    /// The day this minute lies in.
    pub fn day(self) -> Day {
        Day(self.0 / 1440)
    }
}

impl Hour {
    /// The first minute of the hour.
    pub fn first_minute(self) -> Minute {
        Minute(self.0.saturating_mul(60))
    }
}
