//! What published ids stand for: names and attributes for people, on which no number depends.

use dataflows::model::ids::Name;
use serde::{Deserialize, Serialize};

/// What has a name.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// A campaign; its attributes are advertiser and name.
    Campaign,
    /// An advertiser; its attribute is a name.
    Advertiser,
    /// A creative; its attributes are name and format.
    Creative,
    /// A site; its attributes are name and category.
    Site,
}

/// How many dimensions there are.
pub const DIMENSIONS: usize = 4;

/// The attributes of one id, as many as its dimension has; what is not said is empty.
pub type Attributes = [Box<str>; 2];

/// One id and what it stands for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DimensionRow {
    /// Of what.
    pub dimension: Dimension,
    /// The id.
    pub id: Name,
    /// What it stands for.
    pub attributes: Attributes,
}

/// A change: an id, and what it stands for now; none when nobody says any more.
pub type DimensionChange = (Dimension, Name, Option<Attributes>);
