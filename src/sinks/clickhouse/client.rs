//! One attempt at anything: the connection, the schema, an insert, the frontier.

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use clickhouse::{Client, Compression, Row};
use dataflows::model::time::Epoch;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

use super::error::ClickHouseError;
use super::rows::{FrontierRow, GenerationRow};
use super::tables::Table;
use super::upserts::{Epochs, Upsert, Writer};
use super::{schema, verify};
use crate::config::clickhouse::{ClickHouseConfig, Secret};
use crate::names::Names;

/// Idle connections are given up before the server does (3 s on old ones), or a request would
/// start on one that is just being closed.
const IDLE: Duration = Duration::from_secs(2);

/// A connection to one database. Its calls block, for at most the configured time each; it has a
/// runtime of its own that only works inside of them.
pub struct ClickHouse {
    /// On no database.
    server: Client,
    /// On ours. What it learns of the tables it keeps.
    client: Client,
    runtime: Runtime,
    config: ClickHouseConfig,
}

impl std::fmt::Debug for ClickHouse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClickHouse").field("config", &self.config).finish_non_exhaustive()
    }
}

impl ClickHouse {
    /// Sets the connection up and asks the server for a sign of life.
    ///
    /// # Errors
    /// [`ClickHouseError::Setup`] without certificates for `https`, [`ClickHouseError::NoPassword`],
    /// or what the server said.
    pub fn connect(config: ClickHouseConfig) -> Result<Self, ClickHouseError> {
        let clickhouse = Self::new(config)?;
        clickhouse.ping()?;
        Ok(clickhouse)
    }

    /// Sets the connection up without using it, so that the server may come later.
    ///
    /// # Errors
    /// As [`ClickHouse::connect`], but for the server.
    pub fn new(config: ClickHouseConfig) -> Result<Self, ClickHouseError> {
        let setup = |reason: std::io::Error| ClickHouseError::Setup {
            url: config.url.clone(),
            reason: reason.to_string(),
        };
        let password = match &config.password {
            Secret::Text(text) => text.clone(),
            Secret::Environment(name) => {
                std::env::var(name).map_err(|_| ClickHouseError::NoPassword(name.clone()))?
            }
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(setup)?;
        let server = http_client(&config)
            .map_err(setup)?
            .with_url(&config.url)
            .with_user(&config.user)
            .with_password(password)
            .with_compression(if config.lz4 { Compression::Lz4 } else { Compression::None });
        let client = server.clone().with_database(&config.database);
        Ok(Self { server, client, runtime, config })
    }

    /// Whether the server answers, and lets this user in.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn ping(&self) -> Result<(), ClickHouseError> {
        self.call("answer", self.server.query("SELECT 1").execute())
    }

    /// Creates database, tables and views where they are missing, and checks what is there.
    /// Can be repeated; never changes a table.
    ///
    /// # Errors
    /// [`ClickHouseError::Mismatch`] when a table of that name is something else.
    pub fn create_schema(&self) -> Result<(), ClickHouseError> {
        // The database can't be the default one of a request before it exists.
        let create = schema::create_database(&self.config.database);
        self.call("create the database", self.server.query_raw(&create).execute())?;
        for statement in schema::create_tables() {
            self.statement("create a table", &statement)?;
        }
        self.verify_schema()?;
        for statement in schema::create_views() {
            self.statement("create a view", &statement)?;
        }
        self.statement("note the version of the schema", &schema::mark_version())
    }

    /// Drops the database with everything in it, if it is there.
    ///
    /// # Errors
    /// What the server said.
    pub fn drop_database(&self) -> Result<(), ClickHouseError> {
        let sql = schema::drop_database(&self.config.database);
        self.call("drop the database", self.server.query_raw(&sql).execute())
    }

    /// Runs a statement of ours on our database.
    pub(super) fn statement(&self, doing: &str, sql: &str) -> Result<(), ClickHouseError> {
        self.call(doing, self.database().query_raw(sql).execute())
    }

    /// Compares the tables with the schema.
    ///
    /// # Errors
    /// [`ClickHouseError::Mismatch`] with the first difference.
    pub fn verify_schema(&self) -> Result<(), ClickHouseError> {
        let database = &self.config.database;
        let tables = self.server.query(
            "SELECT name, engine_full, sorting_key, partition_key FROM system.tables \
             WHERE database = {database:String}",
        );
        let columns = self
            .server
            .query("SELECT table, name, type FROM system.columns WHERE database = {database:String}");
        let tables = self.call("list the tables", tables.param("database", database).fetch_all())?;
        let columns = self.call("list the columns", columns.param("database", database).fetch_all())?;
        Ok(verify::compare(database, &schema::tables(), &tables, &columns)?)
    }

    /// How far a shard of a job is: every table holds all its rows up to this epoch. `None` when
    /// it never published anything.
    ///
    /// # Errors
    /// What the server said.
    pub fn frontier(&self, job: &str, shard: u32) -> Result<Option<Epoch>, ClickHouseError> {
        let sql = "SELECT max(epoch) AS epoch FROM frontier \
                   WHERE job = {job:String} AND shard = {shard:UInt32} HAVING count() > 0";
        let query = self.database().query(sql).param("job", job).param("shard", shard);
        self.call("read the frontier", query.fetch_optional())
    }

    /// How far every shard of every job is that ever published here.
    ///
    /// # Errors
    /// What the server said.
    pub fn frontiers(&self) -> Result<Vec<Frontier>, ClickHouseError> {
        let sql =
            "SELECT job, shard, max(epoch) AS epoch FROM frontier GROUP BY job, shard ORDER BY job, shard";
        self.call("read the frontiers", self.database().query(sql).fetch_all())
    }

    /// The client on our database, for queries of your own.
    pub fn database(&self) -> &Client {
        &self.client
    }

    /// What it was set up with.
    pub fn config(&self) -> &ClickHouseConfig {
        &self.config
    }

    /// Runs a request of your own, for at most the configured time.
    ///
    /// # Errors
    /// What the server said, or that it said nothing in time.
    pub fn call<T>(
        &self,
        doing: &str,
        request: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> Result<T, ClickHouseError> {
        let timed = async { tokio::time::timeout(self.config.request_timeout, request).await };
        match self.runtime.block_on(timed) {
            Ok(done) => done.map_err(|error| ClickHouseError::request(doing, &error)),
            Err(_) => Err(ClickHouseError::timeout(doing)),
        }
    }
}

/// How far a shard of a job is.
#[derive(Clone, Debug, Eq, PartialEq, Row, Deserialize)]
pub struct Frontier {
    /// The job.
    pub job: String,
    /// The shard.
    pub shard: u32,
    /// Every table holds all its rows up to this epoch.
    pub epoch: Epoch,
}

/// One insert: which rows, under which name.
pub(super) struct Insert<'a, T: Table> {
    /// The table, or that of a generation.
    pub into: &'a str,
    pub upserts: &'a [Upsert<T::Key, T::Value>],
    pub epochs: Epochs,
    pub part: Range<usize>,
    pub writer: &'a Writer,
    pub names: &'a Names,
}

impl<T: Table> Insert<'_, T> {
    /// The same of another part.
    pub fn only(&self, part: Range<usize>) -> Self {
        let Self { into, upserts, epochs, writer, names, .. } = *self;
        Self { into, upserts, epochs, part, writer, names }
    }
}

impl ClickHouse {
    /// One attempt at one insert: all rows of the part, or none.
    pub(super) fn insert<T: Table>(&self, insert: &Insert<'_, T>) -> Result<(), ClickHouseError> {
        let token = insert.writer.token(insert.epochs, insert.into, &insert.part);
        let rows = async {
            let mut request = write_once(self.client.insert::<T::Row>(insert.into).await?, &token);
            let mut ready = Vec::new();
            for (key, value) in &insert.upserts[insert.part.clone()] {
                T::rows(key, value.as_ref(), insert.epochs.last, insert.names, &mut |row| ready.push(row));
                for row in ready.drain(..) {
                    request.write(&row).await?;
                }
            }
            request.end().await
        };
        self.call(&format!("insert into {}", insert.into), rows)
    }

    /// Notes that everything up to an epoch is written.
    pub(super) fn insert_frontier(&self, writer: &Writer, epochs: Epochs) -> Result<(), ClickHouseError> {
        let row = FrontierRow {
            job: writer.job.clone(),
            shard: writer.shard,
            epoch: epochs.last,
            written_at: jiff::Timestamp::now().as_millisecond(),
        };
        let token = writer.token(epochs, "frontier", &(0..1));
        let row = async {
            let mut request = write_once(self.client.insert::<FrontierRow>("frontier").await?, &token);
            request.write(&row).await?;
            request.end().await
        };
        self.call("insert into frontier", row)
    }
}

impl ClickHouse {
    /// Notes the tables of a generation, all or none; the same token says the same again.
    pub(super) fn insert_generation(
        &self,
        rows: &[GenerationRow],
        token: &str,
    ) -> Result<(), ClickHouseError> {
        let noted = async {
            let mut request = write_once(self.client.insert::<GenerationRow>("generation").await?, token);
            for row in rows {
                request.write(row).await?;
            }
            request.end().await
        };
        self.call("insert into generation", noted)
    }
}

/// The settings that an insert's meaning rests on, whatever the server's defaults are.
fn write_once<R>(insert: clickhouse::insert::Insert<R>, token: &str) -> clickhouse::insert::Insert<R> {
    insert
        .with_setting("insert_deduplication_token", token)
        .with_setting("insert_deduplicate", "1")
        // The answer has to mean that the rows are stored, all of one insert together.
        .with_setting("async_insert", "0")
        .with_setting("wait_end_of_query", "1")
        // No key comes twice in an insert: nothing is gained by replacing rows before they are stored.
        .with_setting("optimize_on_insert", "0")
        // A late correction may touch many months; they are few in all.
        .with_setting("max_partitions_per_insert_block", "0")
}

/// Plain or over TLS, by the URL. Certificates are the system's, or those that `SSL_CERT_FILE`
/// names; they are only asked for when they are needed.
fn http_client(config: &ClickHouseConfig) -> std::io::Result<Client> {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(config.connect_timeout));
    tcp.set_nodelay(true);
    let mut builder = HttpClient::builder(TokioExecutor::new());
    builder.pool_idle_timeout(IDLE).pool_timer(hyper_util::rt::TokioTimer::new());
    if config.url.starts_with("https://") {
        tcp.enforce_http(false);
        let tls = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        return Ok(Client::with_http_client(builder.build(tls)));
    }
    Ok(Client::with_http_client(builder.build(tcp)))
}
