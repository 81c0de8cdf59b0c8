//! `advertisex generate`.

use std::io::IsTerminal;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{args, show};
use crate::generate::{Written, write};

/// Writes traffic, and says how much.
pub fn run(args: &args::Generate) -> anyhow::Result<()> {
    let visible = std::io::stderr().is_terminal() && !args.quiet;
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style =
        ProgressStyle::with_template(" generate {bar:32.cyan/blue} {percent:>3}%  {per_sec}  {eta} left")?;
    let bar = ProgressBar::with_draw_target(Some(args.plan.auctions), target).with_style(style);
    let written =
        write(&args.plan, args.format, &args.output, args.force, &mut |auctions| bar.set_position(auctions))?;
    bar.finish_and_clear();
    if args.quiet {
        return Ok(());
    }
    show::line(&summary(&written))?;
    show::line(&format!("{} in {}", HumanBytes(written.bytes), args.output.display()))
}

fn summary(written: &Written) -> String {
    let (received, distinct) = (&written.received, &written.distinct);
    let rows = [
        ("bid requests", received.bid_requests, distinct.bid_requests),
        ("bids", received.bids, distinct.bids),
        ("impressions", received.impressions, distinct.impressions),
        ("clicks", received.clicks, distinct.clicks),
        ("conversions", received.conversions, distinct.conversions),
        ("bad records", written.planted.total(), written.planted.total()),
    ];
    show::table(
        &["kind", "written", "distinct"],
        rows.map(|(kind, all, distinct)| vec![kind.to_owned(), show::count(all), show::count(distinct)]),
    )
}
