//! Connections with shared memory: what comes by their rings, what goes by descriptors.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use netcluster_platform::{Completion, Conn, MAX_SLICES_PER_SEND, ReceiveEnd, Slice};
use netcluster_shm::Descriptor;

use crate::bench::{Bench, End, LocalIo, end_of, pattern};
use crate::shared_client::{SharedClient, arena_chunk};

pub fn rings_bring_what_was_put<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let (mut client, conn, _memory) = SharedClient::connect(&mut bench, true);
    let sent = pattern(3_000_000);
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || {
            for part in sent.chunks(40_000) {
                client.put_all(part);
            }
            client
        }
    });
    assert!(bench.receive_bytes(conn, sent.len()) == sent);
    let client = writer.join().unwrap();
    assert!(bench.quiet().is_empty());
    // What was put before the end comes before it.
    let mut client = client;
    client.put_all(b"the last");
    drop(client);
    assert_eq!(bench.receive_bytes(conn, 8), b"the last");
    assert_eq!(bench.expect_end(conn), End::Eof);
    bench.close(conn);
}

pub fn each_wait_brings_one_chunk_of_a_ring<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    bench.io.set_receive_budget(256 << 10);
    let mut clients: Vec<_> = (0..3).map(|_| SharedClient::connect(&mut bench, true)).collect();
    for (client, _, _) in &mut clients {
        client.put_all(&[1; 60_000]);
    }
    let mut totals = [0; 3];
    while totals.iter().sum::<usize>() < 3 * 60_000 {
        let mut batch = Vec::new();
        bench.io.wait(&mut batch, Some(Duration::from_secs(20))).unwrap();
        for (place, (client, conn, _)) in clients.iter_mut().enumerate() {
            let of_it = batch.iter().filter_map(|completion| match completion {
                Completion::Received { conn: from, chunk } if from == conn => Some(chunk.len()),
                _ => None,
            });
            let lengths: Vec<usize> = of_it.collect();
            assert!(lengths.len() <= 1, "{lengths:?}");
            totals[place] += lengths.iter().sum::<usize>();
            // It goes on writing: nobody is served twice because of it.
            client.put(&[1; 100][..100.min(60_000_usize.saturating_sub(totals[place]) % 100)]);
        }
    }
}

pub fn what_is_put_back_comes_again_in_one_piece<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    // Only the last chunk of a wait can be put back: one comes with each.
    bench.io.set_receive_budget(256 << 10);
    // The larger ones do not fit into the ring.
    for frame_bytes in [16, 1000, 50_000, 65_600, 200_000, 262_144] {
        let (mut client, conn, _memory) = SharedClient::connect(&mut bench, true);
        let frames = 1 + 2_000_000 / frame_bytes.max(200);
        let sent = pattern(frames * frame_bytes);
        let writer = std::thread::spawn({
            let sent = sent.clone();
            move || {
                for part in sent.chunks(30_001) {
                    client.put_all(part);
                }
                client
            }
        });
        let mut got = 0;
        while got < sent.len() {
            let chunk = bench.receive_chunk(conn);
            let whole = chunk.len() - chunk.len() % frame_bytes;
            assert!(chunk[..whole] == sent[got..got + whole], "{frame_bytes} at {got}");
            got += whole;
            let rest = chunk.len() - whole;
            assert!(chunk[whole..] == sent[got..got + rest]);
            if rest > 0 {
                assert!(bench.io.put_back(conn, &chunk, rest, frame_bytes));
                let held = bench.io.memory_use(conn).unwrap().ring_held_bytes;
                assert!(held >= rest as u64);
            }
        }
        let client = writer.join().unwrap();
        assert!(!bench.io.put_back(conn, &Bytes::new(), 1, 262_145), "such a frame fits nowhere");
        bench.close(conn);
        assert!(client.region.is_revoked());
    }
}

pub fn the_front_of_a_frame_waits_for_its_rest<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let (mut client, conn, _memory) = SharedClient::connect(&mut bench, true);
    client.put_all(b"whole, fro");
    let chunk = bench.receive_chunk(conn);
    assert!(bench.io.put_back(conn, &chunk, 3, 5));
    drop(chunk);
    assert!(bench.quiet().is_empty(), "it does not come before there is more");
    // Others use the buffers meanwhile.
    assert_eq!(arena_chunk(&mut bench, b"something else").len(), 14);
    client.put_all(b"nt");
    assert_eq!(bench.receive_chunk(conn), b"front"[..]);
    // The front of a large frame is the first that its own buffer gets.
    client.put_all(b"large fr");
    let chunk = bench.receive_chunk(conn);
    assert!(bench.io.put_back(conn, &chunk, chunk.len() - 6, 100_000));
    bench.io.stop_receive(conn);
    assert_eq!(bench.expect_end(conn), End::Stopped);
    let rest = pattern(99_998);
    bench.io.receive_into(conn, BytesMut::new(), 100_000);
    let writer = std::thread::spawn({
        let rest = rest.clone();
        move || {
            client.put_all(&rest);
            client
        }
    });
    let buffer = bench.expect("a full buffer", |completion| match completion {
        Completion::Filled { buffer, .. } => Some(buffer.clone()),
        _ => None,
    });
    let _client = writer.join().unwrap();
    assert_eq!(&buffer[..2], b"fr");
    assert!(buffer[2..] == rest);
}

pub fn a_stopped_ring_brings_nothing_until_it_is_received<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut client, conn, _memory) = SharedClient::connect(&mut bench, true);
    for round in 0..50 {
        bench.io.stop_receive(conn);
        bench.io.stop_receive(conn);
        assert_eq!(bench.expect_end(conn), End::Stopped);
        client.put_all(b"later");
        if round % 10 == 0 {
            assert!(bench.quiet().is_empty(), "nothing comes while stopped");
        }
        bench.io.receive(conn);
        assert_eq!(bench.receive_bytes(conn, 5), b"later");
    }
    // An end that is seen while nothing is received is told afterwards.
    bench.io.stop_receive(conn);
    assert_eq!(bench.expect_end(conn), End::Stopped);
    client.put_all(b"the last");
    drop(client);
    assert!(bench.quiet().is_empty());
    bench.io.receive(conn);
    assert_eq!(bench.receive_bytes(conn, 8), b"the last");
    assert_eq!(bench.expect_end(conn), End::Eof);
}

pub fn descriptors_and_the_socket_are_one_stream<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let chunk = arena_chunk(&mut bench, &pattern(60_000));
    let own = Bytes::from(pattern(300_000));
    let (mut client, conn, _memory) = SharedClient::connect(&mut bench, true);
    let mut slices = VecDeque::new();
    let mut expected = Vec::new();
    for at in 0..300 {
        let slice = if at % 3 == 0 {
            Slice::new(own.clone(), at * 1000, at * 1000 + 999)
        } else {
            Slice::pooled(chunk.clone(), at * 200, at * 200 + 150)
        };
        expected.extend_from_slice(slice.as_bytes());
        slices.push_back(slice);
    }
    assert!(slices.len() > MAX_SLICES_PER_SEND);
    let length = expected.len();
    let reader = std::thread::spawn(move || {
        let bytes = client.read_bytes(length);
        (client, bytes)
    });
    bench.send_all(conn, slices);
    let (_client, bytes) = reader.join().unwrap();
    assert!(bytes == expected);
}

pub fn what_is_not_released_stays<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let (mut client, conn, _memory) = SharedClient::connect(&mut bench, true);
    let chunk = arena_chunk(&mut bench, b"in the arena");
    let slice = Slice::pooled(chunk, 0, 12);
    assert_eq!(bench.send_all(conn, [slice].into()), 0);
    assert_eq!(bench.io.memory_use(conn).unwrap().in_flight_bytes, 12);
    let (descriptor, bytes) = client.read().unwrap();
    assert!(matches!(descriptor, Descriptor::Arena { bytes: 12, .. }));
    assert_eq!(bytes, b"in the arena");
    assert!(!bench.io.is_read(conn));
    assert!(bench.quiet().is_empty(), "it is not released");
    client.release();
    bench.expect("it is read", |completion| match completion {
        Completion::Writable { conn: of } if *of == conn => Some(()),
        _ => None,
    });
    assert!(bench.io.is_read(conn));
    assert_eq!(bench.io.memory_use(conn).unwrap().in_flight_bytes, 0);
}

pub fn a_client_that_releases_nothing_is_bounded<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut client, conn, _memory) = SharedClient::connect(&mut bench, true);
    let chunk = arena_chunk(&mut bench, &pattern(60_000));
    let mut sent = 0;
    let is_blocked = loop {
        let slices = vec![Slice::pooled(chunk.clone(), 0, 60_000); 4];
        bench.io.send(conn, slices.iter());
        let (bytes, blocked) = bench.expect("a send", |completion| match completion {
            Completion::Sent { bytes, blocked, .. } => Some((*bytes, *blocked)),
            _ => None,
        });
        sent += bytes;
        if blocked || sent > 10 << 20 {
            break blocked;
        }
    };
    assert!(is_blocked && sent <= 512 << 10, "{sent}");
    assert!(bench.quiet().is_empty(), "nothing was released");
    assert_eq!(client.read_bytes(sent).len(), sent);
    bench.expect("room", |completion| match completion {
        Completion::Writable { conn: of } if *of == conn => Some(()),
        _ => None,
    });
    // Small ranges: there are only so many descriptors.
    let mut sent = 0;
    loop {
        let slices: Vec<_> =
            (0..60).map(|at| Slice::pooled(chunk.clone(), at * 2, at * 2 + 1)).collect();
        bench.io.send(conn, slices.iter());
        let (bytes, blocked) = bench.expect("a send", |completion| match completion {
            Completion::Sent { bytes, blocked, .. } => Some((*bytes, *blocked)),
            _ => None,
        });
        sent += bytes;
        if blocked {
            break;
        }
    }
    assert!((500..=512).contains(&sent), "{sent}");
    client.read_bytes(sent);
    bench.expect("room", |completion| match completion {
        Completion::Writable { conn: of } if *of == conn => Some(()),
        _ => None,
    });
}

pub fn bytes_beside_the_ring_end_the_connection<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut client, conn, _memory) = SharedClient::connect(&mut bench, true);
    client.stream.write_all(b"not here").unwrap();
    let text = bench.expect("a failed stream", |completion| match completion {
        Completion::ReceiveEnded { end: ReceiveEnd::Failed(error), .. } => {
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
            Some(error.to_string())
        }
        _ => None,
    });
    assert!(text.contains("socket"), "{text}");
    bench.close(conn);
    assert!(client.region.is_revoked());
    assert_eq!(client.read(), None);
}

pub fn closing_revokes_and_lets_go<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let chunk = arena_chunk(&mut bench, b"in flight");
    let (mut client, conn, memory) = SharedClient::connect(&mut bench, true);
    bench.send_all(conn, [Slice::pooled(chunk, 0, 9)].into());
    client.put_all(b"unread");
    bench.io.close(conn);
    let mut all = Vec::new();
    while !all.iter().any(|it| matches!(it, Completion::Closed { .. })) {
        bench.io.wait(&mut all, Some(Duration::from_secs(20))).unwrap();
    }
    assert!(all.iter().all(|it| end_of(it, conn).is_none()), "{all:?}");
    assert!(client.region.is_revoked());
    assert_eq!(bench.io.memory_use(conn), None);
    assert_eq!(std::sync::Arc::strong_count(&memory), 1, "the back end has let go of it");
    // The number is used again by one that does not share.
    let (mut other, again): (_, Conn) = bench.connect();
    assert_eq!(again, conn);
    bench.io.receive(again);
    other.write_all(b"as ever").unwrap();
    assert_eq!(bench.receive_bytes(again, 7), b"as ever");
}
