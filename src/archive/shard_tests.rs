//! Archives of several processes, of which there are more or fewer from start to start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dataflows::model::ids::Name;
use dataflows::model::lookups::LookupRow;
use dataflows::model::time::Epoch;

use super::manifest;
use super::tests::{catalog, expected, ids, lines, place, plan, range, rows, start_as, store, wait};
use super::*;
use crate::bindings::Positions;
use crate::formats::RowChange;
use crate::formats::lookup;
use crate::names::SharedNames;

/// Starts a run of so many processes, of which nobody has read anything before.
fn cluster(path: &Path, run: &str, names: &SharedNames, of: u32) -> Vec<Archiver> {
    let start = |number| {
        let archiver = start_as(path, run, names, (plan(), Shard { number, of }));
        archiver.ready();
        archiver
    };
    (0..of).map(start).collect()
}

/// Hands over the impressions of these numbers, which are the offsets in a partition, too.
fn feed(
    archiver: &Archiver,
    epoch: Epoch,
    partition: i32,
    numbers: std::ops::Range<i64>,
    names: &SharedNames,
) {
    let ranges = vec![range(partition, numbers.start, numbers.end)];
    archiver.feed(Fed {
        epoch,
        ranges,
        rows: rows("impressions", &lines(numbers), names),
        changes: Vec::new(),
    });
}

/// Ends a run in order.
fn end(cluster: Vec<Archiver>, published: Epoch) {
    for archiver in cluster {
        archiver.published(published);
        archiver.stop();
        assert!(archiver.failure().is_none());
    }
}

fn positions(ends: &[i64]) -> Positions {
    (0..).zip(ends).map(|(partition, end)| (place(partition), *end)).collect()
}

/// The newest manifest of each shard, as it is written.
fn newest(path: &Path) -> Vec<Manifest> {
    let store = store(path);
    let names = store.names().expect("listed");
    let last: BTreeMap<u32, u64> = names.iter().filter_map(|name| manifest::parse(name)).collect();
    last.iter().map(|(shard, number)| Manifest::read(&store, *shard, *number).expect("sound")).collect()
}

/// Every file of the archive is one shard's.
fn check_owners(path: &Path) {
    let newest = newest(path);
    let files: Vec<&str> =
        newest.iter().flat_map(|manifest| &manifest.files).map(|file| &*file.name).collect();
    let different: BTreeSet<&str> = files.iter().copied().collect();
    assert_eq!(files.len(), different.len(), "{files:?}");
    assert_eq!(files.len(), catalog(path).files.len());
}

#[test]
fn every_record_is_there_once_whatever_the_number_of_processes() {
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    let path = root.path();
    let mut done = 0;
    for (run, of) in (1..).zip([3, 1, 3, 2, 3, 1]) {
        let shards = cluster(path, &format!("run-{run}"), &names, of);
        for epoch in [2 * run, 2 * run + 1] {
            for partition in 0..3 {
                // Numbers are offsets, between which there may be nothing.
                let from = done * 30 + i64::from(partition) * 10;
                let archiver = &shards[partition as usize % of as usize];
                assert_eq!(archiver.positions().get(&place(partition)).is_none(), run == 1);
                feed(archiver, epoch, partition, from..from + 10, &names);
            }
            done += 1;
        }
        end(shards, 2 * run + 1);
        assert_eq!(ids(path), expected(0..done * 30), "{of} processes");
        let ends = [0, 1, 2].map(|partition| done * 30 - 30 + partition * 10 + 10);
        assert_eq!((catalog(path).positions, catalog(path).epoch), (positions(&ends), 2 * run + 1));
        check_owners(path);
    }
}

#[test]
fn an_idle_process_says_how_far_it_was_and_a_lagging_one_holds_the_epoch_back() {
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    let shards = cluster(root.path(), "a", &names, 3);
    feed(&shards[1], 5, 0, 0..10, &names);
    end(shards, 7);
    assert_eq!(catalog(root.path()).epoch, 7);
    let shards = cluster(root.path(), "b", &names, 4);
    feed(&shards[0], 9, 0, 10..20, &names);
    shards[0].published(9);
    wait("one of them is further", || ids(root.path()).len() == 20);
    assert_eq!(catalog(root.path()).epoch, 7);
    end(shards, 9);
    assert_eq!(catalog(root.path()).epoch, 9);
}

fn row(site: &str) -> lookup::Entry {
    lookup::Entry { rule: Some(LookupRow::ListedSite(Name::new(site))), dimension: None, text: None }
}

#[test]
fn a_row_that_was_withdrawn_stays_so_whoever_reads_its_partition() {
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    let change = |key: &str, site: Option<&str>| {
        let (topic, row) = (place(0).topic, site.map(row));
        RowChange { topic, partition: 1, key: key.as_bytes().into(), row }
    };
    let held = |path: &Path| -> Vec<String> {
        let key = |key: &[u8]| String::from_utf8(key.to_vec()).expect("text");
        catalog(path).rows.keys().map(|(_, held)| key(held)).collect()
    };
    // How many processes there are, which of them reads the partition, and what comes.
    let runs = [
        (2, 1, vec![change("a", Some("x")), change("b", Some("y"))], vec!["a", "b"]),
        (3, 0, vec![change("a", None)], vec!["b"]),
        // What changes nothing moves the partition all the same.
        (2, 1, vec![], vec!["b"]),
        (3, 2, vec![change("c", Some("z"))], vec!["b", "c"]),
        (2, 1, vec![change("b", None)], vec!["c"]),
        (1, 0, vec![change("c", None)], vec![]),
        (2, 1, vec![], vec![]),
    ];
    let mut before = Vec::new();
    for (run, (of, reader, changes, after)) in (1..).zip(runs) {
        let shards = cluster(root.path(), &format!("run-{run}"), &names, of);
        for archiver in &shards {
            assert_eq!(archiver.rows().len(), before.len(), "run {run}");
        }
        let ranges = vec![range(1, run * 10 - 10, run * 10)];
        shards[reader].feed(Fed { epoch: run as Epoch, ranges, rows: Rows::default(), changes });
        end(shards, run as Epoch);
        assert_eq!(held(root.path()), after, "run {run}");
        before = after;
    }
}

#[test]
fn who_was_replaced_writes_nothing_more_even_if_there_is_no_such_process_any_more() {
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    let path = root.path();
    let replaced = cluster(path, "a", &names, 3);
    for (partition, archiver) in (0..).zip(&replaced) {
        let from = i64::from(partition) * 10;
        feed(archiver, 1, partition, from..from + 10, &names);
        archiver.published(1);
        feed(archiver, 2, partition, 30 + from..40 + from, &names);
    }
    wait("all have archived something", || ids(path).len() == 30);
    let shards = cluster(path, "b", &names, 2);
    // Numbers go by, so that those behind which the others stand are free again.
    for epoch in 2..8 {
        let from = 30 * (epoch as i64 - 1);
        feed(&shards[0], epoch, 0, from..from + 10, &names);
        feed(&shards[1], epoch, 1, from + 10..from + 20, &names);
        feed(&shards[0], epoch, 2, from + 20..from + 30, &names);
        shards.iter().for_each(|archiver| archiver.published(epoch));
        wait("it is archived", || ids(path).len() == 30 * epoch as usize);
    }
    for archiver in &replaced {
        archiver.published(2);
        archiver.stop();
        let failure = archiver.failure();
        assert!(matches!(failure, Some(ArchiveError::Fenced { .. })), "{failure:?}");
    }
    end(shards, 8);
    assert_eq!(ids(path), expected(0..210));
    check_owners(path);
    // A process of a run that was replaced before it joined, and one that looks elsewhere.
    let late = Archive::find(&store(path), "job", "a", Shard { number: 2, of: 3 }, 0).expect("an archive");
    let refused = Keeper::claim(store(path), None, late, "a").map(|_| ());
    assert!(matches!(refused, Err(ArchiveError::NotShared { .. })), "{refused:?}");
    end(cluster(path, "c", &names, 3), 8);
    assert_eq!(ids(path), expected(0..210));
}

#[test]
fn a_start_that_was_killed_amid_taking_over_what_others_left_has_it_once() {
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    for then in [1, 2, 3] {
        let path = root.path().join(then.to_string());
        let shards = cluster(&path, "a", &names, 3);
        for (partition, archiver) in (0..).zip(&shards) {
            let from = i64::from(partition) * 10;
            feed(archiver, 1, partition, from..from + 10, &names);
        }
        end(shards, 1);
        let left: Vec<Manifest> = newest(&path).into_iter().filter(|found| found.shard > 0).collect();
        drop(cluster(&path, "b", &names, 1));
        // As if the first had been killed before it could say that the others are no more.
        for mut fence in left {
            let tombstone = newest(&path).into_iter().find(|found| found.shard == fence.shard);
            let tombstone = tombstone.expect("its number is kept");
            assert!(tombstone.left && tombstone.number == fence.number + 2);
            fence.number += 1;
            let store = store(&path);
            store.remove(&manifest::name(fence.shard, tombstone.number)).expect("removed");
            store.create(&manifest::name(fence.shard, fence.number), fence.bytes()).expect("written");
        }
        assert_eq!(ids(&path), expected(0..30));
        let shards = cluster(&path, "c", &names, then);
        feed(&shards[0], 2, 0, 30..40, &names);
        end(shards, 2);
        assert_eq!(ids(&path), expected(0..40), "{then} processes");
        check_owners(&path);
    }
}

#[test]
fn a_damaged_manifest_of_one_of_several_is_passed_over_and_nobody_claims_to_be_further() {
    let (root, names) = (tempfile::tempdir().expect("temporary"), SharedNames::default());
    let path = root.path();
    for (run, from) in [("a", 0), ("b", 10)] {
        let shards = cluster(path, run, &names, 2);
        feed(&shards[1], 1 + from as Epoch, 1, from..from + 10, &names);
        end(shards, 1 + from as Epoch);
        // The other one has heard of that.
        end(cluster(path, &format!("{run}-again"), &names, 2), 1 + from as Epoch);
    }
    let shards = cluster(path, "c", &names, 2);
    feed(&shards[1], 21, 1, 20..30, &names);
    end(shards, 21);
    let damaged = newest(path).pop().expect("of shard 1");
    std::fs::write(path.join(manifest::name(1, damaged.number)), "half").expect("written");
    assert_eq!((ids(path), catalog(path).positions.get(&place(1))), (expected(0..20), Some(&20)));
    let shards = cluster(path, "d", &names, 3);
    assert_eq!(shards[0].positions().get(&place(1)), Some(&20));
    feed(&shards[0], 21, 1, 20..30, &names);
    end(shards, 21);
    assert_eq!(ids(path), expected(0..30));
}
