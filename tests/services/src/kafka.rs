//! Apache Kafka: one node that is broker and controller (KRaft).

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cache;
use crate::download::{Downloader, announce};
use crate::error::{Error, Result};
use crate::given;
use crate::java;
use crate::net;
use crate::registry;
use crate::server::{Home, Plan, Server};

/// The variable that names brokers to use instead of starting one.
pub const KAFKA_VARIABLE: &str = "ADVERTISEX_KAFKA";

const SERVICE: &str = "Kafka";

/// Any 16 bytes in base 64; clusters on loopback never meet.
const CLUSTER_ID: &str = "YWR2ZXJ0aXNleC1sb2NhbA";

/// How a broker is started.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// The address of this machine at which clients find it. Other than loopback, it listens on all.
    pub host: String,
    /// The client port; a free one by default.
    pub port: Option<u16>,
    /// A folder to keep the data in; by default a new one, removed with the broker.
    pub data: Option<PathBuf>,
    /// Broker properties that are added to ours, or replace them: `("log.retention.ms", "1000")`.
    pub properties: Vec<(String, String)>,
    /// Options of the Java runtime.
    pub java_options: Vec<String>,
    /// How long a start may take.
    pub ready_within: Duration,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        KafkaSettings {
            host: net::LOOPBACK.to_owned(),
            port: None,
            data: None,
            properties: Vec::new(),
            // The serial collector starts fastest, and is right for a heap of this size.
            java_options: vec!["-Xmx512m".to_owned(), "-XX:+UseSerialGC".to_owned()],
            ready_within: Duration::from_secs(120),
        }
    }
}

/// A Kafka cluster: a started one, which ends with this value, or one named by `ADVERTISEX_KAFKA`.
pub struct Kafka {
    bootstrap: String,
    /// `None` if it was given.
    server: Option<Server>,
}

impl Kafka {
    /// The brokers that `ADVERTISEX_KAFKA` names, or else a started one.
    pub fn given_or_start(settings: &KafkaSettings) -> Result<Kafka> {
        match given::address(KAFKA_VARIABLE) {
            Some(bootstrap) => Ok(Kafka { bootstrap, server: None }),
            None => Kafka::start(settings),
        }
    }

    /// Fetches Kafka if it isn't in the cache, and starts a broker. Returns when it answers.
    pub fn start(settings: &KafkaSettings) -> Result<Kafka> {
        let (jars, java) = (jars()?, java::find_or_fetch()?);
        let home = Home::new("kafka", settings.data.as_ref())?;
        let port = net::choose_port(settings.port)?;
        let data = home.dir.join("data");
        let text = properties(settings, port, net::choose_port(None)?, &data);
        let properties = home.write("server.properties", &text)?;
        let class_path = jars.join("*");
        if !data.join("meta.properties").is_file() {
            format(&java, &class_path, &properties)?;
        }
        let mut command: Vec<OsString> = vec![java.into()];
        command.extend(settings.java_options.iter().map(OsString::from));
        command.extend(log_options().map(OsString::from));
        command.extend(["-cp".into(), class_path.into(), "kafka.Kafka".into(), properties.into()]);
        let plan = Plan {
            service: SERVICE,
            command,
            port,
            answers: net::answers_api_versions,
            ready_within: settings.ready_within,
        };
        let server = Server::start(plan, home)?;
        Ok(Kafka { bootstrap: format!("{}:{port}", settings.host), server: Some(server) })
    }

    /// What clients take as `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Whether it was started here, so that it can be stopped.
    pub fn is_ours(&self) -> bool {
        self.server.is_some()
    }

    /// The broker's process, while one runs that was started here.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().and_then(Server::pid)
    }

    /// Ends the broker with SIGKILL. Its data stays.
    pub fn kill(&mut self) -> Result<()> {
        self.ours()?.kill()
    }

    /// Ends the broker in an orderly way. Its data stays.
    pub fn stop(&mut self) -> Result<()> {
        self.ours()?.stop()
    }

    /// Starts the broker again, on the same data and port; one that runs is stopped first.
    pub fn restart(&mut self) -> Result<()> {
        self.ours()?.restart()
    }

    fn ours(&mut self) -> Result<&mut Server> {
        let address = &self.bootstrap;
        self.server.as_mut().ok_or_else(|| Error::NotOurs {
            service: SERVICE,
            address: address.clone(),
            variable: KAFKA_VARIABLE,
        })
    }
}

/// The folder with the broker's jars, fetched if it isn't there.
pub(crate) fn jars() -> Result<PathBuf> {
    cache::folder(&format!("kafka-{}", registry::KAFKA_VERSION), |dir| {
        announce(&format!("Apache Kafka {} (45 MB)", registry::KAFKA_VERSION));
        let downloader = Downloader::new();
        registry::kafka_jars().try_for_each(|jar| downloader.fetch(&jar, &dir.join(jar.file_name())))
    })
}

fn properties(settings: &KafkaSettings, port: u16, controller: u16, data: &Path) -> String {
    // The last line that sets a property wins, so the caller's stand at the end.
    let extra: String = settings.properties.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://{listen}:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
# There is one node to hold the internal topics, and few clients to share them.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# A mistyped topic is an error, not a new topic.
auto.create.topics.enable=false
# Small segments, looked through often: retention acts while a test watches.
log.segment.bytes=16777216
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
log.segment.delete.delay.ms=1000
# The cleaner takes this from the heap at the start; its default is a quarter of ours.
log.cleaner.dedupe.buffer.size=8388608
# A start waits for a heartbeat, and a consumer group for its first member: both at once here.
broker.heartbeat.interval.ms=200
group.initial.rebalance.delay.ms=0
{extra}",
        listen = net::listen_address(&settings.host),
        host = settings.host,
        data = data.display()
    )
}

/// Warnings only from the part that would print every property on every start.
fn log_options() -> impl Iterator<Item = &'static str> {
    [
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
        "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
    ]
    .into_iter()
}

/// Gives the data folder its identity, without which a broker doesn't start on it.
fn format(java: &Path, class_path: &Path, properties: &Path) -> Result<()> {
    let mut tool = Command::new(java);
    tool.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]).arg(class_path);
    tool.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(properties);
    let output = tool.current_dir(env::temp_dir()).output().map_err(Error::io("running", java))?;
    if output.status.success() {
        return Ok(());
    }
    let log_tail = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Service { service: SERVICE, what: "couldn't format its data folder".to_owned(), log_tail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_properties_come_last_and_win() {
        let properties_of_ours = vec![("log.segment.bytes".to_owned(), "1048576".to_owned())];
        let settings = KafkaSettings { properties: properties_of_ours, ..KafkaSettings::default() };
        let text = properties(&settings, 20_000, 20_001, Path::new("/data"));
        let last = text.lines().rfind(|line| line.starts_with("log.segment.bytes"));
        assert_eq!(last, Some("log.segment.bytes=1048576"));
    }

    #[test]
    fn a_given_broker_is_not_stopped() {
        let mut kafka = Kafka { bootstrap: "kafka.example:9092".to_owned(), server: None };
        assert!(!kafka.is_ours() && kafka.pid().is_none());
        let told = kafka.kill().expect_err("an error").to_string();
        assert!(told.contains("kafka.example:9092") && told.contains(KAFKA_VARIABLE), "{told}");
    }
}
