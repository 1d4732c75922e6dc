//! Other brokers, spoken to as their own fast clients would.
//!
//! ```text
//!   emitter role ─┐                         ┌─ listener role
//!                 ├─ Connection (trait) ────┤
//!                 │   ├─ Pipe<Nats>    text │  hand-written: bytes in a buffer,
//!                 │   ├─ Pipe<Redis>   RESP │  one write per batch, one read for
//!                 │   ├─ Pipe<Mqtt>   3.1.1 │  all that is there
//!                 │   ├─ Pipe<Zenoh>     v9 │
//!                 │   └─ ZeroMq  Pipe<Zmtp> │
//!                 ├──── socket ── server ───┤  started here, ended by its id
//!                 └──── shared memory ──────┘  no server: a domain, removed here
//! ```
//! A load of many connections moves the same frames from one thread. A peer without a
//! server is a library whose processes share memory: they are another program's roles,
//! `peers/iceoryx2`, that is built by itself; here are its domain and where it is found.
//!
//! Fair: pipelined and batched as our client is, the peer's best local transport,
//! settings without persistence and with long queues, and the same stamp and
//! check on every event. Not clients for use: no reconnect, no wildcards, one
//! subscription for each connection, and an answer that is not expected ends it.
//!
//! A queue in a peer is never endless: [`QUEUE_BYTES`] for each listener at most. What
//! a peer drops beyond is counted as lost and shown; ZeroMQ's and iceoryx2's wait.

#![cfg(unix)]
#![forbid(unsafe_code)]

pub mod address;
pub mod connection;
pub mod domain;
pub mod frames;
pub mod mqtt;
pub mod nats;
pub mod pipe;
pub mod redis;
mod server;
pub mod zenoh;
pub mod zeromq;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use address::Address;
pub use domain::{Domain, OwnDomain, Waiting};
pub use server::{Found, Server, version_of};

/// Most bytes that a peer may hold back for one slow listener; more would be a measure of
/// the machine's memory.
pub const QUEUE_BYTES: usize = 256 << 20;

/// A broker that is compared with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// `nats-server`, by its text protocol.
    Nats,
    /// `redis-server`, by its publish and subscribe.
    Redis,
    /// libzmq's forwarder, by ZMTP 3.0.
    Zeromq,
    /// Zenoh's router, by its protocol.
    Zenoh,
    /// `mosquitto`, by MQTT 3.1.1 with quality of service 0.
    Mosquitto,
    /// iceoryx2 over shared memory, whose subscribers sleep until they are notified.
    Iceoryx2,
    /// iceoryx2 over shared memory, whose subscribers look again and again.
    Iceoryx2Polling,
}

impl Peer {
    /// Returns the peer's name as the user writes it.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Nats => "nats",
            Peer::Redis => "redis",
            Peer::Zeromq => "zeromq",
            Peer::Zenoh => "zenoh",
            Peer::Mosquitto => "mosquitto",
            Peer::Iceoryx2 => "iceoryx2",
            Peer::Iceoryx2Polling => "iceoryx2-polling",
        }
    }

    /// Returns how subscribers wait that have no server between them and publishers;
    /// `None` if there is one.
    pub fn waiting(self) -> Option<Waiting> {
        match self {
            Peer::Iceoryx2 => Some(Waiting::Asleep),
            Peer::Iceoryx2Polling => Some(Waiting::Polling),
            Peer::Nats | Peer::Redis | Peer::Zeromq | Peer::Zenoh | Peer::Mosquitto => None,
        }
    }

    /// Returns how clients reach the peer: the best local way that it has.
    pub fn transport(self) -> &'static str {
        match self {
            Peer::Nats => "TCP loopback, no delay",
            Peer::Redis | Peer::Zeromq | Peer::Zenoh | Peer::Mosquitto => "unix socket",
            Peer::Iceoryx2 => "shared memory without a broker, a notification for each event",
            Peer::Iceoryx2Polling => "shared memory without a broker, polled",
        }
    }
}
