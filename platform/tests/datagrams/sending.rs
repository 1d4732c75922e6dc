//! Sending: trains, refusals, full sockets.

use std::io;
use std::net::UdpSocket;

use netcluster_platform::{Completion, DatagramConfig, MAX_DATAGRAMS_PER_SEND};

use crate::bench::{LinkIo, Node, on, on_loopback, pattern};
use crate::space;

/// Bytes of a datagram in a packet of 1400.
const SEGMENT: usize = 1372;

pub fn trains_arrive_with_their_bytes_in_order<I: LinkIo>(make: impl Fn() -> I) {
    for (cut, join) in [(true, true), (true, false), (false, true), (false, false)] {
        let config = on_loopback();
        let sends = DatagramConfig { offload: cut, ..config.clone() };
        let mut a = Node::unjoined(make(), &sends);
        let mut b = Node::open(make(), &DatagramConfig { offload: join, ..config.clone() });
        let (gso, gro) = (a.info.gso, b.info.gro);
        assert!(cut || !gso);
        assert!(join || !gro);
        for to in [config.group, b.address()] {
            for (count, last) in [(1, 1), (2, SEGMENT), (3, 7), (20, 700), (47, SEGMENT)] {
                let bytes = pattern((count - 1) * SEGMENT + last);
                a.send(to, &bytes, SEGMENT);
                let first = b.receive();
                // On loopback a train crosses whole if both ends do it.
                assert!(!(gso && gro) || first.chunk.len() == bytes.len());
                let mut parts: Vec<Vec<u8>> =
                    first.chunk.chunks(first.segment).map(<[u8]>::to_vec).collect();
                let rest = count - parts.len();
                parts.extend(b.receive_split(rest));
                assert_eq!(parts.concat(), bytes);
                assert!(parts[..count - 1].iter().all(|part| part.len() == SEGMENT));
                assert_eq!(first.multicast, to == config.group);
            }
        }
        let (sent, received) = (a.io.datagram_stats(), b.io.datagram_stats());
        assert_eq!((sent.sent, sent.sent_bytes), (received.received, received.received_bytes));
        assert_eq!((sent.sent, sent.sends), (146, 10));
    }
}

pub fn more_than_one_train_is_sent_at_once<I: LinkIo>(make: impl Fn() -> I) {
    let config = on_loopback();
    let (mut a, mut b) = (Node::unjoined(make(), &config), Node::open(make(), &config));
    // More bytes than a packet has, so that it takes several of the kernel's trains.
    for segment in [SEGMENT, 8952] {
        let bytes = pattern(MAX_DATAGRAMS_PER_SEND * segment);
        let taken = a.io.send_datagrams(config.group, &bytes, segment, true).unwrap();
        assert_eq!(taken, bytes.len());
        assert_eq!(b.receive_split(MAX_DATAGRAMS_PER_SEND).concat(), bytes);
    }
    // Nothing is nothing.
    assert_eq!(a.io.send_datagrams(config.group, b"", SEGMENT, true).unwrap(), 0);
    b.expect_silence();
}

pub fn datagrams_above_the_mtu_are_refused_and_counted<I: LinkIo>(
    make: impl Fn() -> I + Send + Sync,
) {
    space::with_wire(|_| {
        for offload in [true, false] {
            let config = DatagramConfig { offload, ..on(space::NEAR) };
            let (mut a, mut b) = (Node::unjoined(make(), &config), Node::open(make(), &config));
            assert_eq!(a.info.mtu_bytes, Some(1500));
            let mut refused = 0;
            for (bytes, segment) in [(1473, 1473), (5000, 1473), (5000, 5000)] {
                let error =
                    a.io.send_datagrams(config.group, &pattern(bytes), segment, true).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc_emsgsize()), "{error}");
                refused += bytes.div_ceil(segment) as u64;
                assert_eq!(a.io.datagram_stats().send_errors, refused);
            }
            // What fits goes, and the refusals did not cost the trains.
            a.send(config.group, &pattern(1472 * 3), 1472);
            assert_eq!(b.receive_split(3).concat(), pattern(1472 * 3));
            let one_send = if a.info.gso { 1 } else { a.io.datagram_stats().sends };
            assert_eq!(a.io.datagram_stats().sends, one_send);
        }
    });
}

/// The number of "message too long".
fn libc_emsgsize() -> i32 {
    if cfg!(windows) { 10_040 } else { 90 }
}

pub fn a_full_socket_blocks_and_becomes_writable<I: LinkIo>(make: impl Fn() -> I + Send + Sync) {
    space::with_wire(|_| {
        let slow =
            format!("qdisc add dev {} root tbf rate 4mbit burst 10kb latency 2s", space::NEAR);
        if let Err(reason) = space::run("tc", &slow) {
            return println!("SKIPPED: {reason}");
        }
        for offload in [true, false] {
            let config = DatagramConfig { send_buffer_bytes: 64 << 10, offload, ..on(space::NEAR) };
            let mut node = Node::unjoined(make(), &config);
            let bytes = pattern(SEGMENT * 16);
            for _ in 0..2 {
                let mut sent = 0;
                let error = loop {
                    match node.io.send_datagrams(config.group, &bytes, SEGMENT, false) {
                        Ok(taken) => {
                            assert!(taken > 0 && taken.is_multiple_of(SEGMENT));
                            sent += taken;
                        }
                        Err(error) => break error,
                    }
                    assert!(sent < 10 << 20, "it never blocks");
                };
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                // Asked twice, told once.
                assert!(node.io.send_datagrams(config.group, &bytes, SEGMENT, false).is_err());
                assert!(matches!(node.next(), Completion::DatagramsWritable));
            }
            assert_eq!(node.io.datagram_stats().send_errors, 0);
        }
    });
}

pub fn a_closed_port_elsewhere_disturbs_nothing<I: LinkIo>(make: impl Fn() -> I) {
    let config = on_loopback();
    let (mut a, mut b) = (Node::open(make(), &config), Node::open(make(), &config));
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (to_a, to_b) = (a.address(), b.address());
    for _ in 0..5 {
        // Whether the system tells of the refusal or not.
        let _ = a.io.send_datagrams(closed, b"nobody", 6, true);
        a.send_one(to_b, b"there");
        b.expect(b"there");
        b.send_one(to_a, b"and back");
        a.expect(b"and back");
    }
}

pub fn own_datagrams_are_looped_back_only_when_asked<I: LinkIo>(
    make: impl Fn() -> I + Send + Sync,
) {
    space::with_wire(|_| {
        let config = on(space::NEAR);
        let (mut a, mut b) = (Node::open(make(), &config), Node::open(make(), &config));
        for _ in 0..3 {
            a.io.send_datagrams(config.group, b"for others", 10, false).unwrap();
            // A unicast between does not change what is known of the socket.
            let to_b = b.address();
            a.io.send_datagrams(to_b, b"unicast", 7, true).unwrap();
            a.io.send_datagrams(config.group, b"for all", 7, true).unwrap();
            b.expect(b"unicast");
            b.expect(b"for all");
            a.expect(b"for all");
        }
        a.expect_silence();
        b.expect_silence();
    });
}
