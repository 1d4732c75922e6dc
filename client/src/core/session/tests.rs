//! Scripts over both halves, the broker's side written by hand.

use std::time::Duration;

use netcluster_wire::frame::{append_head, encode};
use netcluster_wire::limits::{MAX_CONTROL_PAYLOAD_BYTES, MAX_STATS_BYTES};
use netcluster_wire::{Encoding, ErrorCode, Frame, Hello, Kind, Pattern, Source, Welcome, control};

use super::receive::RECEIVE_BUFFER_BYTES;
use super::*;
use crate::error::{DisconnectReason, Error};

const ME: Source = Source { node: 1, client: 2 };

fn welcome(max_payload: u64) -> Vec<u8> {
    let payload = Welcome { max_payload, run: 1, ..Welcome::default() }.encode();
    encode(Kind::Welcome, ME, 0, b"", &payload)
}

fn open(max_payload: u64) -> Session {
    let mut out = Vec::new();
    let mut session = Session::start(&mut out, "default", &Hello::default()).unwrap();
    let bytes = welcome(max_payload);
    let (event, used) = session.next(&bytes).unwrap().unwrap();
    assert!(matches!(event, SessionEvent::Welcome { source: ME, .. }));
    assert_eq!(used, bytes.len());
    session
}

fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while let Some(frame) = Frame::read(bytes, usize::MAX).unwrap() {
        bytes = &bytes[frame.as_bytes().len()..];
        frames.push(frame);
    }
    assert!(bytes.is_empty());
    frames
}

#[test]
fn a_session_starts_with_hello_and_is_open_after_the_welcome() {
    let mut out = Vec::new();
    let hello = Hello { client_name: "me".into(), ..Hello::default() };
    let session = Session::start(&mut out, "c", &hello).unwrap();
    assert_eq!(session.inbound.state(), SessionState::Greeting);
    let frame = frames(&out)[0];
    assert_eq!(
        (frame.kind(), frame.name(), frame.source()),
        (Kind::Hello, &b"c"[..], Source::NONE)
    );
    assert_eq!(Hello::decode(frame.payload()), Ok(hello));
    let session = open(100);
    assert_eq!(session.inbound.state(), SessionState::Open);
    assert_eq!((session.outbound.source(), session.outbound.max_payload()), (ME, 100));
}

#[test]
fn events_are_numbered_from_one_in_frames_like_those_of_the_wire_crate() {
    let mut session = open(100);
    let mut out = Vec::new();
    let mut expected = Vec::new();
    for (index, (name, payload)) in
        [("a", "x"), ("a", "y"), ("a", "12345678"), ("b.c", ""), ("a", "x")].iter().enumerate()
    {
        let sequence = index as u64 + 1;
        assert_eq!(session.outbound.emit(&mut out, name, payload.as_bytes()).unwrap(), sequence);
        expected.extend(encode(Kind::Event, ME, sequence, name.as_bytes(), payload.as_bytes()));
    }
    assert_eq!(out, expected);
}

#[test]
fn what_the_broker_would_refuse_is_refused_here_and_uses_no_number() {
    let mut session = open(100);
    let mut out = Vec::new();
    let emit = |session: &mut Session, out: &mut Vec<u8>, name: &str, bytes: usize| {
        session.outbound.emit(out, name, &vec![0; bytes])
    };
    assert!(matches!(emit(&mut session, &mut out, "", 1), Err(Error::Name(_))));
    assert!(matches!(emit(&mut session, &mut out, "a.*", 1), Err(Error::Name(_))));
    assert!(matches!(
        emit(&mut session, &mut out, "a", 101),
        Err(Error::PayloadTooLarge { bytes: 101, limit: 100 })
    ));
    assert!(out.is_empty());
    assert_eq!(emit(&mut session, &mut out, "a", 100).unwrap(), 1);
    assert!(emit(&mut session, &mut out, "", 100).is_err());
}

#[test]
fn a_ping_goes_along_after_enough_bytes() {
    let mut session = open(16 << 20);
    let mut out = Vec::new();
    for _ in 0..3 {
        session.outbound.emit(&mut out, "a", &vec![0; PING_EVERY_BYTES]).unwrap();
    }
    let kinds: Vec<Kind> = frames(&out).iter().map(Frame::kind).collect();
    assert_eq!(kinds, [Kind::Event, Kind::Ping, Kind::Event, Kind::Ping, Kind::Event]);
}

#[test]
fn unwritten_events_go_over_to_the_next_connection_under_its_source() {
    let mut session = open(100);
    let mut out = Vec::new();
    session.outbound.emit(&mut out, "a", b"1").unwrap();
    session.outbound.subscribe(&mut out, &Pattern::new(b"x").unwrap());
    session.outbound.emit_encoded(&mut out, "b", Encoding::Json, b"\"2\"").unwrap();
    let source = Source { node: 1, client: 9 };
    session.outbound.welcomed(source, 100);
    let mut again = Vec::new();
    assert_eq!(session.outbound.reconnect(&out, &mut again), 2);
    session.outbound.emit(&mut again, "b", b"3").unwrap();
    let seen: Vec<_> =
        frames(&again).iter().map(|f| (f.kind(), f.source(), f.sequence())).collect();
    assert_eq!(seen, [1, 2, 3].map(|sequence| (Kind::Event, source, sequence)));
    let seen: Vec<_> = frames(&again).iter().map(|f| (f.encoding(), f.payload())).collect();
    let expected =
        [(Encoding::Bytes, &b"1"[..]), (Encoding::Json, b"\"2\""), (Encoding::Bytes, b"3")];
    assert_eq!(seen, expected);
}

#[test]
fn each_control_frame_is_told() {
    let mut session = open(100);
    let mut next = |kind, source, sequence, payload: &[u8]| {
        let bytes = encode(kind, source, sequence, b"", payload);
        format!("{:?}", session.next(&bytes).unwrap().unwrap().0)
    };
    assert_eq!(next(Kind::Ack, Source::NONE, 5, b""), "Ack { request: 5 }");
    assert_eq!(next(Kind::Ping, Source::NONE, 6, b""), "Ping { token: 6 }");
    let pong = control::encode_pong(9);
    assert_eq!(next(Kind::Pong, Source::NONE, 7, &pong), "Pong { token: 7, confirmed: 9 }");
    let lost = control::encode_lost(netcluster_wire::LossReason::Overflow);
    assert_eq!(
        next(Kind::Lost, ME, 3, &lost),
        "Lost { source: Some(Source { node: 1, client: 2 }), count: Some(3), reason: Overflow }"
    );
    assert_eq!(
        next(Kind::Lost, Source { node: 1, client: 0 }, 0, &lost),
        "Lost { source: Some(Source { node: 1, client: 0 }), count: None, reason: Overflow }"
    );
    assert_eq!(
        next(Kind::Lost, Source::NONE, 0, &lost),
        "Lost { source: None, count: None, reason: Overflow }"
    );
    let refused = control::encode_error(ErrorCode::Pattern, "no");
    assert!(next(Kind::Error, Source::NONE, 8, &refused).starts_with("Refused { request: 8"));
    let kicked = control::encode_error(ErrorCode::Stalled, "slow");
    assert!(
        next(Kind::Error, Source::NONE, 0, &kicked).starts_with("ClosedByBroker { code: Stalled")
    );
    let bytes = encode(Kind::Ack, Source::NONE, 1, b"", b"");
    assert!(session.next(&bytes).is_err(), "after the end");
    assert_eq!(session.inbound.confirmed(), 9);
}

#[test]
fn a_broker_that_shuts_down_says_how_far_it_read() {
    let bye = |payload: &[u8]| encode(Kind::Bye, Source::NONE, 0, b"", payload);
    let mut session = open(100);
    assert!(session.next(&bye(&control::encode_pong(12))).is_ok());
    assert_eq!(session.inbound.confirmed(), 12);
    let mut session = open(100);
    assert!(session.next(&bye(b"")).is_ok(), "it may leave it open");
    assert_eq!(session.inbound.confirmed(), 0);
    let mut session = open(100);
    assert!(session.next(&bye(b"12")).is_ok(), "cut short: as if it were open");
    assert_eq!(session.inbound.confirmed(), 0);
}

#[test]
fn what_is_no_broker_is_an_error_and_no_panic() {
    for garbage in [&[0xff; 64][..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0; 24]] {
        assert!(Inbound::new().next(garbage).is_err());
    }
    let event = encode(Kind::Event, ME, 1, b"a", b"");
    assert!(matches!(Inbound::new().next(&event), Err(Error::Protocol(_))));
    let nobody = encode(Kind::Welcome, Source::NONE, 0, b"", &Welcome::default().encode());
    assert!(Inbound::new().next(&nobody).is_err());
    let version = control::encode_error(ErrorCode::Version, "use 2");
    let frame = encode(Kind::Error, Source::NONE, 0, b"", &version);
    assert!(matches!(Inbound::new().next(&frame), Err(Error::Version(_))));
}

/// Feeds a stream in pieces of `step` bytes and returns the payloads.
fn receive(stream: &[u8], step: usize, keep: bool) -> Vec<Vec<u8>> {
    let mut inbound = open(64 << 20).inbound;
    let mut buffer = ReceiveBuffer::new();
    let (mut payloads, mut kept) = (Vec::new(), Vec::new());
    let mut rest = stream;
    while !rest.is_empty() {
        let space = buffer.space();
        let bytes = step.min(space.len()).min(rest.len());
        space[..bytes].copy_from_slice(&rest[..bytes]);
        buffer.filled(bytes);
        rest = &rest[bytes..];
        let (lent, range) = buffer.lend();
        let mut at = range.start;
        while let Some((event, used)) = inbound.next(&lent[at..range.end]).unwrap() {
            let SessionEvent::Event(frame) = event else { panic!("{event:?}") };
            assert_eq!(frame.payload().as_ptr() as usize % 8, 0);
            payloads.push(frame.payload().to_vec());
            if keep {
                kept.push(lent.slice_ref(frame.payload()));
            }
            at += used;
        }
        buffer.give_back(lent, at - range.start);
    }
    for (kept, payload) in kept.iter().zip(&payloads) {
        assert_eq!(kept, payload);
    }
    payloads
}

#[test]
fn frames_come_out_whole_and_aligned_however_they_were_cut() {
    let mut stream = Vec::new();
    let mut expected = Vec::new();
    for index in 0..400usize {
        let bytes = match index % 40 {
            7 => 300 << 10,
            20 => 70 << 10,
            other => other * 3,
        };
        let payload: Vec<u8> = (0..bytes).map(|at| (at + index) as u8).collect();
        stream.extend(encode(Kind::Event, ME, index as u64, b"name", &payload));
        expected.push(payload);
    }
    for (step, keep) in [(1 << 20, false), (4093, false), (50_000, true)] {
        assert!(receive(&stream, step, keep) == expected);
    }
}

/// A header announces what would take gigabytes: it is refused before any of it comes.
#[test]
fn what_is_larger_than_its_kind_may_be_is_refused_by_its_header() {
    let header = |kind, name: &[u8], payload_bytes| {
        let mut head = Vec::new();
        append_head(&mut head, kind, ME, 1, name, payload_bytes);
        head
    };
    let refused =
        |inbound: &mut Inbound, head: &[u8]| matches!(inbound.next(head), Err(Error::Protocol(_)));
    let greeting = header(Kind::Welcome, b"", MAX_CONTROL_PAYLOAD_BYTES + 8);
    assert!(refused(&mut Inbound::new(), &greeting));

    let open = |limit| {
        let mut inbound = Inbound::limited(limit);
        inbound.next(&welcome(u64::MAX)).unwrap().unwrap();
        inbound
    };
    let large = header(Kind::Event, b"a", MAX_STATS_BYTES + 8);
    assert!(open(usize::MAX).next(&large).unwrap().is_none(), "the broker allows it");
    assert!(refused(&mut open(0), &large));
    // Of all else a control frame's worth is taken, but of a status.
    let limits = [
        (Kind::Stats, MAX_STATS_BYTES),
        (Kind::Error, MAX_CONTROL_PAYLOAD_BYTES),
        (Kind::Cluster, MAX_CONTROL_PAYLOAD_BYTES),
        (Kind::Lost, MAX_CONTROL_PAYLOAD_BYTES),
    ];
    for (kind, limit) in limits {
        let head = |payload_bytes| header(kind, b"", payload_bytes);
        assert!(open(0).next(&head(limit)).unwrap().is_none(), "{kind:?}");
        assert!(refused(&mut open(usize::MAX), &head(limit + 8)), "{kind:?}");
    }
}

#[test]
fn memory_grows_with_what_comes_not_with_what_is_announced() {
    let mut buffer = ReceiveBuffer::new();
    let mut head = Vec::new();
    append_head(&mut head, Kind::Event, ME, 1, b"a", 1 << 30);
    buffer.space()[..head.len()].copy_from_slice(&head);
    buffer.filled(head.len());
    let mut came = head.len();
    while came < 4 << 20 {
        let space = buffer.space().len();
        assert!(space <= came + RECEIVE_BUFFER_BYTES, "{space} bytes of room after {came}");
        buffer.filled(space);
        came += space;
    }
}

#[test]
fn a_brokers_words_do_nothing_to_a_terminal() {
    let text = "a\u{9b}2J\x1b[2J\u{202e}\n".to_owned();
    let errors = [
        Error::ClosedByBroker { code: ErrorCode::Busy, text: text.clone() },
        Error::Version(text.clone()),
        Error::Protocol(text.clone()),
        Error::PatternRefused(text.clone()),
        Error::Forbidden(text.clone()),
        Error::ClusterIncomplete { missing: vec![text.clone()], after: Duration::ZERO },
        Error::Disconnected(DisconnectReason::ClosedByBroker {
            code: ErrorCode::Busy,
            text: text.clone(),
        }),
        Error::Disconnected(DisconnectReason::Protocol(text)),
    ];
    for error in errors {
        let shown = error.to_string();
        assert!(shown.contains("a\\u{9b}2J\\u{1b}[2J\\u{202e}\\n"), "{shown:?}");
    }
}
