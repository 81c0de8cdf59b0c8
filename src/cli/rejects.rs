//! `advertisex rejects`.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use super::args::{self, RejectsCommand};
use super::show;
use crate::config::Config;
use crate::sinks::clickhouse::{ClickHouse, KeptReject, RejectId};
use crate::sinks::topic::Topic;

/// How long a broker may take for one message.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lists rejects, shows one, or sends a corrected record.
pub fn run(args: &args::Rejects) -> anyhow::Result<()> {
    let config = Config::load(Some(&args.config))?;
    let clickhouse = ClickHouse::connect(config.clickhouse.clone())?;
    match &args.command {
        RejectsCommand::List { feed, reason, limit } => list(&clickhouse.rejects(
            feed.as_deref().unwrap_or(""),
            reason.as_deref().unwrap_or(""),
            *limit,
        )?),
        RejectsCommand::Show { id } => show_one(&find(&clickhouse, id)?),
        RejectsCommand::Retry { id, payload } => {
            let reject = find(&clickhouse, id)?;
            let corrected = read(payload)?;
            retry(&config, id, &reject, &corrected)
        }
    }
}

fn find(clickhouse: &ClickHouse, id: &RejectId) -> anyhow::Result<KeptReject> {
    let RejectId { origin, place, position, record } = id;
    let found = clickhouse.reject(id)?;
    found.with_context(|| {
        format!("there is no reject {origin}/{place}/{position}/{record}; see `rejects list`")
    })
}

fn list(rejects: &[KeptReject]) -> anyhow::Result<()> {
    if rejects.is_empty() {
        return show::line("no rejects");
    }
    let rows = rejects.iter().map(|reject| {
        let KeptReject { id, feed, reason, time, hint, .. } = reject.clone();
        vec![id, feed, reason, time, hint]
    });
    show::line(&show::words(&["id", "feed", "reason", "time", "hint"], rows))
}

fn show_one(reject: &KeptReject) -> anyhow::Result<()> {
    let KeptReject { id, feed, reason, time, hint, .. } = reject;
    let text = format!("id      {id}\nfeed    {feed}\nreason  {reason}\ntime    {time}\nhint    {hint}\n\n");
    show::bytes(text.as_bytes())?;
    let payload = reject.payload();
    // A terminal is shown text only; a pipe gets what there was.
    if std::io::stdout().is_terminal() {
        return show::line(&String::from_utf8_lossy(&payload));
    }
    show::bytes(&payload)
}

fn read(payload: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if payload.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes).context("can't read the record from stdin")?;
    } else {
        bytes = std::fs::read(payload).with_context(|| format!("can't read {}", payload.display()))?;
    }
    let ends = bytes.iter().rev().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    bytes.truncate(bytes.len() - ends);
    Ok(bytes)
}

fn retry(config: &Config, id: &RejectId, reject: &KeptReject, corrected: &[u8]) -> anyhow::Result<()> {
    let Some(kafka) = &config.kafka else {
        bail!("the configuration has no kafka.bootstrap_servers; set it")
    };
    if !kafka.feeds.iter().any(|feed| feed.topic == id.origin) {
        bail!("{:?} is no topic of a feed in the configuration: correct the file instead", id.origin);
    }
    if corrected.is_empty() {
        bail!("the corrected record is empty");
    }
    if corrected == reject.payload() {
        bail!("this is the record that was rejected ({}); correct it first", reject.hint);
    }
    let topic = Topic::open(kafka, &id.origin)?;
    if !topic.send(None, corrected)? {
        bail!("the producer's queue is full");
    }
    topic.flush(PATIENCE)?;
    show::line(&format!("sent to {}; `rejects list` shows whether it is right now", id.origin))
}
