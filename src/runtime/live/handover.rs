//! From an archive to a live run: what the archive holds becomes the first checkpoint, and reading
//! goes on in Kafka where the archive ends.
//!
//! ```text
//!   archive, up to offset x ──▶ checkpoint at x ──▶ a start like any other, that also publishes it
//!   Kafka ───────────────────────────────────x────▶
//! ```
//!
//! The checkpoint is there whole or not at all: a crash before leaves an empty state, and the next
//! start begins anew; a crash after it needs the archive no more.

use std::sync::Arc;

use dataflows::model::time::EventTime;

use super::LiveError;
use crate::archive::Catalog;
use crate::checkpoint::{Import, Records};
use crate::config::{Config, KafkaConfig};
use crate::formats::Batch;
use crate::names::Names;
use crate::runtime::history::History;
use crate::runtime::job::TimeRange;
use crate::sources::files::SplitReader;
use crate::store::{Place, Store};

/// Events decoded at a time.
const BATCH_EVENTS: usize = 8192;

/// Makes the first checkpoint of `job` out of an archive.
pub(super) fn import(
    config: &Config,
    kafka: &KafkaConfig,
    place: &Place,
    store: &Store,
    (job, run): (&str, &str),
) -> Result<(), LiveError> {
    let none = || LiveError::NoArchive(place.clone());
    let archive = Catalog::open(place, &config.s3)?.ok_or_else(none)?;
    if archive.begins > 0 {
        return Err(LiveError::PartOfArchive { place: place.clone(), begins: archive.begins });
    }
    let History { splits, rejected, .. } = History::of_archive(&archive, &TimeRange::default())?;
    let names = Arc::new(Names::default());
    let (mut import, mut records) = (Import::new(store, job, run), Records::default());
    rejected.into_iter().for_each(|count| records.count(count));
    let (mut batch, mut events) = (Batch::default(), 0);
    for split in splits {
        let mut reader = SplitReader::open(split, &config.sources, Arc::clone(&names));
        let mut more = true;
        while more {
            batch.clear();
            more = reader.read(&mut batch, BATCH_EVENTS)?;
            if let Some(reject) = batch.rejects.first() {
                let (path, hint) = (reject.origin.file.to_string(), reject.hint.clone());
                return Err(LiveError::ArchiveFile { path, hint });
            }
            records.add(&batch);
            events += batch.events();
            if records.bytes() >= config.checkpoint.segment_bytes_max {
                import.add(&std::mem::take(&mut records), &names)?;
                // The next segment has texts of its own.
                names.forget_before(EventTime::MAX);
            }
        }
    }
    import.add(&records, &names)?;
    import.add_residues(&archive.residues)?;
    // Tables of lookups are read from their beginning: they hold what is in force.
    let is_lookup = |topic: &str| kafka.lookups.iter().any(|lookup| lookup.topic == topic);
    let mut positions = archive.positions.clone();
    positions.retain(|place, _| !is_lookup(&place.topic));
    import.finish(archive.epoch.max(1), &positions)?;
    tracing::info!(events, epoch = archive.epoch, "handed over: the archive is the first checkpoint");
    Ok(())
}
