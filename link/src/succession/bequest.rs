//! Facts that a session is handed over by.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::crypto::ReplayWindow;
use crate::interest::wants::Wants;
use crate::membership::departed::DepartedSessions;
use crate::peer_id::Session;
use crate::stream::{Position, StreamId};

use super::hexadecimal;

/// A session, for the successor of the broker whose it was: all that only it knew.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bequest {
    /// Terms on which it can go on: see [`terms`](super::terms).
    pub terms: String,
    /// Node id of the broker, which the successor has from then on.
    pub node: u32,
    pub(super) session: Session,
    /// Nanoseconds since the session began.
    pub(super) age_ns: u64,
    /// Counter of the next control datagram.
    pub(super) counter: u64,
    /// Number of the newest interest that any peer was told.
    pub(super) told: u32,
    /// Groups that were wanted, a bit each.
    pub(super) groups: u64,
    pub(super) departed: DepartedSessions,
    pub(super) outbound: Vec<Outbound>,
    pub(super) peers: Vec<Known>,
}

/// Place of an outbound stream: of the next datagram and event.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outbound {
    pub stream: u16,
    pub number: u64,
    pub ordinal: u64,
}

/// Facts of a peer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Known {
    pub session: Session,
    pub node: u32,
    pub name: String,
    pub datagram_bytes: u16,
    pub address: SocketAddr,
    /// Counters that came.
    pub window: ReplayWindow,
    pub is_multicast_heard: bool,
    pub deaf_groups: u64,
    pub round_trip_ns: u64,
    pub retransmit_ns: u64,
    pub wants: Wanted,
    /// Version of the newest interest that it was told.
    pub told: u32,
    /// State of a peer that was told that this broker stands nowhere, and has not answered.
    pub is_fresh: bool,
    pub inbound: Vec<Inbound>,
}

/// Interest of a peer, and where it joined.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wanted {
    version: u32,
    groups: u64,
    hears_us: bool,
    is_fresh: bool,
    /// Streams with their places.
    joined: Vec<(u16, u64, u64)>,
}

impl From<&Wants> for Wanted {
    fn from(wants: &Wants) -> Wanted {
        let joined = |&(stream, at): &(StreamId, Position)| (stream.0, at.number, at.ordinal);
        Wanted {
            version: wants.version,
            groups: wants.groups,
            hears_us: wants.hears_us,
            is_fresh: wants.is_fresh,
            joined: wants.joined.iter().map(joined).collect(),
        }
    }
}

impl From<Wanted> for Wants {
    fn from(wanted: Wanted) -> Wants {
        let joined = |(stream, number, ordinal)| (StreamId(stream), Position { number, ordinal });
        Wants {
            version: wanted.version,
            groups: wanted.groups,
            hears_us: wanted.hears_us,
            is_fresh: wanted.is_fresh,
            joined: wanted.joined.into_iter().map(joined).collect(),
            ..Wants::default()
        }
    }
}

/// Place of a stream of a peer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Inbound {
    pub stream: u16,
    /// Place at which it was joined.
    pub join: (u64, u64),
    /// Number of the next datagram.
    pub number: u64,
    /// Ordinal of the next event, or of the one that has begun.
    pub ordinal: u64,
    /// Hash of the channel in force.
    pub channel: u64,
    pub seen_lost: u64,
    /// Nobody wanted it, and the peer may not know yet.
    pub is_stale: bool,
    /// Part of a frame that has come.
    #[serde(with = "hexadecimal")]
    pub partial: Vec<u8>,
}
