//! Settings of the link's sockets, and what the sockets became.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::InterfaceReason;

/// Settings of the link's sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramConfig {
    /// The base group and the port that all groups share.
    pub group: SocketAddr,
    /// The port of the socket that everything is sent from; `None`: any free one.
    pub unicast_port: Option<u16>,
    /// The interface, by name or by one of its addresses; `None`: the one with
    /// the route to the group, else the first that does multicast, else loopback.
    pub interface: Option<String>,
    /// Number of routers that a multicast datagram may cross, and one.
    pub ttl: u32,
    /// Bytes to ask for; the system may grant less.
    pub receive_buffer_bytes: usize,
    /// Bytes to ask for; the system may grant less.
    pub send_buffer_bytes: usize,
    /// Whether trains of datagrams may be left to the kernel to cut and to join
    /// (GSO, GRO), where it can.
    pub offload: bool,
}

impl Default for DatagramConfig {
    fn default() -> DatagramConfig {
        DatagramConfig {
            group: SocketAddr::from((Ipv4Addr::new(239, 255, 44, 54), 4454)),
            unicast_port: None,
            interface: None,
            ttl: 1,
            receive_buffer_bytes: 8 << 20,
            send_buffer_bytes: 4 << 20,
            offload: true,
        }
    }
}

/// Description of the link's open sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramInfo {
    /// The interface's name.
    pub interface: String,
    /// Number of the interface.
    pub interface_index: u32,
    /// Reason for which the interface was chosen.
    pub reason: InterfaceReason,
    /// Whether it is the loopback interface: then only this machine is reached.
    pub loopback: bool,
    /// The largest packet it takes, IP header included; `None`: not known.
    pub mtu_bytes: Option<usize>,
    /// Addresses of this machine, all of them.
    pub local_addresses: Vec<IpAddr>,
    /// Address at which unicast reaches this broker: the interface's address, own port.
    pub unicast: SocketAddr,
    /// Whether unicast to the group's port on that address reaches it, too.
    pub also_on_group_port: bool,
    /// The receive buffer of each socket as the system counts it: with its own
    /// overhead per packet, so that fewer bytes of payload fit.
    pub receive_buffer_bytes: usize,
    /// The send buffer, counted alike.
    pub send_buffer_bytes: usize,
    /// Whether the kernel cuts trains that are sent.
    pub gso: bool,
    /// Whether the kernel joins datagrams that arrive to trains.
    pub gro: bool,
    /// Notes for administrators, with what to do about each; a line each.
    pub notes: Vec<String>,
}
