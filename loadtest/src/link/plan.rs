//! One measurement between hosts, and what each of its processes is told.
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

/// The group that is measured: the link's own default.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 44, 54), 4454);
/// The group of raw packets. Not the link's port: sockets of a ring outlive their
/// process by a moment.
pub const RAW_GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 44, 53), 4464);
/// Where raw receivers say how far they are.
pub const RAW_SENDER_PORT: u16 = 4455;
/// UDP payload of a full packet of 1400 bytes.
pub const DATAGRAM_BYTES: usize = 1372;
/// The channel and the event of all that is sent.
pub const CHANNEL: &str = "default";
/// Name of the event.
pub const EVENT: &str = "load";

/// What is between the events and the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Nothing: packets of full size are counted instead of events.
    Raw,
    /// The link alone.
    #[default]
    Link,
    /// Clients and brokers too.
    Brokers,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkScenario {
    /// What is between the events and the network.
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
    /// How trains of datagrams cross the network.
    pub packets: Packets,
    /// Thousandths of the packets that each receiver loses.
    pub loss_thousandths: u32,
    /// What reaches a receiver at most, in bits per second.
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
    /// How many hosts it takes.
    pub fn hosts(&self) -> usize {
        self.senders + self.receivers
    }

    /// Bytes of what is counted.
    pub fn unit_bytes(&self) -> usize {
        match (self.level, self.rate) {
            (Level::Raw, None) => DATAGRAM_BYTES,
            _ => self.size,
        }
    }
}

/// When number `number` is due after the start, in nanoseconds.
pub fn due_ns(number: u64, rate: u64) -> u64 {
    (u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64
}

/// What a process on a host is told.
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

/// What a sender of packets is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawSenderPlan {
    /// Its own address.
    pub address: Ipv4Addr,
    /// Where it sends to.
    pub group: SocketAddrV4,
    /// How many receivers there are.
    pub receivers: usize,
    /// Bytes of a packet's payload.
    pub datagram_bytes: usize,
    /// Packets per second; `None`: trains, as fast as it goes.
    pub rate: Option<u64>,
}

/// What a receiver of packets is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawReceiverPlan {
    /// Its number.
    pub index: u16,
    /// Its own address.
    pub address: Ipv4Addr,
    /// What it receives.
    pub group: SocketAddrV4,
    /// Where it tells how far it is.
    pub sender: SocketAddrV4,
    /// Bytes of a packet's payload.
    pub datagram_bytes: usize,
    /// Whether packets say when they were due.
    pub is_timed: bool,
}

/// What one end of the link is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodePlan {
    /// Its number: senders are counted from 0, receivers after them.
    pub index: u16,
    /// How many ends there are.
    pub nodes: usize,
    /// How many of them send.
    pub senders: usize,
    /// Whether this one does; else it listens.
    pub sends: bool,
    /// Base address of the link.
    pub group: SocketAddr,
    /// Bytes of a payload.
    pub size: usize,
    /// Events per second; `None`: as fast as it goes.
    pub rate: Option<u64>,
    /// What seals everything.
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
