use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::server::{Server, config};
use crate::sources::kafka::error::KafkaSourceError;
use crate::sources::kafka::registry::{Answer, Registry};

/// Asks until there is an answer.
fn wait(registry: &Registry, id: u32) -> Result<Answer, KafkaSourceError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match registry.schema(id)? {
            Answer::Waits if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            answer => return Ok(answer),
        }
    }
}

#[test]
fn a_schema_is_asked_for_once() {
    let server = Server::start();
    server.schema(7, "\"string\"");
    let registry = Registry::start(&server.config());
    for _ in 0..3 {
        let answer = wait(&registry, 7).expect("allowed");
        assert!(matches!(&answer, Answer::Schema(text) if &**text == "\"string\""), "{answer:?}");
    }
    for _ in 0..3 {
        assert!(matches!(wait(&registry, 8).expect("allowed"), Answer::Unknown));
    }
    assert_eq!(server.asked(), 2);
}

#[test]
fn what_is_not_avro_or_not_whole_is_unusable() {
    let server = Server::start();
    server.answer(1, 200, r#"{"schema":"syntax","schemaType":"PROTOBUF"}"#);
    server.answer(2, 200, r#"{"schema":"{}","references":[{"name":"x"}]}"#);
    let registry = Registry::start(&server.config());
    for id in [1, 2] {
        assert!(matches!(wait(&registry, id).expect("allowed"), Answer::Unusable(_)));
    }
}

#[test]
fn a_refused_login_stops_the_run() {
    let server = Server::start();
    server.answer(1, 401, "");
    let error = wait(&Registry::start(&server.config()), 1).expect_err("refused");
    assert!(matches!(error, KafkaSourceError::RegistryDenied { status: 401, .. }), "{error}");
}

#[test]
fn a_registry_that_is_down_or_ill_is_asked_until_it_answers() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let registry = Registry::start(&config(port));
    assert!(matches!(registry.schema(1).expect("no refusal"), Answer::Waits));
    let deadline = Instant::now() + Duration::from_secs(20);
    while registry.trouble().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(registry.trouble().is_some());
    let server = Server::on(TcpListener::bind(("127.0.0.1", port)).expect("the port"));
    server.answer(1, 503, "");
    while server.asked() < 2 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.schema(1, "\"int\"");
    assert!(matches!(wait(&registry, 1).expect("allowed"), Answer::Schema(_)));
    assert!(registry.trouble().is_none());
}
