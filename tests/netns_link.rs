//! Brokers on several hosts, linked over a real network: namespaces with cables,
//! loss and partitions. Skipped where there can be none.

#![cfg(target_os = "linux")]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use netcluster_client::{Client, Lifecycle, Message};
use netcluster_link::crypto::{Key, Keys};
use netcluster_link::options::LinkOptions;
use netcluster_testkit::netns::{Network, NetworkOptions, Packets, missing};

use common::{Bed, Bus, PATIENCE, on_both, patterned, take, wait_until};

const EVENTS: u64 = 20_000;

/// Makes a network, if there can be one here.
fn network(options: NetworkOptions) -> Option<Network> {
    if let Some(why) = missing() {
        println!("SKIPPED: {why}");
        return None;
    }
    Some(Network::new(options).expect("a network"))
}

/// Starts a broker on each host.
fn buses(
    bed: &Bed,
    network: &Network,
    change: impl Fn(usize, &mut LinkOptions) + Sync,
) -> Vec<Bus> {
    let start = |index: usize| {
        bed.bus_with(|options| {
            let mut link = LinkOptions::new(format!("host-{index}"));
            change(index, &mut link);
            options.node = Some(index as u32 + 1);
            options.link = Some(link);
        })
    };
    let hosts = network.hosts().iter();
    hosts.map(|host| host.enter(|| start(host.index())).expect("the host is there")).collect()
}

fn peers(bus: &Bus) -> usize {
    bus.status().link.map_or(0, |link| link.peers.len())
}

fn wait_for_peers(buses: &[Bus], count: usize) {
    for bus in buses {
        wait_until("all brokers know each other", || peers(bus) == count);
    }
}

/// Numbers of the events that a client hears, and the losses that the client is told of.
#[derive(Clone, Default)]
struct Heard {
    numbers: Arc<Mutex<Vec<u64>>>,
    losses: Arc<AtomicU64>,
}

impl Heard {
    /// Lets a client listen; from the return on it misses nothing.
    fn by(client: &Client) -> Heard {
        let heard = Heard::default();
        let numbers = Arc::clone(&heard.numbers);
        client
            .on("count", move |message: &Message<'_>| {
                let number = message.payload().first_chunk().expect("eight bytes");
                numbers.lock().unwrap().push(u64::from_le_bytes(*number));
            })
            .unwrap();
        let losses = Arc::clone(&heard.losses);
        client.on_lifecycle(move |what| {
            if matches!(what, Lifecycle::Lost { .. }) {
                losses.fetch_add(1, Ordering::Relaxed);
            }
        });
        client.wait_for_cluster(PATIENCE).expect("all brokers know of the listener");
        heard
    }

    fn wait_for(&self, count: u64) {
        wait_until("all events have come", || {
            assert_eq!(self.losses.load(Ordering::Relaxed), 0, "nothing is lost");
            self.numbers.lock().unwrap().len() as u64 >= count
        });
        assert!(self.numbers.lock().unwrap().iter().copied().eq(0..count), "once and in order");
    }
}

/// Emits numbered events of many sizes.
fn count(client: &Client, events: u64) {
    for number in 0..events {
        let mut payload = patterned(number, 8 + (number % 700) as usize);
        payload[..8].copy_from_slice(&number.to_le_bytes());
        client.emit("count", &payload).unwrap();
    }
    client.flush().unwrap();
}

/// Checks that everybody hears what host 0 emits, on a channel that waits for its
/// listeners.
fn everything_arrives(bed: &Bed, network: &Network, change: impl Fn(&mut LinkOptions) + Sync) {
    let buses = buses(bed, network, |_, link| {
        link.pressured = vec!["default".into()];
        change(link);
    });
    wait_for_peers(&buses, buses.len() - 1);
    let clients: Vec<Client> = buses.iter().map(Bus::client).collect();
    let heard: Vec<Heard> = clients[1..].iter().map(Heard::by).collect();
    count(&clients[0], EVENTS);
    heard.iter().for_each(|heard| heard.wait_for(EVENTS));
}

on_both! {
    fn every_event_reaches_every_host_once_and_in_order(bed) {
        let options = NetworkOptions { hosts: 3, ..NetworkOptions::default() };
        let Some(network) = network(options) else { return };
        everything_arrives(bed, &network, |_| {});
    }
}

on_both! {
    fn every_event_arrives_over_ipv6(bed) {
        let Some(network) = network(NetworkOptions::default()) else { return };
        let group: SocketAddr = "[ff15::2c36]:4454".parse().unwrap();
        everything_arrives(bed, &network, |link| link.group = group);
    }
}

on_both! {
    fn lost_packets_are_repaired(bed) {
        for packets in [Packets::Whole, Packets::Cut] {
            let options = NetworkOptions { hosts: 3, packets, ..NetworkOptions::default() };
            let Some(network) = network(options) else { return };
            network.hosts().iter().for_each(|host| host.set_loss(50).unwrap());
            everything_arrives(bed, &network, |_| {});
            let lost: u64 = network.hosts().iter().map(|host| host.packets_lost().unwrap()).sum();
            assert!(lost > 0, "the test is about something");
        }
    }
}

on_both! {
    fn a_sealed_link_works_and_another_key_is_nobody(bed) {
        let options = NetworkOptions { hosts: 3, ..NetworkOptions::default() };
        let Some(network) = network(options) else { return };
        let buses = buses(bed, &network, |index, link| {
            let key = if index == 2 { [2; 32] } else { [1; 32] };
            link.keys = Keys::new(vec![Key::new(key)]);
        });
        wait_for_peers(&buses[..2], 1);
        let (emitter, listener) = (buses[0].client(), buses[1].client());
        let subscription = listener.subscribe("secret").unwrap();
        listener.wait_for_cluster(PATIENCE).unwrap();
        emitter.emit("secret", "x").unwrap();
        assert_eq!(take(&subscription).payload(), b"x");
        assert_eq!(peers(&buses[2]), 0);
    }
}

on_both! {
    fn hosts_without_multicast_are_reached_by_unicast(bed) {
        let options = NetworkOptions { hosts: 2, multicast_route: false, ..Default::default() };
        let Some(network) = network(options) else { return };
        // No group but one's own: whatever is multicast is heard by nobody.
        let there = format!("{}:4454", network.host(1).v4());
        let buses = buses(bed, &network, |index, link| {
            let group = if index == 0 { "239.255.44.54:4454" } else { "239.255.45.54:4454" };
            link.group = group.parse().unwrap();
            link.peers = if index == 0 { vec![there.clone()] } else { Vec::new() };
        });
        wait_for_peers(&buses, 1);
        let (emitter, listener) = (buses[0].client(), buses[1].client());
        let heard = Heard::by(&listener);
        count(&emitter, 100);
        heard.wait_for(100);
    }
}

on_both! {
    fn a_pulled_cable_is_told_as_lost_and_heals_when_plugged_in(bed) {
        let Some(network) = network(NetworkOptions::default()) else { return };
        let buses = buses(bed, &network, |_, _| {});
        wait_for_peers(&buses, 1);
        let (emitter, listener) = (buses[0].client(), buses[1].client());
        let heard = Heard::by(&listener);
        count(&emitter, 10);
        heard.wait_for(10);

        network.set_cable(1, false).unwrap();
        wait_until("the other one is given up", || peers(&buses[1]) == 0 && peers(&buses[0]) == 0);
        wait_until("listeners are told", || heard.losses.load(Ordering::Relaxed) > 0);

        network.set_cable(1, true).unwrap();
        wait_for_peers(&buses, 1);
        listener.wait_for_cluster(PATIENCE).unwrap();
        let subscription = listener.subscribe("again").unwrap();
        listener.wait_for_cluster(PATIENCE).unwrap();
        emitter.emit("again", "x").unwrap();
        assert_eq!(take(&subscription).payload(), b"x");
    }
}
