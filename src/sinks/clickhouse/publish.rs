//! A batch into all tables, then the frontier.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::client::{ClickHouse, Insert};
use super::error::{ClickHouseError, Fault};
use super::retry::{Backoff, until_done};
use super::tables::{self, Table};
use super::upserts::{Limits, Upsert, Upserts, Writer, parts};
use crate::names::Names;

/// Publishes batches, each as often as it takes.
pub(super) struct Pen<'a> {
    pub clickhouse: &'a ClickHouse,
    pub writer: &'a Writer,
    pub names: &'a Names,
    pub limits: Limits,
    pub backoff: Backoff,
    pub stop: &'a AtomicBool,
    pub tell: &'a dyn Fn(u32, Instant, &ClickHouseError),
}

impl ClickHouse {
    /// Publishes a batch: one insert per table that changed (more when it is large), then the
    /// frontier. Blocks until all is written, a fault is permanent, or `stop` is set; `tell`
    /// hears of each failed attempt (how many so far, since when, why). To publish a batch twice
    /// changes nothing.
    ///
    /// # Errors
    /// Anything but [`Fault::Retry`], or [`ClickHouseError::Stopped`]. Part of the batch may then
    /// be visible; the frontier has not moved.
    pub fn publish(
        &self,
        upserts: &Upserts,
        writer: &Writer,
        names: &Names,
        stop: &AtomicBool,
        tell: &dyn Fn(u32, Instant, &ClickHouseError),
    ) -> Result<(), ClickHouseError> {
        let (limits, backoff) = (self.config().limits(), self.config().backoff());
        Pen { clickhouse: self, writer, names, limits, backoff, stop, tell }.publish(upserts)
    }
}

impl Pen<'_> {
    pub(super) fn publish(&self, upserts: &Upserts) -> Result<(), ClickHouseError> {
        // 1. Names before numbers, so that a campaign is known when its first row shows.
        let [campaigns, advertisers, creatives, sites] = &upserts.dimensions;
        self.table::<tables::DimCampaign>(upserts, campaigns)?;
        self.table::<tables::DimAdvertiser>(upserts, advertisers)?;
        self.table::<tables::DimCreative>(upserts, creatives)?;
        self.table::<tables::DimSite>(upserts, sites)?;
        // 2. The facts.
        self.table::<tables::PerformanceMinute>(upserts, &upserts.performance_minute)?;
        self.table::<tables::PerformanceHour>(upserts, &upserts.performance_hour)?;
        self.table::<tables::AttributionHour>(upserts, &upserts.attribution_hour)?;
        self.table::<tables::ReachDay>(upserts, &upserts.reach_day)?;
        self.table::<tables::SupplyHour>(upserts, &upserts.supply_hour)?;
        self.table::<tables::QualityMinute>(upserts, &upserts.quality_minute)?;
        self.table::<tables::ConversionPaths>(upserts, &upserts.conversion_paths)?;
        self.table::<tables::Rejects>(upserts, &upserts.rejects)?;
        // 3. Only now the frontier.
        match self.writer.notes_frontier {
            true => self.insist(|| self.clickhouse.insert_frontier(self.writer, upserts.epochs)),
            false => Ok(()),
        }
    }

    fn table<T: Table>(
        &self,
        batch: &Upserts,
        upserts: &[Upsert<T::Key, T::Value>],
    ) -> Result<(), ClickHouseError> {
        parts::<T>(upserts, self.limits).into_iter().try_for_each(|part| self.part::<T>(batch, upserts, part))
    }

    /// One part. What the server finds too big is halved; a row alone that is too big is an error.
    fn part<T: Table>(
        &self,
        batch: &Upserts,
        upserts: &[Upsert<T::Key, T::Value>],
        part: Range<usize>,
    ) -> Result<(), ClickHouseError> {
        let (epochs, writer, names) = (batch.epochs, self.writer, self.names);
        let insert = Insert::<T> { upserts, epochs, part: part.clone(), writer, names };
        match self.insist(|| self.clickhouse.insert(&insert)) {
            Err(error) if error.fault() == Fault::TooBig && part.len() > 1 => {
                let middle = part.start + part.len() / 2;
                self.part::<T>(batch, upserts, part.start..middle)?;
                self.part::<T>(batch, upserts, middle..part.end)
            }
            done => done,
        }
    }

    fn insist(&self, attempt: impl FnMut() -> Result<(), ClickHouseError>) -> Result<(), ClickHouseError> {
        until_done(self.backoff, self.stop, self.tell, attempt)
    }
}
