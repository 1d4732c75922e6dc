//! A pipe over a socket with a peer played by hand.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use super::*;
use crate::nats::Nats;
use netcluster_testkit::Directory;

/// A pipe whose peer answers the hello, and the peer's end.
fn pipe(directory: &Directory) -> (Pipe<Nats>, UnixStream) {
    let path: PathBuf = directory.socket("s");
    let listener = UnixListener::bind(&path).unwrap();
    let peer = thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"INFO {}\r\nPONG\r\n").unwrap();
        peer
    });
    let pipe = Pipe::connect(&Address::Unix(path), "n", false).unwrap();
    (pipe, peer.join().unwrap())
}

fn event(payload: &[u8]) -> Vec<u8> {
    [format!("MSG e 1 {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat()
}

#[test]
fn events_come_whole_however_the_stream_is_cut() {
    let directory = Directory::new();
    let (mut pipe, mut peer) = pipe(&directory);
    // Longer than the buffer, empty, and so many that they wrap around it.
    let sizes: Vec<usize> = [700_000, 0, 1].into_iter().chain((0..400).map(|n| n * 37)).collect();
    let payloads: Vec<Vec<u8>> = sizes.iter().map(|&size| vec![size as u8; size]).collect();
    let bytes: Vec<u8> = payloads.iter().flat_map(|payload| event(payload)).collect();
    let writer = thread::spawn(move || {
        for (index, piece) in bytes.chunks(9_973).enumerate() {
            peer.write_all(piece).unwrap();
            if index % 7 == 0 {
                thread::yield_now();
            }
        }
        peer
    });
    let mut got = Vec::new();
    while got.len() < payloads.len() {
        let received = pipe.receive(|payload| got.push(payload.to_vec())).unwrap();
        assert!(matches!(received, Received::Events(1..)), "{received:?}");
    }
    assert!(got == payloads);
    drop(writer.join().unwrap());
    assert_eq!(pipe.receive(|_| ()).unwrap(), Received::Closed);
}

#[test]
fn a_question_among_events_is_answered() {
    let directory = Directory::new();
    let (mut pipe, mut peer) = pipe(&directory);
    peer.write_all(&[&b"PING\r\n"[..], &event(b"a")].concat()).unwrap();
    assert_eq!(pipe.receive(|_| ()).unwrap(), Received::Events(1));
    let mut said = Vec::new();
    while !said.ends_with(b"PONG\r\n") {
        let mut piece = [0; 512];
        let read = peer.read(&mut piece).unwrap();
        said.extend_from_slice(&piece[..read]);
    }
}

#[test]
fn publishing_waits_for_a_batch_or_a_flush() {
    let directory = Directory::new();
    let (mut pipe, peer) = pipe(&directory);
    pipe.publish("e", b"a").unwrap();
    assert!(!pipe.frames.outbound().is_empty());
    pipe.flush().unwrap();
    assert!(pipe.frames.outbound().is_empty());
    pipe.publish("e", &[0; BATCH_BYTES]).unwrap();
    assert!(pipe.frames.outbound().is_empty());
    drop(peer);
}

#[test]
fn who_only_writes_answers_all_the_same() {
    let directory = Directory::new();
    let (mut pipe, mut peer) = pipe(&directory);
    pipe.take_waiting().unwrap();
    peer.write_all(b"PING\r\nPI").unwrap();
    pipe.take_waiting().unwrap();
    peer.write_all(b"NG\r\n").unwrap();
    pipe.take_waiting().unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"PONG\r\nPONG\r\n") {
        let mut piece = [0; 512];
        let read = peer.read(&mut piece).unwrap();
        said.extend_from_slice(&piece[..read]);
    }
    drop(peer);
    pipe.take_waiting().unwrap();
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_again() {
    let directory = Directory::new();
    let (mut pipe, mut peer) = pipe(&directory);
    pipe.ask_for("e").unwrap();
    assert!(!pipe.answered_within(Duration::from_millis(1)).unwrap());
    peer.write_all(b"PONG\r\n").unwrap();
    assert!(pipe.answered_within(ANSWER_TIMEOUT).unwrap());
}
