//! What is known about the brokers, for metrics; each change is logged once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How a source stands.
#[derive(Clone, Debug, Default)]
pub struct SourceState {
    /// Since when no broker can be reached; reading resumes by itself.
    pub brokers_down_since: Option<Instant>,
    /// How many partitions wait for the schema registry.
    pub waiting_for_registry: usize,
    /// What a broker said when it refused our login or certificate, until one answers.
    pub refused: Option<String>,
    /// The last thing that went wrong, whether or not it is over.
    pub last_error: Option<String>,
}

/// The part of the state that the client's own threads report.
#[derive(Debug, Default)]
pub struct Status {
    state: Mutex<SourceState>,
    ends: Mutex<HashMap<String, HashMap<i32, i64>>>,
}

impl Status {
    /// Brokers have told where these topics end.
    pub fn set_ends(&self, ends: HashMap<String, HashMap<i32, i64>>) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
    }

    /// The offset behind the last record of a partition that can be read, as a broker told it last.
    pub fn end(&self, topic: &str, partition: i32) -> Option<i64> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(topic)?.get(&partition).copied()
    }

    /// Every broker is lost.
    pub fn down(&self, what: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_error = Some(what.to_owned());
        if state.brokers_down_since.is_none() {
            state.brokers_down_since = Some(Instant::now());
            tracing::warn!(error = what, "no Kafka broker can be reached; reading resumes when one can");
        }
    }

    /// A broker refuses our login or certificate.
    pub fn refuse(&self, what: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refused = Some(what.to_owned());
        self.trouble(what.to_owned());
    }

    /// What a broker said when it last refused us.
    pub fn refused(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refused.clone()
    }

    /// A broker answered.
    pub fn up(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refused = None;
        if let Some(since) = state.brokers_down_since.take() {
            tracing::info!(seconds = since.elapsed().as_secs(), "Kafka can be reached again");
        }
    }

    /// Something went wrong that the client mends by itself. Logged when it is not what went wrong
    /// last.
    pub fn trouble(&self, what: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last_error.as_ref() != Some(&what) {
            tracing::warn!(error = %what, "trouble with Kafka");
            state.last_error = Some(what);
        }
    }

    /// How things stand.
    pub fn state(&self) -> SourceState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
