//! Plan of one measurement between hosts, and of each of its processes.
//!
//! ```text
//!   Level::Raw       sender ── packets ──▶ receivers       no protocol at all
//!   Level::Link      node ──── link ─────▶ nodes           no broker, no clients
//!   Level::Brokers   emitter ─ broker ─ link ─▶ broker ─ listener, on each host
//! ```
//! Hosts 0 to `senders` - 1 send, the `receivers` after them receive.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use netcluster_testkit::netns::Packets;

/// Group that is measured: the link's own default.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 44, 54), 4454);
/// Group of raw packets. The port is not the link's: sockets of a ring outlive their
/// process by a moment.
pub const RAW_GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 44, 53), 4464);
/// Port at which raw receivers say how far they are.
pub const RAW_SENDER_PORT: u16 = 4455;
/// UDP payload of a full packet of 1400 bytes.
pub const DATAGRAM_BYTES: usize = 1372;
/// Channel of all events that are sent.
pub const CHANNEL: &str = "default";
/// Name of the event.
pub const EVENT: &str = "load";

/// Layers between the events and the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// No layer: packets of full size are counted instead of events.
    Raw,
    /// The link alone.
    #[default]
    Link,
    /// Clients and brokers too.
    Brokers,
}

/// Scenario of one measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkScenario {
    /// Layers between the events and the network.
    pub level: Level,
    /// Hosts that send.
    pub senders: usize,
    /// Hosts that receive; each gets everything.
    pub receivers: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Seconds of the measured window.
    pub seconds: f64,
    /// Events per second and sender; `None`: as fast as it goes.
    pub rate: Option<u64>,
    /// Form in which trains of datagrams cross the network.
    pub packets: Packets,
    /// Thousandths of the packets that each receiver loses.
    pub loss_thousandths: u32,
    /// Rate that reaches a receiver at most, in bits per second.
    pub bottleneck: Option<u64>,
    /// Whether everything is sealed.
    pub has_key: bool,
    /// The back end; `None`: the best there is.
    pub backend: Option<String>,
}

impl Default for LinkScenario {
    fn default() -> LinkScenario {
        LinkScenario {
            level: Level::Link,
            senders: 1,
            receivers: 3,
            size: 1024,
            seconds: 1.0,
            rate: None,
            packets: Packets::Whole,
            loss_thousandths: 0,
            bottleneck: None,
            has_key: false,
            backend: None,
        }
    }
}

impl LinkScenario {
    /// Returns how many hosts the measurement takes.
    pub fn hosts(&self) -> usize {
        self.senders + self.receivers
    }

    /// Returns the bytes of what is counted.
    pub fn unit_bytes(&self) -> usize {
        match (self.level, self.rate) {
            (Level::Raw, None) => DATAGRAM_BYTES,
            _ => self.size,
        }
    }
}

/// Returns when number `number` is due after the start, in nanoseconds.
pub fn due_ns(number: u64, rate: u64) -> u64 {
    (u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64
}

/// Role of a process on a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkRole {
    /// Sends packets.
    RawSender(RawSenderPlan),
    /// Counts packets.
    RawReceiver(RawReceiverPlan),
    /// Is one end of the link.
    Node(NodePlan),
}

/// Plan of a sender of packets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawSenderPlan {
    /// Address of the sender.
    pub address: Ipv4Addr,
    /// Group that the sender sends to.
    pub group: SocketAddrV4,
    /// Number of receivers.
    pub receivers: usize,
    /// Bytes of a packet's payload.
    pub datagram_bytes: usize,
    /// Packets per second; `None`: trains, as fast as it goes.
    pub rate: Option<u64>,
}

/// Plan of a receiver of packets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawReceiverPlan {
    /// Number of the receiver.
    pub index: u16,
    /// Address of the receiver.
    pub address: Ipv4Addr,
    /// Group that the receiver joins.
    pub group: SocketAddrV4,
    /// Address that the receiver tells how far it is.
    pub sender: SocketAddrV4,
    /// Bytes of a packet's payload.
    pub datagram_bytes: usize,
    /// Whether packets say when they were due.
    pub is_timed: bool,
}

/// Plan of one end of the link.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodePlan {
    /// Number of the end: senders are counted from 0, receivers after them.
    pub index: u16,
    /// Number of ends.
    pub nodes: usize,
    /// Number of ends that send.
    pub senders: usize,
    /// Whether this end sends; else it listens.
    pub sends: bool,
    /// Base address of the link.
    pub group: SocketAddr,
    /// Bytes of a payload.
    pub size: usize,
    /// Events per second; `None`: as fast as it goes.
    pub rate: Option<u64>,
    /// Key that seals everything.
    pub key: Option<[u8; 32]>,
    /// The back end: `auto`, `uring` or `poll`.
    pub backend: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_at_their_rate() {
        assert_eq!(due_ns(0, 10_000), 0);
        assert_eq!(due_ns(10_000, 10_000), 1_000_000_000);
        assert_eq!(due_ns(u64::from(u32::MAX), 1), u64::from(u32::MAX) * 1_000_000_000);
    }
}
