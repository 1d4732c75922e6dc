//! Recordings that are written, read, cut and damaged, without a broker.

use std::io::Cursor;

use netcluster_client::{Encoding, LossReason, Source};
use netcluster_testkit::Directory;

use super::super::render::Event;
use super::part::Part;
use super::reader::{Entry, Reader};
use super::records::Bad;
use super::series::{Limits, Series, Taken};
use super::{About, Loss};

const SOURCES: [Source; 2] = [Source { node: 0xbeef, client: 7 }, Source { node: 1, client: 1 }];

fn about() -> About {
    About { channel: "kitchen".into(), patterns: vec!["**".into()], queue: "latest" }
}

fn event<'a>(name: &'a str, sequence: u64, data: &'static [u8]) -> Event<'a> {
    let (encoding, source) = match sequence % 3 {
        0 => (Encoding::Bytes, SOURCES[0]),
        1 => (Encoding::Text, SOURCES[1]),
        _ => (Encoding::Json, SOURCES[0]),
    };
    Event { name, data, encoding, source, sequence }
}

/// A recording of three events and a loss, in two chunks.
fn recorded() -> Vec<u8> {
    let directory = Directory::new();
    let path = directory.join("run.mcap");
    let mut part = Part::create(&path, 1, &about(), None).unwrap();
    part.event(&event("log.web", 3, b"\xff\0"), 10).unwrap();
    let loss = Loss { source: Some(SOURCES[0]), count: Some(5), reason: LossReason::Overflow };
    part.loss(&loss, 1, 11).unwrap();
    part.flush().unwrap();
    part.event(&event("log.web", 1 << 40, b"text"), 12).unwrap();
    part.event(&event("a", u64::MAX - 1, b"{}"), 13).unwrap();
    let bound = part.size_bound();
    let bytes = part.finish().unwrap();
    let file = std::fs::read(&path).unwrap();
    assert_eq!(file.len() as u64, bytes);
    assert!(bytes <= bound, "{bytes} bytes, {bound} at most");
    file
}

/// Reads a file to its end, and returns its entries and how it ended.
fn read(file: &[u8]) -> (Vec<String>, Result<(), Bad>) {
    let mut entries = Vec::new();
    let mut reader = match Reader::begin(Cursor::new(file), file.len() as u64) {
        Ok(reader) => reader,
        Err(bad) => return (entries, Err(bad)),
    };
    loop {
        match reader.next() {
            Ok(None) => return (entries, Ok(())),
            Err(bad) => return (entries, Err(bad)),
            Ok(Some(Entry::Event(it))) => entries.push(format!(
                "{} {:?} {} #{} @{} {:?}",
                it.name,
                it.encoding,
                it.source.unwrap(),
                it.sequence,
                it.time_ns,
                it.data
            )),
            Ok(Some(Entry::Lost { count })) => entries.push(format!("lost {count:?}")),
            Ok(Some(Entry::Unnamed { topic, .. })) => entries.push(format!("unnamed {topic}")),
        }
    }
}

#[test]
fn what_is_read_is_what_was_recorded() {
    let file = recorded();
    let (entries, end) = read(&file);
    assert!(end.is_ok(), "{end:?}");
    let high = u64::MAX - 1;
    assert_eq!(
        entries,
        [
            "log.web Bytes 0000beef/7 #3 @10 [255, 0]".to_owned(),
            "lost Some(5)".to_owned(),
            format!("log.web Text 00000001/1 #{} @12 [116, 101, 120, 116]", 1_u64 << 40),
            format!("a Json 0000beef/7 #{high} @13 [123, 125]"),
        ]
    );
    let reader = Reader::begin(Cursor::new(&file), file.len() as u64).unwrap();
    assert_eq!(reader.bus_channel(), Some("kitchen"));
}

/// A recorder may be killed at any byte.
#[test]
fn of_a_file_that_is_cut_anywhere_the_whole_chunks_are_read() {
    let file = recorded();
    let (whole, _) = read(&file);
    let mut counts = Vec::new();
    for length in 0..file.len() {
        let (entries, end) = read(&file[..length]);
        assert!(matches!(end, Err(Bad::Cut { .. })), "{length}: {end:?}");
        assert!(whole.starts_with(&entries), "{length}: {entries:?}");
        counts.push(entries.len());
    }
    assert!(counts.is_sorted(), "longer files have no less in them");
    counts.dedup();
    assert_eq!(counts, [0, 2, 4]);
}

#[test]
fn a_file_with_any_bit_turned_gives_an_end_or_an_error() {
    let file = recorded();
    let (whole, _) = read(&file);
    let mut noticed = 0;
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (entries, end) = read(&damaged);
        assert!(entries.len() <= whole.len(), "{bit}: {entries:?}");
        noticed += usize::from(end.is_err());
        // Nothing is missing or other than it was without an error.
        if end.is_ok() {
            assert_eq!(entries, whole, "{bit}");
        }
    }
    assert!(noticed > file.len() * 4, "{noticed} errors");
}

/// Lengths that a file claims are not taken for memory.
#[test]
fn a_record_that_claims_to_be_huge_is_refused() {
    for length in [u64::MAX, u64::MAX / 2, 1 << 40, 2 << 30] {
        for opcode in [0x04, 0x05, 0x06, 0x0c, 0xff] {
            let mut file = mcap::MAGIC.to_vec();
            file.push(opcode);
            file.extend(length.to_le_bytes());
            file.extend([0; 100]);
            for claimed in [file.len() as u64, u64::MAX] {
                let read = Reader::begin(Cursor::new(&file), claimed).unwrap().next().map(drop);
                assert!(read.is_err(), "{opcode:#x} {length} {claimed}: {read:?}");
            }
        }
    }
}

/// Texts that claimed four gigabytes were given them, and ended the process where there is less.
#[test]
fn a_text_that_claims_to_be_huge_is_refused() {
    let huge = u32::MAX.to_le_bytes();
    let text = [1, 0, 0, 0, b'a'];
    let channels = [[&[0; 4][..], &huge].concat(), [&[0; 4][..], &text, &huge].concat()];
    let maps = [[&text[..], &huge].concat(), [&text[..], &[9, 0, 0, 0], &text, &huge].concat()];
    let chunk = [&[0; 28][..], &huge, &[0; 40]].concat();
    let records = channels.map(|body| (0x04, body)).into_iter();
    let records = records.chain(maps.map(|body| (0x0c, body))).chain([(0x06, chunk)]);
    for (opcode, body) in records.chain([(0x0c, huge.to_vec())]) {
        let mut file = mcap::MAGIC.to_vec();
        file.push(opcode);
        file.extend((body.len() as u64).to_le_bytes());
        file.extend(&body);
        let (entries, end) = read(&file);
        assert!(entries.is_empty());
        assert!(matches!(end, Err(Bad::Damaged { .. })), "{opcode:#x} {body:?}: {end:?}");
    }
}

#[test]
fn no_file_is_larger_than_it_may_be_and_the_latest_are_kept() {
    const MAX_BYTES: u64 = 20_000;
    const EVENTS: u64 = 5_000;
    let directory = Directory::new();
    let path = directory.join("run.mcap");
    let limits = Limits { max_bytes: Some(MAX_BYTES), keep: Some(3) };
    let mut series = Series::begin(&path, about(), limits).unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("name.{number}")).collect();
    for sequence in 0..EVENTS {
        let name = &names[(sequence * 7 % 40) as usize];
        let taken = series.event(&event(name, sequence, b"0123456789")).unwrap();
        assert_eq!(taken, Taken::Recorded);
        if sequence % 100 == 0 {
            series.flush().unwrap();
        }
    }
    let totals = series.totals();
    assert_eq!((totals.events, totals.bytes), (EVENTS, EVENTS * 10));
    series.finish().unwrap();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        files.push(entry.unwrap().path());
    }
    files.sort();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(totals.files > 10, "{totals:?}");
    let mut kept = Vec::new();
    for number in totals.files - 2..=totals.files {
        let file = std::fs::read(directory.join(&format!("run.{number}.mcap"))).unwrap();
        assert!(file.len() as u64 <= MAX_BYTES, "{number}: {} bytes", file.len());
        let (entries, end) = read(&file);
        assert!(end.is_ok(), "{number}: {end:?}");
        kept.extend(entries);
    }
    assert!(kept.last().unwrap().contains(&format!("#{} ", EVENTS - 1)));
    assert!(kept.first().unwrap().contains(&format!("#{} ", EVENTS - kept.len() as u64)));
}

#[test]
fn without_rotation_a_file_that_is_full_takes_no_more() {
    let directory = Directory::new();
    let path = directory.join("run.mcap");
    let limits = Limits { max_bytes: Some(1), keep: None };
    let mut series = Series::begin(&path, about(), limits).unwrap();
    // One it takes, however large.
    assert_eq!(series.event(&event("a", 0, b"x")).unwrap(), Taken::Recorded);
    assert_eq!(series.event(&event("a", 3, b"x")).unwrap(), Taken::NoRoom);
    series.finish().unwrap();
    let (entries, end) = read(&std::fs::read(&path).unwrap());
    assert_eq!((entries.len(), end.is_ok()), (1, true));
}

#[test]
fn what_is_abandoned_is_a_whole_file_of_what_was_written() {
    let directory = Directory::new();
    let path = directory.join("run.mcap");
    let mut part = Part::create(&path, 1, &about(), None).unwrap();
    part.event(&event("a", 0, b"written"), 1).unwrap();
    part.flush().unwrap();
    part.event(&event("a", 3, b"gathered"), 2).unwrap();
    part.abandon();
    let (entries, end) = read(&std::fs::read(&path).unwrap());
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(entries.len(), 1, "{entries:?}");
}

#[test]
fn more_names_than_a_file_has_channels_for_go_on_in_another() {
    let directory = Directory::new();
    let path = directory.join("run.mcap");
    let mut series = Series::begin(&path, about(), Limits::default()).unwrap();
    for number in 0..20_000_u64 {
        let name = format!("name.{number}");
        series.event(&event(&name, number, b"")).unwrap();
    }
    assert_eq!(series.totals().files, 2);
    series.finish().unwrap();
    let counts = ["run.mcap", "run.2.mcap"].map(|name| {
        let (entries, end) = read(&std::fs::read(directory.join(name)).unwrap());
        assert!(end.is_ok(), "{name}: {end:?}");
        entries.len()
    });
    assert_eq!(counts.iter().sum::<usize>(), 20_000);
}
