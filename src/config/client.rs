//! Settings handed through to the Kafka client, and secrets among them.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;

use super::validate::{Wrong, wrong};

/// A value that is never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// The value, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Settings of the client that the program sets itself: exactly once depends on them.
const OURS: [&str; 10] = [
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "metadata.broker.list",
    "queued.max.messages.kbytes",
    "queued.min.messages",
];

/// Validates the settings, each by asking the library whether it takes it.
pub fn client(raw: BTreeMap<String, toml::Value>) -> Result<BTreeMap<String, Secret>, Wrong> {
    let mut flat = BTreeMap::new();
    for (name, value) in raw {
        flatten(name, value, &mut flat)?;
    }
    for (name, value) in &flat {
        let key = format!("kafka.client.{name}");
        if OURS.contains(&name.as_str()) {
            return wrong(key, "this is set by the program itself");
        }
        let accepted = ClientConfig::new().set(name, value.expose()).create_native_config();
        // What the library says holds the value, which may be a secret.
        match accepted.err().map(|error| error.to_string()) {
            Some(error) if !is_secret(name) => return wrong(key, format!("the client refuses it: {error}")),
            Some(_) => return wrong(key, "the client refuses it"),
            None => {}
        }
    }
    Ok(flat)
}

/// `security.protocol` without quotes is a table in a table to TOML.
fn flatten(name: String, value: toml::Value, flat: &mut BTreeMap<String, Secret>) -> Result<(), Wrong> {
    let key = format!("kafka.client.{name}");
    let text = match value {
        toml::Value::Table(inner) => {
            return inner
                .into_iter()
                .try_for_each(|(part, value)| flatten(format!("{name}.{part}"), value, flat));
        }
        toml::Value::String(text) => expand(&key, &text)?,
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        _ => return wrong(key, "text, a whole number, true or false is expected"),
    };
    flat.insert(name, Secret(text));
    Ok(())
}

/// Replaces each `${NAME}` by the environment variable of this name.
pub fn expand(key: &str, text: &str) -> Result<String, Wrong> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((name, after)) = behind.split_once('}') else {
            return wrong(key, "${ is not closed by }");
        };
        let Ok(value) = std::env::var(name) else {
            return wrong(key, format!("the environment variable {name} is not set"));
        };
        out.push_str(before);
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_secret(name: &str) -> bool {
    ["password", "secret", "token", "key", "sasl.oauthbearer.config", "otlp_headers"]
        .iter()
        .any(|word| name.contains(word))
}

/// Hides the secrets that a file holds in clear; a `${NAME}` stays as it is.
pub fn mask(all: &mut toml::Table) {
    for section in ["kafka", "s3", "metrics"] {
        if let Some(toml::Value::Table(section)) = all.get_mut(section) {
            mask_in(section, "");
        }
    }
}

fn mask_in(table: &mut toml::Table, path: &str) {
    for (name, value) in table {
        let name = format!("{path}.{name}");
        match value {
            toml::Value::Table(inner) => mask_in(inner, &name),
            toml::Value::String(text) if is_secret(&name) && !text.is_empty() && !text.contains("${") => {
                *text = "***".to_owned();
            }
            _ => {}
        }
    }
}
