//! Ports, and how it is asked whether a service answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};

/// Below the range that systems take the ports of outgoing connections from. A port of that range
/// could be gone when a killed service returns: a client that knocks while the service is down can
/// be given the very port it knocks at, and then talks to itself.
const PORT_MIN: u16 = 20_000;
const PORT_MAX: u16 = 32_000;

/// Where services listen unless told otherwise.
pub(crate) const LOOPBACK: &str = "127.0.0.1";

/// What a service listens on that clients find at `host`.
pub(crate) fn listen_address(host: &str) -> &'static str {
    if host == LOOPBACK { LOOPBACK } else { "0.0.0.0" }
}

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

static PICKED: AtomicU32 = AtomicU32::new(0);

/// A port that is free, and that no other call of this process returns.
fn free_port() -> Result<u16> {
    let range = u32::from(PORT_MAX - PORT_MIN);
    // Test programs that run at the same time begin far from each other.
    let start = process::id().wrapping_mul(97);
    for _ in 0..range {
        let step = PICKED.fetch_add(1, Ordering::Relaxed);
        let offset = start.wrapping_add(step) % range;
        let port = PORT_MIN + u16::try_from(offset).unwrap_or_default();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::NoPort(PORT_MIN, PORT_MAX))
}

/// The wanted port if it is free, or any free one.
pub(crate) fn choose_port(wanted: Option<u16>) -> Result<u16> {
    match wanted {
        None => free_port(),
        Some(port) if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() => Ok(port),
        Some(port) => Err(Error::PortTaken(port)),
    }
}

/// Whether a ClickHouse server answers `GET /ping`.
pub(crate) fn answers_ping(port: u16) -> bool {
    let request = b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    ask(port, request, 15).is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200 OK"))
}

/// Whether anything answers HTTP, with whatever status.
pub(crate) fn answers_http(port: u16) -> bool {
    let request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    ask(port, request, 9).is_some_and(|answer| answer == b"HTTP/1.1 ")
}

/// Whether a broker answers an `ApiVersions` request, which it does once it is registered.
pub(crate) fn answers_api_versions(port: u16) -> bool {
    const CORRELATION: [u8; 4] = *b"adxq";
    // Length; key 18 and version 0; the correlation; a null client id.
    let request = [&[0, 0, 0, 10, 0, 18, 0, 0], &CORRELATION[..], &[0xff, 0xff]].concat();
    // Length, correlation, error code.
    ask(port, &request, 10).is_some_and(|answer| answer[4..8] == CORRELATION && answer[8..] == [0, 0])
}

/// The first bytes of an answer.
fn ask(port: u16, request: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    stream.write_all(request).ok()?;
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_never_handed_out_twice() {
        let first = free_port().expect("a port");
        let second = free_port().expect("a port");
        assert_ne!(first, second);
        assert!((PORT_MIN..PORT_MAX).contains(&first));
    }

    #[test]
    fn silence_is_no_answer() {
        let port = free_port().expect("a port");
        assert!(!answers_ping(port) && !answers_api_versions(port));
    }
}
