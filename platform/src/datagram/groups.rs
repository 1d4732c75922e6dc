//! Which group is joined on which socket.
//!
//! ```text
//!   socket 2   [ 239.255.44.54 | …55 | … ]   full: the system said so
//!   socket 3   [ 239.255.44.74 | … ]         the next one is joined here
//! ```
//! Linux allows 20 memberships per socket (`net.ipv4.igmp_max_memberships`), so
//! there is a further socket when one is full.
//!
//! It makes no sockets and knows them by their place in the caller's list.
//!
//! Invariant: a group is in at most one list.

use std::io;
use std::net::IpAddr;

use socket2::{InterfaceIndexOrAddress, Socket};

/// The most sockets for groups: 64 groups need four.
pub(super) const MAX_GROUP_SOCKETS: usize = 16;

/// The memberships of one socket.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) socket: usize,
    pub(super) groups: Vec<IpAddr>,
    pub(super) full: bool,
}

impl Membership {
    pub(super) fn new(socket: usize) -> Membership {
        Membership { socket, groups: Vec::new(), full: false }
    }
}

pub(super) fn join(socket: &Socket, group: IpAddr, interface: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
        }
        IpAddr::V6(group) => socket.join_multicast_v6(&group, interface),
    }
}

pub(super) fn leave(socket: &Socket, group: IpAddr, interface: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
        }
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, interface),
    }
}

/// Whether an error of [`join`] says that the socket can hold no more groups.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOBUFS | libc::ENOMEM | libc::ETOOMANYREFS | libc::ENOSPC)
    )
}
