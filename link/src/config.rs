//! Configuration that a link is started with.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ring::digest;

use crate::channel::ChannelHash;
use crate::crypto::Keys;
use crate::stream::StreamId;

/// Time after the start in which events are held back, so that a fresh broker finds its
/// peers before it drops what nobody wants.
pub const DISCOVERY: Duration = Duration::from_millis(150);

/// Time after the start in which events are kept for configured peers that have not
/// answered: as long as there is room for them, and nobody waits for it.
pub const KEEP: Duration = Duration::from_secs(2);

/// Most channels with a stream of their own: its index has one byte.
pub const MAX_PRESSURED_CHANNELS: usize = 255;

/// Settings of a link.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Brokers of other clusters on the same network are ignored.
    pub cluster: String,
    /// Name of this broker, for people.
    pub name: String,
    /// Node id of this broker: the first half of its clients' sources.
    pub node: u32,
    /// Address and port of the control group; the groups of channels follow it.
    pub group: SocketAddr,
    /// Groups that channels are spread over. One: everything goes to `group`.
    pub groups: u8,
    /// Largest UDP payload to send, tag included.
    pub datagram_bytes: usize,
    /// Bytes that one stream keeps for retransmissions.
    pub history_bytes: usize,
    /// Most bytes to send per second, if limited.
    pub rate: Option<u64>,
    /// Bytes that the receiving socket holds, as the system granted them.
    pub receive_buffer_bytes: usize,
    /// Keys that seal and open datagrams.
    pub keys: Keys,
    /// Brokers to be greeted by unicast.
    pub peers: Vec<SocketAddr>,
    /// Number of configured names whose addresses are not known yet.
    pub unresolved: usize,
    /// Channels whose listeners on other machines may slow emitters down. The
    /// same on all brokers.
    pub pressured: Vec<String>,
    /// Largest payload of an event.
    pub max_payload_bytes: usize,
    /// Longest time that a listener of a pressured channel may hold emitters up.
    pub stall_timeout: Duration,
    /// Bytes of incomplete frames that all streams of all peers may hold together.
    pub reassembly_bytes: usize,
    /// Addresses of this machine: peers there hear our data only if it is looped
    /// back.
    pub local_addresses: Vec<IpAddr>,
    /// Time after the start in which events are held back, see [`DISCOVERY`].
    pub discovery: Duration,
}

/// Source of random bytes: the system, in a simulation too where sessions matter.
pub trait Entropy {
    /// Fills in sixteen random bytes.
    fn fill(&mut self, out: &mut [u8; 16]);
}

impl LinkConfig {
    /// The control group.
    pub fn control_address(&self) -> SocketAddr {
        self.group
    }

    /// Address that the data of a group is sent to.
    pub fn group_address(&self, group: u8) -> SocketAddr {
        if self.groups <= 1 {
            return self.group;
        }
        SocketAddr::new(offset(self.group.ip(), u32::from(group) + 1), self.group.port())
    }

    /// Whether a peer with this address is on this machine.
    pub fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.local_addresses.contains(&address)
    }
}

/// The address this many places behind another one.
fn offset(address: IpAddr, by: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).wrapping_add(by)).into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from(u128::from(address).wrapping_add(u128::from(by))).into()
        }
    }
}

/// Map of channels to streams, on which all brokers of a cluster must agree.
#[derive(Clone, Debug)]
pub struct StreamMap {
    /// Groups that channels are spread over.
    pub groups: u8,
    /// Hash that stands for the set of pressured channels in hellos; 0 if it is empty.
    pub hash: u64,
    /// The pressured channels in order: the place of each gives its stream.
    pressured: Vec<Box<str>>,
    /// Streams of the pressured channels, in order.
    streams: Vec<StreamId>,
}

impl StreamMap {
    /// Builds the map of a configuration.
    pub fn new(config: &LinkConfig) -> StreamMap {
        StreamMap::of(config.groups, &config.pressured)
    }

    /// Builds the map of so many groups and these pressured channels; those beyond
    /// [`MAX_PRESSURED_CHANNELS`] are ordinary ones.
    pub fn of(groups: u8, pressured: &[String]) -> StreamMap {
        let mut pressured: Vec<Box<str>> =
            pressured.iter().map(|name| name.as_str().into()).collect();
        pressured.sort_unstable();
        pressured.dedup();
        pressured.truncate(MAX_PRESSURED_CHANNELS);
        let groups = groups.max(1);
        let mut map = StreamMap { groups, hash: 0, pressured, streams: Vec::new() };
        let of = |name: &str| map.stream_of(name);
        map.streams = map.pressured.iter().map(|name| of(name)).collect();
        if !map.pressured.is_empty() {
            let mut context = digest::Context::new(&digest::SHA256);
            for name in &map.pressured {
                context.update(name.as_bytes());
                context.update(b"\n");
            }
            let head = context.finish().as_ref()[..8].try_into().expect("a digest has 32 bytes");
            map.hash = u64::from_le_bytes(head).max(1);
        }
        map
    }

    /// The stream that a channel's events travel in.
    pub fn stream_of(&self, name: &str) -> StreamId {
        let group = ChannelHash::of(name).group(self.groups);
        let index = self.pressured.binary_search_by(|other| (**other).cmp(name));
        StreamId::new(group, index.map_or(0, |index| index as u8 + 1))
    }

    /// Whether the brokers of the cluster have such a stream.
    pub fn has(&self, stream: StreamId) -> bool {
        if stream.is_pressured() {
            self.streams.get(usize::from(stream.index()) - 1) == Some(&stream)
        } else {
            stream.group() < self.groups
        }
    }

    /// All streams that a set of groups has.
    pub fn streams_in(&self, groups: u64) -> impl Iterator<Item = StreamId> + '_ {
        let wanted = move |group: u8| groups & (1 << group) != 0;
        let ordinary = (0..self.groups).map(|group| StreamId::new(group, 0));
        let pressured = self.streams.iter().copied();
        ordinary.chain(pressured).filter(move |stream| wanted(stream.group()))
    }
}
