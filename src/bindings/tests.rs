use dataflows::model::time::EventTime;

use super::*;

const JOB: &str = "main";

fn range(topic: &str, partition: i32, from: i64, to: i64) -> Range {
    Range { place: TopicPartition { topic: topic.into(), partition }, from, to }
}

fn bound(epoch: Epoch, ranges: Vec<Range>, frozen_minutes: i64) -> Binding {
    let freeze = EventTime::from_millis(frozen_minutes * 60_000).expect("in range");
    Binding { epoch, ranges, horizon: Horizon { freeze, conversions: freeze, ..Horizon::default() } }
}

/// Epochs of all shapes: several topics, a start without messages, a new partition, no range, a
/// horizon that moves and one that stands.
fn bindings() -> Vec<Binding> {
    vec![
        bound(1_000, vec![range("a", 0, 0, 7), range("b", 0, 300, 300)], 0),
        bound(1_001, vec![range("a", 0, 7, 9), range("b", 0, 300, 100_000)], 60),
        bound(5_000, vec![], 120),
        bound(5_001, vec![range("a", 1, 0, 1), range("campaigns", 0, 5, 6)], 120),
        bound(u64::MAX, vec![range("a", 0, 9, i64::MAX)], 180),
    ]
}

fn write(dir: &Path, all: &[Binding]) {
    let (mut log, before) = Bindings::open(dir, JOB).expect("opens");
    assert!(before.is_empty());
    all.iter().for_each(|binding| log.append(binding).expect("appended"));
}

fn read(dir: &Path) -> Result<Vec<Binding>, BindingsError> {
    Bindings::open(dir, JOB).map(|(_, bindings)| bindings)
}

/// A written log, its bytes, and where its frames start and end.
fn written() -> (tempfile::TempDir, Vec<u8>, Vec<usize>) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut ends = vec![HEADER_BYTES];
    for count in 1..=bindings().len() {
        let short = tempfile::tempdir().expect("temporary directory");
        write(short.path(), &bindings()[..count]);
        ends.push(std::fs::metadata(short.path().join(FILE)).expect("there").len() as usize);
    }
    write(dir.path(), &bindings());
    let bytes = std::fs::read(dir.path().join(FILE)).expect("readable");
    (dir, bytes, ends)
}

/// What is read from a log of these bytes, checked to be a true prefix that can be continued.
fn reread(dir: &Path, bytes: &[u8]) -> Result<usize, BindingsError> {
    std::fs::write(dir.join(FILE), bytes).expect("writes");
    let (mut log, held) = Bindings::open(dir, JOB)?;
    assert_eq!(held, bindings()[..held.len()], "a prefix of the truth");
    // What was cut can be written again, and then everything is there.
    bindings()[held.len()..].iter().for_each(|binding| log.append(binding).expect("appended"));
    drop(log);
    assert_eq!(read(dir).expect("sound"), bindings());
    Ok(held.len())
}

#[test]
fn what_was_appended_is_read_back_with_the_positions() {
    let (dir, ..) = written();
    let (log, held) = Bindings::open(dir.path(), JOB).expect("opens");
    assert_eq!(held, bindings());
    assert_eq!(log.last_epoch(), Some(u64::MAX));
    let positions: Vec<_> = log
        .positions()
        .into_iter()
        .map(|(place, next)| (place.topic.to_string(), place.partition, next))
        .collect();
    let place = |topic: &str, partition, next| (topic.to_owned(), partition, next);
    let expected =
        [place("a", 0, i64::MAX), place("a", 1, 1), place("b", 0, 100_000), place("campaigns", 0, 6)];
    assert_eq!(positions, expected);
}

#[test]
fn a_log_cut_at_any_byte_yields_the_records_before_the_cut() {
    let (dir, bytes, ends) = written();
    for len in 0..=bytes.len() {
        let expected = ends.iter().filter(|&&end| end <= len).count().checked_sub(1);
        match (reread(dir.path(), &bytes[..len]), expected) {
            (Ok(count), Some(expected)) => assert_eq!(count, expected, "cut at {len}"),
            (Err(BindingsError::NotALog { .. }), None) => {}
            other => panic!("cut at {len}: {other:?}"),
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_except_in_the_last_record() {
    let (dir, bytes, ends) = written();
    let last = ends[ends.len() - 2];
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let at = bit / 8;
        match reread(dir.path(), &damaged) {
            Ok(count) => assert!(at >= last && count == ends.len() - 2, "bit {bit}: {count}"),
            Err(BindingsError::NotALog { .. }) => assert!(at < HEADER_BYTES, "bit {bit}"),
            Err(BindingsError::Damaged { at: found, .. }) => {
                assert!((found..last).contains(&at), "bit {bit}: {found}");
            }
            Err(error) => panic!("bit {bit}: {error}"),
        }
    }
}

#[test]
fn a_record_that_is_doubled_moved_or_missing_is_noticed() {
    let (dir, bytes, ends) = written();
    let frame = |number: usize| &bytes[ends[number]..ends[number + 1]];
    let log = |frames: &[usize]| {
        let frames = frames.iter().flat_map(|&number| frame(number).to_vec());
        bytes[..HEADER_BYTES].iter().copied().chain(frames).collect::<Vec<u8>>()
    };
    for order in
        [&[0, 0, 1, 2, 3, 4][..], &[0, 1, 1, 2, 3, 4], &[1, 0, 2, 3, 4], &[0, 1, 3, 2, 4], &[0, 2, 3, 4]]
    {
        let error = reread(dir.path(), &log(order)).expect_err("refused");
        assert!(matches!(error, BindingsError::Damaged { .. }), "{order:?}: {error}");
    }
    // At the very end it can't be told from a record that was not finished, and is cut.
    assert_eq!(reread(dir.path(), &log(&[0, 1, 2, 3, 4, 4])).expect("cut"), 5);
    assert_eq!(reread(dir.path(), &log(&[0, 1, 2, 4])).expect("cut"), 3);
}

#[test]
fn zeros_behind_the_last_record_are_a_torn_tail() {
    let (dir, mut bytes, _) = written();
    bytes.extend([0; 4096]);
    assert_eq!(reread(dir.path(), &bytes).expect("cut"), 5);
}

#[test]
fn the_log_of_another_job_or_version_is_refused() {
    let (dir, mut bytes, _) = written();
    let error = Bindings::open(dir.path(), "other").expect_err("refused");
    assert!(matches!(error, BindingsError::OtherJob { .. }), "{error}");
    bytes[8] = 9;
    let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..24]);
    bytes[24..32].copy_from_slice(&checksum.to_le_bytes());
    let error = reread(dir.path(), &bytes).expect_err("refused");
    assert!(matches!(error, BindingsError::Version { found: 9, .. }), "{error}");
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (held, _) = Bindings::open(dir.path(), JOB).expect("opens");
    let error = Bindings::open(dir.path(), JOB).expect_err("locked");
    assert!(matches!(error, BindingsError::Locked { .. }), "{error}");
    drop(held);
    Bindings::open(dir.path(), JOB).expect("free again");
}

#[test]
fn a_binding_that_does_not_continue_the_log_is_refused_and_nothing_written() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut log, _) = Bindings::open(dir.path(), JOB).expect("opens");
    let first = bound(5, vec![range("a", 0, 10, 20)], 2);
    log.append(&first).expect("appended");
    for (epoch, ranges) in [
        (5, vec![]),
        (4, vec![range("a", 0, 20, 21)]),
        (6, vec![range("a", 0, 19, 21)]),
        (6, vec![range("a", 0, 21, 22)]),
        (6, vec![range("a", 0, 20, 20)]),
        (6, vec![range("a", 0, 20, 19)]),
        (6, vec![range("a", 1, -1, 3)]),
        (6, vec![range("a", -1, 0, 3)]),
        (6, vec![range("new", 1, 0, 3), range("new", 1, 0, 3)]),
    ] {
        let error = log.append(&bound(epoch, ranges, 2)).expect_err("refused");
        assert!(matches!(error, BindingsError::Invalid(_)), "{error}");
    }
    let error = log.append(&bound(6, vec![], 1)).expect_err("refused");
    assert!(matches!(error, BindingsError::Invalid(Invalid::Horizon { epoch: 6 })), "{error}");
    let next = bound(6, vec![range("a", 0, 20, 21)], 2);
    log.append(&next).expect("appended");
    drop(log);
    assert_eq!(read(dir.path()).expect("sound"), [first, next]);
}

#[test]
fn what_a_checkpoint_holds_is_forgotten_and_the_rest_goes_on() {
    let all = bindings();
    for kept in 0..all.len() {
        let (dir, ..) = written();
        let (mut log, _) = Bindings::open(dir.path(), JOB).expect("opens");
        log.forget(all[kept].epoch).expect("forgets");
        drop(log);
        let (mut log, held) = Bindings::open(dir.path(), JOB).expect("opens");
        assert_eq!(held, all[(kept + 1).min(all.len() - 1)..], "the last one stays");
        log.forget(0).expect("too small again");
        drop(log);
        assert_eq!(read(dir.path()).expect("sound"), held);
    }
}
