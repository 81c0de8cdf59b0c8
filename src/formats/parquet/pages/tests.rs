use std::io::Write;
use std::sync::Arc;

use parquet::basic::Encoding;
use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type as Schema};

use super::*;

const DATA: u64 = 0;
const DICTIONARY: u64 = 2;
const SPLIT_LEVELS: u64 = 3;
const PLAIN: u64 = 0;
const PLACES: u64 = 8;
const DELTA_LENGTHS: u64 = 6;

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A page whose header says so, of `there` bytes.
fn page(kind: u64, (unpacked, packed): (u64, u64), values: u64, encoding: u64, there: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let number = |value: u64, bytes: &mut Vec<u8>| {
        bytes.push(0x15);
        varint(value << 1, bytes);
    };
    [kind, unpacked, packed].into_iter().for_each(|value| number(value, &mut bytes));
    match kind {
        DATA => bytes.push(0x2c),
        DICTIONARY => bytes.push(0x4c),
        _ => bytes.push(0x5c),
    }
    let numbers = match kind {
        DATA => vec![values, encoding, 3, 3],
        DICTIONARY => vec![values, encoding],
        _ => vec![values, 0, values, encoding, 0, 0],
    };
    numbers.into_iter().for_each(|value| number(value, &mut bytes));
    if kind == DATA {
        // Statistics: a text, and how many values are absent.
        bytes.extend(*b"\x1c\x58\x03abc\x26\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x00");
    }
    bytes.extend([0, 0]);
    bytes.resize(bytes.len() + there, 0);
    bytes
}

fn said(kind: Type, pages: &[Vec<u8>]) -> Result<Encodings, String> {
    let mut file = tempfile::tempfile().expect("temporary");
    file.write_all(b"PAR1").expect("written");
    file.write_all(&pages.concat()).expect("written");
    let schema = Schema::primitive_type_builder("ts", kind).with_length(1).build().expect("a type");
    let column = ColumnDescriptor::new(Arc::new(schema), 1, 0, ColumnPath::from("ts"));
    let column = ColumnChunkMetaData::builder(Arc::new(column))
        .set_total_compressed_size(pages.concat().len() as i64)
        .set_data_page_offset(4)
        .set_encodings(vec![Encoding::PLAIN])
        .build()
        .expect("a column");
    check(&file, &column)
}

fn page_of(kind: u64, sizes: (u64, u64), values: u64, encoding: u64) -> Vec<u8> {
    page(kind, sizes, values, encoding, sizes.1 as usize)
}

#[test]
fn a_dictionary_has_no_more_values_than_its_bytes_can_hold() {
    let column = |kind, bytes, values| {
        let places = page_of(DATA, (9, 9), 100, PLACES);
        said(kind, &[page_of(DICTIONARY, (bytes, 30), values, PLAIN), places])
    };
    let fine = Ok(Encodings { dictionary_only: true, deltas: false });
    assert_eq!(column(Type::INT64, 88, 11), fine);
    assert_eq!(column(Type::BYTE_ARRAY, 88, 22), fine);
    let claims = |values, bytes| {
        Err(format!("the page at byte 4 of column ts claims {values} values in {bytes} bytes"))
    };
    assert_eq!(column(Type::INT64, 88, 12), claims(12, 88));
    assert_eq!(column(Type::INT64, 88, i32::MAX as u64), claims(i32::MAX as u64, 88));
    assert_eq!(column(Type::BYTE_ARRAY, 1 << 20, (1 << 18) + 1), claims((1 << 18) + 1, 1 << 20));
}

#[test]
fn equal_values_may_pack_to_nothing_but_only_so_many() {
    let fine = Encodings { dictionary_only: false, deltas: false };
    // A gigabyte of zeroes, in pages of 1 MiB that pack to 40 bytes each.
    let mebibyte = || page_of(DATA, (1 << 20, 40), 1 << 17, PLAIN);
    let many: Vec<_> = (0..1024).map(|_| mebibyte()).collect();
    assert_eq!(said(Type::INT64, &many), Ok(fine));
    assert_eq!(said(Type::INT64, &[page_of(SPLIT_LEVELS, (ROOM, 9), 4 << 20, PLAIN)]), Ok(fine));
    let too_much =
        |kind, sizes, values| said(Type::INT64, &[page_of(kind, sizes, values, PLAIN)]).expect_err("refused");
    let error = too_much(DATA, (ROOM + 1, 40), 4 << 20);
    assert_eq!(
        error,
        "the page at byte 4 of column ts takes too much memory: it claims 33554433 bytes, packed to 40"
    );
    too_much(SPLIT_LEVELS, (i32::MAX as u64, 40), 4 << 20);
    too_much(DICTIONARY, (ROOM + 1, 40), 1);
    // What is bigger lies in a file that is big itself.
    let packed = ROOM.div_ceil(50);
    assert_eq!(said(Type::INT64, &[page_of(DATA, (ROOM * 2, packed), 8 << 20, PLAIN)]), Ok(fine));
}

#[test]
fn pages_of_one_batch_of_rows_are_held_together() {
    let small = |rows| page_of(DATA, (1 << 20, 40), rows, PLAIN);
    let of = |rows: u64| said(Type::BYTE_ARRAY, &(0..40).map(|_| small(rows)).collect::<Vec<_>>());
    assert!(of(1).is_err(), "40 MiB for 40 rows");
    assert!(of(ROWS as u64 / 8).is_ok(), "40 MiB for five batches");
    assert!(of(0).is_err(), "pages without rows don't come to an end");
    let dictionary = page_of(DICTIONARY, (ROOM - (1 << 20), 40), 1, PLAIN);
    assert!(said(Type::BYTE_ARRAY, &[dictionary.clone(), small(1)]).is_ok());
    assert!(said(Type::BYTE_ARRAY, &[dictionary, small(1), small(1)]).is_err());
}

#[test]
fn lengths_that_are_unpacked_at_once_are_counted() {
    let of = |values| said(Type::BYTE_ARRAY, &[page_of(DATA, (60, 60), values, DELTA_LENGTHS)]);
    assert_eq!(of(1_000_000), Ok(Encodings { dictionary_only: false, deltas: true }));
    assert!(of(i32::MAX as u64).is_err());
}

#[test]
fn a_header_that_can_be_read_in_two_ways_is_damage() {
    let good = page_of(DATA, (8, 8), 1, PLAIN);
    assert!(said(Type::INT64, std::slice::from_ref(&good)).is_ok());
    let refused = |bytes: Vec<u8>, what: &str| {
        let error = said(Type::INT64, &[bytes]).expect_err("refused");
        assert_eq!(error, format!("the page at byte 4 of column ts {what}"));
    };
    refused(page(DATA, (8, 9), 1, PLAIN, 8), "lies outside of its column");
    for length in 1..good.len() - 8 {
        refused(good[..length].to_vec(), "has a header that can't be read");
    }
    // A size as a text, a size below zero, one that doesn't fit, a fifth kind of page.
    for (at, with) in [(2, &b"\x18"[..]), (3, b"\x11"), (3, b"\x80\x80\x80\x80\x10"), (1, b"\x08")] {
        let bytes = [&good[..at], with, &good[at + 1..]].concat();
        refused(bytes, "has a header that can't be read");
    }
}
