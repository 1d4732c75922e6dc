//! Receiving: buffers, drops, other completions beside.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use netcluster_platform::{BindOptions, Completion, DatagramConfig, LocalListener};

use crate::bench::{LinkIo, Node, PATIENCE, on_loopback, pattern};

const SEGMENT: usize = 1372;

/// More trains than any back end has buffers for.
const TRAINS: usize = 300;

#[cfg(unix)]
fn local_address(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

#[cfg(windows)]
fn local_address(name: &str) -> PathBuf {
    PathBuf::from(format!(r"\\.\pipe\{name}"))
}

#[cfg(unix)]
fn connect(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    std::os::unix::net::UnixStream::connect(path)
}

#[cfg(windows)]
fn connect(path: &Path) -> io::Result<netcluster_platform::pipe::Pipe> {
    netcluster_platform::pipe::Pipe::connect(path, PATIENCE)
}

/// Two brokers; the second holds all that it can, and is starved.
fn starved<I: LinkIo>(make: impl Fn() -> I) -> (Node<I>, Node<I>, Vec<Completion>) {
    let config = on_loopback();
    let (mut a, mut b) = (Node::unjoined(make(), &config), Node::unjoined(make(), &config));
    let (to_b, bytes) = (b.address(), pattern(SEGMENT * 47));
    let mut held = Vec::new();
    for _ in 0..TRAINS {
        a.send(to_b, &bytes, SEGMENT);
        if b.io.stats().starvations == 0 {
            b.io.wait(&mut held, Some(Duration::ZERO)).unwrap();
        }
    }
    let start = Instant::now();
    while b.io.stats().starvations == 0 {
        assert!(start.elapsed() < PATIENCE, "it never starves");
        b.io.wait(&mut held, Some(Duration::ZERO)).unwrap();
    }
    (a, b, held)
}

/// The next datagrams are those that did not fit, then comes what is sent now.
fn goes_on<I: LinkIo>(mut a: Node<I>, mut b: Node<I>) {
    let to_b = b.address();
    a.send_one(to_b, b"the last");
    while b.receive().chunk != b"the last"[..] {}
    // Many more than there are buffers, one after another.
    for _ in 0..TRAINS {
        a.send(to_b, &pattern(SEGMENT * 3), SEGMENT);
        assert_eq!(b.receive_split(3).concat(), pattern(SEGMENT * 3));
    }
}

pub fn pinned_buffers_starve_and_returned_ones_go_on<I: LinkIo>(make: impl Fn() -> I) {
    let (a, b, held) = starved(make);
    let sent = pattern(SEGMENT * 47);
    for completion in &held {
        let Completion::Datagrams(datagrams) = completion else { continue };
        // Whole trains, or parts of them where nothing is joined.
        let mut rests = (0..47).map(|at| &sent[at * SEGMENT..]);
        assert!(rests.any(|rest| rest.starts_with(&datagrams.chunk)));
    }
    drop(held);
    goes_on(a, b);
}

pub fn a_buffer_dropped_elsewhere_ends_starvation<I: LinkIo>(make: impl Fn() -> I) {
    let (a, mut b, held) = starved(make);
    let thread = std::thread::spawn(move || drop(held));
    // Some of what waits in the socket comes without anything more being sent.
    b.receive();
    thread.join().unwrap();
    goes_on(a, b);
}

pub fn drops_of_the_kernel_are_counted<I: LinkIo>(make: impl Fn() -> I) {
    const SENT: u64 = 300;
    if cfg!(windows) {
        return println!("SKIPPED: Windows does not tell a socket's drops");
    }
    let config = on_loopback();
    let small = DatagramConfig { receive_buffer_bytes: 16 << 10, offload: false, ..config.clone() };
    let (mut a, mut b) = (Node::unjoined(make(), &config), Node::unjoined(make(), &small));
    let to_b = b.address();
    for _ in 0..SENT {
        a.send_one(to_b, &[7; SEGMENT]);
    }
    let mut received = 0;
    // The count comes with the first datagram after the drops.
    loop {
        received += 1;
        b.receive();
        if b.io.datagram_stats().kernel_drops > 0 {
            break;
        }
        a.send_one(to_b, b"one more");
    }
    assert!(b.io.datagram_stats().kernel_drops > SENT / 2);
    assert!(received < SENT);
}

pub fn datagrams_come_while_connections_come_and_go<I: LinkIo>(make: impl Fn() -> I) {
    let config = on_loopback();
    let (mut a, mut b) = (Node::unjoined(make(), &config), Node::open(make(), &config));
    let name = format!("netcluster-datagrams-{}.sock", config.group.port());
    let path = local_address(&name);
    b.io.accept(LocalListener::bind(&path, &BindOptions::default()).unwrap()).unwrap();
    for round in 0..20u8 {
        a.send_one(config.group, &[round]);
        let client = connect(&path).unwrap();
        let (mut accepted, mut heard) = (None, false);
        while accepted.is_none() || !heard {
            match b.next() {
                Completion::Accepted { conn, .. } => accepted = Some(conn),
                Completion::Datagrams(datagrams) => heard = datagrams.chunk[..] == [round],
                completion => panic!("unexpected {completion:?}"),
            }
        }
        drop(client);
        b.io.close(accepted.unwrap());
        assert!(matches!(b.next(), Completion::Closed { .. }));
    }
    b.io.stop_accept();
    let _ = std::fs::remove_file(path.with_extension("sock.lock"));
}

pub fn waits_shorter_than_a_millisecond_are_kept<I: LinkIo>(make: impl Fn() -> I) {
    if cfg!(windows) {
        return println!("SKIPPED: the completion port of Windows waits whole milliseconds");
    }
    let mut node = Node::open(make(), &on_loopback());
    let asked = Duration::from_micros(150);
    let mut batch = Vec::new();
    // The best of many: a busy machine may delay any one of them.
    let best = (0..200)
        .map(|_| {
            let start = Instant::now();
            node.io.wait(&mut batch, Some(asked)).unwrap();
            start.elapsed()
        })
        .min();
    assert!(batch.is_empty());
    assert!((asked..Duration::from_micros(900)).contains(&best.unwrap()), "{best:?}");
}
