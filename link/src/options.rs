//! Options of the link as command line and file give them, checked.
//!
//! Names of peers are not resolved here, nor is an interface looked for: whether
//! they exist changes while the broker runs.
//!
//! Decision: `docs/decisions/028-multicast-address.md`.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use netcluster_wire::check_channel;
use netcluster_wire::escape::Escaped;
use netcluster_wire::link::limits::{
    DEFAULT_PACKET_BYTES, MAX_DATAGRAM_BYTES, MAX_GROUPS, MIN_DATAGRAM_BYTES,
};

use crate::config::MAX_PRESSURED_CHANNELS;
use crate::crypto::Keys;
use crate::send::congestion::FLOOR_BYTES_PER_S;

/// Address of the link's group unless another one is given: in the range that each site may
/// use as it likes.
pub const DEFAULT_GROUP: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, 44, 54)), DEFAULT_PORT);
/// The port, unless the link is told otherwise.
pub const DEFAULT_PORT: u16 = 4454;
/// Groups that channels are spread over, unless the link is told otherwise.
pub const DEFAULT_GROUPS: u8 = 16;
/// Default of the receive buffer, in bytes.
pub const DEFAULT_RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// Default of what each stream keeps for retransmissions, in bytes.
pub const DEFAULT_HISTORY_BYTES: usize = 8 << 20;

/// Smallest packet that the link can be limited to: every IPv6 path carries it.
pub const MIN_PACKET_BYTES: usize = 1280;
/// Largest packet: a jumbo frame.
pub const MAX_PACKET_BYTES: usize = 9000;
/// Smallest receive buffer and history, in bytes.
pub const MIN_BUFFER_BYTES: usize = 256 << 10;
/// Largest receive buffer and history, in bytes: sockets count theirs in 31 bits,
/// and double it.
pub const MAX_BUFFER_BYTES: usize = 1 << 30;
/// Lowest cap of the rate, in bytes a second: slower than congestion control ever gets, it
/// would be none.
pub const MIN_RATE: u64 = FLOOR_BYTES_PER_S;
/// Largest payload that a linked broker can take, in bytes: what a receiver has
/// room for while its pieces come in.
pub const MAX_LINK_PAYLOAD_BYTES: usize = 64 << 20;
/// Longest name of a cluster or a node, in bytes: its length travels in one.
pub const MAX_LINK_NAME_BYTES: usize = 255;

const IPV4_UDP_HEADER_BYTES: usize = 20 + 8;
const IPV6_UDP_HEADER_BYTES: usize = 40 + 8;

const _: () = assert!(MIN_PACKET_BYTES - IPV6_UDP_HEADER_BYTES == MIN_DATAGRAM_BYTES);
const _: () = assert!(MAX_PACKET_BYTES - IPV6_UDP_HEADER_BYTES == MAX_DATAGRAM_BYTES);
const _: () = assert!(MIN_PACKET_BYTES <= DEFAULT_PACKET_BYTES);
const _: () = assert!(DEFAULT_PACKET_BYTES <= MAX_PACKET_BYTES);
const _: () = assert!(DEFAULT_GROUPS as usize <= MAX_GROUPS);

/// Bytes that IP and UDP put before a datagram to such an address.
pub fn header_bytes(address: &SocketAddr) -> usize {
    if address.is_ipv4() { IPV4_UDP_HEADER_BYTES } else { IPV6_UDP_HEADER_BYTES }
}

/// All options of the link. Their relations are checked by [`LinkOptions::check`].
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// Name of the cluster: its brokers hear each other, others on the network are ignored.
    pub cluster: String,
    /// This broker's name, for people.
    pub name: String,
    /// Base of the groups, every broker's control group. Channels use the addresses behind
    /// it, unless there is one group only.
    pub group: SocketAddr,
    /// Addresses that channels are spread over.
    pub groups: u8,
    /// Port that the broker sends from and is answered at; `None`: any free one.
    pub unicast_port: Option<u16>,
    /// Name or address of the network interface; `None`: the one with a route.
    pub interface: Option<String>,
    /// Number of networks that multicast reaches: 1 stays in this network, each router
    /// takes one off.
    pub ttl: u8,
    /// Largest packet, IP header included, in bytes.
    pub packet_bytes: usize,
    /// Cap of what is sent, in bytes a second.
    pub rate: Option<u64>,
    /// Receive buffer to ask the system for, in bytes.
    pub receive_buffer_bytes: usize,
    /// Bytes that each outbound stream keeps for retransmissions.
    pub history_bytes: usize,
    /// Keys; none: an open link.
    pub keys: Keys,
    /// Brokers to reach by unicast, as `host:port`, not resolved yet.
    pub peers: Vec<String>,
    /// Names of the brokers that should be peers.
    pub expected_peers: Vec<String>,
    /// Channels whose emitters wait for listeners on other machines.
    pub pressured: Vec<String>,
}

impl LinkOptions {
    /// The default settings, for a broker of this name.
    pub fn new(name: impl Into<String>) -> LinkOptions {
        LinkOptions {
            cluster: "default".into(),
            name: name.into(),
            group: DEFAULT_GROUP,
            groups: DEFAULT_GROUPS,
            unicast_port: None,
            interface: None,
            ttl: 1,
            packet_bytes: DEFAULT_PACKET_BYTES,
            rate: None,
            receive_buffer_bytes: DEFAULT_RECEIVE_BUFFER_BYTES,
            history_bytes: DEFAULT_HISTORY_BYTES,
            keys: Keys::open_link(),
            peers: Vec::new(),
            expected_peers: Vec::new(),
            pressured: Vec::new(),
        }
    }

    /// The largest datagram that is sent, in bytes: header, body and tag, but not
    /// what IP and UDP add.
    pub fn datagram_bytes(&self) -> usize {
        self.packet_bytes.saturating_sub(self.header_bytes()).min(MAX_DATAGRAM_BYTES)
    }

    /// Bytes that IP and UDP put before a datagram.
    pub fn header_bytes(&self) -> usize {
        header_bytes(&self.group)
    }

    /// Checks what a user can set, for a broker with this limit of payloads.
    ///
    /// # Errors
    /// Which setting is out of range, and what is allowed.
    pub fn check(&self, max_payload_bytes: usize) -> Result<(), String> {
        self.check_names()?;
        self.check_group()?;
        self.check_interface()?;
        self.check_lists()?;
        require((MIN_PACKET_BYTES..=MAX_PACKET_BYTES).contains(&self.packet_bytes), || {
            format!(
                "mtu must be between {MIN_PACKET_BYTES} and {MAX_PACKET_BYTES} bytes: \
                 the largest packet, IP header included"
            )
        })?;
        require(self.rate.is_none_or(|rate| rate >= MIN_RATE), || {
            format!("rate must be at least {MIN_RATE} B/s (1 MB/s)")
        })?;
        let buffers =
            [("receive-buffer", self.receive_buffer_bytes), ("history", self.history_bytes)];
        for (setting, bytes) in buffers {
            require((MIN_BUFFER_BYTES..=MAX_BUFFER_BYTES).contains(&bytes), || {
                format!("{setting} must be between 256 KiB and 1 GiB")
            })?;
        }
        require(self.pressured.len() <= MAX_PRESSURED_CHANNELS, || {
            format!("at most {MAX_PRESSURED_CHANNELS} channels can have pressure = \"cluster\"")
        })?;
        require(max_payload_bytes <= MAX_LINK_PAYLOAD_BYTES, || {
            "max-payload must be at most 64 MiB on a broker with a link: other brokers \
             have no room for more while its pieces come in"
                .into()
        })
    }

    fn check_names(&self) -> Result<(), String> {
        let expected = self.expected_peers.iter().map(|name| ("expect-peer", name));
        let own = [("cluster", &self.cluster), ("node-name", &self.name)];
        for (setting, name) in own.into_iter().chain(expected) {
            require((1..=MAX_LINK_NAME_BYTES).contains(&name.len()), || {
                format!("{setting} must have between 1 and {MAX_LINK_NAME_BYTES} bytes")
            })?;
            require(!name.chars().any(char::is_control), || {
                format!("{setting} must have no control characters")
            })?;
        }
        Ok(())
    }

    fn check_lists(&self) -> Result<(), String> {
        for peer in &self.peers {
            let has_port = |(host, port): (&str, &str)| {
                let is_host = !host.is_empty() && !host.contains([' ', '\t', '\n', '\0']);
                is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
            };
            require(peer.rsplit_once(':').is_some_and(has_port), || {
                format!("peer `{}` is no host and port, such as db1:4454", Escaped::text(peer))
            })?;
        }
        for channel in &self.pressured {
            check_channel(channel.as_bytes())
                .map_err(|error| format!("channel with cluster-pressure refused: {error}"))?;
        }
        Ok(())
    }

    fn check_group(&self) -> Result<(), String> {
        let base = self.group.ip();
        require(base.is_multicast(), || {
            format!(
                "link address {base} is no multicast address: the link needs one of 224.0.0.0 to \
                 239.255.255.255, or one that starts with ff, such as {DEFAULT_GROUP}; \
                 brokers to reach by unicast are named by --peer"
            )
        })?;
        require(self.group.port() != 0, || "link port must not be 0".into())?;
        require((1..=MAX_GROUPS).contains(&usize::from(self.groups)), || {
            format!("groups must be between 1 and {MAX_GROUPS}")
        })?;
        if self.groups > 1 {
            require(!is_reserved(base), || {
                format!(
                    "groups must be 1 with {base}: its neighbours in 224.0.0.0/24 are reserved \
                     for routing protocols"
                )
            })?;
            require(last_group(base, self.groups).is_some(), || {
                format!(
                    "groups: there are no {} multicast addresses behind {base}: choose a lower address \
                     or fewer groups",
                    self.groups
                )
            })?;
        }
        require(self.unicast_port != Some(self.group.port()), || {
            "unicast-port must differ from the link's port, which all brokers of a machine \
             share"
                .into()
        })
    }

    fn check_interface(&self) -> Result<(), String> {
        let Some(interface) = &self.interface else { return Ok(()) };
        require(!interface.is_empty(), || "interface must not be empty".into())?;
        let other = |address: IpAddr| address.is_ipv4() != self.group.is_ipv4();
        require(!interface.parse().is_ok_and(other), || {
            format!("interface {interface} and the link's {} are of two kinds of IP", self.group)
        })
    }
}

/// Whether an address lies in 224.0.0.0/24: the addresses next to it are used by
/// routing protocols, switches flood it, and no TTL lets it pass a router.
pub fn is_reserved(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[..3] == [224, 0, 0])
}

/// The last of the addresses behind the base that channels use, if all of them
/// are multicast addresses of the same kind.
fn last_group(base: IpAddr, groups: u8) -> Option<IpAddr> {
    match base {
        IpAddr::V4(base) => {
            let last = Ipv4Addr::from_bits(base.to_bits().checked_add(groups.into())?);
            last.is_multicast().then_some(last.into())
        }
        IpAddr::V6(base) => {
            let last = core::net::Ipv6Addr::from_bits(base.to_bits().checked_add(groups.into())?);
            // The first 16 bits say that it is multicast, and how far it reaches.
            (last.segments()[0] == base.segments()[0]).then_some(last.into())
        }
    }
}

fn require(good: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if good { Ok(()) } else { Err(text()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: usize = 16 << 20;

    fn with(change: impl FnOnce(&mut LinkOptions)) -> LinkOptions {
        let mut options = LinkOptions::new("here");
        change(&mut options);
        options
    }

    fn at(group: &str, groups: u8) -> LinkOptions {
        with(|options| {
            options.group = group.parse().unwrap();
            options.groups = groups;
        })
    }

    #[track_caller]
    fn refused(options: &LinkOptions, words: &str) {
        let problem = options.check(PAYLOAD).unwrap_err();
        assert!(problem.contains(words), "{problem}");
    }

    #[test]
    fn the_defaults_are_good() {
        assert_eq!(LinkOptions::new("here").check(PAYLOAD), Ok(()));
        assert_eq!(LinkOptions::new("here").datagram_bytes(), 1372);
    }

    #[test]
    fn packets_fit_the_path_in_both_kinds_of_ip() {
        let bytes = |group: &str, packet| {
            let options = LinkOptions { packet_bytes: packet, ..at(group, 1) };
            assert_eq!(options.check(PAYLOAD), Ok(()));
            options.datagram_bytes()
        };
        assert_eq!(bytes("[ff15::1]:4454", 1400), 1352);
        assert_eq!(bytes("[ff15::1]:4454", 1280), MIN_DATAGRAM_BYTES);
        assert_eq!(bytes("239.1.1.1:4454", 1280), 1252);
        assert_eq!(bytes("239.1.1.1:4454", 9000), MAX_DATAGRAM_BYTES);
        assert_eq!(bytes("[ff15::1]:4454", 9000), MAX_DATAGRAM_BYTES);
        for packet in [0, 1279, 9001] {
            refused(&with(|options| options.packet_bytes = packet), "mtu must be between 1280");
        }
    }

    #[test]
    fn groups_are_multicast_addresses_to_the_last() {
        for (group, groups) in [
            ("224.0.0.0:4454", 1),
            ("224.0.0.255:1", 1),
            ("224.0.1.0:4454", 64),
            ("239.255.255.239:4454", 16),
            ("239.255.255.255:4454", 1),
            ("[ff02::1]:4454", 16),
            ("[ff15:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:4454", 1),
        ] {
            assert_eq!(at(group, groups).check(PAYLOAD), Ok(()), "{group}");
        }
        for group in ["10.0.0.1:4454", "223.255.255.255:4454", "240.0.0.0:4454", "[fe80::1]:4454"] {
            refused(&at(group, 16), "no multicast address");
        }
        refused(&at("239.255.44.54:0", 16), "port");
        refused(&at("239.255.44.54:4454", 0), "between 1 and 64");
        refused(&at("239.255.44.54:4454", 65), "between 1 and 64");
        refused(&at("224.0.0.0:4454", 2), "groups must be 1");
        for full in [
            "239.255.255.240:4454",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:1",
            "[ff15:ffff:ffff:ffff:ffff:ffff:ffff:fff5]:1",
        ] {
            refused(&at(full, 16), "fewer groups");
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_what_is_allowed() {
        refused(&with(|options| options.cluster.clear()), "cluster must have");
        refused(&with(|options| options.name = "x".repeat(256)), "node-name must have");
        refused(&with(|options| options.name = "a\nb".into()), "control characters");
        refused(&with(|options| options.rate = Some(1)), "rate must be at least");
        refused(&with(|options| options.receive_buffer_bytes = 1), "receive-buffer must be");
        refused(&with(|options| options.history_bytes = 2 << 30), "history must be");
        refused(&with(|options| options.unicast_port = Some(4454)), "unicast-port must differ");
        refused(&with(|options| options.interface = Some("".into())), "interface");
        refused(&with(|options| options.interface = Some("::1".into())), "two kinds of IP");
        let many = (0..256).map(|number| number.to_string()).collect();
        refused(&with(|options| options.pressured = many), "at most 255 channels");
        for good in ["eth0", "127.0.0.1"] {
            let options = with(|options| options.interface = Some(good.into()));
            assert_eq!(options.check(PAYLOAD), Ok(()));
        }
    }

    #[test]
    fn payloads_must_fit_where_their_pieces_are_gathered() {
        let options = LinkOptions::new("here");
        assert_eq!(options.check(MAX_LINK_PAYLOAD_BYTES), Ok(()));
        let problem = options.check(MAX_LINK_PAYLOAD_BYTES + 1).unwrap_err();
        assert!(problem.contains("max-payload must be at most 64 MiB"), "{problem}");
    }
}
