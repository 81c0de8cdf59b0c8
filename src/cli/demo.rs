//! `advertisex demo`.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{args, show};
use crate::config::Config;
use crate::generate::{Format, Plan, write};
use crate::runtime::demo::{Frame, Stage, demo as replay_demo, hold};
use crate::runtime::live::demo::{self, Glance, LiveDemo};
use crate::runtime::showing;
use crate::serve::access::is_loopback;
use crate::serve::http::{About, Server, ServerError};

/// Runs the demo.
pub fn run(args: &args::Demo) -> anyhow::Result<()> {
    let plan = Plan { auctions: args.auctions, seed: args.seed, days: 1.0, ..Plan::default() };
    if args.live { run_live(args, plan) } else { run_files(args, plan) }
}

/// Few enough campaigns that each has something to show.
const SMALL: Plan = Plan { campaigns: 60, advertisers: 12, sites: 200, users: 20_000, ..Plan::DEFAULT };

fn run_files(args: &args::Demo, plan: Plan) -> anyhow::Result<()> {
    let started = Instant::now();
    let config = Config::load(None)?;
    let shown = stage(args, &config)?;
    // With a page, there is a day before, to compare with.
    let days = if shown.is_some() { 2 } else { 1 };
    let Plan { auctions, seed, .. } = plan;
    let plan = Plan { auctions: auctions * days, seed, days: days as f64, ..SMALL };
    let feeds = args.output.join("feeds");
    show::line(&format!("writing {} auctions to {}", show::count(plan.auctions), feeds.display()))?;
    write(&plan, Format::Raw, &feeds, true, &mut |_| ())?;
    match &shown {
        Some((_, server)) => show::line(&format!(
            "the dashboard is at {} until Ctrl-C; a day passes in a minute there:\n",
            server.url()
        ))?,
        None => show::line("running it through the job, half an hour an epoch:\n")?,
    }
    show::line(HEADER)?;
    let tables = args.output.join("tables");
    let stage = shown.as_ref().map(|(stage, _)| stage.clone());
    let done = replay_demo(&config, (&feeds, &tables), stage, |frame| {
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
    show::line(&format!("the tables are in {}", tables.display()))?;
    if let Some((stage, server)) = &shown {
        show::line(&format!("the day is over; {} shows it until Ctrl-C", server.url()))?;
        hold(stage);
    }
    Ok(())
}

/// Serves the dashboard, if somebody is there to look at it or it is asked for.
fn stage(args: &args::Demo, config: &Config) -> anyhow::Result<Option<(Stage, Server)>> {
    let listen = match args.listen {
        Some(listen) => listen,
        None if std::io::stdout().is_terminal() => DASHBOARD,
        None => return Ok(None),
    };
    if !is_loopback(listen.ip()) {
        anyhow::bail!(
            "--listen {listen}: a demo has no login, so only this machine may ask: 127.0.0.1:{}",
            listen.port()
        );
    }
    let about = About {
        job: "demo".to_owned(),
        currency: config.serve.currency.clone(),
        processes: 1,
        workers: 1,
        started: jiff::Timestamp::now().as_millisecond(),
    };
    let telemetry = Arc::default();
    let serve = |listen| showing::serve(&config.serve, listen, about.clone(), &telemetry);
    let (served, server) = match (serve(listen), args.listen) {
        // Nobody has asked for this port.
        (Err(ServerError::Listen { .. }), None) => serve(SocketAddr::new(listen.ip(), 0))?,
        (served, _) => served?,
    };
    let stop = super::launch::stop_on_signal(&super::launch::Processes::default())?;
    Ok(Some((Stage { served, telemetry: Arc::clone(&telemetry), pace: PACE, past: 0.5, stop }, server)))
}

/// Where the dashboard is unless somebody wants it elsewhere.
const DASHBOARD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// The time from one epoch of five minutes to the next.
const PACE: Duration = Duration::from_millis(150);

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

fn run_live(args: &args::Demo, plan: Plan) -> anyhow::Result<()> {
    let config = args.config.as_deref().map_or_else(Config::laptop, |file| Config::load(Some(file)))?;
    let workers = super::run::workers(None, &config);
    let stop = super::launch::stop_on_signal(&super::launch::Processes::default())?;
    let auctions = show::count(plan.auctions);
    let demo = LiveDemo { plan, rate: args.rate, workers, state: args.output.join("state") };
    show::line(&format!(
        "sending {auctions} auctions, {} records/s, through Kafka into {}; read back from there:\n",
        show::count(args.rate),
        config.clickhouse.url
    ))?;
    show::line(LIVE_HEADER)?;
    let feeds = demo::demo(&config, Config::laptop()?, &demo, &stop, |glance| {
        // Nobody watching is no reason to stop.
        let _ = show::line(&live_line(glance));
    })?;
    show::line("")?;
    let rows = feeds.iter().map(|feed| {
        let counts = [feed.received, feed.accepted, feed.duplicate, feed.rejected].map(show::count);
        std::iter::once(feed.feed.clone()).chain(counts).collect()
    });
    show::line(&show::table(&["feed", "received", "accepted", "duplicate", "rejected"], rows))?;
    show::line(&format!(
        "the tables are in the database {0}; try: SELECT * FROM {0}.campaign_day_live ORDER BY spend_micros DESC",
        demo::DATABASE
    ))
}

const LIVE_HEADER: &str = "  after        sent       shown       bids       wins  impressions  clicks  \
     conversions        spend      revenue";

fn live_line(glance: &Glance) -> String {
    let shown = &glance.shown;
    format!(
        "{:>5.1} s {:>11} {:>11} {:>10} {:>10} {:>12} {:>7} {:>12} {:>12} {:>12}",
        glance.after.as_secs_f64(),
        show::count(glance.sent),
        show::count(shown.received),
        show::count(shown.bids),
        show::count(shown.wins),
        show::count(shown.impressions),
        show::count(shown.clicks),
        show::count(shown.conversions),
        show::money(shown.spend_micros),
        show::money(shown.revenue_micros),
    )
}
