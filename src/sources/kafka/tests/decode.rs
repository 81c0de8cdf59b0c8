use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use apache_avro::types::{Record, Value};
use apache_avro::writer::datum::GenericDatumWriter;
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::LookupRow;
use dataflows::model::reject::{Feed, Reason};
use rdkafka::message::{OwnedMessage, Timestamp};

use super::server::{Server, config as registry_config};
use crate::config::{Config, KafkaConfig};
use crate::formats::{Batch, Position};
use crate::sources::kafka::decode::{MessageDecoder, Outcome};
use crate::sources::kafka::registry::Registry;

const SCHEMA: &str = include_str!("../../../../config/schemas/bid_request.avsc");

fn config(more: &str) -> KafkaConfig {
    let text = format!("[kafka]\nbootstrap_servers = \"unused\"\nmax_message_bytes = 5000\n{more}");
    Config::parse("test.toml", &text).expect("valid").kafka.expect("set")
}

fn feed(feed: Feed, more: &str, registry: Option<Arc<Registry>>) -> MessageDecoder {
    let config = config(more);
    let topic = config.feeds.iter().find(|topic| topic.layout.feed == feed).expect("configured");
    MessageDecoder::feed(topic, config.message_bytes_max, Arc::default(), registry.as_ref())
        .expect("complete")
}

fn message(key: Option<&[u8]>, value: Option<&[u8]>) -> OwnedMessage {
    let own = |bytes: &[u8]| bytes.to_vec();
    OwnedMessage::new(value.map(own), key.map(own), "t".into(), Timestamp::NotAvailable, 3, 42, None)
}

fn decode(decoder: &mut MessageDecoder, value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    let outcome = decoder.message(&message(None, Some(value)), &mut batch).expect("no collision");
    assert_eq!(outcome, Outcome::Decoded);
    batch
}

fn request(schema: &str, extra: &[(&str, Value)], price: Value) -> Vec<u8> {
    let schema = Schema::parse_str(schema).expect("valid");
    let mut record = Record::new(&schema).expect("record");
    for field in ["user_id", "site", "country", "device"] {
        let text = if field == "country" { "DE" } else { "ctv" };
        record.put(field, text);
    }
    record.put("auction_id", "auction-1");
    record.put("timestamp", Value::TimestampMillis(1_772_323_200_000));
    let bid = [("campaign_id", Value::String("c1".into())), ("creative_id", Value::String("cr".into()))];
    let bid = bid.into_iter().chain([("price_cpm", price)]).map(|(name, value)| (name.to_owned(), value));
    record.put("bids", Value::Array(vec![Value::Record(bid.collect())]));
    extra.iter().for_each(|(name, value)| record.put(name, value.clone()));
    let writer = GenericDatumWriter::builder(&schema).build().expect("a writer");
    writer.write_value_to_vec(record).expect("encoded")
}

/// As the Confluent serializers write it.
fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], datum].concat()
}

const IMPRESSION: &str = r#"{"impression_id":"i1","auction_id":"a1","timestamp":1772323200000,"user_id":"u1","campaign_id":"c1","win_price_cpm":1.5}"#;

#[test]
fn poison_is_rejected_with_its_topic_partition_and_offset() {
    let mut decoder = feed(Feed::Impressions, "", None);
    let batch = decode(&mut decoder, format!("{IMPRESSION}\n").as_bytes());
    assert_eq!((batch.impressions.len(), batch.rejects.len()), (1, 0), "{:?}", batch.rejects);
    let long = vec![b'x'; 10 << 20];
    let two = format!("{IMPRESSION}{IMPRESSION}");
    for (value, hint) in [
        (None, "tombstone"),
        (Some(&b""[..]), "empty"),
        (Some(&long[..]), "longer than kafka.max_message_bytes (5000)"),
        (Some(b"\xff\xfe"), "UTF-8"),
        (Some(b"[]"), "an object"),
        (Some(two.as_bytes()), "trailing"),
    ] {
        let mut batch = Batch::default();
        decoder.message(&message(Some(b"k"), value), &mut batch).expect("no collision");
        let [reject] = &batch.rejects[..] else { panic!("{hint}: {batch:?}") };
        assert_eq!((reject.feed, reject.reason), (Feed::Impressions, Reason::Malformed));
        assert!(reject.hint.contains(hint), "{hint}: {}", reject.hint);
        assert_eq!(&*reject.origin.file, "impressions");
        assert_eq!(reject.origin.position, Position::Message { partition: 3, offset: 42 });
        assert!(reject.payload.len() <= 4096);
        let line = serde_json::to_string(reject).expect("serialisable");
        assert!(line.contains(r#""file":"impressions","position":"partition 3, offset 42""#), "{line}");
    }
}

#[test]
fn a_csv_message_is_one_line_in_the_order_of_the_columns() {
    let mut decoder = feed(Feed::Events, "", None);
    let click = "click,e1,1772323200000,,i1,,,,";
    for line in [click.to_owned(), format!("{click}\n"), format!("{click}\r\n")] {
        let batch = decode(&mut decoder, line.as_bytes());
        assert_eq!((batch.clicks.len(), batch.rejects.len()), (1, 0), "{:?}", batch.rejects);
        assert_eq!(batch.clicks[0].0, Id::new("e1"));
    }
    for line in [format!("{click}\n{click}"), "click,e1".to_owned(), "\n".to_owned()] {
        let batch = decode(&mut decoder, line.as_bytes());
        assert_eq!((batch.clicks.len(), batch.rejects.len()), (0, 1), "{line}");
        assert_eq!(batch.rejects[0].reason, Reason::Malformed);
    }
}

#[test]
fn a_bare_datum_is_read_with_the_configured_schema() {
    let mut decoder = feed(Feed::BidRequests, "", None);
    let datum = request(SCHEMA, &[], Value::Double(2.0));
    let batch = decode(&mut decoder, &datum);
    assert_eq!((batch.bids.len(), batch.rejects.len()), (1, 0), "{:?}", batch.rejects);
    let longer = [&datum[..], b"x"].concat();
    for bad in [&datum[..datum.len() - 3], &longer] {
        let batch = decode(&mut decoder, bad);
        assert_eq!((batch.bids.len(), batch.rejects.len()), (0, 1));
        assert_eq!(batch.rejects[0].reason, Reason::Malformed);
    }
}

const REGISTRY: &str =
    "[kafka.registry]\nurl = \"http://127.0.0.1:1\"\n[kafka.bid_requests]\nformat = \"avro_registry\"";

/// Decodes once the registry has answered.
fn decode_when_known(decoder: &mut MessageDecoder, value: &[u8]) -> Batch {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut batch = Batch::default();
    while decoder.message(&message(None, Some(value)), &mut batch).expect("no collision") == Outcome::Waits {
        assert!(Instant::now() < deadline, "the registry never answered");
        assert!(batch.is_empty() && batch.bytes == 0);
        std::thread::sleep(Duration::from_millis(5));
    }
    batch
}

#[test]
fn an_added_field_goes_through_and_an_incompatible_one_is_rejected() {
    let server = Server::start();
    let added = SCHEMA.replacen(
        r#""fields": ["#,
        r#""fields": [{"name": "exchange", "type": ["null", "string"], "default": null},"#,
        1,
    );
    assert_ne!(added, SCHEMA);
    let incompatible = SCHEMA.replace(r#""double""#, r#"{"type": "map", "values": "int"}"#);
    assert_ne!(incompatible, SCHEMA);
    server.schema(1, SCHEMA);
    server.schema(2, &added);
    server.schema(3, &incompatible);
    server.schema(4, "\"string\"");
    server.schema(5, "nonsense");
    let registry = Arc::new(Registry::start(&server.config()));
    let mut decoder = feed(Feed::BidRequests, REGISTRY, Some(registry));
    let exchange = Value::Union(1, Box::new(Value::String("x".into())));
    for (id, datum) in [
        (1, request(SCHEMA, &[], Value::Double(2.0))),
        (2, request(&added, &[("exchange", exchange)], Value::Double(2.0))),
    ] {
        let batch = decode_when_known(&mut decoder, &framed(id, &datum));
        assert_eq!((batch.bids.len(), batch.rejects.len()), (1, 0), "{id}: {:?}", batch.rejects);
    }
    let map = Value::Map([("a".to_owned(), Value::Int(1))].into());
    for (message, hint) in [
        (framed(3, &request(&incompatible, &[], map)), "price: a value of this type is not accepted"),
        (framed(4, b"\x02a"), "not of type record"),
        (framed(5, b"\x02a"), "schema 5 can't be read"),
        (framed(6, b"\x02a"), "knows no schema 6"),
        (vec![1, 0, 0, 0, 1, 2], "a zero byte"),
        (vec![0, 0, 0], "a zero byte"),
    ] {
        let batch = decode_when_known(&mut decoder, &message);
        assert_eq!((batch.bids.len(), batch.rejects.len()), (0, 1), "{hint}");
        let reject = &batch.rejects[0];
        assert_eq!(reject.reason, Reason::Malformed);
        assert!(reject.hint.contains(hint), "{hint}: {}", reject.hint);
    }
    // One question for each id, whatever the number of messages.
    assert_eq!(server.asked(), 6);
}

#[test]
fn messages_wait_while_the_registry_is_down_and_none_is_lost() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let registry = Arc::new(Registry::start(&registry_config(port)));
    let mut decoder = feed(Feed::BidRequests, REGISTRY, Some(registry));
    let framed = framed(1, &request(SCHEMA, &[], Value::Double(2.0)));
    for _ in 0..50 {
        let mut batch = Batch::default();
        let outcome = decoder.message(&message(None, Some(&framed)), &mut batch).expect("no refusal");
        assert_eq!((outcome, batch.is_empty()), (Outcome::Waits, true));
        std::thread::sleep(Duration::from_millis(5));
    }
    let server = Server::on(TcpListener::bind(("127.0.0.1", port)).expect("the port"));
    server.schema(1, SCHEMA);
    assert_eq!(decode_when_known(&mut decoder, &framed).bids.len(), 1);
}

#[test]
fn a_lookup_topic_is_a_changing_table() {
    let config = config("[kafka.campaigns]\ntopic = \"campaigns\"");
    let mut decoder = MessageDecoder::lookup(&config.lookups[0], 5000, Arc::default());
    assert!(decoder.is_lookup());
    let mut send = |key: Option<&str>, value: Option<&str>| {
        let mut batch = Batch::default();
        let message = message(key.map(str::as_bytes), value.map(str::as_bytes));
        decoder.message(&message, &mut batch).expect("no collision");
        assert!(batch.rejects.is_empty() && batch.events() == 0);
        (batch.lookups, batch.lookup_faults)
    };
    let row = |advertiser| LookupRow::Campaign(Name::new("c1"), Name::new(advertiser));
    assert_eq!(send(Some("k"), Some("c1,a")).0, [(row("a"), 1)]);
    assert_eq!(send(Some("k"), Some("c1,b")).0, [(row("a"), -1), (row("b"), 1)]);
    assert_eq!(send(Some("k"), Some("c1,b")).0, []);
    for (key, value, hint) in
        [(Some("k"), "c1", "were found"), (Some("k"), "", "empty"), (None, "c1,c", "needs a key")]
    {
        let (changes, faults) = send(key, Some(value));
        assert!(changes.is_empty() && faults.len() == 1);
        assert!(faults[0].hint.contains(hint), "{}", faults[0].hint);
        assert_eq!(faults[0].origin.position, Position::Message { partition: 3, offset: 42 });
    }
    assert_eq!(send(Some("other"), Some("c1,a")).0, [(row("a"), 1)]);
    assert_eq!(send(Some("k"), None).0, [(row("b"), -1)]);
    assert_eq!(send(Some("k"), None).0, []);
    assert_eq!(send(Some("other"), None).0, [(row("a"), -1)]);
}
