//! Where in a file a setting stands, and what may have been meant.

use toml::de::{DeTable, DeValue};

/// The line of an error, from 1.
pub fn line_at(text: &str, error: &toml::de::Error) -> usize {
    let at = error.span().map_or(0, |span| span.start);
    line(text, at)
}

/// The line where a key such as `sources.events.quote` is set.
pub fn line_of(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut table = table.get_ref();
    let (mut found, mut rest) = (None, key);
    while !rest.is_empty() {
        // The name of a setting may itself hold dots, as those of the Kafka client do.
        let part = rest.split_once('.').map_or(rest, |(part, _)| part);
        let find = |wanted: &str| table.iter().find(|(name, _)| name.get_ref().as_ref() == wanted);
        let Some((name, value)) = find(rest).or_else(|| find(part)) else { break };
        rest = rest.strip_prefix(part).map_or("", |rest| rest.trim_start_matches('.'));
        found = Some(line(text, name.span().start));
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}

/// The error's message, with the nearest known key when a key is unknown.
pub fn explain(error: &toml::de::Error) -> String {
    let message = error.message();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let nearest = quoted.next().filter(|_| message.starts_with("unknown field")).and_then(|unknown| {
        let near = quoted.map(|known| (distance(unknown, known), known)).min()?;
        (near.0 <= 1 + unknown.len() / 3).then_some(near.1)
    });
    match nearest {
        Some(known) => format!("{message}; did you mean `{known}`?"),
        None => message.to_owned(),
    }
}

/// How many insertions, removals and replacements lie between two words.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
