//! Opening and closing: ports, their sharing, refusals.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use netcluster_platform::{DatagramConfig, DatagramError, DatagramSockets, InterfaceReason};

use crate::bench::{LinkIo, Node, PATIENCE, on_loopback};

pub fn unicast_reaches_the_right_one_of_two_brokers<I: LinkIo>(make: impl Fn() -> I) {
    let config = on_loopback();
    let (mut a, mut b) = (Node::open(make(), &config), Node::open(make(), &config));
    assert_ne!(a.port(), b.port());
    let (to_a, to_b) = (a.address(), b.address());
    for _ in 0..3 {
        a.send_one(to_b, b"for b");
        b.send_one(to_a, b"for a");
        assert_eq!(a.expect(b"for a").from, to_b);
        assert_eq!(b.expect(b"for b").from, to_a);
    }
    a.expect_silence();
    b.expect_silence();
}

pub fn the_first_broker_also_hears_unicast_on_the_group_port<I: LinkIo>(make: impl Fn() -> I) {
    let config = on_loopback();
    let mut first = Node::open(make(), &config);
    let (mut second, mut third) = (Node::open(make(), &config), Node::open(make(), &config));
    assert!(first.info.also_on_group_port);
    assert!(!second.info.also_on_group_port && !third.info.also_on_group_port);
    let shared = SocketAddr::new(first.address().ip(), config.group.port());
    third.send_one(shared, b"whoever is there");
    assert!(!first.expect(b"whoever is there").multicast);
    second.expect_silence();
    third.expect_silence();
    // Multicast is not affected.
    third.send_one(config.group, b"all");
    assert!(first.expect(b"all").multicast);
    assert!(second.expect(b"all").multicast);
    first.expect_silence();
}

/// Opens sockets whose port was just left. Another test may be starting a program,
/// which holds every descriptor of this process for a moment.
fn open_soon(config: &DatagramConfig) -> DatagramSockets {
    let start = Instant::now();
    loop {
        match DatagramSockets::open(config) {
            Ok(sockets) => return sockets,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
    }
}

pub fn a_closed_link_leaves_its_ports_and_can_be_opened_again<I: LinkIo>(make: impl Fn() -> I) {
    let mut config = on_loopback();
    let mut other = Node::unjoined(make(), &config);
    // Below those that are given to whoever asks, or another test might get it.
    config.unicast_port = Some(on_loopback().group.port());
    let mut node = Node::open(make(), &config);
    assert_eq!(Some(node.port()), config.unicast_port);
    for round in 0..3 {
        other.send_one(config.group, b"one");
        let pinned = node.expect(b"one");
        other.send_one(config.group, b"never received");
        node.io.close_datagrams();
        node.io.close_datagrams();
        assert!(node.io.send_datagrams(config.group, b"x", 1, true).is_err());
        assert!(node.io.join_group(config.group.ip()).is_err());
        assert_eq!(node.io.datagram_stats().received, 1, "round {round}");
        // At once, without a wait between.
        node.io.open_datagrams(open_soon(&config)).unwrap();
        node.io.join_group(config.group.ip()).unwrap();
        node.expect_silence();
        assert_eq!(&pinned.chunk[..], b"one");
    }
    let again = DatagramSockets::open(&DatagramConfig { unicast_port: None, ..config }).unwrap();
    let error = node.io.open_datagrams(again).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
}

#[test]
fn refusals_say_what_to_do() {
    let config = on_loopback();
    let refusal = |config: &DatagramConfig| DatagramSockets::open(config).unwrap_err();
    let text = refusal(&DatagramConfig { interface: Some("nowhere".into()), ..config.clone() });
    assert!(text.to_string().contains("nowhere; there are: "), "{text}");
    let plain = SocketAddr::from((Ipv4Addr::LOCALHOST, 4454));
    let text = refusal(&DatagramConfig { group: plain, ..config.clone() }).to_string();
    assert!(text.contains("239.0.0.0/8"), "{text}");
    let same = Some(config.group.port());
    let error = refusal(&DatagramConfig { unicast_port: same, ..config.clone() });
    assert!(matches!(error, DatagramError::SamePort(_)));
    let error = refusal(&DatagramConfig { ttl: 256, ..config.clone() }).to_string();
    assert!(error.contains("TTL"), "{error}");

    let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = refusal(&DatagramConfig { unicast_port: Some(port), ..config.clone() });
    assert!(matches!(error, DatagramError::UnicastPortTaken(_)), "{error}");
    let group = SocketAddr::new(config.group.ip(), port);
    let error = refusal(&DatagramConfig { group, ..config });
    assert!(matches!(error, DatagramError::GroupPortTaken(_)), "{error}");
    let tool = if cfg!(windows) { "netstat -ano" } else { "ss -ulnp" };
    assert!(error.to_string().contains(tool));
}

#[test]
fn the_information_is_of_the_interface_chosen() {
    let config = DatagramConfig { receive_buffer_bytes: 64 << 10, ..on_loopback() };
    let sockets = DatagramSockets::open(&config).unwrap();
    let info = sockets.info();
    assert!(info.loopback);
    assert_eq!(info.reason, InterfaceReason::Asked);
    assert_eq!(info.unicast.ip(), Ipv4Addr::LOCALHOST);
    assert!(info.local_addresses.contains(&Ipv4Addr::LOCALHOST.into()));
    assert!(info.mtu_bytes.unwrap() >= 1500);
    assert!(info.receive_buffer_bytes >= 64 << 10);
    assert!(info.notes.iter().any(|note| note.contains("only brokers on this machine")));
    assert!(!info.notes.iter().any(|note| note.contains("receive buffer")), "{:?}", info.notes);

    let name = info.interface.clone();
    let by_address = DatagramConfig { interface: Some("127.0.0.1".into()), ..on_loopback() };
    let plain = DatagramConfig { offload: false, ..by_address };
    let sockets = DatagramSockets::open(&plain).unwrap();
    assert_eq!(sockets.info().interface, name);
    assert!(!sockets.info().gso && !sockets.info().gro);
}
