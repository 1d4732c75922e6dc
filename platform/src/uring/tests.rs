use std::os::unix::net::UnixStream;

use super::*;
use crate::{Peer, ReceiveEnd};

fn ring() -> Option<UringIo> {
    match UringIo::new(UringConfig { buffers: 8, ..UringConfig::default() }) {
        Ok(io) => Some(io),
        Err(reason) => {
            println!("SKIPPED: {reason}");
            None
        }
    }
}

/// A connection that receives, and its other end.
fn receiving(io: &mut UringIo) -> (UnixStream, Conn) {
    let (client, server) = UnixStream::pair().unwrap();
    let conn = io.adopt(LocalSocket::from_parts(server.into(), Peer::UNKNOWN)).unwrap();
    io.receive(conn);
    (client, conn)
}

/// Waits until `count` completions came that `pick` picks.
fn await_all(io: &mut UringIo, count: usize, pick: impl Fn(&Completion) -> bool) {
    let mut batch = Vec::new();
    let mut found = 0;
    while found < count {
        let before = batch.len();
        io.wait(&mut batch, Some(Duration::from_secs(20))).unwrap();
        assert!(batch.len() > before, "{found} of {count}");
        found += batch.drain(..).filter(&pick).count();
    }
}

/// What broke: each ending made the kernel walk all operations of the ring, so that the
/// end of 12,000 connections took half a minute.
#[test]
fn endings_search_nothing() {
    const CLIENTS: usize = 300;
    for left in [false, true] {
        let Some(mut io) = ring() else { return };
        let mut all: Vec<_> = (0..CLIENTS).map(|_| receiving(&mut io)).collect();
        io.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
        let before = io.ring.pushes();
        if left {
            all.iter_mut().for_each(|(client, _)| drop(std::mem::replace(client, other())));
            let is_end = |it: &Completion| {
                matches!(it, Completion::ReceiveEnded { end: ReceiveEnd::Eof, .. })
            };
            await_all(&mut io, CLIENTS, is_end);
        }
        all.iter().for_each(|(_, conn)| io.close(*conn));
        await_all(&mut io, CLIENTS, |it| matches!(it, Completion::Closed { .. }));
        // A kernel may forget the end of a stream now and then.
        let pushes = io.ring.pushes() - before;
        assert!(pushes < CLIENTS as u64 / 10, "{pushes} cancellations, left: {left}");
    }
}

fn other() -> UnixStream {
    UnixStream::pair().unwrap().0
}

/// A receive that misses the end is cancelled and ends all the same.
#[test]
fn an_operation_that_its_socket_does_not_wake_is_cancelled() {
    let Some(mut io) = ring() else { return };
    let (_client, conn) = receiving(&mut io);
    io.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    // As if it had been shut down, and nothing had come of it.
    let slot = io.table.slot(conn);
    slot.phase = table::Phase::Closing;
    slot.shut_down = true;
    io.expect_end(conn);
    await_all(&mut io, 1, |it| matches!(it, Completion::Closed { .. }));
}

/// What broke: after five seconds all was freed, whether the kernel had let go or not.
#[test]
fn what_the_kernel_does_not_let_go_of_is_leaked() {
    for stuck in [false, true] {
        let Some(mut io) = ring() else { return };
        let (_client, server) = UnixStream::pair().unwrap();
        // What a connection's slot holds goes as its buffer does.
        let user = Arc::new("somebody".to_owned());
        let peer = Peer { user: Some(user.clone()), ..Peer::UNKNOWN };
        let conn = io.adopt(LocalSocket::from_parts(server.into(), peer)).unwrap();
        io.receive_into(conn, BytesMut::new(), 1 << 16);
        io.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
        if stuck {
            io.ring.pretend_stuck();
        }
        drop(io);
        assert_eq!(Arc::strong_count(&user) > 1, stuck);
    }
}
