//! Groups: who hears what.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use netcluster_platform::{DatagramConfig, DatagramSockets, is_wine};

use crate::bench::{LinkIo, Node, group, on, on_loopback};
use crate::space;

/// Whether a socket hears the groups that others of this machine have joined; says
/// so. Linux does that unless it is told not to, which Wine does not.
fn hears_other_memberships() -> bool {
    if is_wine() {
        println!("SKIPPED: under Wine sockets hear each other's groups");
    }
    is_wine()
}

fn hear_each_other<I: LinkIo>(make: impl Fn() -> I, config: &DatagramConfig) {
    let (mut a, mut b) = (Node::open(make(), config), Node::open(make(), config));
    a.send_one(config.group, b"from a");
    let heard = b.expect(b"from a");
    assert!(heard.multicast);
    assert_eq!(heard.from.port(), a.port());
    // The loopback interface brings everything back to who sent it.
    a.expect(b"from a");
    b.send_one(config.group, b"from b");
    assert_eq!(a.expect(b"from b").from.port(), b.port());
    // An answer goes to where it came from.
    b.expect(b"from b");
    b.send_one(heard.from, b"answer");
    let answer = a.expect(b"answer");
    assert!(!answer.multicast);
    assert_eq!(answer.from.port(), b.port());
    let stats = a.io.datagram_stats();
    assert_eq!((stats.sent, stats.sent_bytes, stats.sends), (1, 6, 1));
    assert_eq!((stats.received, stats.received_bytes, stats.receives), (3, 18, 3));
    assert_eq!((stats.strays, stats.send_errors, stats.kernel_drops), (0, 0, 0));
}

pub fn brokers_of_one_machine_hear_each_others_multicast<I: LinkIo>(make: impl Fn() -> I) {
    hear_each_other(make, &on_loopback());
}

pub fn the_original_group_works_as_given<I: LinkIo>(make: impl Fn() -> I) {
    let mut config = on_loopback();
    config.group = SocketAddr::new("224.0.0.0".parse().unwrap(), config.group.port());
    hear_each_other(make, &config);
}

pub fn ipv6_groups_work<I: LinkIo>(make: impl Fn() -> I + Send + Sync) {
    space::in_namespace(|| {
        let mut config = on_loopback();
        config.group = SocketAddr::new("ff15::4c:10".parse().unwrap(), config.group.port());
        match DatagramSockets::open(&config) {
            Ok(sockets) => {
                let notes = &sockets.info().notes;
                assert!(notes.iter().any(|it| it.contains("ip -6 route add")), "{notes:?}");
            }
            Err(reason) => return println!("SKIPPED: {reason}"),
        }
        if let Err(reason) = space::ip("-6 route add local ff00::/8 dev lo table local") {
            return println!("SKIPPED: {reason}");
        }
        hear_each_other(&make, &config);
        let (mut a, mut b) = (Node::open(make(), &config), Node::unjoined(make(), &config));
        assert!(b.info.notes.iter().all(|it| !it.contains("route")), "{:?}", b.info.notes);
        for number in 0..30 {
            b.io.join_group(group(&config, number).ip()).unwrap();
        }
        a.send_one(group(&config, 29), b"far");
        assert!(b.expect(b"far").multicast);
        b.io.leave_group(group(&config, 29).ip()).unwrap();
        a.send_one(group(&config, 29), b"left");
        b.expect_silence();
    });
    space::with_wire(|_| {
        let address = format!("-6 addr add fd00:77::1/64 dev {} nodad", space::NEAR);
        if let Err(reason) = space::ip(&address) {
            return println!("SKIPPED: {reason}");
        }
        space::await_own_address("fd00:77::1");
        let mut config = on(space::NEAR);
        config.group = SocketAddr::new("ff15::4c:10".parse().unwrap(), config.group.port());
        hear_each_other(&make, &config);
    });
}

pub fn a_left_group_is_silent<I: LinkIo>(make: impl Fn() -> I) {
    if hears_other_memberships() {
        return;
    }
    let config = on_loopback();
    let (mut a, mut b) = (Node::unjoined(make(), &config), Node::open(make(), &config));
    // Somebody else's membership makes the interface take the group.
    let mut other = Node::open(make(), &config);
    let second = group(&config, 1);
    for node in [&mut b, &mut other] {
        node.io.join_group(second.ip()).unwrap();
        node.io.join_group(second.ip()).unwrap();
    }
    b.io.leave_group(second.ip()).unwrap();
    b.io.leave_group(second.ip()).unwrap();
    a.send_one(second, b"to the second");
    a.send_one(config.group, b"to the first");
    b.expect(b"to the first");
    b.expect_silence();
    other.expect(b"to the second");
    other.expect(b"to the first");
    a.expect_silence();
    // It can be joined again.
    b.io.join_group(second.ip()).unwrap();
    a.send_one(second, b"again");
    b.expect(b"again");
}

pub fn more_groups_than_a_socket_holds_can_be_joined<I: LinkIo>(make: impl Fn() -> I) {
    const GROUPS: u8 = 65;
    let config = on_loopback();
    let (mut a, mut b) = (Node::unjoined(make(), &config), Node::unjoined(make(), &config));
    for number in 0..GROUPS {
        b.io.join_group(group(&config, number).ip()).unwrap();
    }
    if hears_other_memberships() {
        return;
    }
    for round in 0..2 {
        for number in 0..GROUPS {
            a.send_one(group(&config, number), &[round, number]);
        }
        let heard: BTreeSet<_> = b.receive_split(GROUPS.into()).into_iter().collect();
        assert_eq!(heard, (0..GROUPS).map(|number| vec![round, number]).collect());
        b.expect_silence();
    }
    for number in 0..GROUPS {
        b.io.leave_group(group(&config, number).ip()).unwrap();
        a.send_one(group(&config, number), b"left");
    }
    b.expect_silence();
}

pub fn a_group_of_another_family_is_refused<I: LinkIo>(make: impl Fn() -> I) {
    let mut node = Node::open(make(), &on_loopback());
    for address in ["ff15::1", "127.0.0.1"] {
        let error = node.io.join_group(address.parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains(address), "{error}");
    }
}
