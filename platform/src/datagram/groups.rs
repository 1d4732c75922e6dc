//! Membership of sockets in groups: which group is joined on which socket.
//!
//! ```text
//!   socket 2   [ 239.255.44.54 | …55 | … ]   full: the system said so
//!   socket 3   [ 239.255.44.74 | … ]         the next one is joined here
//! ```
//! Linux allows 20 memberships per socket (`net.ipv4.igmp_max_memberships`), so
//! there is a further socket when one is full.
//!
//! It makes no sockets and knows them by their place in the caller's list;
//! `system` joins.
//!
//! Invariant: a group is in at most one list.

use std::net::IpAddr;

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
