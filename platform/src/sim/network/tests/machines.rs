//! Partitions, crashes, clocks; and that a run repeats itself.

use super::*;
use crate::sim::SimClient;

#[test]
fn a_partition_separates_until_it_heals() {
    let path = PathFaults { delay_ns: 1000, ..PathFaults::default() };
    let network = network(path, PortFaults::default());
    let mut brokers = machines(&network, 3);
    let ids: Vec<_> = brokers.iter().map(|(machine, _)| machine.id()).collect();
    let mut heard = |sender: usize| -> Vec<usize> {
        brokers[sender].1.send(TO_GROUP, &[b"hello"]);
        settle(&network);
        brokers.iter_mut().map(|(_, broker)| broker.heard().len()).collect()
    };
    network.partition(&ids[..1], &ids[1..]);
    assert_eq!(heard(0), [0, 0, 0]);
    assert_eq!(heard(1), [0, 0, 1]);
    network.heal();
    network.partition_one_way(&ids[..1], &ids[1..2]);
    assert_eq!(heard(0), [0, 0, 1]);
    assert_eq!(heard(1), [1, 0, 1]);
    network.heal();
    assert_eq!(heard(0), [0, 1, 1]);
    assert_eq!(network.counters().dropped_partition, 4);
}

#[test]
fn what_is_under_way_passes_a_later_partition() {
    let path = PathFaults { delay_ns: 1000, ..PathFaults::default() };
    let network = network(path, PortFaults::default());
    let mut brokers = machines(&network, 2);
    brokers[0].1.send(TO_GROUP, &[b"just in time"]);
    let ids: Vec<_> = brokers.iter().map(|(machine, _)| machine.id()).collect();
    network.partition(&ids[..1], &ids[1..]);
    settle(&network);
    assert_eq!(brokers[1].1.heard(), [b"just in time"]);
}

#[test]
fn a_crash_takes_all_sockets_of_the_machine() {
    let path = PathFaults { delay_ns: 1000, ..PathFaults::default() };
    let network = network(path, PortFaults::default());
    let mut brokers = machines(&network, 2);
    let (far_machine, mut far) = brokers.pop().unwrap();
    let (machine, mut broker) = brokers.pop().unwrap();
    broker.io.accept(machine.listener()).unwrap();
    let accepted: Vec<SimClient> = (0..3).map(|_| machine.connect()).collect();
    assert_eq!(broker.wait().len(), 3);
    let waiting = machine.connect();
    let handed_over = broker.io.release(crate::Conn(1));
    let far_client = far_machine.connect();
    broker.send(TO_GROUP, &[b"last words"]);
    far.send(broker.address, &[b"too late"]);

    machine.crash();
    assert!(accepted.iter().chain([&waiting]).all(SimClient::is_closed));
    assert!(machine.connect().is_closed(), "nobody listens");
    assert_eq!(machine.sockets(), 0);
    assert!(broker.wait().is_empty());
    settle(&network);
    assert_eq!(far.heard(), [b"last words"]);
    assert_eq!(network.counters().dropped_closed, 1);
    assert!(broker.io.send_datagrams(TO_GROUP, b"ghost", 5, false).is_err());
    drop((broker, handed_over, far_client));

    let mut restarted = Broker::new(&machine);
    restarted.io.accept(machine.listener()).unwrap();
    let client = machine.connect();
    assert_eq!(restarted.wait().len(), 1);
    assert!(!client.is_closed());
    far.send(restarted.address, &[b"welcome back"]);
    settle(&network);
    assert_eq!(restarted.heard(), [b"welcome back"]);
}

#[test]
fn a_broker_that_ends_leaves_its_port_and_its_groups() {
    let (network, mut one, other) = pair(PathFaults::default(), PortFaults::default());
    let Broker { mut io, address } = other;
    io.close_datagrams();
    one.send(TO_GROUP, &[b"anybody?"]);
    one.send(address, &[b"you?"]);
    settle(&network);
    assert_eq!(network.counters().delivered, 0);
    assert_eq!(io.datagram_stats().received, 0);
}

#[test]
fn clocks_jump_on_one_machine_alone() {
    let network = network(PathFaults::default(), PortFaults::default());
    let brokers = machines(&network, 2);
    network.advance(Duration::from_nanos(10));
    brokers[0].0.jump_clock(Duration::from_secs(3));
    assert_eq!(brokers[0].1.io.now(), ns(3_000_000_010));
    assert_eq!(brokers[0].0.clock(), ns(3_000_000_010));
    assert_eq!(brokers[1].1.io.now(), ns(10));
    brokers[1].0.advance(Duration::from_nanos(5));
    assert_eq!((network.now(), brokers[0].0.now()), (ns(15), ns(15)));
    assert_eq!(brokers[0].1.io.now(), ns(3_000_000_015));
}

#[test]
fn a_paused_machine_is_told_nothing_and_fills_its_buffers() {
    let network = network(PathFaults::default(), PortFaults::default());
    let mut brokers = machines(&network, 2);
    brokers[1].0.pause();
    brokers[0].1.send(TO_GROUP, &[b"wake up"]);
    settle(&network);
    assert!(brokers[1].1.wait().is_empty());
    assert_eq!(network.next_due(), None);
    assert!(brokers[1].0.is_paused());
    brokers[1].0.resume();
    assert!(!brokers[1].0.is_paused() && brokers[1].1.io.is_ready());
    assert_eq!(network.next_due(), Some(network.now()));
    assert_eq!(brokers[1].1.heard(), [b"wake up"]);
}

#[test]
#[should_panic(expected = "is in use")]
fn a_port_is_bound_once() {
    let network = network(PathFaults::default(), PortFaults::default());
    let machine = network.machine(1, Faults::default());
    let config = SimSocketsConfig {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        unicast_port: 1000,
        group_port: GROUP_PORT,
        receive_buffer_bytes: 1,
    };
    let _sockets = machine.link_sockets(config);
    let _again = machine.link_sockets(config);
}

/// Three machines talk at random; returns the digest and what was counted.
fn run(seed: u64) -> (u64, super::super::NetworkCounters) {
    let network = SimNetwork::new(seed, NetworkFaults::rough());
    let mut brokers = machines(&network, 3);
    let addresses: Vec<_> = brokers.iter().map(|(_, broker)| broker.address).collect();
    let (mut heard, mut expected) = (0, 0);
    for round in 0..400_usize {
        let sender = round % 3;
        let to = if round % 5 < 2 { TO_GROUP } else { addresses[(round + 1) % 3] };
        let train = numbered(round as u32, 1300 * (1 + round % 40));
        let looped = round % 7 == 0;
        // Blocked and short sends are among the faults.
        let taken = brokers[sender].1.io.send_datagrams(to, &train, 1300, looped).unwrap_or(0);
        let targets = if to == TO_GROUP { 2 + u64::from(looped) } else { 1 };
        expected += targets * (taken / 1300) as u64;
        if round % 4 == 0 {
            network.advance_to_next();
        }
        for (_, broker) in &mut brokers {
            heard += broker.heard().len() as u64;
        }
    }
    while network.advance_to_next() {
        for (_, broker) in &mut brokers {
            heard += broker.heard().len() as u64;
        }
    }
    let counters = network.counters();
    assert_eq!(heard, counters.delivered, "seed {seed}");
    let ended = counters.delivered + counters.dropped();
    assert_eq!(expected + counters.duplicated, ended, "seed {seed}");
    (network.trace(), counters)
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let first = run(3);
    assert_eq!(first, run(3));
    assert_ne!(first.0, run(4).0);
    let counters = first.1;
    assert!(counters.dropped_loss > 0);
    assert!(counters.duplicated > 0);
    assert!(counters.reordered > 0);
}

#[test]
fn every_seed_accounts_for_every_datagram() {
    for seed in 0..30 {
        run(seed);
    }
}
