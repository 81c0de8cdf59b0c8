//! A broker answers, and returns on its port after a SIGKILL.

use std::io::{Read, Write};
use std::net::TcpStream;

use services::{Kafka, KafkaSettings};

/// Asks a broker for the versions it speaks; how many kinds of request it knows.
fn request_kinds(kafka: &Kafka) -> u32 {
    let mut stream = TcpStream::connect(kafka.bootstrap()).expect("a connection");
    // Length; key 18 (ApiVersions), version 0; correlation 7; a null client id.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]).expect("a request");
    let mut answer = [0; 14];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer[4..10], [0, 0, 0, 7, 0, 0], "our correlation, and no error");
    u32::from_be_bytes([answer[10], answer[11], answer[12], answer[13]])
}

#[test]
fn a_broker_returns_on_its_port_after_a_kill() {
    let mut kafka = Kafka::start(&KafkaSettings::default())
        .unwrap_or_else(|error| panic!("Kafka can't be had: {}", error.chain()));
    assert!(request_kinds(&kafka) > 40);

    let (address, first) = (kafka.bootstrap().to_owned(), kafka.pid());
    kafka.kill().expect("a kill");
    assert!(TcpStream::connect(&address).is_err(), "it is dead");
    kafka.restart().expect("a restart");
    assert_eq!(kafka.bootstrap(), address);
    assert_ne!(kafka.pid(), first);
    assert!(request_kinds(&kafka) > 40);
    kafka.stop().expect("an orderly stop");
}

#[test]
fn a_wrong_property_is_told() {
    let settings = KafkaSettings {
        properties: vec![("num.io.threads".to_owned(), "none".to_owned())],
        ..KafkaSettings::default()
    };
    let error = Kafka::start(&settings).err().expect("an error").to_string();
    assert!(error.contains("num.io.threads"), "{error}");
}
