//! Receiving: streams, their ends, starvation, large frames.

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use netcluster_platform::{Completion, Slice};

use crate::bench::{Bench, End, LocalIo, end_of, pattern};
use crate::client::Client;

pub fn bytes_come_back_as_sent<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let (mut stream, conn) = bench.connect();
    bench.io.receive(conn);
    for round in 0..200 {
        let sent = pattern(1 + round * 97);
        stream.write_all(&sent).unwrap();
        let mut echoed = Vec::new();
        while echoed.len() < sent.len() {
            let chunk = bench.receive_chunk(conn);
            let length = chunk.len();
            bench.send_all(conn, [Slice::pooled(chunk, 0, length)].into());
            let mut part = vec![0; length];
            std::io::Read::read_exact(&mut stream, &mut part).unwrap();
            echoed.extend(part);
        }
        assert_eq!(echoed, sent);
    }
    let stats = bench.io.stats();
    assert_eq!(stats.sent_bytes, stats.received_bytes);
    assert!(stats.receives >= 200 && stats.sends >= 200);
    assert_eq!(stats.starvations, 0, "echoed chunks go back to the pool");
}

pub fn data_before_the_end_of_a_stream_is_delivered<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut stream, conn) = bench.connect();
    let sent = pattern(150_000);
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || stream.write_all(&sent).unwrap()
    });
    bench.io.receive(conn);
    assert_eq!(bench.receive_bytes(conn, sent.len()), sent);
    writer.join().unwrap();
    assert_eq!(bench.expect_end(conn), End::Eof);
    bench.close(conn);
}

pub fn the_end_of_a_stream_is_never_missed<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    for round in 0..300 {
        let (mut stream, conn) = bench.connect();
        bench.io.receive(conn);
        assert!(bench.during(Duration::ZERO).is_empty());
        // Data and end arrive between two calls of the shard, or race with one.
        if round % 2 == 0 {
            stream.write_all(&[1; 123]).unwrap();
            let _stream = stream.finish();
            assert_eq!(bench.receive_bytes(conn, 123).len(), 123);
            assert_eq!(bench.expect_end(conn), End::Eof);
        } else {
            let thread = std::thread::spawn(move || {
                stream.write_all(&[1; 123]).unwrap();
                stream.finish()
            });
            assert_eq!(bench.receive_bytes(conn, 123).len(), 123);
            let _stream = thread.join().unwrap();
            assert_eq!(bench.expect_end(conn), End::Eof);
        }
        bench.close(conn);
    }
}

pub fn stopping_delivers_what_came_before<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let (mut stream, conn) = bench.connect();
    bench.io.receive(conn);
    assert!(bench.during(Duration::ZERO).is_empty());
    stream.write_all(b"one").unwrap();
    bench.io.stop_receive(conn);
    bench.io.stop_receive(conn);
    let mut early = Vec::new();
    loop {
        match bench.next() {
            Completion::Received { chunk, .. } => early.extend_from_slice(&chunk),
            completion => {
                assert_eq!(end_of(&completion, conn), Some(End::Stopped));
                break;
            }
        }
    }
    stream.write_all(b"two").unwrap();
    assert!(bench.during(Duration::from_millis(20)).is_empty(), "nothing comes while stopped");
    // Nothing was lost: what did not come before comes now.
    bench.io.receive(conn);
    let rest = bench.receive_bytes(conn, 6 - early.len());
    assert_eq!([early, rest].concat(), b"onetwo");
}

pub fn receiving_can_be_stopped_and_started_again<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut stream, conn) = bench.connect();
    let sent = pattern(2_000_000);
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || {
            for part in sent.chunks(3000) {
                stream.write_all(part).unwrap();
            }
        }
    });
    let mut received = Vec::new();
    let mut ended = false;
    while !ended {
        bench.io.receive(conn);
        bench.io.stop_receive(conn);
        loop {
            let completion = bench.next();
            if let Completion::Received { chunk, .. } = &completion {
                received.extend_from_slice(chunk);
                continue;
            }
            match end_of(&completion, conn) {
                Some(End::Stopped) => break,
                Some(End::Eof) => ended = true,
                _ => panic!("unexpected {completion:?}"),
            }
            break;
        }
        // Let some arrive while it is received, too, or the end: one that is stopped at
        // once need never see it.
        if !ended {
            bench.io.receive(conn);
            match bench.next() {
                Completion::Received { chunk, .. } => received.extend_from_slice(&chunk),
                completion => {
                    assert_eq!(end_of(&completion, conn), Some(End::Eof));
                    break;
                }
            }
            bench.io.stop_receive(conn);
            loop {
                match bench.next() {
                    Completion::Received { chunk, .. } => received.extend_from_slice(&chunk),
                    completion => {
                        ended = end_of(&completion, conn) == Some(End::Eof);
                        break;
                    }
                }
            }
        }
    }
    writer.join().unwrap();
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
}

pub fn a_large_frame_is_read_into_its_own_buffer<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    const FRAME_BYTES: usize = 16 << 20;
    let (mut stream, conn) = bench.connect();
    let sent = pattern(FRAME_BYTES);
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || {
            stream.write_all(&sent).unwrap();
            stream.write_all(b"after").unwrap();
            stream
        }
    });
    bench.io.receive(conn);
    let head = bench.receive_chunk(conn);
    bench.io.stop_receive(conn);
    let mut buffer = BytesMut::from(&head[..]);
    drop(head);
    loop {
        match bench.next() {
            Completion::Received { chunk, .. } => buffer.extend_from_slice(&chunk),
            completion => {
                assert_eq!(end_of(&completion, conn), Some(End::Stopped));
                break;
            }
        }
    }
    bench.io.receive_into(conn, buffer, FRAME_BYTES);
    let filled = bench.expect("the frame", |completion| match completion {
        Completion::Filled { conn: of, buffer } if *of == conn => Some(buffer.clone()),
        _ => None,
    });
    assert!(filled == sent);
    bench.io.receive(conn);
    assert_eq!(bench.receive_bytes(conn, 5), b"after");
    drop(writer.join().unwrap());
    assert_eq!(bench.expect_end(conn), End::Eof);
}

pub fn a_large_frame_that_breaks_off_ends_the_stream<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut stream, conn) = bench.connect();
    bench.io.receive_into(conn, BytesMut::new(), 1000);
    stream.write_all(&[1; 999]).unwrap();
    assert!(bench.during(Duration::from_millis(5)).is_empty());
    drop(stream);
    assert_eq!(bench.expect_end(conn), End::Eof);
    bench.close(conn);
    // Nothing to read: full at once.
    let (_stream, conn) = bench.connect();
    bench.io.receive_into(conn, BytesMut::from(&b"full"[..]), 4);
    bench.expect("a full buffer", |completion| match completion {
        Completion::Filled { buffer, .. } if &buffer[..] == b"full" => Some(()),
        _ => None,
    });
}

/// Has clients send until the pool is empty. Returns the chunks that empty it, and
/// the clients' threads, each with what it sends in all.
fn starve<I: LocalIo>(bench: &mut Bench<I>) -> Starved {
    let stats = bench.io.stats();
    let each = (stats.buffers * stats.buffer_bytes) as usize;
    let mut starved = Starved { conns: Vec::new(), chunks: Vec::new(), threads: Vec::new(), each };
    for _ in 0..4 {
        let (mut stream, conn) = bench.connect();
        bench.io.receive(conn);
        starved.conns.push(conn);
        starved.threads.push(std::thread::spawn(move || {
            // The shard may leave before all is written.
            let _ = stream.write_all(&pattern(each));
            stream
        }));
    }
    let start = Instant::now();
    while !bench.io.starved() {
        assert!(start.elapsed() < Duration::from_secs(20), "it must starve");
        for completion in bench.during(Duration::from_millis(1)) {
            match completion {
                Completion::Received { conn, chunk } => starved.chunks.push((conn, chunk)),
                Completion::Woken => {}
                completion => panic!("unexpected {completion:?}"),
            }
        }
    }
    assert!(bench.io.stats().starvations > 0);
    assert!(bench.io.stats().pinned_buffers > 0);
    starved
}

struct Starved {
    conns: Vec<netcluster_platform::Conn>,
    chunks: Vec<(netcluster_platform::Conn, bytes::Bytes)>,
    threads: Vec<std::thread::JoinHandle<Client>>,
    each: usize,
}

impl Starved {
    /// Receives all the rest and checks it.
    fn finish<I: LocalIo>(mut self, bench: &mut Bench<I>) {
        let mut received = vec![Vec::new(); self.conns.len()];
        let mut put = |conn, bytes: &[u8]| {
            let place = self.conns.iter().position(|known| *known == conn).unwrap();
            received[place].extend_from_slice(bytes);
            received.iter().map(Vec::len).sum::<usize>()
        };
        let mut total = 0;
        for (conn, chunk) in self.chunks.drain(..) {
            total = put(conn, &chunk);
        }
        while total < self.each * self.conns.len() {
            match bench.next() {
                Completion::Received { conn, chunk } => total = put(conn, &chunk),
                Completion::Woken => {}
                completion => panic!("unexpected {completion:?}"),
            }
        }
        for thread in self.threads {
            thread.join().unwrap();
        }
        let expected = pattern(self.each);
        assert!(received.iter().all(|bytes| *bytes == expected));
    }
}

pub fn starved_connections_recover_when_buffers_return<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let mut starved = starve(&mut bench);
    // As the broker does: copy out what is pinned.
    for (_, chunk) in &mut starved.chunks {
        *chunk = bytes::Bytes::copy_from_slice(chunk);
    }
    starved.finish(&mut bench);
    assert!(!bench.io.starved());
}

pub fn a_buffer_dropped_elsewhere_ends_starvation<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let mut starved = starve(&mut bench);
    let copies: Vec<_> = starved
        .chunks
        .iter()
        .map(|(conn, chunk)| (*conn, bytes::Bytes::copy_from_slice(chunk)))
        .collect();
    let pinned = std::mem::replace(&mut starved.chunks, copies);
    let thread = std::thread::spawn(move || {
        // The shard sleeps by then.
        std::thread::sleep(Duration::from_millis(20));
        drop(pinned);
    });
    starved.finish(&mut bench);
    thread.join().unwrap();
}

pub fn a_starved_connection_can_be_stopped_and_closed<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let mut starved = starve(&mut bench);
    let conns = starved.conns.clone();
    for conn in &conns[1..] {
        bench.io.stop_receive(*conn);
    }
    let mut stopped = 0;
    while stopped < conns.len() - 1 {
        match bench.next() {
            Completion::ReceiveEnded { .. } => stopped += 1,
            Completion::Received { conn, chunk } => starved.chunks.push((conn, chunk)),
            Completion::Woken => {}
            completion => panic!("unexpected {completion:?}"),
        }
    }
    for conn in &conns {
        bench.io.close(*conn);
    }
    let mut closed = 0;
    while closed < conns.len() {
        if matches!(bench.next(), Completion::Closed { .. }) {
            closed += 1;
        }
    }
    assert!(!bench.io.starved());
    starved.chunks.clear();
    for thread in starved.threads {
        drop(thread.join().unwrap());
    }
    assert!(bench.during(Duration::from_millis(20)).iter().all(|c| matches!(c, Completion::Woken)));
    // The buffers are there for others.
    let (mut stream, conn) = bench.connect();
    bench.io.receive(conn);
    stream.write_all(b"next").unwrap();
    assert_eq!(bench.receive_bytes(conn, 4), b"next");
}

pub fn small_reads_do_not_lose_bytes<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    // Many connections whose small messages share buffers, where the back end can.
    const CLIENTS: usize = 16;
    const MESSAGES: usize = 500;
    let mut conns = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        let (stream, conn) = bench.connect();
        bench.io.receive(conn);
        conns.push(conn);
        streams.push(stream);
    }
    let sent: Vec<u8> = pattern(MESSAGES * 40);
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || {
            for part in sent.chunks(40) {
                for stream in &mut streams {
                    stream.write_all(part).unwrap();
                }
            }
        }
    });
    let mut received = vec![Vec::new(); CLIENTS];
    let mut ended = 0;
    while ended < CLIENTS {
        match bench.next() {
            Completion::Received { conn, chunk } => {
                let place = conns.iter().position(|known| *known == conn).unwrap();
                received[place].extend_from_slice(&chunk);
            }
            Completion::ReceiveEnded { .. } => ended += 1,
            Completion::Woken => {}
            completion => panic!("unexpected {completion:?}"),
        }
    }
    writer.join().unwrap();
    assert!(received.iter().all(|bytes| *bytes == sent));
}
