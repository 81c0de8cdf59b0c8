//! `run.json`: what a run did, for people and programs.

use std::collections::BTreeMap;
use std::time::Duration;

use dataflows::model::reject::{Feed, Quality, Reason};
use serde::{Deserialize, Serialize};

use super::job::Counts;
use crate::sinks::tables::QualityMinute;

/// Why a run's numbers can't be trusted.
#[derive(Debug, thiserror::Error)]
#[error(
    "{feed}: {received} received, but {accepted} accepted + {duplicate} duplicate + {rejected} rejected; \
     nothing was published, please report this with the input"
)]
pub struct Imbalance {
    feed: &'static str,
    received: u64,
    accepted: u64,
    duplicate: u64,
    rejected: u64,
}

/// A published table.
#[derive(Clone, Debug, Serialize)]
pub struct TableReport {
    /// Its name.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// Its order-independent digest: equal tables have equal digests.
    pub digest: String,
}

/// What became of the records of a feed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FeedReport {
    /// Records that arrived; of bid requests, bids, and one for each rejected request.
    pub received: u64,
    /// Records that count.
    pub accepted: u64,
    /// Records that lost to another of the same identity.
    pub duplicate: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Of these, by reason; reasons that did not occur are left out.
    pub rejected_by_reason: BTreeMap<&'static str, u64>,
    /// Clicks that wait for their impression.
    pub orphans: u64,
    /// Accepted records excluded by an invalid-traffic rule.
    pub invalid: u64,
}

/// What a horizon came to.
#[derive(Clone, Debug, Serialize)]
pub struct HorizonReport {
    /// How long a window could be corrected, in milliseconds.
    pub correction_ms: i64,
    /// Windows that end here or before are frozen, in epoch milliseconds.
    pub frozen_before: i64,
    /// Canonical events that were let go of.
    pub events_expired: u64,
    /// Those that were held when all was read.
    pub events_held: u64,
    /// The most rows that the workers held at a time, of events and of tables.
    pub state_rows_max: u64,
}

/// A finished run.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The program's version.
    pub version: &'static str,
    /// Processes.
    pub processes: usize,
    /// Worker threads of each.
    pub workers: usize,
    /// Input files read.
    pub files: usize,
    /// Files of an archive that were not read, as they lie outside of the range of times.
    pub files_skipped: usize,
    /// Row groups of Parquet files that were not read for the same reason.
    pub row_groups_skipped: usize,
    /// Input bytes.
    pub input_bytes: u64,
    /// By feed.
    pub feeds: BTreeMap<&'static str, FeedReport>,
    /// Canonical events received, by kind.
    pub received_by_kind: BTreeMap<&'static str, u64>,
    /// By table.
    pub tables: Vec<TableReport>,
    /// With a horizon: how far it came, and what it came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizon: Option<HorizonReport>,
    /// Canonical events received.
    pub events: u64,
    /// Wall-clock seconds from the first byte read to the last table written.
    pub seconds: f64,
    /// Events per second over that time.
    pub events_per_second: f64,
    /// The process's peak resident memory, where the system tells it; that of the largest.
    pub peak_memory_bytes: Option<u64>,
    /// Bytes that processes sent each other.
    pub exchanged_bytes: u64,
}

impl RunReport {
    /// The report of a run that has written its tables, from so many files of so many bytes.
    pub fn new(
        workers: usize,
        (files, input_bytes): (usize, u64),
        feeds: BTreeMap<&'static str, FeedReport>,
        counts: &Counts,
        tables: Vec<TableReport>,
    ) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            processes: 1,
            workers,
            files,
            files_skipped: 0,
            row_groups_skipped: 0,
            input_bytes,
            feeds,
            received_by_kind: Counts::KINDS.into_iter().zip(counts.kinds).collect(),
            tables,
            horizon: None,
            events: counts.kinds.iter().sum(),
            seconds: 0.0,
            events_per_second: 0.0,
            peak_memory_bytes: None,
            exchanged_bytes: 0,
        }
    }

    /// Sets the time taken, and what follows from it.
    pub fn took(&mut self, elapsed: Duration) {
        self.seconds = elapsed.as_secs_f64();
        self.events_per_second = (self.events as f64 / self.seconds.max(1e-9)).round();
        self.peak_memory_bytes = self.peak_memory_bytes.max(peak_memory_bytes());
    }
}

/// The sums of `quality_minute`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct QualityTotals {
    sums: BTreeMap<Feed, [i64; QualityMinute::COUNTS.len()]>,
    /// A row that does not add up.
    off: Option<QualityMinute>,
}

impl QualityTotals {
    /// Adds a row.
    pub fn count(&mut self, row: &QualityMinute) {
        self.sum(row.feed, &row.counts);
        if !row.adds_up() {
            self.off.get_or_insert_with(|| row.clone());
        }
    }

    /// Adds what another worker counted.
    pub fn add(&mut self, other: QualityTotals) {
        other.sums.iter().for_each(|(feed, counts)| self.sum(*feed, counts));
        self.off = self.off.take().or(other.off);
    }

    fn sum(&mut self, feed: Feed, counts: &[i64]) {
        let sums = self.sums.entry(feed).or_default();
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
}

impl FeedReport {
    fn new(counts: &[i64; QualityMinute::COUNTS.len()]) -> Self {
        let count = |what| counts[QualityMinute::slot(what)] as u64;
        let reasons = Reason::ALL.map(|reason| (reason.as_str(), count(Quality::Rejected(reason))));
        Self {
            received: count(Quality::Received),
            accepted: count(Quality::Accepted),
            duplicate: count(Quality::Duplicate),
            rejected: reasons.iter().map(|(_, rejected)| rejected).sum(),
            rejected_by_reason: reasons.into_iter().filter(|(_, rejected)| *rejected > 0).collect(),
            orphans: count(Quality::Orphan),
            invalid: count(Quality::Invalid),
        }
    }
}

/// What became of every feed, from the maintained table, held against what the sources counted.
pub fn feeds(
    quality: &QualityTotals,
    counts: &Counts,
) -> Result<BTreeMap<&'static str, FeedReport>, Imbalance> {
    if let Some(row) = &quality.off {
        return Err(imbalance(row.feed, row.counts[0] as u64, &FeedReport::new(&row.counts)));
    }
    let mut feeds = BTreeMap::new();
    for feed in Feed::ALL {
        let report = FeedReport::new(&quality.sums.get(&feed).copied().unwrap_or_default());
        let counted = counts.received[feed as usize];
        let rejected: u64 = counts.rejected[feed as usize].iter().sum();
        let total = report.accepted + report.duplicate + report.rejected;
        if (counted, rejected) != (total, report.rejected) {
            return Err(imbalance(feed, counted, &report));
        }
        feeds.insert(feed.as_str(), report);
    }
    Ok(feeds)
}

fn imbalance(feed: Feed, received: u64, report: &FeedReport) -> Imbalance {
    let FeedReport { accepted, duplicate, rejected, .. } = *report;
    Imbalance { feed: feed.as_str(), received, accepted, duplicate, rejected }
}

/// The process's peak resident memory; Linux tells it.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::model::time::Minute;

    fn row(received: i64, accepted: i64, duplicate: i64, malformed: i64) -> QualityMinute {
        let mut counts = [0; 14];
        counts[..3].copy_from_slice(&[received, accepted, duplicate]);
        counts[QualityMinute::slot(Quality::Rejected(Reason::Malformed))] = malformed;
        QualityMinute { minute: Minute(7), feed: Feed::Impressions, counts }
    }

    fn counted(received: u64, malformed: u64) -> Counts {
        let mut counts = Counts::default();
        counts.received[Feed::Impressions as usize] = received;
        counts.rejected[Feed::Impressions as usize][Reason::Malformed as usize] = malformed;
        counts
    }

    fn totals(rows: &[QualityMinute]) -> QualityTotals {
        let mut totals = QualityTotals::default();
        rows.iter().for_each(|row| totals.count(row));
        totals
    }

    #[test]
    fn what_adds_up_is_reported() {
        let mut quality = totals(&[row(6, 4, 2, 0)]);
        quality.add(totals(&[row(4, 3, 0, 1)]));
        let feeds = feeds(&quality, &counted(10, 1)).expect("adds up");
        let report = &feeds["impressions"];
        assert_eq!((report.received, report.accepted, report.rejected), (10, 7, 1));
        assert_eq!(report.rejected_by_reason, BTreeMap::from([("malformed", 1)]));
    }

    #[test]
    fn a_lost_record_is_a_loud_error() {
        assert!(feeds(&totals(&[row(10, 6, 2, 1)]), &counted(10, 1)).is_err(), "lost inside");
        assert!(feeds(&totals(&[row(9, 6, 2, 1)]), &counted(10, 1)).is_err(), "lost on the way in");
        let off = totals(&[row(10, 6, 2, 1), row(10, 8, 2, 1)]);
        assert!(feeds(&off, &counted(20, 2)).is_err(), "two wrongs make no right");
        assert!(feeds(&totals(&[]), &counted(1, 0)).is_err(), "lost altogether");
    }
}
