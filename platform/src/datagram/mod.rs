//! Datagrams between machines: the sockets of the link.
//!
//! # Rules that every back end keeps
//! - [`DatagramIo::open_datagrams`] starts a stream of
//!   [`Completion::Datagrams`](crate::Completion::Datagrams) that lasts until
//!   [`DatagramIo::close_datagrams`]. Running out of buffers pauses it, no more:
//!   what the socket cannot hold meanwhile the kernel drops and counts.
//! - [`DatagramIo::send_datagrams`] is carried out at once, by a nonblocking
//!   call; nothing is kept of the bytes. If the socket has no room it says so,
//!   and one [`Completion::DatagramsWritable`](crate::Completion::DatagramsWritable)
//!   follows when it has.
//!
//! # The sockets
//! ```text
//!   unicast    its own port, nobody else's    everything is sent from it, and
//!                                             answers to that come back to it
//!   groups     *:group port, shared           only what is sent to a group that
//!              (one more per 20 groups)       this very socket has joined
//!   peers      address:group port, if free    for peers that name this machine
//!                                             by the group's port
//! ```
//! Several brokers of one machine share the group port; for a unicast datagram
//! the system would pick one of them, which is why none is sent there but by
//! peers that know of no other port yet. `sockets` opens them, `interface`
//! chooses where, `groups` joins, `sender` sends, `arrival` tells what came;
//! `system` is what differs by system. The back ends only wait and receive.

mod advice;
mod arrival;
mod config;
mod error;
mod groups;
mod interface;
mod sender;
mod sockets;
pub(crate) mod system;

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

pub use config::{DatagramConfig, DatagramInfo};
pub use error::DatagramError;
pub use interface::InterfaceReason;
pub use sockets::DatagramSockets;

#[cfg(target_os = "linux")]
pub(crate) use arrival::{CONTROL_BYTES, NAME_BYTES};
pub(crate) use sockets::UNICAST;

/// The most datagrams that one [`DatagramIo::send_datagrams`] takes: what the
/// kernel cuts one train into.
pub const MAX_DATAGRAMS_PER_SEND: usize = 64;

/// Whether a send failed since the datagram is longer than what the way takes, as far
/// as the system knows it.
pub fn is_too_long(error: &io::Error) -> bool {
    system::is_too_long(error)
}

/// Datagrams that arrived together from one sender.
#[derive(Clone, Debug)]
pub struct DatagramTrain {
    /// Bytes of all datagrams, one behind the other. They pin a receive buffer until
    /// dropped.
    pub chunk: Bytes,
    /// Bytes of each but the last, which may be shorter. Never 0.
    pub segment: usize,
    /// Address of the sender.
    pub from: SocketAddr,
    /// Whether they were sent to a group, not to this machine alone.
    pub multicast: bool,
}

/// Counters of the link's sockets, since they were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramStats {
    /// Datagrams received.
    pub received: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Receives: each brings one datagram or a train of them.
    pub receives: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Sends: each takes one datagram or a train of them.
    pub sends: u64,
    /// Datagrams that the kernel dropped because a receive buffer was full.
    pub kernel_drops: u64,
    /// Datagrams to a group that arrived on another interface than the chosen one.
    pub strays: u64,
    /// Datagrams that were longer than the room for them, and are lost.
    pub truncated: u64,
    /// Datagrams that a socket refused (too large, no route); told once each.
    pub send_errors: u64,
}

/// Place of the sockets now: their interface may change, and its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramPlace<'a> {
    /// The interface.
    pub interface: &'a str,
    /// Address at which unicast reaches them.
    pub unicast: SocketAddr,
    /// Addresses of this machine, all of them.
    pub local_addresses: &'a [IpAddr],
}

/// View of the network that one shard has. The module states the rules.
pub trait DatagramIo {
    /// The open sockets of a link.
    type Sockets;

    /// Starts to receive.
    ///
    /// # Errors
    /// What the system says of registering the sockets.
    fn open_datagrams(&mut self, sockets: Self::Sockets) -> io::Result<()>;

    /// Ends receiving and closes the sockets.
    fn close_datagrams(&mut self);

    /// Sends `bytes` as datagrams of `segment` bytes each, the last perhaps
    /// shorter; at most [`MAX_DATAGRAMS_PER_SEND`]. `looped`: brokers on this machine hear it too, if
    /// `to` is a group (on the loopback interface they always do). Returns how
    /// many bytes the socket took: whole datagrams.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room (nothing was taken). Any other error is
    /// of these datagrams alone, which are lost; the sockets go on.
    fn send_datagrams(
        &mut self,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
        looped: bool,
    ) -> io::Result<usize>;

    /// Receives what is sent to this group from now on.
    ///
    /// # Errors
    /// What the system says, and if it is a limit, which.
    fn join_group(&mut self, group: IpAddr) -> io::Result<()>;

    /// Leaves a group: receives no longer what is sent to it.
    ///
    /// # Errors
    /// What the system says.
    fn leave_group(&mut self, group: IpAddr) -> io::Result<()>;

    /// Looks whether the interface went, came or changed its address, and joins
    /// the groups anew if so. Returns whether it did. To be called every few
    /// seconds.
    ///
    /// # Errors
    /// The interface is not there (any more): nothing can be received.
    fn check_interface(&mut self) -> io::Result<bool>;

    /// Place of the sockets at the last look; `None` if none are open, or if they
    /// never move.
    fn datagram_place(&self) -> Option<DatagramPlace<'_>>;

    /// The largest datagram that the interface took whole at the last look; `None`:
    /// not known.
    fn max_datagram_bytes(&self) -> Option<usize>;

    /// Counters since the start.
    fn datagram_stats(&self) -> DatagramStats;
}
