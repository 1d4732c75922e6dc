//! Named pipes where they differ from sockets: they stay, and their sends are copied.

use super::*;

#[test]
fn connections_that_stay_are_spread_over_all_who_accept() {
    let net = SimNet::new(1, Faults::default());
    net.keep_connections();
    let mut shards = [net.shard(), net.shard(), net.shard()];
    let listeners = net.listeners(shards.len());
    assert_eq!(listeners.len(), 3);
    for (io, listener) in shards.iter_mut().zip(listeners) {
        assert!(!io.hands_over());
        io.accept(listener).unwrap();
    }
    let clients: Vec<_> = (0..30).map(|_| net.connect()).collect();
    let mut accepted = [0; 3];
    while accepted.iter().sum::<usize>() < clients.len() {
        for (io, count) in shards.iter_mut().zip(&mut accepted) {
            *count += wait(io).len();
        }
    }
    assert!(accepted.iter().all(|&count| count > 3), "{accepted:?}");
    shards[0].stop_accept();
    shards[1].stop_accept();
    let _late = net.connect();
    assert!(matches!(wait(&mut shards[2])[..], [Completion::Accepted { .. }]));
    shards[2].stop_accept();
    assert!(net.connect().is_closed(), "nobody listens");
}

#[test]
fn what_is_on_its_way_is_lost_by_closing_and_safe_once_there_is_room() {
    for waits in [false, true] {
        let faults = Faults { held_send_permille: 1000, ..Faults::default() };
        let Pair { mut io, client, conn, .. } = Pair::new(faults);
        io.send(conn, [&Slice::from(Bytes::from_static(b"last words"))].into_iter());
        let sent = wait(&mut io);
        let [Completion::Sent { bytes: 10, blocked: true, .. }, ..] = sent[..] else {
            panic!("{sent:?}");
        };
        if waits && sent.len() == 1 {
            assert!(matches!(wait(&mut io)[..], [Completion::Writable { .. }]));
        }
        let is_safe = waits || sent.len() == 2;
        io.close(conn);
        wait(&mut io);
        let mut read = Vec::new();
        client.read(&mut read);
        assert_eq!(read, if is_safe { &b"last words"[..] } else { b"" });
    }
}
