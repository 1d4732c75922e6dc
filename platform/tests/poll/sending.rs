//! Sending: gathering, full sockets, dead peers.

use std::io::{Read, Write};

use netcluster_platform::{Completion, Io, MAX_SLICES_PER_SEND, Slice};

use crate::shard::{Shard, content, slice};

#[test]
fn bytes_go_both_ways() {
    let mut shard = Shard::new();
    let (mut client, conn) = shard.connect();
    client.write_all(b"before receive").unwrap();
    assert!(shard.poll_once().is_empty(), "nothing is received before it is asked for");
    shard.io.receive(conn);
    assert_eq!(shard.receive_bytes(14), b"before receive");
    client.write_all(b"after").unwrap();
    assert_eq!(shard.receive_bytes(5), b"after");
    shard.io.send(conn, [slice(b"wor"), slice(b"ld")].iter());
    assert_eq!(shard.until_sent(), (5, false));
    let mut read = [0; 5];
    client.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"world");
}

#[test]
fn a_gather_send_resumes_where_the_socket_was_full() {
    let mut shard = Shard::new();
    let (mut client, conn) = shard.connect();
    let expected = content(8 << 20);
    let mut queue: Vec<Slice> = expected.chunks(10_007).map(slice).collect();
    let length = expected.len();
    let mut blocked_sends = 0;
    let reader = std::thread::spawn(move || {
        let mut read = vec![0; length];
        client.read_exact(&mut read).unwrap();
        read
    });
    while !queue.is_empty() {
        shard.io.send(conn, queue.iter());
        // Looked for from the first moment: both may come in one batch.
        let mut sent = None;
        let mut writable = false;
        let (bytes, blocked) = shard.until(|completion| {
            match completion {
                Completion::Sent { bytes, blocked, .. } => sent = Some((*bytes, *blocked)),
                Completion::Writable { .. } => {
                    assert!(sent.is_some(), "`Writable` came before `Sent`");
                    writable = true;
                }
                other => panic!("{other:?}"),
            }
            sent.filter(|(_, blocked)| !blocked || writable)
        });
        blocked_sends += u64::from(blocked);
        let mut left = bytes;
        let whole = queue.iter().take_while(|slice| {
            let fits = slice.len() <= left;
            left -= if fits { slice.len() } else { 0 };
            fits
        });
        let whole = whole.count();
        assert!(whole <= MAX_SLICES_PER_SEND);
        queue.drain(..whole);
        if left > 0 {
            queue[0].advance(left);
        }
    }
    assert!(reader.join().unwrap() == expected);
    assert_eq!(shard.io.stats().sent_bytes, length as u64);
    assert_eq!(shard.io.stats().blocked_sends, blocked_sends);
}

#[test]
fn a_full_socket_reports_room_once() {
    let mut shard = Shard::new();
    let (mut client, conn) = shard.connect();
    let bytes = shard.fill_socket(conn);
    assert!(shard.poll_once().is_empty());
    client.read_exact(&mut vec![0; bytes]).unwrap();
    shard.until(|completion| matches!(completion, Completion::Writable { .. }).then_some(()));
    assert!(shard.poll_once().is_empty());
}

#[test]
fn sending_to_a_dead_peer_fails() {
    let mut shard = Shard::new();
    let (client, conn) = shard.connect();
    drop(client);
    shard.io.send(conn, [slice(b"anyone?")].iter());
    let kind = shard.until(|completion| match completion {
        Completion::SendFailed { error, .. } => Some(error.kind()),
        _ => None,
    });
    assert_eq!(kind, std::io::ErrorKind::BrokenPipe);
}

#[test]
fn a_peer_that_dies_while_it_blocks_the_sender_is_noticed() {
    let mut shard = Shard::new();
    let (client, conn) = shard.connect();
    shard.fill_socket(conn);
    drop(client);
    shard.until(|completion| matches!(completion, Completion::Writable { .. }).then_some(()));
    shard.io.send(conn, [slice(b"anyone?")].iter());
    shard.until(|completion| matches!(completion, Completion::SendFailed { .. }).then_some(()));
}

#[test]
fn a_round_trip_costs_one_wait() {
    let mut shard = Shard::new();
    let (mut client, conn) = shard.connect();
    shard.io.receive(conn);
    let mut completions = Vec::new();
    let mut round = |shard: &mut Shard| {
        client.write_all(b"ping").unwrap();
        shard.receive_bytes(4);
        shard.io.send(conn, [slice(b"pong")].iter());
        completions.clear();
        shard.io.wait(&mut completions, None).unwrap();
        assert!(matches!(completions[..], [Completion::Sent { .. }]));
        client.read_exact(&mut [0; 4]).unwrap();
    };
    round(&mut shard);
    let before = shard.io.stats().syscalls;
    for _ in 0..100 {
        round(&mut shard);
    }
    // Fetch the edge, read, read to "nothing left", send; on Windows, look for the end of
    // the send as well, and sleep through the edge of it.
    let most = if cfg!(windows) { 600 } else { 400 };
    let syscalls = shard.io.stats().syscalls - before;
    assert!((400..=most).contains(&syscalls), "{syscalls}");
}

#[test]
fn empty_slices_are_passed_over() {
    let mut shard = Shard::new();
    let (mut client, conn) = shard.connect();
    shard.io.send(conn, [slice(b""), slice(b"x"), slice(b"")].iter());
    assert_eq!(shard.until_sent(), (1, false));
    shard.io.send(conn, [slice(b"")].iter());
    assert_eq!(shard.until_sent(), (0, false));
    client.read_exact(&mut [0; 1]).unwrap();
}
