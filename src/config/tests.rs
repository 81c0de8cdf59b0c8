use std::sync::Arc;

use super::*;
use crate::formats::layout::{Format, Kinds};
use crate::formats::text::TextDecoder;
use crate::formats::{Batch, Position};

fn error(text: &str) -> String {
    Config::parse("my.toml", text).expect_err("invalid").to_string()
}

#[test]
fn the_defaults_are_complete() {
    let config = Config::load(None).expect("valid");
    assert_eq!(config.sources.line_bytes_max, 1 << 20);
    assert_eq!(config.sources.impressions.layout.fields.len(), 11);
    assert_eq!(config.sources.impressions.layout.money_scale, 3);
    assert_eq!(config.sources.events.layout.money_scale, 6);
}

#[test]
fn a_file_overrides_only_what_it_names() {
    let config = Config::parse("my.toml", "[sources.events]\nkind = \"all_clicks\"\n[replay]\nworkers = 3")
        .expect("valid");
    assert_eq!((config.replay.workers, config.replay.epoch_events), (3, 4_000_000));
    assert_eq!(config.sources.events.layout.kinds, Kinds::AllClicks);
    assert_eq!(config.sources.events.files, ["events*.csv"]);
}

#[test]
fn errors_name_the_line_the_key_and_what_would_be_right() {
    assert!(error("\n[replay]\nworker = 3").starts_with("my.toml:3: unknown field `worker`"));
    assert!(error("\n[replay]\nworker = 3").ends_with("did you mean `workers`?"));
    assert!(error("[sources.events.fields]\nvalu = \"v\"").ends_with("did you mean `value`?"));
    assert!(error("[replay]\nworkers = \"x\"").starts_with("my.toml:2: "));
    assert!(error("[replay\n").starts_with("my.toml:1: "));
    let wrong = error("# a\n[sources.events]\n# b\ndelimiter = \"ab\"");
    assert_eq!(wrong, "my.toml:4: sources.events.delimiter: one ASCII character is expected, not \"ab\"");
    let wrong = error("[sources.impressions.fields]\nuser_id = \"\"");
    assert!(
        wrong.starts_with("my.toml:2: sources.impressions.fields.user_id: this field is required"),
        "{wrong}"
    );
}

#[test]
fn every_example_loads() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    for example in std::fs::read_dir(examples).expect("examples") {
        let example = example.expect("readable").path();
        Config::load(Some(&example)).unwrap_or_else(|error| panic!("{}: {error}", example.display()));
    }
}

#[test]
fn the_click_log_of_ipinyou_is_read_by_configuration_alone() {
    let config =
        Config::parse("ipinyou.toml", include_str!("../../config/examples/ipinyou.toml")).expect("valid");
    let mut decoder = TextDecoder::new(&config.sources.events.layout, Arc::default());
    let mut batch = Batch::default();
    let lines = [
        "c0550000008e5a94ac18823d6f275121\t20130606000104008\t2\tZKA3XN8CVIZ2\tMozilla/5.0 (compatible; \"MSIE\" 9.0)\t119.163.222.*\t146\t147\t2\te80f4ec7c01cd1a049\thttp://x/?a=1,2\tnull\tmm_10027070_118039_10308280\t300\t250\tFirstView\tNa\t0\t48f2e9ba1570a5e1\t300\t50\tnull\t1458\t10059,10063",
        "2b3b35b0e5d1d3f9b2a1a6b9d4b1e5ff\t20130606235959999\t2\tVhTOLS9eDgvZ\tMozilla/4.0\t1.2.3.*\t1\t2\t1\td\tu\tnull\ts\t728\t90\tSecondView\tFixed\t5\tcr\t227\t77\tnull\t3358\tnull",
        "too\tfew",
    ];
    for line in lines {
        decoder
            .line(line.as_bytes(), &"clk.txt".into(), Position::Byte(0), &mut batch)
            .expect("no collision");
    }
    assert_eq!((batch.clicks.len(), batch.rejects.len()), (2, 1), "{:?}", batch.rejects);
    let times: Vec<_> = batch.clicks.iter().map(|(_, click)| click.ts.millis()).collect();
    // 2013-06-06 00:01:04.008 in China is 16:01:04.008 of the day before in UTC.
    assert_eq!(times, [1_370_448_064_008, 1_370_534_399_999]);
    assert!(batch.clicks.iter().all(|(id, click)| *id == click.impression));
}

fn kafka(more: &str) -> Result<KafkaConfig, String> {
    let text = format!("[kafka]\nbootstrap_servers = \"a:9092\"\n{more}");
    let config = Config::parse("my.toml", &text).map_err(|error| error.to_string())?;
    Ok(config.kafka.expect("set"))
}

#[test]
fn kafka_is_not_used_unless_a_server_is_named() {
    assert!(Config::load(None).expect("valid").kafka.is_none());
    let kafka = kafka("").expect("valid");
    assert_eq!(kafka.start, Start::Earliest);
    assert_eq!(kafka.feeds.len(), 3);
    assert!(kafka.lookups.is_empty() && kafka.registry.is_none() && kafka.rejects_topic.is_none());
    let Format::Csv(shape) = &kafka.feeds[1].layout.format else { panic!("{:?}", kafka.feeds[1]) };
    assert!(!shape.header && shape.columns.len() == 9);
}

#[test]
fn kafka_settings_are_validated_with_their_line() {
    for (more, message) in [
        ("start = \"middle\"", "my.toml:3: unknown variant `middle`"),
        ("max_message_bytes = 0", "my.toml:3: kafka.max_message_bytes: a number above 0"),
        (
            "[kafka.client]\n\"enable.auto.commit\" = true",
            "my.toml:4: kafka.client.enable.auto.commit: this is set",
        ),
        (
            "[kafka.client]\nsocket.timeout.ms = \"soon\"",
            "my.toml:4: kafka.client.socket.timeout.ms: the client refuses",
        ),
        ("[kafka.client]\n\n\"no.such\" = 1", "my.toml:5: kafka.client.no.such: the client refuses"),
        (
            "[kafka.client]\n\"client.id\" = \"${NO_SUCH_VARIABLE}\"",
            "the environment variable NO_SUCH_VARIABLE is not set",
        ),
        ("[kafka.client]\n\"client.id\" = \"${HOME\"", "${ is not closed"),
        ("[kafka.events]\ncolumns = [\"event_id\"]", "sources.events.fields.event_type"),
        ("[kafka.impressions]\nformat = \"csv\"", "my.toml:3: kafka.impressions.columns: without a header"),
        ("[kafka.impressions]\nformat = \"avro\"", "kafka.impressions.schema_file: the file of the schema"),
        (
            "[kafka.bid_requests]\nschema_file = \"no/such\"",
            "my.toml:4: kafka.bid_requests.schema_file: no/such can't",
        ),
        (
            "[kafka.bid_requests]\nformat = \"avro_registry\"",
            "my.toml:4: kafka.bid_requests.format: avro_registry needs",
        ),
        ("[kafka.registry]\nurl = \"registry:8081\"", "my.toml:4: kafka.registry.url: an address such as"),
        (
            "[kafka.traffic]\ntopic = \"events\"",
            "a topic of its own is expected; \"events\" is that of events",
        ),
    ] {
        let error = kafka(more).expect_err(more);
        assert!(error.contains(message), "{more}: {error}");
    }
    assert_eq!(kafka("start = { timestamp_ms = 5 }").expect("valid").start, Start::TimestampMs(5));
}

#[test]
fn secrets_come_from_the_environment_and_are_never_shown() {
    let more = "[kafka.client]\n\"client.id\" = \"x${CARGO_PKG_NAME}y\"\n\"client.rack\" = \"hush\"\n\
                [kafka.registry]\nurl = \"http://r:1\"\nuser = \"u\"\npassword = \"hush\"";
    let kafka = kafka(more).expect("valid");
    assert_eq!(kafka.client["client.id"].expose(), "xadvertisexy");
    assert!(!format!("{kafka:?}").contains("hush"));
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("my.toml");
    let more = "[kafka.client]\n\"sasl.password\" = \"hush\"\n[kafka.registry]\npassword = \"hush\"\nuser = \"${U}\"\n\
                [metrics.otlp_headers]\nApi-Key = \"hush\"";
    std::fs::write(&file, more).expect("written");
    let shown = Config::effective(&file).expect("valid");
    assert!(!shown.contains("hush") && shown.contains("***") && shown.contains("${U}"), "{shown}");
}

#[test]
fn a_collector_is_named_by_its_address_and_its_key_is_never_shown() {
    let load = |text: &str| {
        Config::parse("my.toml", &format!("[metrics]\n{text}")).map_err(|error| error.to_string())
    };
    let text =
        "otlp_url = \"https://collect.example/v1/metrics\"\n[metrics.otlp_headers]\nApi-Key = \"hush\"";
    let config = load(text).expect("valid");
    let target = config.metrics.otlp.as_ref().expect("a target");
    assert_eq!(target.headers, [("Api-Key".to_owned(), "hush".to_owned())]);
    assert!(!format!("{config:?}").contains("hush"));
    for (wrong, says) in [
        ("otlp_url = \"collect.example\"", "metrics.otlp_url"),
        ("otlp_url = \"http://c:1/v1/metrics\"\notlp_interval_ms = 0", "metrics.otlp_interval_ms"),
        ("otlp_url = \"http://c:1/v1/metrics\"\n[metrics.otlp_headers]\nA = \"${NOT_SET_ANYWHERE}\"", "A"),
    ] {
        let error = load(wrong).expect_err("wrong");
        assert!(error.contains(says), "{error}");
    }
}
