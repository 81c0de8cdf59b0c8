//! What a worker brings beside the rows of the tables, and whether those add up.

use std::collections::BTreeMap;

use dataflows::model::time::Epoch;

use super::LiveError;
use crate::formats::dimension::DimensionChange;
use crate::sinks::clickhouse::Upserts;
use crate::sinks::tables::QualityMinute;

/// Adds what ids stand for now.
pub fn add_dimensions(share: &mut Upserts, changes: Vec<(Epoch, DimensionChange)>) {
    let latest: BTreeMap<_, _> = changes.into_iter().map(|(_, (what, id, now))| ((what, id), now)).collect();
    for ((dimension, id), now) in latest {
        share.dimensions[dimension as usize].push((id, now));
    }
}

/// What was received has become something, in every minute of every feed.
pub fn check(share: &Upserts) -> Result<(), LiveError> {
    for ((minute, feed), counts) in &share.quality_minute {
        let row = QualityMinute { minute: *minute, feed: *feed, counts: counts.unwrap_or_default() };
        if !row.adds_up() {
            return Err(LiveError::Imbalance { feed: feed.as_str(), minute: minute.start_millis() });
        }
    }
    Ok(())
}
