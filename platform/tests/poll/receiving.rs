//! Receiving: chunks, ends, fills, and a pool that runs dry.

use std::io::Write;
use std::time::Duration;

use bytes::BytesMut;
use netcluster_platform::{Completion, Io, PollConfig, ReceiveEnd};

use crate::shard::{PATIENCE, SHORTLY, Shard, content};

#[test]
fn a_stream_longer_than_the_pool_arrives_in_order() {
    let mut shard = Shard::new();
    let (mut client, conn) = shard.connect();
    let sent = content(20 << 20);
    let expected = sent.clone();
    let writer = std::thread::spawn(move || client.write_all(&sent).unwrap());
    shard.io.receive(conn);
    assert!(shard.receive_bytes(expected.len()) == expected);
    writer.join().unwrap();
}

#[test]
fn receiving_stops_and_goes_on() {
    let mut shard = Shard::new();
    let (mut client, conn) = shard.connect();
    shard.io.receive(conn);
    client.write_all(b"one").unwrap();
    assert_eq!(shard.receive_bytes(3), b"one");
    shard.io.stop_receive(conn);
    client.write_all(b"two").unwrap();
    let completions = shard.poll_once();
    let [Completion::ReceiveEnded { end: ReceiveEnd::Stopped, .. }] = &completions[..] else {
        panic!("{completions:?}");
    };
    assert!(shard.poll_once().is_empty());
    shard.io.receive(conn);
    assert_eq!(shard.receive_bytes(3), b"two");
}

#[test]
fn a_large_buffer_is_filled_in_place() {
    const LENGTH: usize = 16 << 20;
    let mut shard = Shard::new();
    let (mut client, conn) = shard.connect();
    let sent = content(LENGTH + 100);
    let expected = sent.clone();
    let writer = std::thread::spawn(move || {
        client.write_all(&sent).unwrap();
        client
    });
    let mut buffer = BytesMut::with_capacity(LENGTH);
    buffer.extend_from_slice(b"head");
    shard.io.receive_into(conn, buffer, LENGTH);
    let buffer = shard.until(|completion| match completion {
        Completion::Filled { buffer, .. } => Some(buffer.clone()),
        Completion::Received { .. } => panic!("not while it fills a buffer"),
        _ => None,
    });
    assert_eq!(buffer.len(), LENGTH);
    assert!(buffer[..4] == *b"head" && buffer[4..] == expected[..LENGTH - 4]);
    shard.io.receive(conn);
    assert!(shard.receive_bytes(104) == expected[LENGTH - 4..]);
    writer.join().unwrap();
}

#[test]
fn the_end_comes_after_the_bytes_before_it() {
    let mut shard = Shard::new();
    for _ in 0..200 {
        let (mut client, conn) = shard.connect();
        shard.io.receive(conn);
        client.write_all(b"last words").unwrap();
        drop(client);
        let mut bytes = Vec::new();
        shard.until(|completion| match completion {
            Completion::Received { chunk, .. } => {
                bytes.extend_from_slice(chunk);
                None
            }
            Completion::ReceiveEnded { end: ReceiveEnd::Eof, .. } => Some(()),
            other => panic!("{other:?}"),
        });
        assert_eq!(bytes, b"last words");
        shard.io.close(conn);
        shard.until_closed(conn);
    }
}

#[test]
fn the_end_ends_a_fill() {
    let mut shard = Shard::new();
    let (mut client, conn) = shard.connect();
    shard.io.receive_into(conn, BytesMut::new(), 1000);
    client.write_all(b"too little").unwrap();
    drop(client);
    shard.until(|completion| match completion {
        Completion::ReceiveEnded { end: ReceiveEnd::Eof, .. } => Some(()),
        other => panic!("{other:?}"),
    });
}

#[test]
fn a_starved_pool_recovers_when_its_chunks_are_dropped() {
    let mut shard = Shard::with(PollConfig { buffers: 8, buffer_bytes: 4096, arena: None });
    let (mut client, conn) = shard.connect();
    let sent = content(400_000);
    let expected = sent.clone();
    let writer = std::thread::spawn(move || {
        client.write_all(&sent).unwrap();
        client
    });
    shard.io.receive(conn);
    let mut received = Vec::new();
    let mut chunks = Vec::new();
    for _ in 0..3 {
        // Starved, and no chunk dropped since arms it again.
        while !shard.io.starved() || shard.receive_chunks(&mut chunks, Duration::ZERO) > 0 {
            shard.receive_chunks(&mut chunks, SHORTLY);
        }
        assert_eq!(shard.io.stats().pinned_buffers, 8);
        received.extend(chunks.iter().flatten());
        // Dropped on another thread while this one sleeps in `wait`.
        let pinned = std::mem::take(&mut chunks);
        let dropper = std::thread::spawn(move || drop(pinned));
        assert!(shard.receive_chunks(&mut chunks, PATIENCE) > 0);
        dropper.join().unwrap();
    }
    assert!(shard.io.stats().starvations >= 3);
    received.extend(chunks.drain(..).flatten());
    let rest = shard.receive_bytes(expected.len() - received.len());
    received.extend_from_slice(&rest);
    assert!(received == expected);
    writer.join().unwrap();
}

#[test]
fn a_starved_connection_can_be_stopped_and_closed() {
    let mut shard = Shard::with(PollConfig { buffers: 1, buffer_bytes: 4096, arena: None });
    let (mut client, conn) = shard.connect();
    client.write_all(&content(100_000)).unwrap();
    shard.io.receive(conn);
    let mut pinned = Vec::new();
    while !shard.io.starved() {
        shard.io.wait(&mut pinned, Some(Duration::from_secs(1))).unwrap();
    }
    shard.io.stop_receive(conn);
    assert!(!shard.io.starved());
    let completions = shard.poll_once();
    assert!(matches!(completions[..], [Completion::ReceiveEnded { .. }]), "{completions:?}");
    shard.io.close(conn);
    shard.until_closed(conn);
}

#[test]
fn small_reads_share_a_buffer() {
    let mut shard = Shard::new();
    let mut peers: Vec<_> = (0..50).map(|_| shard.connect()).collect();
    let mut chunks = Vec::new();
    for (client, conn) in &mut peers {
        shard.io.receive(*conn);
        client.write_all(b"small").unwrap();
    }
    while chunks.len() < 50 {
        shard.io.wait(&mut chunks, Some(Duration::from_secs(1))).unwrap();
    }
    assert_eq!(shard.io.stats().pinned_buffers, 0, "the one they share is still read into");
}

#[test]
fn a_flood_on_one_connection_does_not_delay_another() {
    let mut shard = Shard::new();
    let (mut flood, flooding) = shard.connect();
    let (mut quiet, waiting) = shard.connect();
    shard.io.receive(flooding);
    shard.io.receive(waiting);
    let writer = std::thread::spawn(move || while flood.write_all(&[7; 65536]).is_ok() {});
    shard.receive_bytes_at_least(1 << 20);
    quiet.write_all(b"me too").unwrap();
    let before = shard.io.stats().received_bytes;
    shard.until(|completion| match completion {
        Completion::Received { conn, .. } if *conn == waiting => Some(()),
        _ => None,
    });
    let meanwhile = shard.io.stats().received_bytes - before;
    assert!(meanwhile < 4 << 20, "{meanwhile} bytes went first");
    shard.io.close(flooding);
    shard.until_closed(flooding);
    // A pipe is gone when its last operation is.
    while !writer.is_finished() {
        shard.poll_once();
    }
    writer.join().unwrap();
}
