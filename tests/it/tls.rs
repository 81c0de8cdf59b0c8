//! A certificate that is replaced while the server runs.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use advertisex::serve::tls::Certificates;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::site::{Site, bearers, limits};

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Writes a new certificate for this machine and its key; returns the certificate.
fn write(dir: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(dir.join("key.pem"), signing_key.serialize_pem()).expect("written");
    fs::write(dir.join("certificate.pem"), cert.pem()).expect("written");
    cert.der().clone()
}

/// A connection to a server that shows one of these.
fn connect(address: SocketAddr, known: &[CertificateDer<'static>]) -> Tls {
    let mut roots = RootCertStore::empty();
    known.iter().for_each(|certificate| roots.add(certificate.clone()).expect("a certificate"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    StreamOwned::new(connection, TcpStream::connect(address).expect("it listens"))
}

/// Asks for something, and returns the status.
fn ask(stream: &mut Tls) -> String {
    let request = "GET /api/v1/session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer analyst\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("asked");
    let mut answer = Vec::new();
    let mut bytes = [0; 4096];
    while !answer.ends_with(b"}") {
        let read = stream.read(&mut bytes).expect("an answer");
        answer.extend_from_slice(&bytes[..read]);
    }
    String::from_utf8_lossy(&answer[9..12]).into_owned()
}

fn shown(stream: &Tls) -> CertificateDer<'static> {
    stream.conn.peer_certificates().expect("shaken hands")[0].clone().into_owned()
}

#[test]
fn a_new_certificate_is_taken_while_connections_stay_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let old = write(dir.path());
    let (certificate, key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
    let certificates = Certificates::load(&certificate, &key).expect("sound");
    let mut site = Site::open_over(bearers(), limits(), Some(certificates));
    site.publish(1, "alpha-1", Some("alpha"));
    let address = site.server.address();
    let mut first = connect(address, std::slice::from_ref(&old));
    assert_eq!((ask(&mut first), shown(&first)), ("200".to_owned(), old.clone()));

    // One that does not fit its key is passed over.
    fs::write(&key, "none").expect("written");
    std::thread::sleep(Duration::from_secs(6));
    let mut still = connect(address, std::slice::from_ref(&old));
    assert_eq!((ask(&mut still), shown(&still)), ("200".to_owned(), old.clone()));

    let new = write(dir.path());
    let known = [old, new.clone()];
    let began = Instant::now();
    loop {
        // Who was connected stays so; who says nothing for ten seconds does not.
        assert_eq!(ask(&mut first), "200");
        let mut next = connect(address, &known);
        assert_eq!(ask(&mut next), "200");
        if shown(&next) == new {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "the new one is not taken");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!((ask(&mut first), shown(&first)), ("200".to_owned(), known[0].clone()));
}
