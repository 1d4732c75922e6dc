//! The interface: what comes in elsewhere, what goes and comes back.

use std::net::{SocketAddr, UdpSocket};

use netcluster_platform::{DatagramConfig, InterfaceReason};

use crate::bench::{LinkIo, Node, PATIENCE, on};
use crate::space::{self, There};

/// Sends something to an address from the other end of the wire.
fn send_from_there(there: &There, to: impl ToString, bytes: &'static [u8]) {
    let to = to.to_string();
    there.run(move || {
        let socket = UdpSocket::bind("10.77.0.2:0").unwrap();
        socket.send_to(bytes, to).unwrap();
    });
}

pub fn unicast_is_taken_from_wherever_it_comes<I: LinkIo>(make: impl Fn() -> I + Send + Sync) {
    space::with_wire(|there| {
        let config = on("lo");
        let mut node = Node::open(make(), &config);
        // By another interface: to its own port, and to the groups'.
        for port in [node.port(), config.group.port()] {
            let to = format!("{}:{port}", space::NEAR_ADDRESS);
            send_from_there(there, to, b"elsewhere");
            let heard = node.expect(b"elsewhere");
            assert_eq!(
                (heard.from.ip().to_string().as_str(), heard.multicast),
                ("10.77.0.2", false)
            );
        }
        // But a group lies on the chosen interface alone.
        there.run(|| space::ip("route add 224.0.0.0/4 dev v1")).unwrap();
        send_from_there(there, config.group, b"another network's");
        node.expect_silence();
        let mut near = Node::open(make(), &on(space::NEAR));
        let to = near.address();
        send_from_there(there, to, b"welcome");
        assert_eq!(near.expect(b"welcome").from.ip().to_string(), "10.77.0.2");
        // From this machine, which goes over loopback.
        node.send_one(to, b"neighbour");
        near.expect(b"neighbour");
        for node in [&node, &near] {
            assert_eq!(node.io.datagram_stats().strays, 0);
        }
    });
}

pub fn the_original_group_crosses_a_wire<I: LinkIo>(make: impl Fn() -> I + Send + Sync) {
    space::with_wire(|there| {
        let mut config = on(space::NEAR);
        config.group = SocketAddr::new("224.0.0.0".parse().unwrap(), config.group.port());
        let mut node = Node::open(make(), &config);
        there.run(|| space::ip("route add 224.0.0.0/4 dev v1")).unwrap();
        send_from_there(there, config.group, b"hello");
        assert!(node.expect(b"hello").multicast);
        let port = config.group.port();
        let listener = there.run(move || {
            let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
            let (group, own) = ("224.0.0.0".parse().unwrap(), "10.77.0.2".parse().unwrap());
            socket.join_multicast_v4(&group, &own).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        });
        node.send_one(config.group, b"and back");
        let mut bytes = [0; 16];
        let (length, from) = listener.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..length], from), (&b"and back"[..], node.address()));
    });
}

pub fn an_interface_that_comes_back_is_joined_anew<I: LinkIo>(make: impl Fn() -> I + Send + Sync) {
    space::with_wire(|there| {
        let config = on(space::NEAR);
        let mut node = Node::open(make(), &config);
        let hears = |node: &mut Node<I>| {
            send_from_there(there, config.group, b"hello");
            let heard = node.expect(b"hello");
            assert!(heard.multicast);
        };
        there.run(|| space::ip("route add 224.0.0.0/4 dev v1")).unwrap();
        hears(&mut node);
        assert!(!node.io.check_interface().unwrap());

        space::ip(&format!("link set {} down", space::NEAR)).unwrap();
        let error = node.io.check_interface().unwrap_err();
        assert!(error.to_string().contains("ip link set v0 up"), "{error}");
        space::ip(&format!("link set {} up", space::NEAR)).unwrap();
        there.await_wire();
        assert!(node.io.check_interface().unwrap());
        assert!(!node.io.check_interface().unwrap());
        hears(&mut node);

        // Its successor has another number.
        space::ip(&format!("link del {}", space::NEAR)).unwrap();
        let error = node.io.check_interface().unwrap_err();
        assert!(error.to_string().contains("there are: lo"), "{error}");
        space::ip("link add other type veth peer name another").unwrap();
        let task = there.run(|| rustix::thread::gettid().as_raw_nonzero().get());
        let add = format!("link add {} type veth peer name v1 netns {task}", space::NEAR);
        space::ip(&add).unwrap();
        space::near_up().unwrap();
        there
            .run(|| {
                space::ip("addr add 10.77.0.2/24 dev v1")?;
                space::ip("link set v1 up")?;
                space::ip("route add 224.0.0.0/4 dev v1")
            })
            .unwrap();
        there.await_wire();
        assert!(node.io.check_interface().unwrap());
        hears(&mut node);
    });
}

pub fn a_better_interface_is_taken_when_it_comes<I: LinkIo>(make: impl Fn() -> I + Send + Sync) {
    space::with_wire(|there| {
        space::ip(&format!("link set {} down", space::NEAR)).unwrap();
        let config = DatagramConfig { interface: None, ..on(space::NEAR) };
        let mut node = Node::open(make(), &config);
        assert_eq!(node.info.reason, InterfaceReason::Loopback);
        assert!(node.info.notes[0].contains("only brokers on this machine"));
        assert!(!node.io.check_interface().unwrap());
        space::ip(&format!("link set {} up", space::NEAR)).unwrap();
        there.await_wire();
        assert!(node.io.check_interface().unwrap(), "the first that does multicast");
        there.run(|| space::ip("route add 224.0.0.0/4 dev v1")).unwrap();
        send_from_there(there, config.group, b"hello");
        node.expect(b"hello");
        space::ip(&format!("route add 224.0.0.0/4 dev {}", space::NEAR)).unwrap();
        let chosen = Node::open(make(), &config);
        assert_eq!(chosen.info.interface, space::NEAR);
        assert_eq!(chosen.info.reason, InterfaceReason::Route);
    });
}

pub fn the_group_port_is_followed_to_another_address<I: LinkIo>(
    make: impl Fn() -> I + Send + Sync,
) {
    space::with_wire(|there| {
        let config = on(space::NEAR);
        let mut node = Node::open(make(), &config);
        let other = Node::open(make(), &config);
        assert!(node.info.also_on_group_port && !other.info.also_on_group_port);
        let port = config.group.port();
        let addresses = [space::NEAR_ADDRESS, "10.77.0.3"];
        send_from_there(there, format!("{}:{port}", addresses[0]), b"first");
        assert!(!node.expect(b"first").multicast);
        for (from, to) in [(0, 1), (1, 0), (0, 1)] {
            let (from, to) = (addresses[from], addresses[to]);
            space::ip(&format!("addr del {from}/24 dev {}", space::NEAR)).unwrap();
            space::ip(&format!("addr add {to}/24 dev {}", space::NEAR)).unwrap();
            assert!(node.io.check_interface().unwrap());
            send_from_there(there, format!("{to}:{port}"), b"moved");
            assert!(!node.expect(b"moved").multicast);
        }
    });
}
