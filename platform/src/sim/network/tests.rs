//! The simulated network: who hears what, what faults do and what is counted.

mod faults;
mod machines;
mod traffic;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{NetworkFaults, PathFaults, PortFaults, SimNetwork, SimSocketsConfig};
use crate::io::{Completion, Io};
use crate::sim::{Faults, SimIo, SimNet};
use crate::{DatagramIo, DatagramTrain, Instant};

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));
const OTHER_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 4));
const GROUP_PORT: u16 = 4454;
const TO_GROUP: SocketAddr = SocketAddr::new(GROUP, GROUP_PORT);

/// The point so many nanoseconds after the start of the clock.
fn ns(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// A broker with its link's sockets open.
struct Broker {
    io: SimIo,
    address: SocketAddr,
}

impl Broker {
    /// A broker on `machine`, a member of [`GROUP`].
    fn new(machine: &SimNet) -> Broker {
        Broker::with_buffer(machine, 8 << 20)
    }

    fn with_buffer(machine: &SimNet, receive_buffer_bytes: usize) -> Broker {
        let mut io = machine.shard();
        let sockets = machine.link_sockets(SimSocketsConfig {
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + machine.id().0 as u8)),
            unicast_port: 0,
            group_port: GROUP_PORT,
            receive_buffer_bytes,
        });
        let address = sockets.unicast_address();
        io.open_datagrams(sockets).unwrap();
        io.join_group(GROUP).unwrap();
        Broker { io, address }
    }

    /// Sends datagrams of these bytes, each of its own length.
    fn send(&mut self, to: SocketAddr, datagrams: &[&[u8]]) {
        for datagram in datagrams {
            let sent = self.io.send_datagrams(to, datagram, datagram.len(), false);
            assert_eq!(sent.unwrap(), datagram.len());
        }
    }

    /// Sends numbered datagrams of `bytes` each in trains of at most 64.
    fn send_numbered(&mut self, to: SocketAddr, numbers: std::ops::Range<u32>, bytes: usize) {
        let numbers: Vec<u32> = numbers.collect();
        for numbers in numbers.chunks(64.min(65_507 / bytes)) {
            let train: Vec<u8> =
                numbers.iter().flat_map(|&number| numbered(number, bytes)).collect();
            assert_eq!(self.io.send_datagrams(to, &train, bytes, false).unwrap(), train.len());
        }
    }

    fn wait(&mut self) -> Vec<Completion> {
        let is_ready = self.io.is_ready();
        let mut completions = Vec::new();
        self.io.wait(&mut completions, Some(Duration::ZERO)).unwrap();
        assert!(is_ready || completions.is_empty(), "not ready, and yet {completions:?}");
        completions
    }

    fn trains(&mut self) -> Vec<DatagramTrain> {
        let trains = self.wait().into_iter().filter_map(|completion| match completion {
            Completion::Datagrams(train) => Some(train),
            _ => None,
        });
        trains.collect()
    }

    /// Takes every datagram that has arrived.
    fn heard(&mut self) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        loop {
            let trains = self.trains();
            if trains.is_empty() {
                return heard;
            }
            for train in trains {
                heard.extend(train.chunk.chunks(train.segment).map(<[u8]>::to_vec));
            }
        }
    }

    /// The numbers of every numbered datagram that has arrived.
    fn numbers(&mut self) -> Vec<u32> {
        let number = |datagram: Vec<u8>| u32::from_le_bytes(datagram[4..8].try_into().unwrap());
        self.heard().into_iter().map(number).collect()
    }
}

fn numbered(number: u32, bytes: usize) -> Vec<u8> {
    let mut datagram = vec![0; bytes];
    datagram[..4].copy_from_slice(b"NL\x01\x01");
    datagram[4..8].copy_from_slice(&number.to_le_bytes());
    datagram
}

fn network(path: PathFaults, port: PortFaults) -> SimNetwork {
    SimNetwork::new(1, NetworkFaults { path, port })
}

/// Makes so many machines with one broker each.
fn machines(network: &SimNetwork, count: u64) -> Vec<(SimNet, Broker)> {
    let machines = (0..count).map(|seed| network.machine(seed, Faults::default()));
    machines.map(|machine| (machine.clone(), Broker::new(&machine))).collect()
}

/// Two machines with one broker each.
fn pair(path: PathFaults, port: PortFaults) -> (SimNetwork, Broker, Broker) {
    let network = network(path, port);
    let mut brokers = machines(&network, 2).into_iter().map(|(_, broker)| broker);
    let (one, other) = (brokers.next().unwrap(), brokers.next().unwrap());
    (network, one, other)
}

/// Lets everything that is under way arrive.
fn settle(network: &SimNetwork) {
    network.advance(Duration::from_secs(1));
}
