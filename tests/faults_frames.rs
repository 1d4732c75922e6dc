//! Frames that break the protocol: their sender is told why and disconnected, and nobody
//! else notices.

mod common;

use std::time::Duration;

use common::raw::hello_frame;
use common::{Bed, Bus, Raw, on_all, on_both};
use netcluster_wire::limits::HEADER_BYTES;
use netcluster_wire::{ErrorCode, Hello, Kind, Source};

/// Sends bytes as a welcomed client and returns the error that ends it, after a
/// bystander has exchanged events before and after.
fn reaction(bus: &Bus, make: impl FnOnce(&mut Raw) -> Vec<u8>) -> (ErrorCode, String) {
    let (mut listener, mut emitter) = (bus.raw(), bus.raw());
    listener.listen("other");
    let mut violator = bus.raw();
    emitter.emit("other", b"before");
    let bytes = make(&mut violator);
    violator.send(&bytes);
    let error = violator.last_error();
    emitter.emit("other", b"after");
    for expected in [&b"before"[..], b"after"] {
        assert_eq!(listener.event_got().payload, expected);
    }
    error
}

/// Makes an event whose header has these bytes written over.
fn spoilt(raw: &mut Raw, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut event = raw.event("name", &[7; 40]);
    event[at..at + bytes.len()].copy_from_slice(bytes);
    event
}

on_all! {
    fn a_broken_header_ends_only_its_own_connection(bed) {
        let bus = bed.bus();
        let cases: [(&str, usize, &[u8], ErrorCode); 11] = [
            ("not a multiple of 8", 0, &75u32.to_le_bytes(), ErrorCode::Protocol),
            ("cannot hold", 0, &0u32.to_le_bytes(), ErrorCode::Protocol),
            ("cannot hold", 0, &24u32.to_le_bytes(), ErrorCode::Protocol),
            ("over the limit", 0, &0xffff_fff8_u32.to_le_bytes(), ErrorCode::PayloadTooLarge),
            ("unknown frame kind 0x77", 4, &[0x77], ErrorCode::Protocol),
            ("unknown frame kind 0x00", 4, &[0], ErrorCode::Protocol),
            ("unknown frame flags 0x80", 5, &[0x80], ErrorCode::Protocol),
            ("unknown frame flags 0x08", 5, &[0x08], ErrorCode::Protocol),
            ("unknown frame flags 0x30", 5, &[0x30], ErrorCode::Protocol),
            // A ping that is to be text.
            ("unknown frame flags 0x10", 4, &[0x16, 0x10], ErrorCode::Protocol),
            ("256 bytes", 6, &256u16.to_le_bytes(), ErrorCode::Protocol),
        ];
        for (says, at, bytes, code) in cases {
            let (got, text) = reaction(&bus, |raw| spoilt(raw, at, bytes));
            assert_eq!(got, code, "{says}: {text}");
            assert!(text.contains(says), "`{text}` should say `{says}`");
        }
        assert_eq!(bus.status().totals.protocol_errors, cases.len() as u64);
    }
}

on_all! {
    /// The right frames before a broken one are delivered, all of them.
    fn events_before_a_broken_frame_are_delivered(bed) {
        let bus = bed.bus();
        let (mut listener, mut violator) = (bus.raw(), bus.raw());
        listener.listen("a");
        let mut bytes = Vec::new();
        for number in 0..100u8 {
            bytes.extend(violator.event("a", &[number]));
        }
        bytes.extend(spoilt(&mut violator, 4, &[0x77]));
        violator.send(&bytes);
        assert_eq!(violator.last_error().0, ErrorCode::Protocol);
        for number in 0..100u8 {
            assert_eq!(listener.event_got().payload, [number]);
        }
    }
}

on_both! {
    /// A length that is wrong swallows the frame behind it, so that nothing behind can be
    /// trusted; the frame that the length claims is delivered or refused, never half of
    /// it.
    fn a_length_that_lies_harms_only_its_own_stream(bed) {
        let bus = bed.bus();
        let mut listener = bus.raw();
        listener.listen("name");
        let mut liar = bus.raw();
        let honest = liar.event("name", &[1; 8]);
        let mut bytes = honest.clone();
        bytes[0] += 8;
        bytes.extend(liar.event("name", &[2; 8]));
        liar.send(&bytes);
        let got = listener.event_got();
        assert_eq!(got.payload.len(), 16, "its payload runs into the next header");
        assert!(matches!(liar.last_error().0, ErrorCode::Protocol | ErrorCode::PayloadTooLarge));
        let mut other = bus.raw();
        other.emit("name", b"fine");
        assert_eq!(listener.event_got().payload, b"fine");
    }
}

on_both! {
    fn a_frame_split_at_every_byte_arrives_whole(bed) {
        let bus = bed.bus();
        let (mut listener, mut emitter) = (bus.raw(), bus.raw());
        listener.listen("split.**");
        let name = format!("split.{}", "n".repeat(90));
        let length = emitter.event(&name, &common::patterned(0, 60)).len();
        let mut probe = Raw::on_channel(&bus.path, "probe", &Hello::default()).0;
        for cut in 1..length {
            let payload = common::patterned(cut as u64, 60);
            let event = emitter.event(&name, &payload);
            let mut expected = probe.status().totals.bytes_in + cut as u64;
            emitter.send(&event[..cut]);
            common::wait_until("the first part is received", || {
                expected += HEADER_BYTES as u64; // The question itself.
                probe.status().totals.bytes_in >= expected
            });
            emitter.send(&event[cut..]);
            let got = listener.event_got();
            assert_eq!((got.payload, got.sequence), (payload, emitter.sequence));
        }
    }
}

on_all! {
    fn names_that_are_not_allowed_are_refused(bed) {
        let bus = bed.bus();
        for name in [&b""[..], b"\xff\xfe", b"a.\xc3\x28", b"a.*", b"**", b"x.**.y"] {
            let (code, text) = reaction(&bus, |raw| raw.encode(Kind::Event, 1, name, b"data"));
            assert_eq!(code, ErrorCode::Name, "{text}");
        }
    }
}

on_both! {
    /// The longest name goes through; one byte more is refused.
    fn a_name_of_255_bytes_is_the_longest(bed) {
        let bus = bed.bus();
        let (mut listener, mut emitter) = (bus.raw(), bus.raw());
        let name = "n".repeat(255);
        listener.listen(&name);
        emitter.emit(&name, b"x");
        assert_eq!(listener.event_got().name, name);
        let mut event = emitter.event(&name, b"");
        event[6..8].copy_from_slice(&256u16.to_le_bytes());
        emitter.send(&event);
        assert_eq!(emitter.last_error().0, ErrorCode::Protocol);
    }
}

on_all! {
    fn another_source_than_the_assigned_is_refused(bed) {
        let bus = bed.bus();
        let mut listener = bus.raw();
        listener.listen("**");
        for kind in [Kind::Event, Kind::Subscribe, Kind::Ping, Kind::Stats, Kind::Bye] {
            for large in [false, true] {
                let (code, _) = reaction(&bus, |raw| {
                    let source = Source { client: raw.source.client + 100, ..raw.source };
                    let payload = vec![1; if large && kind == Kind::Event { 3 << 19 } else { 0 }];
                    netcluster_wire::frame::encode(kind, source, 1, b"forged", &payload)
                });
                assert_eq!(code, ErrorCode::Source, "{kind:?}");
            }
        }
        listener.ping();
        let forged = listener.stashed().into_iter().filter(|got| got.name == "forged").count();
        assert_eq!(forged, 0, "nobody hears a forged event");
    }
}

on_both! {
    fn kinds_that_only_a_broker_sends_are_refused(bed) {
        let bus = bed.bus();
        for kind in [Kind::Hello, Kind::Welcome, Kind::Ack, Kind::Error, Kind::Lost] {
            let (code, text) =
                reaction(&bus, |raw| raw.encode(kind, 1, b"default", &Hello::default().encode()));
            assert_eq!(code, ErrorCode::Protocol, "{kind:?}");
            assert!(text.contains(&format!("{kind:?}")), "`{text}` should name {kind:?}");
        }
        // A pong that nobody asked for is no harm.
        let mut raw = bus.raw();
        let pong = raw.encode(Kind::Pong, 9, b"", &[0; 8]);
        raw.send(&pong);
        raw.ping();
    }
}

on_all! {
    fn a_request_that_is_refused_says_why_and_the_connection_goes_on(bed) {
        let bus = bed.bus();
        let mut raw = bus.raw();
        for (number, (json, words)) in [
            ("", "not understood"),
            ("[]", "not understood"),
            (r#"{"do":"dance"}"#, "unknown variant `dance`"),
            (r#"{"do":"kick","client":77}"#, "there is no client 77"),
            (r#"{"do":"link-open","group":"10.0.0.1:1"}"#, "no multicast address"),
            (r#"{"do":"drain","notice_ms":99999999}"#, "at most"),
            (r#"{"do":"reload"}"#, "does not do that"),
        ]
        .into_iter()
        .enumerate()
        {
            let request = 100 + number as u64;
            let frame = raw.encode(Kind::Control, request, b"", json.as_bytes());
            raw.send(&frame);
            let (code, text) = raw.wait_for(Kind::Error, request).error();
            assert_eq!(code, ErrorCode::Refused, "{json}");
            assert!(text.contains(words), "{json}: {text}");
        }
        // What is as long as a request may be is looked at.
        let long = format!(r#"{{"do":"{}"}}"#, "x".repeat(4087));
        let frame = raw.encode(Kind::Control, 200, b"", long.as_bytes());
        raw.send(&frame);
        assert_eq!(raw.wait_for(Kind::Error, 200).error().0, ErrorCode::Refused);
        raw.ping();
    }
}

on_both! {
    fn a_control_frame_over_its_limit_is_refused(bed) {
        let bus = bed.bus();
        for kind in [Kind::Subscribe, Kind::Ping, Kind::Bye, Kind::Control] {
            let (code, _) = reaction(&bus, |raw| raw.encode(kind, 1, b"a", &[0; 4097]));
            assert_eq!(code, ErrorCode::PayloadTooLarge, "{kind:?}");
        }
    }
}

on_all! {
    fn a_pattern_that_is_not_allowed_fails_only_its_request(bed) {
        let bus = bed.bus();
        let (mut listener, mut emitter) = (bus.raw(), bus.raw());
        for pattern in [&b""[..], b"\xff", b"**.a.**.b.**.c.**.d.**"] {
            let request = listener.ask(Kind::Subscribe, pattern);
            let answer = listener.frame();
            assert_eq!(answer.sequence, request);
            assert_eq!(answer.error().0, ErrorCode::Pattern);
            // What was never in force can be taken back.
            let request = listener.ask(Kind::Unsubscribe, pattern);
            assert_eq!((listener.frame().kind, request), (Kind::Ack, request));
        }
        listener.listen("a");
        emitter.emit("a", b"still here");
        assert_eq!(listener.event_got().payload, b"still here");
        assert_eq!(bus.status().totals.protocol_errors, 0);
    }
}

on_both! {
    fn a_hello_that_is_none_is_refused_with_the_reason(bed) {
        let bus = bed.bus();
        let good = Hello::default().encode();
        let change = |at: usize, byte: u8| {
            let mut payload = good.clone();
            payload[at] = byte;
            payload
        };
        let cases: [(&[u8], Vec<u8>, ErrorCode, &str); 8] = [
            (b"default", change(4, 9), ErrorCode::Version, "version 9"),
            (b"default", change(0, b'X'), ErrorCode::Protocol, "does not speak netcluster"),
            (b"default", change(7, 0x80), ErrorCode::Protocol, "unknown options"),
            (b"default", good[..10].to_vec(), ErrorCode::Protocol, "wrong length"),
            (b"default", [&good[..], &[0xff]].concat(), ErrorCode::Protocol, "UTF-8"),
            (b"default", [&good[..], &[b'n'; 256]].concat(), ErrorCode::Protocol, "255"),
            (b"", good.clone(), ErrorCode::Name, "channel"),
            (b"\xff", good.clone(), ErrorCode::Name, "channel"),
        ];
        for (channel, payload, code, says) in cases {
            let mut raw = Raw::silent(&bus.path);
            raw.send(&hello_frame(channel, &payload));
            let (got, text) = raw.last_error();
            assert_eq!(got, code, "{text}");
            assert!(text.contains(says), "`{text}` should say `{says}`");
        }
        // Something that is not even a frame, and something that is no hello.
        for bytes in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &[0xff; 4096]] {
            let mut raw = Raw::silent(&bus.path);
            raw.send(bytes);
            assert!(matches!(raw.last_error().0, ErrorCode::Protocol | ErrorCode::PayloadTooLarge));
        }
        for (kind, length) in [(Kind::Event, 10), (Kind::Event, 1 << 20), (Kind::Ping, 0)] {
            let mut raw = Raw::silent(&bus.path);
            let frame = raw.encode(kind, 1, b"x", &vec![0; length]);
            raw.try_send(&frame);
            let (code, text) = raw.last_error();
            assert_eq!(code, ErrorCode::Protocol, "{text}");
            assert!(text.contains("hello"), "{text}");
        }
        let status = bus.status();
        assert_eq!(status.totals.clients, 1, "only the one that asks");
        assert_eq!(status.totals.protocol_errors, 13);
    }
}

on_all! {
    /// A client hangs up in the middle of a frame of any size: nobody hears the frame.
    fn a_truncated_frame_is_dropped_and_counted(bed) {
        let bus = bed.bus();
        let mut listener = bus.raw();
        listener.listen("a");
        let mut cuts = 0;
        for length in [100, 100_000, 2 << 20] {
            for cut in [1, 20, 30, 60, length / 2, length - 1] {
                let mut raw = bus.raw();
                raw.emit("a", b"whole");
                let event = raw.event("a", &vec![1; length]);
                raw.send(&event[..cut]);
                drop(raw);
                cuts += 1;
                assert_eq!(listener.event_got().payload, b"whole");
            }
        }
        common::wait_until("every cut is counted", || bus.status().totals.truncated >= cuts);
        assert_eq!(bus.status().memory.queues_bytes, 0, "nothing is kept of them");
        listener.ping();
        assert_eq!(listener.stashed(), []);
    }
}

on_all! {
    /// A client need not read before it has written: the write that is under way
    /// succeeds, the broker's last words are there, then the end.
    fn a_client_that_is_writing_learns_why_it_is_disconnected(bed) {
        let bus = bed.bus();
        for _ in 0..10 {
            let mut violator = bus.raw();
            let mut bytes = spoilt(&mut violator, 4, &[0x77]);
            bytes.resize(4 << 20, 0);
            violator.send(&bytes);
            assert_eq!(violator.last_error().0, ErrorCode::Protocol);
        }
    }
}

on_both! {
    /// A client that finds the broker full is told before it said hello, and can say it
    /// all the same.
    fn a_client_that_is_refused_before_its_hello_can_still_write_it(bed) {
        let bus = bed.bus_with(|options| options.max_clients = 1);
        let _only = bus.raw();
        let mut refused = Raw::silent(&bus.path);
        assert_eq!(refused.last_error().0, ErrorCode::Busy);
        refused.send(&hello_frame(b"default", &Hello::default().encode()));
    }
}

on_both! {
    fn a_client_that_never_stops_writing_is_cut_off(bed) {
        let bus = bed.bus_with(|options| options.linger = Duration::from_millis(50));
        let mut violator = bus.raw();
        let bytes = spoilt(&mut violator, 4, &[0x77]);
        violator.send(&bytes);
        while violator.try_send(&[0; 64 << 10]) {}
        let mut other = bus.raw();
        other.ping();
        assert_eq!(bus.status().totals.protocol_errors, 1);
    }
}
