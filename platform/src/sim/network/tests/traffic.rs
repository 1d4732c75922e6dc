//! Delivery: who hears what, and what a test can see of it.

use super::*;

#[test]
fn a_group_reaches_its_members_on_other_machines() {
    let network = network(PathFaults::default(), PortFaults::default());
    let mut brokers = machines(&network, 4);
    brokers[3].1.io.leave_group(GROUP).unwrap();
    brokers[0].1.send(TO_GROUP, &[b"hello"]);
    let heard: Vec<_> = brokers.iter_mut().map(|(_, broker)| broker.heard().len()).collect();
    assert_eq!(heard, [0, 1, 1, 0]);
    let counters = network.counters();
    assert_eq!((counters.sent, counters.delivered, counters.dropped()), (1, 2, 0));
}

#[test]
fn another_port_or_group_is_not_heard() {
    let (_, mut one, mut other) = pair(PathFaults::default(), PortFaults::default());
    one.send(SocketAddr::new(GROUP, GROUP_PORT + 1), &[b"port"]);
    one.send(SocketAddr::new(OTHER_GROUP, GROUP_PORT), &[b"group"]);
    assert!(other.heard().is_empty());
    other.io.join_group(OTHER_GROUP).unwrap();
    one.send(SocketAddr::new(OTHER_GROUP, GROUP_PORT), &[b"group"]);
    assert_eq!(other.heard(), [b"group"]);
    assert!(other.io.join_group(one.address.ip()).is_err(), "that is no group");
}

#[test]
fn looped_datagrams_reach_the_own_machine_whatever_the_faults() {
    let lossy = PathFaults { loss_per_million: 1_000_000, ..PathFaults::default() };
    let network = network(lossy, PortFaults::default());
    let machine = network.machine(1, Faults::default());
    let (mut one, mut two) = (Broker::new(&machine), Broker::new(&machine));
    let mut far = Broker::new(&network.machine(2, Faults::default()));
    one.send(TO_GROUP, &[b"unlooped"]);
    one.io.send_datagrams(TO_GROUP, b"looped", 6, true).unwrap();
    one.send(two.address, &[b"for two"]);
    assert_eq!(one.heard(), [b"looped"]);
    assert_eq!(two.heard(), [&b"looped"[..], b"for two"]);
    settle(&network);
    assert!(far.heard().is_empty());
    assert_eq!(network.counters().dropped_loss, 2);
}

#[test]
fn an_address_reaches_the_socket_bound_to_it() {
    let network = network(PathFaults::default(), PortFaults::default());
    let mut one = Broker::new(&network.machine(1, Faults::default()));
    let machine = network.machine(2, Faults::default());
    let (mut two, mut three) = (Broker::new(&machine), Broker::new(&machine));
    assert_ne!(two.address, three.address);
    one.send(three.address, &[b"three"]);
    let trains = three.trains();
    assert_eq!(trains.len(), 1);
    assert_eq!(trains[0].from, one.address);
    assert!(!trains[0].multicast);
    assert!(two.heard().is_empty());
    one.send(SocketAddr::new(two.address.ip(), GROUP_PORT), &[b"anybody"]);
    assert_eq!(two.heard(), [b"anybody"], "the first on the machine answers");
    one.send(SocketAddr::new(two.address.ip(), 9), &[b"nobody"]);
    assert_eq!((two.heard().len(), three.heard().len()), (0, 0));
    assert_eq!(network.counters().dropped_closed, 1);
}

#[test]
fn a_train_arrives_as_a_train() {
    let (_, mut one, mut other) = pair(PathFaults::default(), PortFaults::default());
    assert_eq!(one.io.send_datagrams(TO_GROUP, &[7; 2500], 1000, false).unwrap(), 2500);
    let trains = other.trains();
    assert_eq!(trains.len(), 1);
    assert_eq!((trains[0].chunk.len(), trains[0].segment), (2500, 1000));
    assert!(trains[0].multicast);
    let stats = other.io.datagram_stats();
    assert_eq!((stats.received, stats.received_bytes, stats.receives), (3, 2500, 1));
    let stats = one.io.datagram_stats();
    assert_eq!((stats.sent, stats.sent_bytes, stats.sends), (3, 2500, 1));
}

#[test]
fn kinds_are_counted_apart() {
    let lossy = PathFaults { loss_per_million: 1_000_000, ..PathFaults::default() };
    let (network, mut one, _other) = pair(lossy, PortFaults::default());
    one.send(TO_GROUP, &[b"NL\x01data", b"NL\x15heartbeat", b"NL\x15again", b"x"]);
    let counters = network.counters();
    assert_eq!((counters.kind(0x01).sent, counters.kind(0x01).sent_bytes), (1, 7));
    assert_eq!((counters.kind(0x15).sent, counters.kind(0x15).dropped_bytes), (2, 12 + 8));
    assert_eq!(counters.kind(0).dropped, 1, "too short to have a kind");
    assert_eq!(counters.dropped(), 4);
}

#[test]
fn the_tap_records_the_last_datagrams() {
    let (network, mut one, other) = pair(PathFaults::default(), PortFaults::default());
    network.set_tap(2);
    network.advance(Duration::from_nanos(5));
    one.send_numbered(other.address, 0..3, 100);
    let tapped = network.tapped();
    assert_eq!(tapped.len(), 2);
    assert_eq!(tapped[0].bytes, numbered(1, 100));
    assert_eq!((tapped[1].at, tapped[1].from, tapped[1].to), (ns(5), one.address, other.address));
    assert!(network.tapped().is_empty());
}

#[test]
fn the_filter_decides_about_each_datagram() {
    let (network, mut one, mut other) = pair(PathFaults::default(), PortFaults::default());
    network.set_filter(Some(Box::new(|passage| passage.bytes[4] != 1)));
    one.send_numbered(TO_GROUP, 0..3, 100);
    assert_eq!(other.numbers(), [0, 2]);
    assert_eq!(network.counters().dropped_filter, 1);
    network.set_filter(None);
    one.send_numbered(TO_GROUP, 1..2, 100);
    assert_eq!(other.numbers(), [1]);
}

#[test]
fn an_injected_datagram_has_the_forged_sender() {
    let lossy = PathFaults { loss_per_million: 1_000_000, ..PathFaults::default() };
    let (network, mut one, mut other) = pair(lossy, PortFaults::default());
    network.inject(other.address, one.address, b"forged");
    let trains = other.trains();
    assert_eq!((&trains[0].chunk[..], trains[0].from), (&b"forged"[..], one.address));
    network.inject(TO_GROUP, SocketAddr::new(OTHER_GROUP, 1), b"to all");
    assert_eq!((one.heard().len(), other.heard().len()), (1, 1));
    assert_eq!((network.counters().injected, network.counters().sent), (2, 0));
}
