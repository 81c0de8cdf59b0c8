//! The certificate, which may be replaced while the server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("{} can't be read as PEM", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// They don't belong together, or are of a kind that isn't known.
    #[error("the certificate {} and the key {} can't be used", certificate.display(), key.display())]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// A certificate and its key, in files that are looked at now and then.
#[derive(Debug)]
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    present: Arc<Present>,
    seen: Mutex<Stamp>,
}

type Stamp = [Option<SystemTime>; 2];

#[derive(Debug)]
struct Present(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Present {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Certificates {
    /// Reads them.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let seen = Mutex::new(stamp(certificate, key));
        let present = Arc::new(Present(RwLock::new(Arc::new(read(certificate, key)?))));
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), present, seen })
    }

    /// What a server shakes hands with.
    pub fn server(&self) -> Arc<ServerConfig> {
        let present = Arc::clone(&self.present) as Arc<dyn ResolvesServerCert>;
        // The provider knows the versions that are built in.
        let versions = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions();
        let mut config = match versions {
            Ok(versions) => versions.with_no_client_auth().with_cert_resolver(present),
            Err(error) => unreachable!("ring speaks TLS 1.2 and 1.3: {error}"),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// Takes new files, if there are any; the old certificate stays while they can't be used.
    pub fn look(&self) {
        let now = stamp(&self.certificate, &self.key);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return;
        }
        match read(&self.certificate, &self.key) {
            Ok(fresh) => {
                *self.present.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                tracing::info!(certificate = %self.certificate.display(), "a new certificate is used");
            }
            // They may be replaced one after the other.
            Err(error) => tracing::warn!(%error, "the new certificate can't be used; the old one is kept"),
        }
        *seen = now;
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .map_err(pem(certificate))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem(certificate))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    let pair = |source| TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), source };
    let fresh = CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(pair)?;
    fresh.keys_match().map_err(pair)?;
    Ok(fresh)
}
