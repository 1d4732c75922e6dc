//! Bytes worked out by hand from the protocol's RFCs 23 and 37.

use super::*;
use crate::frames::assert_awaits_all;

/// Returns a greeting of 3.1 as libzmq sends it: more in the padding than zeros.
fn greeting() -> Vec<u8> {
    let mut bytes = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL".to_vec();
    bytes.resize(GREETING_BYTES, 0);
    bytes
}

fn greeted(only_publishes: bool) -> Zmtp {
    let mut zmtp = Zmtp::new("n", only_publishes);
    assert_eq!(zmtp.decode(&greeting()).unwrap(), Decoded::Answer(64));
    zmtp
}

fn subscribed() -> Zmtp {
    let mut zmtp = greeted(false);
    zmtp.subscribe("e1", &mut Vec::new());
    zmtp
}

#[test]
fn the_hello_is_a_greeting_and_ready() {
    for (only_publishes, kind) in [(true, b"PUB"), (false, b"SUB")] {
        let mut out = Vec::new();
        assert_eq!(Zmtp::new("n", only_publishes).hello(&mut out), 2);
        let (greeting, ready) = out.split_at(64);
        assert_eq!(greeting[..16], *b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL");
        assert!(greeting[16..].iter().all(|&byte| byte == 0));
        assert_eq!(ready, [b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03", &kind[..]].concat());
    }
}

#[test]
fn a_subscription_is_followed_by_one_to_the_own_word() {
    let mut out = Vec::new();
    assert_eq!(greeted(false).subscribe("e1", &mut out), 1);
    assert_eq!(out, b"\0\x04\x01e1\0\0\x04\x01?n\0");
}

#[test]
fn events_have_a_length_of_one_byte_or_of_eight() {
    let mut out = Vec::new();
    greeted(true).publish("e1", b"hello", &mut out);
    assert_eq!(out, b"\0\x08e1\0hello");
    out.clear();
    greeted(true).publish("e1", &[7; 252], &mut out);
    assert_eq!(out[..5], *b"\0\xffe1\0");
    out.clear();
    greeted(true).publish("e1", &[7; 253], &mut out);
    assert_eq!(out[..12], *b"\x02\0\0\0\0\0\0\x01\0e1\0");
}

#[test]
fn an_event_is_read_only_when_whole() {
    for size in [0, 5, 252, 253, 70_000] {
        let (mut out, payload) = (Vec::new(), vec![7; size]);
        greeted(true).publish("e1", &payload, &mut out);
        let whole = out.len();
        out.push(0);
        let mut zmtp = subscribed();
        assert_eq!(zmtp.decode(&out).unwrap(), Decoded::Event(&payload, whole));
        assert_awaits_all(&mut zmtp, &out[..whole]);
    }
}

#[test]
fn the_hello_is_answered_by_a_greeting_and_a_ready_however_they_are_cut() {
    let ready = b"\x04\x29\x05READY\x08Identity\0\0\0\0\x0bSocket-Type\0\0\0\x04XPUB";
    let ready = &[&[4, ready.len() as u8 - 2], &ready[2..]].concat();
    let mut zmtp = Zmtp::new("n", false);
    assert_awaits_all(&mut zmtp, &greeting());
    assert_eq!(zmtp.decode(&greeting()).unwrap(), Decoded::Answer(64));
    assert_awaits_all(&mut zmtp, ready);
    assert_eq!(zmtp.decode(ready).unwrap(), Decoded::Answer(ready.len()));
    assert!(greeted(true).decode(ready).is_err(), "a publisher at the subscribers' side");
}

#[test]
fn the_own_word_answers_a_subscription() {
    assert_eq!(subscribed().decode(b"\0\x03?n\0").unwrap(), Decoded::Answer(5));
    let mut said = Vec::new();
    greeted(true).publish(&word("n"), b"", &mut said);
    assert_eq!(said, b"\0\x03?n\0");
}

#[test]
fn a_ping_is_answered_with_its_context() {
    let mut zmtp = greeted(true);
    let ping = b"\x04\x0a\x04PING\0\x0aabc";
    assert_awaits_all(&mut zmtp, ping);
    assert_eq!(zmtp.decode(ping).unwrap(), Decoded::Question(12));
    let mut out = Vec::new();
    zmtp.reply(&mut out);
    assert_eq!(out, b"\x04\x08\x04PONGabc");
}

#[test]
fn a_publisher_passes_over_subscriptions_of_both_versions() {
    for bytes in [
        &b"\0\x04\x01e1\0"[..],
        b"\0\x04\0e1\0",
        b"\x04\x0c\x09SUBSCRIBEe1",
        b"\x04\x09\x06CANCELe1",
        b"\x04\x05\x04PONG",
    ] {
        assert_eq!(greeted(true).decode(bytes).unwrap(), Decoded::Other(bytes.len()), "{bytes:?}");
    }
}

#[test]
fn nonsense_is_an_error_and_no_panic() {
    let no_greeting = |at: usize, byte| {
        let mut bytes = greeting();
        bytes[at] = byte;
        bytes
    };
    for (at, byte) in [(0, b'H'), (9, 0), (10, 1), (12, b'P'), (16, b'X')] {
        assert!(Zmtp::new("n", false).decode(&no_greeting(at, byte)).is_err(), "{at}");
    }
    for bytes in [
        &b"\x08\0"[..],
        b"\x05\x02\x01A",
        b"\x01\x03e1\0",
        b"\0\0",
        b"\0\x03e2\0",
        b"\0\x04e11\0",
        b"\x02\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x02\0\0\0\0\x10\0\0\0",
        b"\x04\0",
        b"\x04\x01\x05",
        b"\x04\x06\x05READY",
        b"\x04\x16\x05READY\x0bSocket-Type\xff\xff\xff\xff",
        b"\x04\x05\x04PING",
        b"\x04\x1a\x04PING\0\0aaaaaaaaaaaaaaaaaaa",
        b"\x04\x08\x05ERROR\x01x",
        b"\x04\x06\x05ERROR",
        b"\x04\x03\x02NO",
    ] {
        assert!(subscribed().decode(bytes).is_err(), "{bytes:?}");
    }
    assert!(greeted(true).decode(b"\0\x03e1\0").is_err(), "an event for a publisher");
    assert!(greeted(false).decode(b"\0\x03e1\0").is_err(), "an event for nobody");
}
