//! ClickHouse: the engine as a library, run by `services engine`, which listens like a server.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;

use crate::cache;
use crate::download::{Downloader, announce};
use crate::error::{Error, Result};
use crate::given::{self, HttpAddress};
use crate::launcher;
use crate::net;
use crate::registry;
use crate::server::{Home, Plan, Server};

/// The variable that names a server to use instead of starting one.
pub const CLICKHOUSE_VARIABLE: &str = "ADVERTISEX_CLICKHOUSE";

const SERVICE: &str = "ClickHouse";
const LIBRARY: &str = "libchdb.so";
const USER: &str = "advertisex";
/// No secret: the server listens on loopback, and lives as long as a test.
const PASSWORD: &str = "advertisex-local";

/// Never ends; only a signal does it.
const STAY: &str = "SELECT sleepEachRow(1) FROM system.numbers SETTINGS max_block_size = 1 FORMAT Null";

/// How a ClickHouse server is started.
#[derive(Debug, Clone)]
pub struct ClickHouseSettings {
    /// The address of this machine at which clients find it. Other than loopback, it listens on all.
    pub host: String,
    /// The HTTP port; a free one by default.
    pub port: Option<u16>,
    /// The port of the native protocol, which is closed by default.
    pub native_port: Option<u16>,
    /// A folder to keep the data in; by default a new one, removed with the server.
    pub data: Option<PathBuf>,
    /// What the server may allocate, in MiB.
    pub memory_mib_max: u64,
    /// Settings of the server, name and value: `("max_concurrent_queries", "50")`.
    pub server: Vec<(String, String)>,
    /// Settings of the user's queries, name and value: `("max_execution_time", "10")`.
    pub profile: Vec<(String, String)>,
    /// How long a start may take.
    pub ready_within: Duration,
}

impl Default for ClickHouseSettings {
    fn default() -> Self {
        ClickHouseSettings {
            host: net::LOOPBACK.to_owned(),
            port: None,
            native_port: None,
            data: None,
            memory_mib_max: 3072,
            server: Vec::new(),
            profile: Vec::new(),
            ready_within: Duration::from_secs(60),
        }
    }
}

/// A ClickHouse server: a started one, which ends with this value, or one named by
/// `ADVERTISEX_CLICKHOUSE`.
pub struct ClickHouse {
    address: HttpAddress,
    /// `None` if it was given.
    server: Option<Server>,
}

impl ClickHouse {
    /// The server that `ADVERTISEX_CLICKHOUSE` names, or else a started one.
    pub fn given_or_start(settings: &ClickHouseSettings) -> Result<ClickHouse> {
        match given::address(CLICKHOUSE_VARIABLE) {
            Some(text) => {
                let address = HttpAddress::parse(CLICKHOUSE_VARIABLE, &text)?;
                Ok(ClickHouse { address, server: None })
            }
            None => ClickHouse::start(settings),
        }
    }

    /// Fetches the engine if it isn't in the cache, and starts a server. Returns when it answers.
    pub fn start(settings: &ClickHouseSettings) -> Result<ClickHouse> {
        let (library, launcher) = (engine()?, launcher::find()?);
        let home = Home::new("clickhouse", settings.data.as_ref())?;
        let port = net::choose_port(settings.port)?;
        let users = home.write("users.xml", &users(settings))?;
        let config = home.write("config.xml", &config(settings, port, &users))?;
        let command: Vec<OsString> = vec![
            launcher.into(),
            "engine".into(),
            library.into(),
            "--".into(),
            option("--config-file=", &config),
            option("--path=", &home.dir.join("data")),
            format!("--query={}", query(settings)).into(),
        ];
        let plan = Plan {
            service: SERVICE,
            command,
            port,
            answers: net::answers_ping,
            ready_within: settings.ready_within,
        };
        let server = Server::start(plan, home)?;
        let address = HttpAddress {
            url: format!("http://{}:{port}", settings.host),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
        };
        Ok(ClickHouse { address, server: Some(server) })
    }

    /// The address, without user and password.
    pub fn url(&self) -> &str {
        &self.address.url
    }

    /// The user to log in as.
    pub fn user(&self) -> &str {
        &self.address.user
    }

    /// The user's password.
    pub fn password(&self) -> &str {
        &self.address.password
    }

    /// Whether it was started here, so that it can be stopped.
    pub fn is_ours(&self) -> bool {
        self.server.is_some()
    }

    /// The server's process, while one runs that was started here.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().and_then(Server::pid)
    }

    /// Ends the server with SIGKILL. Its data stays.
    pub fn kill(&mut self) -> Result<()> {
        self.ours()?.kill()
    }

    /// Ends the server in an orderly way. Its data stays.
    pub fn stop(&mut self) -> Result<()> {
        self.ours()?.stop()
    }

    /// Starts the server again, on the same data and port; one that runs is stopped first.
    pub fn restart(&mut self) -> Result<()> {
        self.ours()?.restart()
    }

    fn ours(&mut self) -> Result<&mut Server> {
        let address = &self.address.url;
        self.server.as_mut().ok_or_else(|| Error::NotOurs {
            service: SERVICE,
            address: address.clone(),
            variable: CLICKHOUSE_VARIABLE,
        })
    }
}

/// The engine's library, fetched if it isn't there.
pub(crate) fn engine() -> Result<PathBuf> {
    let package = registry::engine()?;
    let dir = cache::folder(&format!("clickhouse-{}", registry::ENGINE_VERSION), |dir| {
        announce("the ClickHouse engine (178 MB, 566 MB unpacked)");
        let path = dir.join(package.file_name());
        Downloader::new().fetch(&package, &path)?;
        unpack(&path, dir)?;
        fs::remove_file(&path).map_err(Error::io("removing", &path))
    })?;
    Ok(dir.join(LIBRARY))
}

/// Takes the library out of the package, and nothing else.
fn unpack(package: &Path, dir: &Path) -> Result<()> {
    let unpacked = File::open(package).and_then(|file| {
        let mut archive = tar::Archive::new(GzDecoder::new(file));
        for entry in archive.entries()? {
            let mut entry = entry?;
            if entry.path()?.ends_with(LIBRARY) {
                entry.unpack(dir.join(LIBRARY))?;
                return Ok(());
            }
        }
        Err(std::io::Error::other(format!("there is no {LIBRARY} in it")))
    });
    unpacked.map_err(Error::io("unpacking", package))
}

/// Opens the ports that are wanted, by name: each protocol has a default port that it would take.
fn query(settings: &ClickHouseSettings) -> String {
    let native = settings.native_port.map_or("", |_| "SYSTEM START LISTEN TCP; ");
    format!("SYSTEM START LISTEN HTTP; {native}{STAY}")
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

fn config(settings: &ClickHouseSettings, port: u16, users: &Path) -> String {
    let native = settings.native_port.map(|port| ("tcp_port".to_owned(), port.to_string()));
    let extra: Vec<_> = native.into_iter().chain(settings.server.iter().cloned()).collect();
    format!(
        "<clickhouse>
  <listen_host>{listen}</listen_host>
  <http_port>{port}</http_port>
  <users_config>{users}</users_config>
  <logger>
    <console>1</console>
    <level>information</level>
    <console_log_level>information</console_log_level>
  </logger>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
{extra}</clickhouse>
",
        listen = net::listen_address(&settings.host),
        users = users.display(),
        memory = settings.memory_mib_max << 20,
        extra = elements(&extra),
    )
}

/// The query that opens the ports runs as `default` without a password, which can't be changed; so
/// this user may do that and nothing else.
fn users(settings: &ClickHouseSettings) -> String {
    format!(
        "<clickhouse>
  <profiles><default>
{profile}  </default></profiles>
  <quotas><default/></quotas>
  <users>
    <{USER}>
      <password>{PASSWORD}</password>
      <networks><ip>{from}</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </{USER}>
    <default>
      <password/>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SYSTEM LISTEN ON *.*</query>
        <query>GRANT SELECT ON system.numbers</query>
      </grants>
    </default>
  </users>
</clickhouse>
",
        from = if settings.host == net::LOOPBACK { net::LOOPBACK } else { "::/0" },
        profile = elements(&settings.profile),
    )
}

fn elements(pairs: &[(String, String)]) -> String {
    let escaped = |value: &str| value.replace('&', "&amp;").replace('<', "&lt;");
    pairs.iter().map(|(name, value)| format!("  <{name}>{}</{name}>\n", escaped(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_elements_of_the_right_file() {
        let settings = ClickHouseSettings {
            native_port: Some(9000),
            server: vec![("max_concurrent_queries".to_owned(), "5".to_owned())],
            profile: vec![("readonly".to_owned(), "a<b".to_owned())],
            ..ClickHouseSettings::default()
        };
        let config = config(&settings, 8123, Path::new("/users.xml"));
        assert!(config.contains("<tcp_port>9000</tcp_port>\n  <max_concurrent_queries>5<"), "{config}");
        assert!(users(&settings).contains("  <readonly>a&lt;b</readonly>"));
    }
}
