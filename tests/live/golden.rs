//! The golden day through Kafka into ClickHouse: every table equals what was computed elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::server;
use crate::stage::{Stage, kafka};

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// All tables but the one that counts duplicates, of which there are more.
fn check(stage: &Stage) {
    for (table, keys) in [
        ("performance_minute", 2),
        ("performance_hour", 6),
        ("attribution_hour", 3),
        ("reach_day", 2),
        ("supply_hour", 4),
        ("conversion_paths", 2),
    ] {
        stage.check(&golden("expected"), table, keys);
    }
}

#[test]
fn a_run_goes_on_from_its_checkpoint_with_other_workers_when_kafka_has_forgotten() {
    let Some(server) = server::shared() else { return };
    let Some(kafka) = kafka(services::Kafka::given_or_start(&services::KafkaSettings::default())) else {
        return;
    };
    let stage = Stage::set(&kafka, server::config(server), &golden("raw"));
    stage.produce_campaigns(&golden("campaigns.csv"));
    for (piece, workers) in [2, 3, 1, 2].into_iter().enumerate() {
        stage.produce_piece(piece, 4, Duration::ZERO);
        stage.run_until_idle_with(workers);
        stage.delete_everything();
    }
    check(&stage);
    stage.run_until_idle_with(3);
    check(&stage);
}

#[test]
fn the_golden_day_through_kafka_is_exact_and_stays_so_over_a_restart() {
    let Some(server) = server::shared() else { return };
    let Some(kafka) = kafka(services::Kafka::given_or_start(&services::KafkaSettings::default())) else {
        return;
    };
    let mut stage = Stage::set(&kafka, server::config(server), &golden("raw"));
    // Producers repeat themselves, and nothing arrives in order.
    stage.disturb(&mut StdRng::seed_from_u64(1), 0.05);
    stage.produce_campaigns(&golden("campaigns.csv"));
    stage.produce(1, Duration::ZERO);
    stage.run_until_idle();
    check(&stage);
    // Once more, all of it: a start that rebuilds everything, and only duplicates that arrive.
    stage.produce(1, Duration::ZERO);
    stage.run_until_idle();
    check(&stage);
}
