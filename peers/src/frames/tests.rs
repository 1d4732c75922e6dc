//! The buffers, with the bytes of a text protocol, and no socket.

use super::*;
use crate::nats::Nats;

const ROOM: usize = 64;

fn frames() -> Frames<Nats> {
    let mut frames = Frames::new(Nats::new("n", false), ROOM);
    frames.written();
    feed(&mut frames, b"INFO {}\r\nPONG\r\n");
    frames.take_answers().unwrap();
    assert_eq!(frames.awaited(), 0);
    frames
}

/// Fills the room as one read that brings these bytes.
fn feed(frames: &mut Frames<Nats>, bytes: &[u8]) {
    frames.room().unwrap()[..bytes.len()].copy_from_slice(bytes);
    frames.filled(bytes.len());
}

fn event(payload: &[u8]) -> Vec<u8> {
    [format!("MSG e 1 {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat()
}

#[test]
fn events_come_whole_however_the_bytes_are_cut() {
    // Longer than the room, empty, and so many that they wrap around it.
    let sizes: Vec<usize> = [700, 0, 1].into_iter().chain((0..90).map(|n| n * 7)).collect();
    let payloads: Vec<Vec<u8>> = sizes.iter().map(|&size| vec![size as u8; size]).collect();
    let bytes: Vec<u8> = payloads.iter().flat_map(|payload| event(payload)).collect();
    for piece in [1, 7, 61, 997] {
        let (mut frames, mut left, mut got) = (frames(), &bytes[..], Vec::new());
        while !left.is_empty() {
            let read = frames.room().unwrap().len().min(piece).min(left.len());
            assert!(read > 0);
            feed(&mut frames, &left[..read]);
            left = &left[read..];
            frames.take(|payload| got.push(payload.to_vec())).unwrap();
        }
        assert!(got == payloads, "pieces of {piece}");
    }
}

#[test]
fn a_frame_beyond_all_measure_is_an_error() {
    let mut frames = frames();
    feed(&mut frames, b"MSG e 1 67108865\r\n");
    assert!(frames.take(|_| ()).is_err());
}

#[test]
fn the_hello_and_a_subscription_wait_for_their_answers() {
    let mut frames = Frames::new(Nats::new("n", false), ROOM);
    assert!(frames.outbound().starts_with(b"CONNECT "));
    assert_eq!(frames.awaited(), 1);
    frames.written();
    for byte in b"INFO {}\r\nPONG\r\n" {
        assert_eq!(frames.awaited(), 1);
        feed(&mut frames, &[*byte]);
        frames.take_answers().unwrap();
    }
    assert_eq!(frames.awaited(), 0);
    frames.subscribe("e");
    assert_eq!((frames.outbound(), frames.awaited()), (&b"SUB e 1\r\nPING\r\n"[..], 1));
    // What follows the answer is left for whoever takes events.
    feed(&mut frames, b"PONG\r\nMSG e 1 1\r\na\r\n");
    frames.take_answers().unwrap();
    assert_eq!(frames.awaited(), 0);
    assert_eq!(frames.take(|payload| assert_eq!(payload, b"a")).unwrap(), 1);
}

#[test]
fn questions_are_answered_and_answers_nobody_awaits_are_passed_over() {
    let mut frames = frames();
    feed(&mut frames, b"PONG\r\nPING\r\nPING\r\n");
    assert_eq!(frames.take(|_| ()).unwrap(), 0);
    assert_eq!(frames.outbound(), b"PONG\r\nPONG\r\n");
    assert_eq!(frames.awaited(), 0);
}

#[test]
fn decimals_are_written_and_read() {
    for number in [0, 7, 10, 65_536, MAX_FRAME_BYTES] {
        let mut out = Vec::new();
        push_decimal(&mut out, number);
        assert_eq!(out, number.to_string().as_bytes());
        assert_eq!(decimal(&out).unwrap(), number);
    }
    assert!(decimal(b"").is_err() && decimal(b"-1").is_err());
    assert!(decimal((MAX_FRAME_BYTES + 1).to_string().as_bytes()).is_err());
}
