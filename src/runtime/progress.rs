//! How far a long piece of work is: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What the workers report, and whether they should stop.
#[derive(Debug, Default)]
pub struct Progress {
    /// Input bytes read.
    pub bytes: AtomicU64,
    /// Events read.
    pub events: AtomicU64,
    /// Set when the work is over.
    pub done: AtomicBool,
    /// Set when the work has failed and the others should stop.
    pub failed: AtomicBool,
}

const BAR: &str = "{prefix:>9} {bar:32.cyan/blue} {percent:>3}%  {msg}  {eta} left";
const TICK: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows progress until it is done. `quiet` shows nothing.
pub fn watch(progress: &Progress, total_bytes: u64, what: &'static str, quiet: bool) {
    let terminal = std::io::stderr().is_terminal();
    let target = if terminal && !quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(total_bytes), target).with_style(style).with_prefix(what);
    let started = Instant::now();
    let mut last_line = started;
    while !progress.done.load(Relaxed) {
        let (bytes, events) = (progress.bytes.load(Relaxed), progress.events.load(Relaxed));
        let rate = (events as f64 / started.elapsed().as_secs_f64().max(0.001)) as u64;
        bar.set_message(format!("{} events, {}/s", HumanCount(events), HumanCount(rate)));
        bar.set_position(bytes.min(total_bytes));
        if !terminal && !quiet && last_line.elapsed() >= LINE_EVERY {
            last_line = Instant::now();
            let percent = (100 * bytes.min(total_bytes)).checked_div(total_bytes).unwrap_or(100);
            tracing::info!(percent, events, events_per_second = rate, "{what}");
        }
        std::thread::park_timeout(TICK);
    }
    bar.finish_and_clear();
}
