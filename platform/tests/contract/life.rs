//! Connections from accept to close, wake-ups, and moving between shards.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use netcluster_platform::{
    BindOptions, Completion, LocalListener, MAX_ACCEPTS_PER_WAIT, Peer, Slice,
};

use crate::bench::{Bench, End, LocalIo};
use crate::client::{Client, Leftovers, PATIENCE, unused_path};

pub fn clients_are_accepted_with_their_credentials<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let _first = Client::connect(bench.path()).unwrap();
    let _second = Client::connect(bench.path()).unwrap();
    for expected in 0..2 {
        let (conn, peer) = bench.expect("a client", |completion| match completion {
            Completion::Accepted { conn, peer } => Some((*conn, peer.clone())),
            _ => None,
        });
        assert_eq!(conn.0, expected, "numbers are dense");
        check_peer(&peer);
    }
}

pub fn another_listener_takes_the_first_ones_place<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    if cfg!(windows) {
        println!("SKIPPED: a pipe has no file that somebody could remove");
        return;
    }
    let (mut earlier, conn) = bench.connect();
    // Twice, the second time while the first change may still be under way.
    let others = [Leftovers(unused_path()), Leftovers(unused_path())];
    for other in &others {
        let listener = LocalListener::bind(&other.0, &BindOptions::default()).unwrap();
        bench.io.accept(listener).unwrap();
    }
    let _later = Client::connect(&others[1].0).unwrap();
    bench.accepted();
    let _last = Client::connect(&others[1].0).unwrap();
    bench.accepted();
    assert!(Client::connect(bench.path()).is_err(), "the first one still listens");
    assert!(Client::connect(&others[0].0).is_err(), "the second one still listens");
    // Connections are not affected.
    bench.io.receive(conn);
    earlier.write_all(b"still here").unwrap();
    assert_eq!(bench.receive_bytes(conn, 10), b"still here");
    bench.io.stop_accept();
    bench.during(Duration::from_millis(20));
    assert!(!others[1].0.exists());
}

pub fn a_dead_client_ends_its_stream<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let (mut child, conn) = bench.connect_child();
    bench.io.receive(conn);
    assert!(bench.during(Duration::from_millis(20)).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(bench.expect_end(conn), End::Eof);
    bench.close(conn);
}

pub fn closing_with_operations_under_way_ends_in_one_closed<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    // A multishot receive, a blocked send, a large frame half read: all at once on
    // several connections.
    let (mut receiving_client, receiving) = bench.connect();
    let (mut filling_client, filling) = bench.connect();
    let (_blocked_client, blocked) = bench.connect();
    let (_idle_client, idle) = bench.connect();
    let (_sending_client, sending) = bench.connect();
    bench.io.receive(receiving);
    bench.io.receive_into(filling, BytesMut::new(), 1 << 20);
    filling_client.write_all(&[7; 1000]).unwrap();
    let large = Slice::from(Bytes::from(vec![1; 4 << 20]));
    assert!(bench.fill_socket(blocked, &large) > 0);
    receiving_client.write_all(b"late").unwrap();
    bench.io.send(sending, [&large].into_iter());
    let all = [receiving, filling, blocked, idle, sending];
    for conn in all {
        bench.io.close(conn);
    }
    let mut closed: Vec<_> = all
        .iter()
        .map(|_| {
            bench.expect("closed", |completion| match completion {
                Completion::Closed { conn } => Some(*conn),
                _ => None,
            })
        })
        .collect();
    closed.sort();
    let mut expected = all.to_vec();
    expected.sort();
    assert_eq!(closed, expected);
    assert!(bench.during(Duration::from_millis(20)).is_empty());
    // The clients see it.
    let mut byte = [0];
    assert!(matches!(receiving_client.read(&mut byte), Ok(0) | Err(_)));
}

pub fn wake_ups_from_other_threads_are_reported<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let waker = bench.io.waker();
    for _ in 0..100 {
        let waker = waker.clone();
        let thread = std::thread::spawn(move || waker.wake());
        assert!(matches!(bench.next(), Completion::Woken));
        thread.join().unwrap();
    }
}

pub fn many_wake_ups_are_one_report<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let before = bench.io.stats().syscalls;
    for _ in 0..1000 {
        bench.io.waker().wake();
    }
    assert!(matches!(bench.next(), Completion::Woken));
    assert!(bench.during(Duration::from_millis(20)).is_empty());
    assert!(bench.io.stats().syscalls - before < 20, "one write for all of them");
}

pub fn a_connection_moves_to_another_shard<I: LocalIo>(mut bench: Bench<I>, make: impl Fn() -> I) {
    if !bench.io.hands_over() {
        println!("SKIPPED: connections stay where they were accepted");
        return;
    }
    let (mut stream, conn) = bench.connect();
    bench.io.receive(conn);
    stream.write_all(b"hello").unwrap();
    assert_eq!(bench.receive_bytes(conn, 5), b"hello");
    bench.io.stop_receive(conn);
    assert_eq!(bench.expect_end(conn), End::Stopped);
    let socket = bench.io.release(conn);
    let mut other = Bench::new(make());
    let peer = socket.peer();
    let adopted = other.io.adopt(socket).unwrap();
    check_peer(&peer);
    other.io.receive(adopted);
    stream.write_all(b"again").unwrap();
    assert_eq!(other.receive_bytes(adopted, 5), b"again");
    let welcome = Slice::from(Bytes::from_static(b"welcome"));
    other.send_all(adopted, [welcome].into());
    let mut text = [0; 7];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"welcome");
    // The number is free at its old shard.
    let (_stream, reused) = bench.connect();
    assert_eq!(reused, conn);
}

pub fn a_released_connection_keeps_what_it_has_not_received<I: LocalIo>(
    mut bench: Bench<I>,
    make: impl Fn() -> I,
) {
    if !bench.io.hands_over() {
        println!("SKIPPED: connections stay where they were accepted");
        return;
    }
    let (mut stream, conn) = bench.connect();
    stream.write_all(b"unread").unwrap();
    let socket = bench.io.release(conn);
    let mut other = Bench::new(make());
    let adopted = other.io.adopt(socket).unwrap();
    other.io.receive(adopted);
    assert_eq!(other.receive_bytes(adopted, 6), b"unread");
    drop(stream);
    assert_eq!(other.expect_end(adopted), End::Eof);
}

pub fn a_connection_that_cannot_move_is_refused_elsewhere<I: LocalIo>(
    mut bench: Bench<I>,
    make: impl Fn() -> I,
) {
    if bench.io.hands_over() {
        return;
    }
    let (mut stream, conn) = bench.connect();
    let socket = bench.io.release(conn);
    assert!(Bench::new(make()).io.adopt(socket).is_err());
    // It learns that the read ahead, which it had under way, is given up.
    bench.during(Duration::from_millis(20));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is closed");
}

pub fn two_hundred_clients_connect_at_once<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    const CLIENTS: usize = 200;
    // Nobody accepts meanwhile.
    let mut clients: Vec<_> =
        (0..CLIENTS).map(|_| Client::connect(bench.path()).unwrap()).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    for _ in 0..CLIENTS {
        let conn = bench.accepted();
        bench.io.receive(conn);
    }
    let mut received = 0;
    while received < CLIENTS {
        if let Completion::Received { chunk, .. } = bench.next() {
            received += chunk.len();
        }
    }
    assert_eq!(received, CLIENTS);
}

/// What broke: io_uring accepted all who had connected, and those who connected
/// meanwhile, so that everybody else waited for seconds.
pub fn one_wait_accepts_no_more_than_its_share<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    const CLIENTS: usize = 3 * MAX_ACCEPTS_PER_WAIT;
    let clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(bench.path()).unwrap()).collect();
    let mut accepted = 0;
    while accepted < CLIENTS {
        let mut batch = Vec::new();
        bench.io.wait(&mut batch, Some(PATIENCE)).unwrap();
        let more = batch.iter().filter(|it| matches!(it, Completion::Accepted { .. })).count();
        assert!((1..=MAX_ACCEPTS_PER_WAIT).contains(&more), "{more} at once");
        accepted += more;
    }
    drop(clients);
}

/// What broke: io_uring told of some twenty that had written in the time in which it
/// accepted 64, so that a crowd that spoke at once counted as silent.
pub fn who_connected_is_read_from_no_slower_than_others_connect<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    const CLIENTS: usize = 4 * MAX_ACCEPTS_PER_WAIT;
    let crowd =
        |bench: &Bench<I>| (0..CLIENTS).map(|_| Client::connect(bench.path()).unwrap()).collect();
    let mut early: Vec<Client> = crowd(&bench);
    for _ in 0..CLIENTS {
        let conn = bench.accepted();
        bench.io.receive(conn);
    }
    assert!(bench.during(Duration::from_millis(1)).is_empty());
    let late: Vec<Client> = crowd(&bench);
    for client in &mut early {
        client.write_all(b"x").unwrap();
    }
    let (mut accepted, mut received) = (0, 0);
    while accepted < CLIENTS {
        let mut batch = Vec::new();
        bench.io.wait(&mut batch, Some(PATIENCE)).unwrap();
        for completion in batch {
            match completion {
                Completion::Accepted { .. } => accepted += 1,
                Completion::Received { chunk, .. } => received += chunk.len(),
                _ => {}
            }
        }
        assert!(received + 2 * MAX_ACCEPTS_PER_WAIT >= accepted, "{received} of {accepted}");
    }
    drop(late);
}

pub fn clients_that_come_and_go_leave_nothing_behind<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    // Under wine each costs a hundred times as much.
    const CLIENTS: usize = if cfg!(windows) { 400 } else { 2000 };
    const AT_ONCE: usize = 20;
    let mut highest = 0;
    for _ in 0..CLIENTS / AT_ONCE {
        let mut clients = Vec::new();
        for _ in 0..AT_ONCE {
            let (mut stream, conn) = bench.connect();
            highest = highest.max(conn.0);
            bench.io.receive(conn);
            stream.write_all(b"x").unwrap();
            assert_eq!(bench.receive_bytes(conn, 1), b"x");
            clients.push((stream, conn));
        }
        for (turn, (stream, conn)) in clients.into_iter().enumerate() {
            // Half of them are left by the client, half are thrown out.
            if turn % 2 == 0 {
                drop(stream);
                assert_eq!(bench.expect_end(conn), End::Eof);
                bench.close(conn);
            } else {
                bench.close(conn);
                drop(stream);
            }
        }
    }
    assert!(highest < AT_ONCE as u32, "numbers are used again");
    if cfg!(target_os = "linux") {
        let own = std::fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
            std::fs::read_link(entry.as_ref().unwrap().path())
                .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
        });
        // Other tests of this process have sockets too, but not hundreds.
        assert!(own.count() < 200, "sockets are closed");
    }
}

pub fn stopping_to_accept_refuses_clients<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let (mut stream, conn) = bench.connect();
    bench.io.stop_accept();
    assert!(bench.during(Duration::from_millis(20)).is_empty());
    assert!(Client::is_refused(bench.path()));
    bench.io.receive(conn);
    stream.write_all(b"still here").unwrap();
    assert_eq!(bench.receive_bytes(conn, 10), b"still here");
}

/// Whether this process and its user are known.
fn check_peer(peer: &Peer) {
    if cfg!(any(target_os = "linux", windows)) {
        assert_eq!(peer.pid, std::process::id());
    }
    #[cfg(unix)]
    assert_eq!((peer.uid, &peer.user), (rustix::process::getuid().as_raw(), &None));
    #[cfg(windows)]
    assert!(peer.user.as_ref().is_some_and(|user| user.starts_with("S-1-")), "{peer:?}");
}

pub fn waiting_ends_when_its_time_is_up<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let mut batch = Vec::new();
    let start = Instant::now();
    bench.io.wait(&mut batch, Some(Duration::from_millis(30))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30));
    bench.io.wait(&mut batch, Some(Duration::ZERO)).unwrap();
    assert!(batch.is_empty());
    let before = bench.io.now().as_nanos();
    assert!(bench.io.now().as_nanos() >= before);
}

/// What the client has written before is received, then the end; it can be sent more
/// all the same.
#[cfg(target_os = "linux")]
pub fn a_client_that_may_write_no_more_is_read_to_the_end<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut client, conn) = bench.connect();
    bench.io.receive(conn);
    client.write_all(b"before").unwrap();
    assert!(bench.io.end_receiving(conn));
    assert!(client.write_all(b"after").is_err());
    assert_eq!(bench.receive_bytes(conn, 6), b"before");
    assert_eq!(bench.expect_end(conn), End::Eof);
    bench.send_all(conn, [Slice::from(Bytes::from_static(b"rest"))].into());
    let mut rest = [0; 4];
    client.read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"rest");
    bench.close(conn);
}

/// The client reads the end behind what was sent, and can still write.
#[cfg(target_os = "linux")]
pub fn sending_ends_behind_what_was_sent_and_receiving_goes_on<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut client, conn) = bench.connect();
    bench.io.receive(conn);
    bench.send_all(conn, [Slice::from(Bytes::from_static(b"last"))].into());
    let can = bench.io.end_sending(conn);
    assert!(can, "Unix sockets can");
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"last");
    client.write_all(b"still").unwrap();
    assert_eq!(bench.receive_bytes(conn, 5), b"still");
    bench.close(conn);
}
