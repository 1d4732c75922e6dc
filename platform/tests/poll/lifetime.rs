//! Connections and shards: how they begin, move, wake and end.

use std::io::{Read, Write};
use std::time::Duration;

use netcluster_platform::{Completion, Conn, Io};

use crate::client::Client;
use crate::shard::{Shard, slice};

#[test]
fn close_swallows_what_was_under_way() {
    let mut shard = Shard::new();
    let (mut client, conn) = shard.connect();
    shard.io.receive(conn);
    client.write_all(b"unread").unwrap();
    shard.io.send(conn, [slice(b"unreported")].iter());
    shard.io.close(conn);
    let completions = shard.poll_once();
    assert!(matches!(completions[..], [Completion::Closed { .. }]), "{completions:?}");
    let mut read = Vec::new();
    let _ = client.read_to_end(&mut read);
    assert_eq!(read, b"unreported");
    let (_client, again) = shard.connect();
    assert_eq!(again, conn, "the number serves again");
}

#[test]
fn a_sleeping_shard_is_woken_once_per_batch() {
    let mut shard = Shard::new();
    for _ in 0..100 {
        let waker = shard.io.waker();
        let thread = std::thread::spawn(move || {
            for _ in 0..10 {
                waker.wake();
            }
        });
        let mut completions = Vec::new();
        shard.io.wait(&mut completions, None).unwrap();
        assert!(matches!(completions[..], [Completion::Woken]));
        thread.join().unwrap();
        // The rest of the batch, if the shard was quick.
        let rest = shard.poll_once();
        assert!(rest.len() <= 1);
    }
    let waker = shard.io.waker();
    waker.wake();
    waker.clone().wake();
    assert_eq!(shard.poll_once().len(), 1);
    assert!(shard.poll_once().is_empty());
}

#[test]
fn a_connection_moves_to_another_shard() {
    let mut first = Shard::new();
    if !first.io.hands_over() {
        println!("SKIPPED: connections stay where they were accepted");
        return;
    }
    let mut second = Shard::new();
    let (mut client, conn) = first.connect();
    first.io.receive(conn);
    client.write_all(b"hello").unwrap();
    assert_eq!(first.receive_bytes(5), b"hello");
    first.io.stop_receive(conn);
    client.write_all(b" there").unwrap();
    first.until(|completion| matches!(completion, Completion::ReceiveEnded { .. }).then_some(()));
    let socket = first.io.release(conn);
    let conn = second.io.adopt(socket).unwrap();
    second.io.receive(conn);
    assert_eq!(second.receive_bytes(6), b" there");
    assert!(first.poll_once().is_empty());
    let (_other, again) = first.connect();
    assert_eq!(again, Conn(0), "the number is free at once");
    second.io.close(conn);
    second.until_closed(conn);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn an_idle_shard_sleeps() {
    let mut shard = Shard::new();
    let (_client, conn) = shard.connect();
    shard.io.receive(conn);
    shard.poll_once();
    let before = shard.io.stats().syscalls;
    let mut completions = Vec::new();
    shard.io.wait(&mut completions, Some(Duration::from_millis(300))).unwrap();
    assert!(completions.is_empty());
    assert_eq!(shard.io.stats().syscalls, before + 1, "there is no tick");
}

#[test]
fn thousands_come_and_go_without_a_leak() {
    let mut shard = Shard::new();
    let mut seen = 0;
    for round in 0..20 {
        let clients: Vec<_> = (0..100).map(|_| shard.connect()).collect();
        for (index, (client, conn)) in clients.into_iter().enumerate() {
            shard.io.receive(conn);
            seen = seen.max(conn.0);
            if index % 2 == round % 2 {
                drop(client);
                shard.until(|completion| {
                    matches!(completion, Completion::ReceiveEnded { .. }).then_some(())
                });
            }
            shard.io.close(conn);
            shard.until_closed(conn);
        }
    }
    assert_eq!(seen, 99, "the numbers stay dense");
}

#[test]
fn accepting_stops_for_good() {
    let mut shard = Shard::new();
    let (_client, _conn) = shard.connect();
    shard.io.stop_accept();
    // A pipe is gone when its last operation is.
    shard.poll_once();
    assert!(Client::is_refused(&shard.path.0));
    shard.io.resume_accept();
    assert!(shard.poll_once().is_empty());
}
