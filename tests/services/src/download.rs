//! Fetching one pinned file over HTTPS.

use std::error::Error as StdError;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::error::{Error, Result};
use crate::registry::Artifact;

const ATTEMPTS: u32 = 3;

/// No byte for so long, and the connection counts as dead. Between the bytes a slow line has time.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Fetches files, over one connection where the server lets it.
pub(crate) struct Downloader {
    agent: Agent,
}

type Cause = Box<dyn StdError + Send + Sync>;

impl Downloader {
    /// Trusts the certificates that the machine trusts, and takes the proxy from the environment.
    pub(crate) fn new() -> Downloader {
        let certificates: Vec<Certificate<'static>> = rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&certificates))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_connect(Some(SILENCE_MAX))
            .timeout_recv_response(Some(SILENCE_MAX))
            .timeout_per_read(Some(SILENCE_MAX))
            .build();
        Downloader { agent: config.into() }
    }

    /// Fetches a file to `path`; leaves it there only if it is the pinned one.
    pub(crate) fn fetch(&self, artifact: &Artifact, path: &Path) -> Result<()> {
        let url = artifact.url();
        let mut attempt = 1;
        let found = loop {
            match self.attempt(&url, path) {
                Ok(digest) => break digest,
                Err(_) if attempt < ATTEMPTS => thread::sleep(Duration::from_secs(attempt.into())),
                Err(source) => {
                    return Err(Error::Fetch { url, mirror: artifact.registry.variable(), source });
                }
            }
            attempt += 1;
        };
        if found == artifact.sha256 {
            return Ok(());
        }
        std::fs::remove_file(path).map_err(Error::io("removing", path))?;
        Err(Error::Checksum { url, found, expected: artifact.sha256.to_owned() })
    }

    /// The SHA-256 of what came.
    fn attempt(&self, url: &str, path: &Path) -> std::result::Result<String, Cause> {
        let mut body = self.agent.get(url).call()?.into_body().into_reader();
        let mut file = File::create(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = body.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            hasher.update(&buffer[..length]);
            file.write_all(&buffer[..length])?;
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Tells whoever watches that this takes a while.
pub(crate) fn announce(what: &str) {
    crate::tell(&format!("services: fetching {what}"));
}
