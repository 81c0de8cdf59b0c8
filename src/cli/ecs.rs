//! Log lines as JSON with the names of the Elastic Common Schema, which log shippers know.

use std::fmt;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The version of the schema whose names are used.
const VERSION: &str = "8.17.0";

/// Writes an event as a line of JSON.
pub struct Ecs;

impl<S, N> FormatEvent<S, N> for Ecs
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, error, rest } = fields;
        let mut line = json!({
            "@timestamp": jiff::Timestamp::now().to_string(),
            "log.level": event.metadata().level().as_str().to_ascii_lowercase(),
            "log.logger": event.metadata().target(),
            "message": message,
            "ecs.version": VERSION,
            "service.name": "advertisex",
            "service.version": env!("CARGO_PKG_VERSION"),
            "process.pid": std::process::id(),
        });
        if let Some(error) = error {
            line["error.message"] = error;
        }
        if !rest.is_empty() {
            // What the schema has no name for has one of ours in front.
            line["advertisex"] = rest.into();
        }
        writeln!(writer, "{line}")
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    error: Option<Value>,
    rest: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => value.as_str().unwrap_or_default().clone_into(&mut self.message),
            "error" => self.error = Some(value),
            name => _ = self.rest.insert(name.to_owned(), value),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_the_names_of_the_schema() {
        let kept = Kept::default();
        let theirs = kept.clone();
        let subscriber =
            tracing_subscriber::fmt().event_format(Ecs).with_writer(move || theirs.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let error = std::io::Error::other("the disk is \"full\"");
            tracing::warn!(%error, epoch = 7_u64, lag = -1.5, done = false, topic = "a\nb", "it did not\nwork");
            tracing::info!("plain");
        });
        let text = String::from_utf8(kept.0.lock().expect("no panic").clone()).expect("UTF-8");
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["log.level"], "warn");
        assert_eq!(lines[0]["message"], "it did not\nwork");
        assert_eq!(lines[0]["error.message"], "the disk is \"full\"");
        assert_eq!(
            lines[0]["advertisex"],
            json!({ "epoch": 7, "lag": -1.5, "done": false, "topic": "a\nb" })
        );
        assert!(lines[0]["@timestamp"].as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()));
        assert_eq!((lines[1]["message"].as_str(), lines[1].get("advertisex")), (Some("plain"), None));
    }
}
