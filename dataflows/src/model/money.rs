//! Money: integers, never floats.

use serde::{Deserialize, Serialize};

/// An amount in micros of the account currency: 1,000,000 micros are one unit.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Micros(pub i64);
