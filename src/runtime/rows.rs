//! From what the traces hold to the rows of the tables.

use std::iter::{Peekable, from_fn};
use std::sync::Arc;

use dataflows::graphs::attribution::PathStep;
use dataflows::model::ids::Id;
use dataflows::model::lookups::Model;
use dataflows::model::reject::QualityKey;

use crate::sinks::tables::{ConversionPath, QualityMinute};

/// The rows of an aggregate.
pub fn sums<K, R>(rows: impl Iterator<Item = ((K, ()), R)>) -> impl Iterator<Item = (K, R)> {
    rows.map(|((key, ()), sum)| (key, sum))
}

/// Counts of one minute and feed follow each other, and become one row.
pub fn qualities(counts: impl Iterator<Item = (QualityKey, isize)>) -> impl Iterator<Item = QualityMinute> {
    let mut counts = counts.peekable();
    from_fn(move || {
        let QualityKey { minute, feed, .. } = counts.peek()?.0;
        let mut row = QualityMinute { minute, feed, counts: [0; 14] };
        while let Some((key, count)) =
            counts.next_if(|(key, _)| (key.minute, key.feed) == (row.minute, row.feed))
        {
            row.counts[QualityMinute::slot(key.what)] = count as i64;
        }
        Some(row)
    })
}

/// The steps of a conversion follow each other; they become its path.
pub fn whole_paths(
    steps: impl Iterator<Item = ((Id, PathStep), isize)>,
) -> impl Iterator<Item = (Id, Arc<[PathStep]>)> {
    let mut steps = steps.peekable();
    from_fn(move || next_path(&mut steps))
}

/// A path is one row for each model.
pub fn by_model(paths: impl Iterator<Item = (Id, Arc<[PathStep]>)>) -> impl Iterator<Item = ConversionPath> {
    paths.flat_map(|(conversion, steps)| {
        Model::ALL.map(|model| ConversionPath { conversion, model, steps: Arc::clone(&steps) })
    })
}

fn next_path(
    steps: &mut Peekable<impl Iterator<Item = ((Id, PathStep), isize)>>,
) -> Option<(Id, Arc<[PathStep]>)> {
    let conversion = steps.peek()?.0.0;
    let mut path = Vec::new();
    while let Some(((_, step), count)) = steps.next_if(|((of, _), _)| *of == conversion) {
        path.extend((0..count).map(|_| step));
    }
    Some((conversion, path.into()))
}
