//! The local protocol's part of `PROTOCOL.md` against the code: every example is
//! decoded and encoded again, every table is compared with the constants it
//! speaks of.

mod document;

use std::collections::{BTreeMap, BTreeSet};

use netcluster_wire::bye::Bye;
use netcluster_wire::control::{
    Audience, decode_audience, decode_error, decode_lost, decode_pong, encode_audience,
    encode_error, encode_lost, encode_pong,
};
use netcluster_wire::limits::*;
use netcluster_wire::{
    Encoding, ErrorCode, Frame, FrameError, Hello, Kind, LossReason, Pattern, SharedStep, Source,
    Welcome, check_channel, check_event, frame,
};

use document::{PROTOCOL, compare_limits, kind};
use netcluster_testkit::document::{number, yes};

const LIMITS_RS: &str = include_str!("../src/limits.rs");

fn source(text: &str) -> Source {
    let (node, client) = text.split_once('/').expect("node/client");
    Source { node: number(node) as u32, client: number(client) as u32 }
}

/// The payload that the fields of an example describe, and what decoding
/// `payload` gives, as the same type.
fn check_payload(kind: Kind, fields: &BTreeMap<&str, &str>, payload: &[u8]) -> Vec<u8> {
    let field = |key: &str| *fields.get(key).unwrap_or_else(|| panic!("no {key}"));
    match kind {
        Kind::Hello => {
            let hello = Hello {
                echo: yes(field("echo")),
                latest: yes(field("latest")),
                shared: yes(field("shared")),
                leaves: yes(field("leaves")),
                max_queue: number(field("max_queue")),
                previous: source(field("previous")),
                client_name: field("client_name").into(),
            };
            assert_eq!(Hello::decode(payload).as_ref(), Ok(&hello));
            hello.encode()
        }
        Kind::Welcome => {
            let reason = (field("reason") != "none").then(|| {
                let (code, text) = field("reason").split_once(' ').expect("code and text");
                (ErrorCode::from_number(number(code) as u32), text.to_owned())
            });
            let (max_payload, run) = (number(field("max_payload")), number(field("run")));
            let held = field("held") == "yes";
            let welcome = Welcome { max_payload, run, reason, held };
            assert_eq!(Welcome::decode(payload).as_ref(), Ok(&welcome));
            welcome.encode()
        }
        Kind::Error => {
            let code = ErrorCode::from_number(number(field("code")) as u32);
            let text = field("text");
            assert_eq!(decode_error(payload), Ok((code, text.to_owned())));
            encode_error(code, text)
        }
        Kind::Bye if fields.contains_key("confirmed") => {
            let bye = Bye {
                confirmed: number(field("confirmed")),
                has_successor: yes(field("successor")),
            };
            assert_eq!(Bye::decode(payload), bye);
            bye.encode()
        }
        Kind::Pong => {
            let confirmed = number(field("confirmed"));
            assert_eq!(decode_pong(payload), Ok(confirmed));
            encode_pong(confirmed).to_vec()
        }
        Kind::Audience => {
            let audience =
                Audience { clients: number(field("clients")), brokers: number(field("brokers")) };
            assert_eq!(decode_audience(payload), Ok(audience));
            encode_audience(audience).to_vec()
        }
        Kind::Lost => {
            let reason = LossReason::from_number(number(field("reason")) as u32);
            assert_eq!(decode_lost(payload), Ok(reason));
            encode_lost(reason).to_vec()
        }
        Kind::Shared => {
            let step = match number(field("step")) {
                1 => SharedStep::Offer { arena_bytes: number(field("arena_bytes")) },
                2 => SharedStep::Accept,
                3 => SharedStep::Decline(field("text").to_owned()),
                _ => SharedStep::Begin,
            };
            assert_eq!(SharedStep::decode(payload).as_ref(), Ok(&step));
            step.encode()
        }
        _ => {
            assert_eq!(payload, field("payload").as_bytes());
            payload.to_vec()
        }
    }
}

#[test]
fn every_example_decodes_to_its_fields_and_encodes_to_its_bytes() {
    let (mut seen, mut encodings) = (BTreeSet::new(), BTreeSet::new());
    for block in PROTOCOL.blocks_of("frame") {
        let (bytes, fields) = (block.bytes(), block.fields());
        let kind = kind(block.heading[1]);
        let at = format!("PROTOCOL.md, line {}", block.line_number);
        let frame = Frame::read(&bytes, DEFAULT_MAX_PAYLOAD_BYTES).expect(&at).expect(&at);
        assert_eq!(frame.as_bytes().len(), bytes.len(), "{at}: one frame");
        assert_eq!(frame.kind(), kind, "{at}");
        assert_eq!(frame.source(), source(fields["source"]), "{at}");
        assert_eq!(frame.sequence(), number(fields["sequence"]), "{at}");
        assert_eq!(frame.name(), fields["name"].as_bytes(), "{at}");
        let payload = check_payload(kind, &fields, frame.payload());
        let mut written =
            frame::encode(kind, frame.source(), frame.sequence(), frame.name(), &payload);
        let encoding = fields.get("encoding").copied().unwrap_or("bytes");
        assert_eq!(frame.encoding().name(), encoding, "{at}");
        frame::set_encoding(&mut written, frame.encoding());
        encodings.insert(frame.encoding().name());
        assert_eq!(written, bytes, "{at}");
        seen.insert(kind as u8);
    }
    let all: BTreeSet<u8> = (0..=u8::MAX).filter(|byte| Kind::from_byte(*byte).is_some()).collect();
    assert_eq!(seen, all, "every kind has an example");
    assert_eq!(encodings.len(), Encoding::ALL.len(), "every encoding has an example");
}

#[test]
fn every_broken_example_is_broken_as_stated() {
    let mut seen = BTreeSet::new();
    for block in PROTOCOL.blocks_of("broken") {
        let error = Frame::read(&block.bytes(), DEFAULT_MAX_PAYLOAD_BYTES).unwrap_err();
        let name = match error {
            FrameError::Misaligned(_) => "misaligned",
            FrameError::TooShort(_) => "too-short",
            FrameError::UnknownKind(_) => "unknown-kind",
            FrameError::UnknownFlags(_) => "unknown-flags",
            FrameError::NameTooLong(_) => "name-too-long",
            FrameError::PayloadTooLarge { .. } => "payload-too-large",
        };
        assert_eq!(block.heading[1], name, "PROTOCOL.md, line {}", block.line_number);
        seen.insert(name);
    }
    assert_eq!(seen.len(), 6, "every error has an example");
}

#[test]
fn matches_and_names_are_as_stated() {
    let mut lines = 0;
    for block in &PROTOCOL.blocks() {
        for line in &block.lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (block.heading.first(), words.as_slice()) {
                (Some(&"match"), [pattern, name, expected]) => {
                    let pattern = Pattern::new(pattern.as_bytes()).unwrap();
                    assert_eq!(pattern.matches(name.as_bytes()), yes(expected), "{line}");
                    lines += 1;
                }
                (Some(&"names"), [what, name, expected]) => {
                    let good = match *what {
                        "event" => check_event(name.as_bytes()).is_ok(),
                        "channel" => check_channel(name.as_bytes()).is_ok(),
                        "pattern" => Pattern::new(name.as_bytes()).is_ok(),
                        other => panic!("{other}"),
                    };
                    assert_eq!(good, *expected == "good", "{line}");
                    lines += 1;
                }
                _ => {}
            }
        }
    }
    assert!(lines >= 30, "the examples are found");
}

#[test]
fn the_table_of_kinds_is_complete_and_right() {
    let rows = PROTOCOL.table("## Kinds", "| kind | number | from | name | sequence | payload |");
    for row in &rows {
        assert_eq!(kind(&row[0]) as u64, number(&row[1]), "{}", row[0]);
    }
    let kinds = (0..=u8::MAX).filter(|byte| Kind::from_byte(*byte).is_some()).count();
    assert_eq!(rows.len(), kinds);
}

#[test]
fn the_table_of_encodings_is_complete_and_right() {
    let rows = PROTOCOL.table("#### Encodings", "| encoding | number | payload | in `flags` |");
    assert_eq!(rows.len(), Encoding::ALL.len());
    for (row, encoding) in rows.iter().zip(Encoding::ALL) {
        assert_eq!(row[0], encoding.name());
        assert_eq!(number(&row[1]), encoding as u64);
        assert_eq!(number(&row[3]), u64::from(encoding.flags()));
    }
}

#[test]
fn the_tables_of_codes_and_reasons_are_complete_and_right() {
    let rows = PROTOCOL.table("## Errors", "| error | number | connection | when |");
    for (at, row) in rows.iter().enumerate() {
        let code = ErrorCode::from_number(number(&row[1]) as u32);
        assert_eq!(code as usize, at);
        let name: String = row[0].split(' ').collect();
        assert_eq!(format!("{code:?}").to_lowercase(), name);
        assert_eq!(code.is_fatal(), row[2] == "ends", "{name}");
    }
    let next = ErrorCode::from_number(rows.len() as u32);
    assert_eq!(next, ErrorCode::Unknown, "a code is missing in the table");

    let rows = PROTOCOL.table("### lost", "| reason | number | meaning |");
    for (at, row) in rows.iter().enumerate() {
        let reason = LossReason::from_number(number(&row[1]) as u32);
        assert_eq!(reason as usize, at);
        assert_eq!(format!("{reason:?}").to_lowercase(), row[0]);
    }
    let next = LossReason::from_number(rows.len() as u32);
    assert_eq!(next, LossReason::Unknown, "a reason is missing in the table");
}

#[test]
fn the_table_of_limits_is_that_of_the_code() {
    let values = BTreeMap::from([
        ("PROTOCOL_VERSION", u64::from(PROTOCOL_VERSION)),
        ("MAGIC", u64::from(MAGIC)),
        ("HEADER_BYTES", HEADER_BYTES as u64),
        ("ALIGNMENT_BYTES", ALIGNMENT_BYTES as u64),
        ("MAX_NAME_BYTES", MAX_NAME_BYTES as u64),
        ("MAX_DEEP_WILDCARDS", MAX_DEEP_WILDCARDS as u64),
        ("DEFAULT_MAX_PAYLOAD_BYTES", DEFAULT_MAX_PAYLOAD_BYTES as u64),
        ("HARD_MAX_PAYLOAD_BYTES", HARD_MAX_PAYLOAD_BYTES as u64),
        ("MAX_CONTROL_PAYLOAD_BYTES", MAX_CONTROL_PAYLOAD_BYTES as u64),
        ("MAX_STATS_BYTES", MAX_STATS_BYTES as u64),
        ("MAX_HEAD_BYTES", MAX_HEAD_BYTES as u64),
    ]);
    compare_limits("## Limits", LIMITS_RS, &values);
}
