//! The part of `PROTOCOL.md` about shared memory against the code: offsets, sizes and
//! descriptors.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of_val};

use netcluster_shm::layout::{
    CONTROL_BYTES, Control, DESCRIPTOR_BYTES, DESCRIPTORS, MAX_RING_BYTES, MIN_RING_BYTES,
    REGION_BYTES, RING_AT,
};
use netcluster_shm::{Descriptor, DescriptorWriter, Region};

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");

/// The rows of the table below a line that begins with these words.
fn table(start: &str) -> Vec<Vec<String>> {
    let (_, section) = DOCUMENT.split_once(&format!("\n{start}")).expect(start);
    let lines = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let row = row.trim_matches('|').replace('`', "");
        row.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    rows.map(cells).collect()
}

fn number(text: &str) -> usize {
    match text.strip_prefix("0x") {
        Some(digits) => usize::from_str_radix(digits, 16).expect("a number in hexadecimal"),
        None => text.parse().expect("a number"),
    }
}

#[test]
fn the_control_page_is_as_stated() {
    let control = Control::default();
    let words = [
        ("ring_head", offset_of!(Control, ring_head), size_of_val(&control.ring_head.0)),
        ("ring_limit", offset_of!(Control, ring_limit), size_of_val(&control.ring_limit.0)),
        ("broker_waits", offset_of!(Control, broker_waits), size_of_val(&control.broker_waits.0)),
        (
            "descriptor_tail",
            offset_of!(Control, descriptor_tail),
            size_of_val(&control.descriptor_tail.0),
        ),
        ("release_at", offset_of!(Control, release_at), size_of_val(&control.release_at.0)),
        ("revoked", offset_of!(Control, revoked), size_of_val(&control.revoked.0)),
        ("ring_tail", offset_of!(Control, ring_tail), size_of_val(&control.ring_tail.0)),
        ("ring_bytes", offset_of!(Control, ring_bytes), size_of_val(&control.ring_bytes.0)),
        ("client_waits", offset_of!(Control, client_waits), size_of_val(&control.client_waits.0)),
        (
            "descriptor_head",
            offset_of!(Control, descriptor_head),
            size_of_val(&control.descriptor_head.0),
        ),
        ("ring_end", offset_of!(Control, ring_end), size_of_val(&control.ring_end.0)),
        ("room_at", offset_of!(Control, room_at), size_of_val(&control.room_at.0)),
    ];
    let in_code: BTreeMap<&str, (usize, usize)> =
        words.into_iter().map(|(name, offset, bytes)| (name, (offset, bytes))).collect();
    let rows = table("The control page, each word");
    let in_document: BTreeMap<&str, (usize, usize)> = rows
        .iter()
        .map(|row| {
            let bits = number(row[2].strip_prefix('u').expect("an unsigned number"));
            (row[1].as_str(), (number(&row[0]), bits / 8))
        })
        .collect();
    assert_eq!(in_document, in_code);
}

#[test]
fn the_parts_of_the_memory_are_as_stated() {
    let rows = table("### The connection's memory");
    let parts: Vec<[usize; 2]> =
        rows.iter().map(|row| [number(&row[0]), number(&row[1])]).collect();
    let descriptors = DESCRIPTORS * DESCRIPTOR_BYTES;
    let in_code = [[0, CONTROL_BYTES], [CONTROL_BYTES, descriptors], [RING_AT, MAX_RING_BYTES]];
    assert_eq!(parts, in_code);
    assert_eq!(REGION_BYTES, RING_AT + MAX_RING_BYTES);
    assert_eq!(MIN_RING_BYTES, 65536);
    assert!(DOCUMENT.contains("a power of two from 65536 to `ring_limit`"));
    assert!(DOCUMENT.contains("512 descriptors of 16 bytes"));
}

#[test]
fn descriptors_are_as_stated() {
    let region = Region::in_memory();
    let mut writer = DescriptorWriter::new(region.clone());
    writer.push(Descriptor::Arena { offset: 0x0102_0304_0506, bytes: 7 });
    writer.push(Descriptor::Socket { bytes: 8 });
    let words = |at| region.descriptor_words(at);
    let kinds: BTreeMap<String, u64> = table(" |  u64   |  u32  | u32  |")
        .into_iter()
        .map(|row| (row[0].clone(), number(&row[1]) as u64))
        .collect();
    assert_eq!(words(0), [0x0102_0304_0506, 7 | kinds["arena"] << 32]);
    assert_eq!(words(1), [0, 8 | kinds["socket"] << 32]);
    assert_eq!(kinds.len(), 2);
}
