//! The open sockets of a link: what both back ends share of them.
//!
//! ```text
//!   0   unicast           1   peers, if the port was free     then   groups
//!                                        (and peers, where this machine moved to)
//! ```
//! A back end receives on each by its place in that list, which only grows; it
//! hands what came to [`DatagramSockets::arrived`], and all else is done here.
//!
//! Invariant: place 0 is there and is nobody else's port, so that an answer to
//! what was sent always comes back to this broker.

mod open;

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use socket2::Socket;

use super::groups::{MAX_GROUP_SOCKETS, Membership};
use super::interface::{self, Interface, InterfaceReason};
use super::sender::{GSO_LOST, Sender};
use super::{
    DatagramConfig, DatagramError, DatagramInfo, DatagramPlace, DatagramStats, DatagramTrain,
    advice, arrival, system,
};

/// The place of the socket that everything is sent from.
pub(crate) const UNICAST: usize = 0;

/// Addresses of this machine on which the group's port is bound, one after the other
/// as it moves; the sockets of those it left are kept for its return. Beyond it peers
/// that know of no other port do not reach it by unicast.
const MAX_PEERS_SOCKETS: usize = 8;

/// The open sockets of a link.
#[derive(Debug)]
pub struct DatagramSockets {
    config: DatagramConfig,
    info: DatagramInfo,
    sockets: Vec<Socket>,
    /// Datagrams that each socket has dropped, as it last said.
    drops: Vec<u32>,
    memberships: Vec<Membership>,
    /// The addresses on which the group's port is bound for unicast.
    peers: Vec<IpAddr>,
    interface: Interface,
    reason: InterfaceReason,
    /// Whether the interface was gone at the last look: the kernel may have forgotten
    /// all.
    interface_lost: bool,
    sender: Sender,
    /// Whether it was found out that trains cannot be cut.
    gso_lost: bool,
    stats: DatagramStats,
}

impl DatagramSockets {
    /// Opens the sockets. No group is joined yet.
    ///
    /// # Errors
    /// What keeps the link from working, and what to do about it.
    pub fn open(config: &DatagramConfig) -> Result<DatagramSockets, DatagramError> {
        open::open(config)
    }

    /// Description of the open sockets.
    pub fn info(&self) -> &DatagramInfo {
        &self.info
    }

    /// Place of the sockets now.
    pub(crate) fn place(&self) -> DatagramPlace<'_> {
        DatagramPlace {
            interface: &self.info.interface,
            unicast: self.info.unicast,
            local_addresses: &self.info.local_addresses,
        }
    }

    /// Answers [`DatagramIo::max_datagram_bytes`](super::DatagramIo::max_datagram_bytes).
    pub(crate) fn max_datagram_bytes(&self) -> Option<usize> {
        let headers = if self.config.group.is_ipv6() { 40 + 8 } else { 20 + 8 };
        Some(self.info.mtu_bytes?.saturating_sub(headers))
    }

    pub(crate) fn stats(&self) -> DatagramStats {
        self.stats
    }

    /// Number of sockets.
    pub(crate) fn count(&self) -> usize {
        self.sockets.len()
    }

    /// The socket at a place.
    pub(crate) fn socket(&self, place: usize) -> &Socket {
        &self.sockets[place]
    }

    /// Sends as [`DatagramIo::send_datagrams`](super::DatagramIo::send_datagrams) says.
    pub(crate) fn send(
        &mut self,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
        looped: bool,
    ) -> io::Result<usize> {
        let socket = &self.sockets[UNICAST];
        let outcome = self.sender.send(socket, to, bytes, segment, looped, &mut self.stats);
        if self.info.gso && !self.sender.gso() {
            self.info.gso = false;
            self.gso_lost = true;
            self.info.notes.push(GSO_LOST.to_owned());
            tracing::warn!("{GSO_LOST}");
        }
        outcome
    }

    /// Sorts what a receive at `place` brought; `None` if it is not for the link.
    pub(crate) fn arrived(
        &mut self,
        place: usize,
        chunk: Bytes,
        name: &[u8],
        control: &[u8],
        truncated: bool,
    ) -> Option<DatagramTrain> {
        let arrival = arrival::parse(name, control)?;
        if let Some(drops) = arrival.drops {
            let before = std::mem::replace(&mut self.drops[place], drops);
            self.stats.kernel_drops += u64::from(drops.wrapping_sub(before));
        }
        if truncated {
            self.stats.truncated += 1;
            return None;
        }
        // An empty datagram says nothing.
        if chunk.is_empty() {
            return None;
        }
        let segment = arrival.segment.unwrap_or(chunk.len()).min(chunk.len());
        let count = chunk.len().div_ceil(segment) as u64;
        let multicast = arrival.to.is_some_and(|to| to.is_multicast());
        if multicast && self.is_stray(arrival.interface) {
            self.stats.strays += count;
            return None;
        }
        self.stats.received += count;
        self.stats.received_bytes += chunk.len() as u64;
        self.stats.receives += 1;
        Some(DatagramTrain { chunk, segment, from: arrival.from, multicast })
    }

    /// A group lies on the chosen interface alone: by another one come those of
    /// another network. What is sent to this machine alone may come by any, a tunnel
    /// or a second card: nobody is believed before he has answered a challenge.
    fn is_stray(&self, interface: Option<u32>) -> bool {
        interface.is_some_and(|index| index != self.interface.index)
    }

    /// Joins a group. If that takes a further socket, the last place is new.
    pub(crate) fn join(&mut self, group: IpAddr) -> io::Result<()> {
        if !group.is_multicast() || group.is_ipv6() != self.config.group.is_ipv6() {
            let text = format!("{group} is no group of the link's address family");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if self.memberships.iter().any(|it| it.groups.contains(&group)) {
            return Ok(());
        }
        for membership in self.memberships.iter_mut().filter(|it| !it.full) {
            match system::join(&self.sockets[membership.socket], group, &self.interface) {
                Ok(()) => {
                    membership.groups.push(group);
                    return Ok(());
                }
                Err(error) if system::is_full(&error) && !membership.groups.is_empty() => {
                    membership.full = true;
                }
                Err(error) => return Err(refusal(group, &self.interface.name, error)),
            }
        }
        if self.memberships.len() == MAX_GROUP_SOCKETS {
            let joined: usize = self.memberships.iter().map(|it| it.groups.len()).sum();
            let advice = advice::MORE_GROUPS;
            let text = format!("{joined} groups are all that can be joined; {advice}");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
        }
        let socket = open::group_socket(&self.config, self.info.gro)?;
        system::join(&socket, group, &self.interface)
            .map_err(|error| refusal(group, &self.interface.name, error))?;
        let mut membership = Membership::new(self.sockets.len());
        membership.groups.push(group);
        self.sockets.push(socket);
        self.drops.push(0);
        self.memberships.push(membership);
        Ok(())
    }

    /// Leaves a group.
    pub(crate) fn leave(&mut self, group: IpAddr) -> io::Result<()> {
        for membership in &mut self.memberships {
            let Some(place) = membership.groups.iter().position(|it| *it == group) else {
                continue;
            };
            membership.groups.swap_remove(place);
            membership.full = false;
            let socket = &self.sockets[membership.socket];
            return match system::leave(socket, group, &self.interface) {
                // The interface went, and the membership with it.
                Err(_) if self.interface_lost => Ok(()),
                outcome => outcome,
            };
        }
        Ok(())
    }

    /// Looks at the interface as
    /// [`DatagramIo::check_interface`](super::DatagramIo::check_interface) says.
    pub(crate) fn check_interface(&mut self) -> io::Result<bool> {
        let interfaces = interface::list()?;
        self.info.local_addresses = open::addresses(&interfaces);
        let wanted = self.config.interface.as_deref();
        let group = self.config.group;
        let present = interfaces
            .iter()
            .find(|it| it.index == self.interface.index && it.name == self.interface.name)
            .filter(|it| it.up && it.address(group.is_ipv6()).is_some());
        let choice = interface::choose(&interfaces, wanted, group);
        let (found, reason) = match (present, choice) {
            // A better one may have come: at boot the network is often late.
            (Some(_), Ok((better, reason))) if reason > self.reason => (better, reason),
            (Some(present), _) => (present.clone(), self.reason),
            (None, Ok(other)) => other,
            (None, Err(error)) => {
                self.interface_lost = true;
                return Err(io::Error::new(io::ErrorKind::NetworkDown, error.to_string()));
            }
        };
        // It may be another one on the same interface.
        self.info.mtu_bytes = open::mtu_bytes(&self.sockets[UNICAST], &found);
        // Other addresses come and go without a meaning for the groups.
        let v6 = group.is_ipv6();
        let same = (found.index, found.address(v6)) == (self.interface.index, self.address());
        if same && !self.interface_lost {
            return Ok(false);
        }
        self.move_to(found, reason)?;
        Ok(true)
    }

    /// Uses another interface, or the same one anew.
    fn move_to(&mut self, found: Interface, reason: InterfaceReason) -> io::Result<()> {
        // Until all is joined, the next look must try again.
        self.interface_lost = true;
        let v6 = self.config.group.is_ipv6();
        system::set_multicast_interface(&self.sockets[UNICAST], v6, &found)?;
        for membership in &self.memberships {
            let socket = &self.sockets[membership.socket];
            for &group in &membership.groups {
                // It fails if the interface is gone, and then there is nothing to leave.
                let _ = system::leave(socket, group, &self.interface);
                system::join(socket, group, &found)
                    .map_err(|error| refusal(group, &found.name, error))?;
            }
        }
        self.info.interface.clone_from(&found.name);
        self.info.interface_index = found.index;
        self.info.reason = reason;
        self.info.loopback = found.loopback;
        self.info.notes = open::notes(&self.config, &found, reason, self.info.receive_buffer_bytes);
        if self.gso_lost {
            self.info.notes.push(GSO_LOST.to_owned());
        }
        if let Some(address) = found.address(v6)
            && address != self.info.unicast.ip()
        {
            self.info.unicast.set_ip(address);
            self.info.also_on_group_port = self.bind_peers(address, found.index);
        }
        self.interface = found;
        self.reason = reason;
        self.interface_lost = false;
        Ok(())
    }

    /// Receives unicast to the group's port on this address too, if this broker was
    /// the one that did on the address before; whether it does. If that takes a
    /// further socket, the last place is new.
    fn bind_peers(&mut self, address: IpAddr, index: u32) -> bool {
        if self.peers.is_empty() || self.peers.contains(&address) {
            return !self.peers.is_empty();
        }
        if self.peers.len() == MAX_PEERS_SOCKETS {
            return false;
        }
        // Shared, since the port is, by now. Others of this machine do not ask for it.
        let Ok(Some(socket)) = open::peers_socket(&self.config, address, index, true) else {
            return false;
        };
        if self.info.gro {
            system::set_gro(&socket);
        }
        self.sockets.push(socket);
        self.drops.push(0);
        self.peers.push(address);
        true
    }

    /// The chosen interface's address.
    fn address(&self) -> Option<IpAddr> {
        self.interface.address(self.config.group.is_ipv6())
    }
}

/// A failed join in words.
fn refusal(group: IpAddr, interface: &str, error: io::Error) -> io::Error {
    let text = if system::is_full(&error) {
        format!("{group} cannot be joined on {interface}: {error}; {}", advice::MORE_GROUPS)
    } else {
        format!("{group} cannot be joined on {interface}: {error}")
    };
    io::Error::new(error.kind(), text)
}
