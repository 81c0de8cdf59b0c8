//! What people see: text on stdout, and tables that line up.

use std::io::Write;

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::HumanCount;

use crate::runtime::report::RunReport;
use crate::runtime::top::CampaignTotals;

/// Writes bytes to stdout. A reader that went away is no failure.
pub fn bytes(text: &[u8]) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Writes a line to stdout.
pub fn line(text: &str) -> anyhow::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// A table whose first column is words and all others numbers.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let aligned = |(column, text): (usize, String)| {
        let side = if column == 0 { CellAlignment::Left } else { CellAlignment::Right };
        Cell::new(text).set_alignment(side)
    };
    table.set_header(header.iter().map(|name| (*name).to_owned()).enumerate().map(aligned));
    for row in rows {
        table.add_row(row.into_iter().enumerate().map(aligned).collect::<Vec<_>>());
    }
    table.to_string()
}

/// A table of words.
pub fn words(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}

/// A whole number with separators.
pub fn count(value: u64) -> String {
    HumanCount(value).to_string()
}

/// An amount in currency units with two decimals.
pub fn money(micros: i64) -> String {
    let cents = (i128::from(micros) + if micros < 0 { -5_000 } else { 5_000 }) / 10_000;
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02}", count((cents / 100) as u64), cents % 100)
}

/// A ratio as a percentage; a dash where there is nothing to divide by.
pub fn percent(part: i64, whole: i64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.2} %", 100.0 * part as f64 / whole as f64) }
}

/// What became of each feed.
pub fn feeds(report: &RunReport) -> String {
    let rows = report.feeds.iter().map(|(name, feed)| {
        let counts =
            [feed.received, feed.accepted, feed.duplicate, feed.rejected, feed.orphans, feed.invalid];
        std::iter::once((*name).to_owned()).chain(counts.map(count)).collect()
    });
    table(&["feed", "received", "accepted", "duplicate", "rejected", "orphans", "invalid"], rows)
}

/// The campaigns with the largest spend.
pub fn campaigns(top: &[CampaignTotals]) -> String {
    let header = ["campaign", "impressions", "clicks", "CTR", "conversions", "spend", "revenue", "ROAS"];
    let rows = top.iter().map(|row| {
        let m = row.totals;
        vec![
            row.campaign.clone(),
            count(m.impressions.max(0) as u64),
            count(m.clicks.max(0) as u64),
            percent(i64::from(m.clicks), i64::from(m.impressions)),
            count(m.conversions.max(0) as u64),
            money(m.spend_micros),
            money(m.revenue_micros),
            roas(m.revenue_micros, m.spend_micros),
        ]
    });
    table(&header, rows)
}

fn roas(revenue: i64, spend: i64) -> String {
    if spend == 0 { "–".to_owned() } else { format!("{:.2}", revenue as f64 / spend as f64) }
}

/// The last line of a run.
pub fn closing(report: &RunReport) -> String {
    let memory = report
        .peak_memory_bytes
        .map_or(String::new(), |bytes| format!(", {} of memory", indicatif::HumanBytes(bytes)));
    format!(
        "{} events in {:.2} s: {} events/s on {} workers{memory}",
        count(report.events),
        report.seconds,
        count(report.events_per_second as u64),
        report.workers
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_for_people() {
        assert_eq!(money(1_234_567_890_000), "1,234,567.89");
        assert_eq!(money(-1_500_000), "-1.50");
        assert_eq!(money(4_999), "0.00");
        assert_eq!(money(5_000), "0.01");
    }

    #[test]
    fn ratios_of_nothing_are_dashes() {
        assert_eq!(percent(1, 0), "–");
        assert_eq!(percent(1, 8), "12.50 %");
    }
}
