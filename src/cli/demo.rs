//! `advertisex demo`.

use std::time::Instant;

use super::{args, show};
use crate::config::Config;
use crate::generate::{Format, Plan, write};
use crate::runtime::demo::{Frame, demo};

/// Runs the demo.
pub fn run(args: &args::Demo) -> anyhow::Result<()> {
    let started = Instant::now();
    let config = Config::load(None)?;
    let plan = Plan { auctions: args.auctions, seed: args.seed, days: 1, ..Plan::default() };
    let feeds = args.output.join("feeds");
    show::line(&format!("writing a day of {} auctions to {}", show::count(plan.auctions), feeds.display()))?;
    write(&plan, Format::Raw, &feeds, true, &mut |_| ())?;
    show::line("running it through the job, half an hour an epoch:\n")?;
    show::line(HEADER)?;
    let tables = args.output.join("tables");
    let done = demo(&config, &feeds, &tables, |frame| {
        // Nobody watching is no reason to stop.
        let _ = show::line(&line(frame));
    })?;
    show::line("")?;
    show::line(&show::feeds(&done.report))?;
    show::line(&show::campaigns(&done.top))?;
    show::line(&show::closing(&done.report))?;
    show::line(&format!(
        "{:.1} s in all; the feeds are in {}",
        started.elapsed().as_secs_f64(),
        feeds.display()
    ))?;
    show::line(&format!("the tables are in {}", done.output.display()))
}

const HEADER: &str =
    " time       events       bids       wins  clicks  conversions        spend      revenue  epoch took";

fn line(frame: &Frame) -> String {
    let minutes = 30 * (frame.epoch + 1);
    let (hour, minute) = (minutes / 60, minutes % 60);
    let m = &frame.totals;
    let count = |n: i32| show::count(n.max(0) as u64);
    let numbers = format!(
        "{hour:02}:{minute:02} {:>12} {:>10} {:>10} {:>7} {:>12} {:>12} {:>12} {:>8.1} ms",
        show::count(frame.events),
        count(m.bids),
        count(m.wins),
        count(m.clicks),
        count(m.conversions),
        show::money(m.spend_micros),
        show::money(m.revenue_micros),
        frame.latency.as_secs_f64() * 1000.0,
    );
    match &frame.note {
        Some(note) => format!("      ▼ {note}\n{numbers}"),
        None => numbers,
    }
}
