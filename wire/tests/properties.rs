//! Properties of the wire crate over random input, against the plainest code
//! that says the same.

use proptest::collection::vec;
use proptest::prelude::*;

use netcluster_wire::control::{decode_error, decode_lost, decode_pong, encode_error};
use netcluster_wire::limits::{HEADER_BYTES, MAX_CONTROL_PAYLOAD_BYTES, MAX_NAME_BYTES};
use netcluster_wire::scan::{self, Found};
use netcluster_wire::{
    Encoding, ErrorCode, Frame, FrameError, Header, Hello, Kind, Pattern, Source, Welcome,
    check_event, frame,
};

const LIMIT: usize = 2000;

fn kinds() -> impl Strategy<Value = Kind> {
    let all: Vec<Kind> = (0..=u8::MAX).filter_map(Kind::from_byte).collect();
    prop_oneof![4 => Just(Kind::Event), 1 => prop::sample::select(all)]
}

fn sources() -> impl Strategy<Value = Source> {
    (0..2u32, 0..3u32).prop_map(|(node, client)| Source { node, client })
}

/// Names that differ in their length, in a word, or only behind one.
fn names() -> impl Strategy<Value = Vec<u8>> {
    let some = ["", "a", "b", "12345678", "1234567x", "123456789", "123456780"];
    prop_oneof![
        4 => prop::sample::select(some.map(|name| name.as_bytes().to_vec()).to_vec()),
        1 => vec(any::<u8>(), 0..=MAX_NAME_BYTES),
    ]
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 0..=LIMIT)]
}

fn encodings() -> impl Strategy<Value = Encoding> {
    prop_oneof![3 => Just(Encoding::Bytes), 1 => prop::sample::select(&Encoding::ALL[..])]
}

prop_compose! {
    fn frames()(
        kind in kinds(),
        source in sources(),
        sequence in any::<u64>(),
        name in names(),
        payload in payloads(),
        encoding in encodings(),
    ) -> Vec<u8> {
        let mut frame = frame::encode(kind, source, sequence, &name, &payload);
        if kind == Kind::Event {
            frame::set_encoding(&mut frame, encoding);
        }
        frame
    }
}

/// Whole frames, then cut somewhere, with some bytes changed.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop_oneof![
        2 => Just(Vec::new()),
        1 => vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ];
    (vec(frames(), 0..12), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(frames, changes, cut, is_cut)| {
            let mut stream = frames.concat();
            if stream.is_empty() {
                return stream;
            }
            for (at, byte) in changes {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            if is_cut {
                stream.truncate(cut.index(stream.len()));
            }
            stream
        },
    )
}

/// The check as PROTOCOL.md lists it, on plain numbers. Payload offset and length.
fn naive_check(bytes: &[u8], limit: usize) -> Result<(usize, usize), FrameError> {
    let length = u32::from_le_bytes(bytes[0..4].try_into().unwrap());
    let (kind, flags) = (bytes[4], bytes[5]);
    let name_len = u16::from_le_bytes(bytes[6..8].try_into().unwrap());
    if length % 8 != 0 {
        return Err(FrameError::Misaligned(length));
    }
    let Some(kind) = Kind::from_byte(kind) else { return Err(FrameError::UnknownKind(kind)) };
    let (padding, encoding, others) = (flags % 8, flags / 16 % 4, flags & 0b1100_1000);
    if others != 0 || encoding == 3 || encoding != 0 && kind != Kind::Event {
        return Err(FrameError::UnknownFlags(flags));
    }
    if name_len > 255 {
        return Err(FrameError::NameTooLong(name_len));
    }
    let offset = 24 + u64::from(name_len).div_ceil(8) * 8;
    let Some(payload) = u64::from(length).checked_sub(offset + u64::from(padding)) else {
        return Err(FrameError::TooShort(length));
    };
    let payload = payload as usize;
    let limit = match kind {
        Kind::Event | Kind::Stats => limit,
        Kind::Control => limit.max(MAX_CONTROL_PAYLOAD_BYTES),
        _ => MAX_CONTROL_PAYLOAD_BYTES,
    };
    if payload > limit {
        return Err(FrameError::PayloadTooLarge { bytes: payload, limit });
    }
    Ok((offset as usize, payload))
}

/// Frame by frame: the whole ones, and the error behind them.
fn naive_scan(mut rest: &[u8], limit: usize) -> (Vec<&[u8]>, Option<FrameError>) {
    let mut found = Vec::new();
    while rest.len() >= HEADER_BYTES {
        if let Err(error) = naive_check(rest, limit) {
            return (found, Some(error));
        }
        let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        if rest.len() < length {
            break;
        }
        found.push(&rest[..length]);
        rest = &rest[length..];
    }
    (found, None)
}

/// What a run shares: kind, encoding, source, name with its padding. That is zero unless somebody
/// breaks the protocol; a run may end there then.
fn identity(frame: &[u8]) -> ([u8; 2], &[u8], (u16, &[u8])) {
    let name_len = u16::from_le_bytes(frame[6..8].try_into().unwrap());
    let padded = usize::from(name_len).next_multiple_of(8);
    ([frame[4], frame[5] & !7], &frame[8..16], (name_len, &frame[24..24 + padded]))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_header_is_checked_as_the_protocol_says(
        mut bytes in vec(any::<u8>(), HEADER_BYTES),
        length in prop_oneof![0..400u32, any::<u32>()],
        kind in prop_oneof![any::<u8>(), Just(0x01), 0x10..=0x1au8],
        flags in prop_oneof![3 => 0..8u8, 2 => 0..64u8, 1 => any::<u8>()],
        name_len in prop_oneof![3 => 0..260u16, 1 => any::<u16>()],
        aligned in any::<bool>(),
    ) {
        let length = if aligned { length & !7 } else { length };
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        (bytes[4], bytes[5]) = (kind, flags);
        bytes[6..8].copy_from_slice(&name_len.to_le_bytes());
        let header = Header::read(&bytes).unwrap();
        let checked = header.check(LIMIT).map(|it| (it.payload_offset, it.payload_len));
        prop_assert_eq!(checked, naive_check(&bytes, LIMIT));
        if let Ok(layout) = header.check(LIMIT) {
            prop_assert!(layout.payload_offset + layout.payload_len <= layout.frame_len);
            prop_assert!(HEADER_BYTES + layout.name_len <= layout.payload_offset);
        }
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written(
        kind in kinds(),
        source in sources(),
        sequence in any::<u64>(),
        name in names(),
        payload in payloads(),
        behind in vec(any::<u8>(), 0..30),
    ) {
        let whole = frame::encode(kind, source, sequence, &name, &payload);
        prop_assert!(whole.len().is_multiple_of(8));
        for length in 0..whole.len() {
            prop_assert!(matches!(Frame::read(&whole[..length], LIMIT), Ok(None)));
        }
        let stream = [&whole[..], &behind].concat();
        let frame = Frame::read(&stream, LIMIT).unwrap().unwrap();
        prop_assert_eq!(frame.as_bytes(), &whole[..]);
        prop_assert_eq!(frame.kind(), kind);
        prop_assert_eq!(frame.source(), source);
        prop_assert_eq!(frame.sequence(), sequence);
        prop_assert_eq!(frame.name(), &name[..]);
        prop_assert_eq!(frame.payload(), &payload[..]);
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error_or_too_few(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(Some(frame)) = Frame::read(&bytes, LIMIT) {
            let parts = HEADER_BYTES + frame.name().len() + frame.payload().len();
            prop_assert!(parts <= frame.as_bytes().len());
        }
        let _ = scan::next(&bytes, LIMIT);
        let _ = Hello::decode(&bytes);
        let _ = Welcome::decode(&bytes);
        let _ = decode_error(&bytes);
        let _ = decode_lost(&bytes);
        let _ = decode_pong(&bytes);
        let _ = Pattern::new(&bytes);
        let _ = check_event(&bytes);
    }

    #[test]
    fn the_scanner_finds_what_reading_frame_by_frame_finds(stream in streams(), limit in 0..LIMIT) {
        let (frames, error) = naive_scan(&stream, limit);
        let mut frames = frames.into_iter().peekable();
        let mut at = 0;
        let end = loop {
            match scan::next(&stream[at..], limit) {
                Ok(Found::Run(run)) => {
                    let mut bytes = 0;
                    for _ in 0..run.frames {
                        let frame = frames.next().expect("no more than there are");
                        prop_assert_eq!(identity(frame), identity(run.first.as_bytes()));
                        bytes += frame.len();
                        let sequence = u64::from_le_bytes(frame[16..24].try_into().unwrap());
                        prop_assert!(bytes < run.bytes || sequence == run.last_sequence);
                    }
                    prop_assert_eq!(bytes, run.bytes);
                    if let Some(next) = frames.peek() {
                        let same = identity(next) == identity(run.first.as_bytes());
                        prop_assert!(!same, "a run goes as far as it can");
                    }
                    at += bytes;
                }
                Ok(Found::Control(frame)) => {
                    prop_assert_eq!(frames.next(), Some(frame.as_bytes()));
                    at += frame.as_bytes().len();
                }
                Ok(Found::Incomplete) => break None,
                Err(error) => break Some(error),
            }
        };
        prop_assert_eq!(end, error);
        prop_assert_eq!(frames.next(), None);
    }

    #[test]
    fn a_pattern_matches_as_the_protocol_says(
        pattern in vec(prop::sample::select(vec!["a", "b", "", "*", "**"]), 1..7),
        name in vec(prop::sample::select(vec!["a", "b", ""]), 1..8),
    ) {
        let deep = pattern.iter().filter(|token| **token == "**").count();
        let (pattern, name) = (pattern.join("."), name.join("."));
        match Pattern::new(pattern.as_bytes()) {
            Ok(checked) => {
                let pattern: Vec<&str> = pattern.split('.').collect();
                let name_tokens: Vec<&str> = name.split('.').collect();
                let expected = naive_match(&pattern, &name_tokens);
                prop_assert_eq!(checked.matches(name.as_bytes()), expected);
            }
            Err(_) => prop_assert!(pattern.is_empty() || deep > 4),
        }
    }

    #[test]
    fn hello_and_welcome_read_back(
        echo in any::<bool>(),
        latest in any::<bool>(),
        shared in any::<bool>(),
        max_queue in any::<u64>(),
        previous in sources(),
        client_name in "\\PC{0,60}",
        run in any::<u64>(),
        code in 1..=10u32,
        text in prop::option::of("\\PC{0,60}"),
    ) {
        let leaves = !shared;
        let hello = Hello { echo, latest, shared, leaves, max_queue, previous, client_name };
        prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        let reason = text.map(|text| (ErrorCode::from_number(code), text));
        let error = reason.clone().unwrap_or((ErrorCode::Busy, String::new()));
        prop_assert_eq!(decode_error(&encode_error(error.0, &error.1)), Ok(error));
        let welcome = Welcome { max_payload: max_queue, run, reason, held: echo };
        prop_assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome));
    }
}

fn naive_match(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=name.len()).any(|skip| naive_match(rest, &name[skip..])),
        ([first, pattern @ ..], [token, name @ ..]) => {
            (*first == "*" || first == token) && naive_match(pattern, name)
        }
        _ => false,
    }
}
