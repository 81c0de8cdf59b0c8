//! An S3 server answers, refuses strangers, and returns on its port after a SIGKILL.

use std::io::{Read, Write};
use std::net::TcpStream;

use services::{S3, S3Settings};

fn status(s3: &S3, path: &str) -> String {
    let address = s3.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_server_refuses_strangers_and_returns_after_a_kill() {
    let mut s3 = S3::start(&S3Settings::default())
        .unwrap_or_else(|error| panic!("S3 can't be had: {}", error.chain()));
    assert_eq!(status(&s3, "/"), "403");
    let (url, first) = (s3.url().to_owned(), s3.pid());
    s3.kill().expect("a kill");
    s3.restart().expect("a restart");
    assert_eq!(s3.url(), url);
    assert_ne!(s3.pid(), first);
    assert_eq!(status(&s3, "/"), "403");
    s3.stop().expect("an orderly stop");
}
