//! Sending: gathering, blocking, failing.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use netcluster_platform::{Completion, MAX_SLICES_PER_SEND, Slice};

use crate::bench::{Bench, End, LocalIo, pattern};

pub fn gathered_sends_arrive_whole_and_in_order<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut stream, conn) = bench.connect();
    let bytes = pattern(1 << 20);
    let chunk = Bytes::from(bytes.clone());
    // More slices than one send takes, of odd sizes.
    let mut slices = VecDeque::new();
    let mut start = 0;
    while start < bytes.len() {
        let end = (start + 1 + start % 9973).min(bytes.len());
        slices.push_back(Slice::new(chunk.clone(), start, end));
        start = end;
    }
    assert!(slices.len() > MAX_SLICES_PER_SEND);
    let reader = std::thread::spawn(move || {
        let mut received = vec![0; 1 << 20];
        stream.read_exact(&mut received).unwrap();
        received
    });
    bench.send_all(conn, slices);
    assert!(reader.join().unwrap() == bytes);
}

pub fn a_full_socket_blocks_and_becomes_writable<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut stream, conn) = bench.connect();
    let bytes = pattern(8 << 20);
    let slice = Slice::from(Bytes::from(bytes.clone()));
    // Until there is no room while nobody reads.
    let filler = Slice::from(Bytes::from(vec![7; 4 << 20]));
    let filled = bench.fill_socket(conn, &filler);
    assert!(filled > 0);
    let reader = std::thread::spawn(move || {
        let mut received = vec![0; filled];
        stream.read_exact(&mut received).unwrap();
        assert!(received.iter().all(|byte| *byte == 7));
        let mut received = vec![0; 8 << 20];
        stream.read_exact(&mut received).unwrap();
        received
    });
    bench.expect("room", |completion| match completion {
        Completion::Writable { .. } => Some(()),
        _ => None,
    });
    bench.send_all(conn, [slice].into());
    assert!(reader.join().unwrap() == bytes);
    assert!(bench.io.stats().blocked_sends > 0);
    assert_eq!(bench.io.stats().sent_bytes, (8 << 20) + filled as u64);
}

pub fn an_empty_send_completes<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let (_stream, conn) = bench.connect();
    bench.io.send(conn, std::iter::empty());
    bench.expect("nothing sent", |completion| match completion {
        Completion::Sent { bytes: 0, blocked: false, .. } => Some(()),
        _ => None,
    });
}

pub fn sending_to_a_client_that_left_fails<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let (stream, conn) = bench.connect();
    bench.io.receive(conn);
    drop(stream);
    assert_eq!(bench.expect_end(conn), End::Eof);
    let slice = Slice::from(Bytes::from_static(b"too late"));
    bench.io.send(conn, [&slice].into_iter());
    bench.expect("a failed send", |completion| match completion {
        Completion::SendFailed { conn: to, error } if *to == conn => {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
            Some(())
        }
        _ => None,
    });
    bench.close(conn);
}

pub fn slices_are_released_once_sent<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    struct Tracked(std::sync::mpsc::Sender<()>);
    impl AsRef<[u8]> for Tracked {
        fn as_ref(&self) -> &[u8] {
            b"tracked"
        }
    }
    impl Drop for Tracked {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (mut stream, conn) = bench.connect();
    let (sender, dropped) = std::sync::mpsc::channel();
    let slice = Slice::from(Bytes::from_owner(Tracked(sender)));
    bench.send_all(conn, [slice].into());
    dropped.try_recv().expect("nothing is kept of a send that is complete");
    let mut text = [0; 7];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"tracked");
}

pub fn what_was_sent_before_closing_can_still_be_read<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    // As an error frame that is sent last. The client reads when all is over.
    for length in [1, 4_000, 60_000, 200_000] {
        let (mut stream, conn) = bench.connect();
        bench.io.receive(conn);
        stream.write_all(b"something that nobody receives").unwrap();
        let bytes = pattern(length);
        bench.send_all(conn, [Slice::from(Bytes::from(bytes.clone()))].into());
        bench.io.close(conn);
        while !matches!(bench.next(), Completion::Closed { conn: closed } if closed == conn) {}
        bench.during(Duration::from_millis(5));
        let mut received = vec![0; length];
        stream.read_exact(&mut received).unwrap();
        assert!(received == bytes);
        // A reset is an end, too, for a client that was not heard to its end.
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }
}

pub fn the_tail_of_a_queue_reaches_a_client_that_reads_late<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut stream, conn) = bench.connect();
    let filler = Slice::from(Bytes::from(vec![7; 4 << 20]));
    let filled = bench.fill_socket(conn, &filler);
    let tail = pattern(100_000);
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received
    });
    bench.expect("room", |completion| match completion {
        Completion::Writable { .. } => Some(()),
        _ => None,
    });
    bench.send_all(conn, [Slice::from(Bytes::from(tail.clone()))].into());
    bench.close(conn);
    bench.during(Duration::from_millis(20));
    let received = reader.join().unwrap();
    assert_eq!(received.len(), filled + tail.len());
    assert!(received[filled..] == tail);
}
