//! An S3 server: S3Proxy over a folder, which checks signatures and honours `If-None-Match`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache;
use crate::download::{Downloader, announce};
use crate::error::{Error, Result};
use crate::java;
use crate::net;
use crate::registry;
use crate::server::{Home, Plan, Server};

const SERVICE: &str = "S3";
/// The bucket that a server starts with.
const BUCKET: &str = "advertisex";
const KEY_ID: &str = "advertisex";
/// No secret: the server listens on loopback, and lives as long as a test.
const KEY: &str = "advertisex-local";

/// How an S3 server is started.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The port; a free one by default.
    pub port: Option<u16>,
    /// A folder to keep the data in; by default a new one, removed with the server.
    pub data: Option<PathBuf>,
    /// How long a start may take.
    pub ready_within: Duration,
}

impl Default for S3Settings {
    fn default() -> Self {
        S3Settings { port: None, data: None, ready_within: Duration::from_secs(60) }
    }
}

/// A started S3 server with one bucket, which ends with this value.
pub struct S3 {
    url: String,
    buckets: PathBuf,
    server: Server,
}

impl S3 {
    /// Fetches the server if it isn't in the cache, and starts it. Returns when it answers.
    pub fn start(settings: &S3Settings) -> Result<S3> {
        let (jar, java) = (jar()?, java::find_or_fetch()?);
        let home = Home::new("s3", settings.data.as_ref())?;
        let port = net::choose_port(settings.port)?;
        let buckets = home.dir.join("data");
        let bucket = buckets.join(BUCKET);
        fs::create_dir_all(&bucket).map_err(Error::io("creating", &bucket))?;
        let properties = home.write("s3proxy.properties", &properties(port, &buckets))?;
        let mut command: Vec<OsString> = vec![java.into()];
        let options = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar"];
        command.extend(options.map(OsString::from));
        command.extend([jar.into(), "--properties".into(), properties.into()]);
        let plan = Plan {
            service: SERVICE,
            command,
            port,
            answers: net::answers_http,
            ready_within: settings.ready_within,
        };
        let server = Server::start(plan, home)?;
        Ok(S3 { url: format!("http://127.0.0.1:{port}"), buckets, server })
    }

    /// The endpoint.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        BUCKET
    }

    /// The access key's id.
    pub fn key_id(&self) -> &str {
        KEY_ID
    }

    /// The access key's secret.
    pub fn key(&self) -> &str {
        KEY
    }

    /// The file that holds an object, for tests that damage it.
    pub fn file(&self, object: &str) -> PathBuf {
        self.buckets.join(BUCKET).join(object)
    }

    /// The server's process, while one runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Ends the server with SIGKILL. Its data stays.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Ends the server in an orderly way. Its data stays.
    pub fn stop(&mut self) -> Result<()> {
        self.server.stop()
    }

    /// Starts the server again, on the same data and port; one that runs is stopped first.
    pub fn restart(&mut self) -> Result<()> {
        self.server.restart()
    }
}

/// The server's jar, fetched if it isn't there.
pub(crate) fn jar() -> Result<PathBuf> {
    let jar = registry::S3PROXY;
    let dir = cache::folder(&format!("s3proxy-{}", registry::S3PROXY_VERSION), |dir| {
        announce(&format!("S3Proxy {} (55 MB)", registry::S3PROXY_VERSION));
        Downloader::new().fetch(&jar, &dir.join(jar.file_name()))
    })?;
    Ok(dir.join(jar.file_name()))
}

fn properties(port: u16, buckets: &Path) -> String {
    format!(
        "s3proxy.endpoint=http://127.0.0.1:{port}
s3proxy.authorization=aws-v4
s3proxy.identity={KEY_ID}
s3proxy.credential={KEY}
jclouds.provider=filesystem-nio2
jclouds.filesystem.basedir={}
",
        buckets.display()
    )
}
