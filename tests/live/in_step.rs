//! All feeds at one pace: messages are produced in pieces of what a stage holds.

use std::collections::BTreeMap;

use super::{Message, Stage};

impl Stage {
    /// Puts the messages of all feeds side by side.
    pub fn in_step(&mut self) {
        self.messages = in_step(std::mem::take(&mut self.messages));
    }
}

/// Messages of all feeds side by side, as far as each is in its feed.
fn in_step(messages: Vec<Message>) -> Vec<Message> {
    let mut feeds: BTreeMap<&str, Vec<Message>> = BTreeMap::new();
    messages.into_iter().for_each(|message| feeds.entry(message.topic).or_default().push(message));
    let place = |at: usize, of: usize| at as f64 / of as f64;
    let mut placed: Vec<(f64, Message)> = feeds
        .into_values()
        .flat_map(|feed| {
            let of = feed.len();
            feed.into_iter().enumerate().map(move |(at, message)| (place(at, of), message))
        })
        .collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    placed.into_iter().map(|(_, message)| message).collect()
}
