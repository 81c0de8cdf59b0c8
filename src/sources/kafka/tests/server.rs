//! A schema registry of a few lines.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::RegistryConfig;

/// Answers `/schemas/ids/N` with a status and a body.
#[derive(Clone)]
pub struct Server {
    pub port: u16,
    answers: Arc<Mutex<HashMap<u32, (u16, String)>>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::on(listener)
    }

    pub fn on(listener: TcpListener) -> Self {
        let port = listener.local_addr().expect("bound").port();
        let server = Self { port, answers: Arc::default(), asked: Arc::default() };
        let theirs = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                theirs.serve(stream.expect("a connection"));
            }
        });
        server
    }

    pub fn answer(&self, id: u32, status: u16, body: &str) {
        self.answers.lock().expect("sound").insert(id, (status, body.to_owned()));
    }

    pub fn schema(&self, id: u32, schema: &str) {
        self.answer(id, 200, &serde_json::json!({ "schema": schema }).to_string());
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn config(&self) -> RegistryConfig {
        config(self.port)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
        self.asked.fetch_add(1, Ordering::SeqCst);
        let id = first.split(['/', ' ']).rev().filter_map(|part| part.parse().ok()).next().unwrap_or(0);
        let (status, body) =
            self.answers.lock().expect("sound").get(&id).cloned().unwrap_or((404, "{}".into()));
        let len = body.len();
        let _ =
            write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}");
    }
}

pub fn config(port: u16) -> RegistryConfig {
    RegistryConfig { url: format!("http://127.0.0.1:{port}"), login: None, timeout: Duration::from_secs(2) }
}
