//! The golden day through Kafka into ClickHouse: every table equals what was computed elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use advertisex::sinks::clickhouse::ClickHouse;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::server;
use crate::stage::{Stage, kafka};

/// The tables that were computed elsewhere, and of how many columns their keys are.
pub const TABLES: [(&str, usize); 6] = [
    ("performance_minute", 2),
    ("performance_hour", 6),
    ("attribution_hour", 3),
    ("reach_day", 2),
    ("supply_hour", 4),
    ("conversion_paths", 2),
];

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A stage for the golden feeds, where there are services; the broker lives as long as it.
pub fn stage() -> Option<(services::Kafka, Stage)> {
    let server = server::shared()?;
    let kafka = kafka(services::Kafka::given_or_start(&services::KafkaSettings::default()))?;
    let stage = Stage::set(&kafka, server::config(server), &golden("raw"));
    Some((kafka, stage))
}

/// All tables but the one that counts duplicates, of which there are more.
pub fn check(stage: &Stage) {
    for (table, keys) in TABLES {
        stage.check(&golden("expected"), table, keys);
    }
}

#[test]
fn a_run_goes_on_from_its_checkpoint_with_other_workers_when_kafka_has_forgotten() {
    let Some((_kafka, stage)) = stage() else { return };
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
    let Some((_kafka, mut stage)) = stage() else { return };
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

/// What the views say ids stand for.
fn names(stage: &Stage) -> Vec<String> {
    let clickhouse = ClickHouse::connect(stage.clickhouse.clone()).expect("the server");
    [
        "SELECT campaign_id, advertiser_id, name FROM dim_campaign_live ORDER BY 1",
        "SELECT advertiser_id, name FROM dim_advertiser_live ORDER BY 1",
        "SELECT creative_id, name, format FROM dim_creative_live ORDER BY 1",
        "SELECT site, name, category FROM dim_site_live ORDER BY 1",
    ]
    .iter()
    .flat_map(|sql| server::rows(&clickhouse, sql))
    .collect()
}

#[test]
fn what_ids_stand_for_is_published_changed_and_withdrawn() {
    let Some((_kafka, stage)) = stage() else { return };
    stage.put_row("campaigns", "c1", Some("c1,adv1,\"Spring, early\""));
    stage.put_row("campaigns", "c2", Some("c2,adv1"));
    stage.put_row("advertisers", "adv1", Some("adv1,Acme"));
    for creative in ["a", "a-creative-of-a-long-name"] {
        let row = format!(r#"{{"creative_id":"{creative}","format":"video","name":"Clip"}}"#);
        stage.put_row("creatives", creative, Some(&row));
    }
    stage.put_row("sites", "s1", Some("s1,The News,news"));
    stage.run_until_idle();
    let before = [
        "('c1','adv1','Spring, early')",
        "('c2','adv1','')",
        "('adv1','Acme')",
        "('a','Clip','video')",
        "('a-creative-of-a-long-name','Clip','video')",
        "('s1','The News','news')",
    ];
    assert_eq!(names(&stage), before);

    // Kafka has forgotten what was said first; what is said now is still a change of it.
    stage.delete_everything();
    stage.put_row("campaigns", "c1", Some("c1,adv1,Summer"));
    stage.put_row("campaigns", "c2", Some("c2,adv2"));
    stage.put_row("creatives", "a", None);
    stage.put_row("creatives", "a-creative-of-a-long-name", None);
    stage.put_row("sites", "s1", Some("s2,The News,news"));
    stage.run_until_idle_with(3);
    let after = ["('c1','adv1','Summer')", "('c2','adv2','')", "('adv1','Acme')", "('s2','The News','news')"];
    assert_eq!(names(&stage), after);
}
