//! Events that a link tells the broker.

use core::net::{IpAddr, SocketAddr};
use std::fmt;

use netcluster_platform::Slice;
use netcluster_wire::control::LossReason;
use netcluster_wire::header::Source;

use crate::channel::ChannelHash;
use crate::peer_id::PeerId;
use crate::send::flow_control::Reason;
use crate::stream::StreamId;
use crate::warnings::WarningKind;

/// One thing that happened. Events of one peer and stream are in order.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// Event frames from another broker, for the listeners of one channel here.
    Run(Run),
    /// Events were to come, and never will.
    Lost(Lost),
    /// Every live peer knows of the interest of this version and of those before.
    Joined(u64),
    /// The groups of channels in use changed: receive this group too.
    JoinGroup(IpAddr),
    /// The groups of channels in use changed: receive this group no longer.
    LeaveGroup(IpAddr),
    /// A broker became a peer.
    PeerUp {
        /// Number of the peer here.
        peer: PeerId,
        /// Node id of the peer.
        node: u32,
        /// Name of the peer.
        name: Box<str>,
        /// Address that the peer sends from.
        address: SocketAddr,
    },
    /// A peer is none any more.
    PeerDown {
        /// Number of the peer here.
        peer: PeerId,
        /// Node id of the peer.
        node: u32,
        /// Name of the peer.
        name: Box<str>,
        /// Reason why the peer is gone.
        why: Gone,
    },
    /// A receiver of one of our streams is not waited for any more.
    Demoted {
        /// The receiver.
        peer: PeerId,
        /// The outbound stream.
        stream: StreamId,
        /// Reason why the receiver is not waited for.
        reason: Reason,
    },
    /// A receiver of one of our streams is waited for again.
    Restored {
        /// The receiver.
        peer: PeerId,
        /// The outbound stream.
        stream: StreamId,
    },
    /// The peers are to be told the state of this broker: by [`Link::tell_summary`].
    ///
    /// [`Link::tell_summary`]: crate::Link::tell_summary
    SummaryWanted,
    /// Something that a person should look at, in words. Not more than one of a kind
    /// and peer in ten seconds.
    Warn(WarningKind, String),
    /// Something that a person may want to know.
    Note(String),
}

/// Whole event frames of one source and one name.
#[derive(Clone, Debug)]
pub struct Run {
    /// Peer that sent the frames.
    pub peer: PeerId,
    /// Stream of the peer that brought them.
    pub stream: StreamId,
    /// Hash of the channel; listeners of it are known here.
    pub channel: ChannelHash,
    /// The frames.
    pub slice: Slice,
    /// Number of frames.
    pub frames: usize,
    /// Client that emitted them.
    pub source: Source,
    /// Bytes of the name that all of them have.
    pub name_len: usize,
}

/// A hole in a stream, for the listeners of all channels in it
/// ([`Link::channels_in`](crate::Link::channels_in)), or of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Node whose events they were.
    pub node: u32,
    /// The stream that has the hole.
    pub stream: StreamId,
    /// Hash of the only channel that it concerns, if it is one.
    pub channel: Option<ChannelHash>,
    /// Number of events, at most; `None` if nobody can tell.
    pub count: Option<u64>,
    /// Reason of the loss.
    pub reason: LossReason,
}

impl fmt::Display for Gone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Gone::Left => "it said goodbye",
            Gone::Silent => "nothing was heard of it for too long",
            Gone::Restarted => "it came back with another session",
            Gone::Contradicted => {
                "it says that it has not sent what came in its name: somebody forges its \
                 datagrams, or it began anew without a word"
            }
            Gone::Renewed => "this machine was restored or cloned, the session is a new one",
        })
    }
}

/// Reason why a peer is none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The peer said goodbye.
    Left,
    /// Nothing was heard of the peer for too long.
    Silent,
    /// The peer came back with another session.
    Restarted,
    /// The peer is not as far as its streams are here: somebody forged datagrams of it, or
    /// it began anew without a word.
    Contradicted,
    /// The own session is another one: the machine was restored or cloned.
    Renewed,
}
