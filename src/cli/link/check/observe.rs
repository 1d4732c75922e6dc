//! Two seconds of asking and listening.
//!
//! ```text
//!   0     150      500       900        1200    1350    1550      1800 ms
//!   small, by multicast and to the      small as before, and      end
//!   peers named or heard by hello       large both ways
//! ```
//! Hellos come each second, so that each broker's is heard once at least.
//! Everything is asked several times, since any datagram may be lost.
//!
//! Invariant: large probes go to nobody that did not answer a small one.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use netcluster_link::options::LinkOptions;
use netcluster_platform::{
    Completion, DatagramConfig, DatagramInfo, DatagramIo, DatagramSockets, Io, PollConfig, PollIo,
};

use super::hearing::{Heard, Hearing, SeenPeer, Way};
use super::prober::{Prober, SMALL_PROBE_BYTES};

/// Times to ask, and whether with large probes too.
const ROUNDS_MS: [(u64, bool); 7] = [
    (0, false),
    (150, false),
    (500, false),
    (900, false),
    (1200, true),
    (1350, true),
    (1550, true),
];

/// Time to end, in milliseconds.
const END_MS: u64 = 1800;

/// Peers that are asked by unicast, apart from those that are named.
const MAX_ASKED: usize = 64;

/// A peer from the settings.
#[derive(Clone, Debug)]
pub struct Named {
    /// Name as it was written.
    pub name: String,
    /// Addresses that the name stands for, or why nobody knows.
    pub addresses: Result<Vec<SocketAddr>, String>,
}

/// A probe that the system did not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub to: SocketAddr,
    pub is_large: bool,
    pub error: String,
}

/// Observations: all that was seen.
#[derive(Clone, Debug)]
pub struct Observations {
    pub sockets: DatagramInfo,
    /// Limit of packets that a broker here would have, in bytes.
    pub packet_bytes: usize,
    /// Reason for which the control group could not be joined.
    pub not_joined: Option<String>,
    pub named: Vec<Named>,
    /// First refusal for each address and size.
    pub refused: Vec<Refused>,
    /// Addresses that small probes were sent to.
    pub small_sent: BTreeSet<SocketAddr>,
    /// Addresses that large probes were sent to; the group is one.
    pub large_sent: BTreeSet<SocketAddr>,
    pub heard: Heard,
    pub kernel_drops: u64,
}

/// Asks and listens.
///
/// # Errors
/// Why that is not possible, and what to do about it.
pub fn observe(options: &LinkOptions) -> Result<Observations, String> {
    let sockets = DatagramSockets::open(&DatagramConfig {
        group: options.group,
        // The broker that may run here has its own.
        unicast_port: None,
        interface: options.interface.clone(),
        ttl: options.ttl.into(),
        receive_buffer_bytes: options.receive_buffer_bytes,
        ..DatagramConfig::default()
    })
    .map_err(|error| error.to_string())?;
    let info = sockets.info().clone();
    let system = |error: io::Error| format!("the system does not let sockets be watched: {error}");
    let mut io = PollIo::new(PollConfig::default()).map_err(system)?;
    io.open_datagrams(sockets).map_err(system)?;
    let not_joined = io.join_group(options.group.ip()).err().map(|error| error.to_string());
    let named = options.peers.iter().map(|peer| resolve(peer, options.group)).collect();
    let prober =
        Prober::new(&options.keys).ok_or_else(|| "the system gives no random bytes".to_owned())?;
    let packet_bytes = options.packet_bytes.min(info.mtu_bytes.unwrap_or(usize::MAX));
    let sent = LinkOptions { packet_bytes, ..options.clone() };
    let mut watch = Watch {
        group: options.group,
        cluster: options.cluster.clone(),
        datagram_bytes: sent.datagram_bytes().max(SMALL_PROBE_BYTES),
        start: Instant::now(),
        hearing: Hearing::new(&options.keys, prober.session()),
        prober,
        io,
        named,
        refused: Vec::new(),
        small_sent: BTreeSet::new(),
        large_sent: BTreeSet::new(),
    };
    for (at_ms, with_large) in ROUNDS_MS {
        watch.listen_until(Duration::from_millis(at_ms)).map_err(system)?;
        watch.ask(with_large);
    }
    watch.listen_until(Duration::from_millis(END_MS)).map_err(system)?;
    Ok(Observations {
        sockets: info,
        packet_bytes,
        not_joined,
        named: watch.named,
        refused: watch.refused,
        small_sent: watch.small_sent,
        large_sent: watch.large_sent,
        heard: watch.hearing.heard,
        kernel_drops: watch.io.datagram_stats().kernel_drops,
    })
}

struct Watch {
    group: SocketAddr,
    cluster: String,
    datagram_bytes: usize,
    start: Instant,
    prober: Prober,
    hearing: Hearing,
    io: PollIo,
    named: Vec<Named>,
    refused: Vec<Refused>,
    small_sent: BTreeSet<SocketAddr>,
    large_sent: BTreeSet<SocketAddr>,
}

impl Watch {
    fn listen_until(&mut self, end: Duration) -> io::Result<()> {
        let mut completions = Vec::new();
        loop {
            let now = self.start.elapsed();
            if now >= end {
                return Ok(());
            }
            self.io.wait(&mut completions, Some(end - now))?;
            let now = self.start.elapsed();
            for completion in completions.drain(..) {
                let Completion::Datagrams(train) = completion else { continue };
                for datagram in train.chunk.chunks(train.segment) {
                    self.hearing.datagram(now, datagram, train.from, train.multicast);
                }
            }
        }
    }

    fn ask(&mut self, with_large: bool) {
        self.send(Way::Group, false);
        for to in self.named_addresses() {
            self.send(Way::Address(to), false);
        }
        // Who answered by unicast once need not be asked again.
        for to in self.peers(|peer| !peer.by_unicast.small) {
            self.send(Way::Address(to), false);
        }
        if with_large {
            self.send(Way::Group, true);
            // Other clusters are not ours to measure.
            let is_ours = |peer: &SeenPeer| peer.about.cluster == self.cluster;
            let open = |peer: &SeenPeer| peer.answers() && !peer.by_unicast.large && is_ours(peer);
            for to in self.peers(open) {
                self.send(Way::Address(to), true);
            }
        }
    }

    /// Finds the named addresses that nobody has answered for.
    fn named_addresses(&self) -> Vec<SocketAddr> {
        let heard = &self.hearing.heard;
        let all = self.named.iter().filter_map(|named| named.addresses.as_ref().ok()).flatten();
        let open = |to: &&SocketAddr| !heard.answered.contains(to) && !heard.ourselves.contains(to);
        all.filter(open).copied().collect()
    }

    fn peers(&self, wanted: impl Fn(&SeenPeer) -> bool) -> Vec<SocketAddr> {
        let peers = self.hearing.heard.peers.values().take(MAX_ASKED);
        peers.filter(|peer| wanted(peer)).map(|peer| peer.address).collect()
    }

    fn send(&mut self, way: Way, is_large: bool) {
        let bytes = if is_large { self.datagram_bytes } else { SMALL_PROBE_BYTES };
        let Some((nonce, datagram)) = self.prober.probe(bytes) else { return };
        let to = match way {
            Way::Group => self.group,
            Way::Address(address) => address,
        };
        self.hearing.sent(nonce, way, is_large, self.start.elapsed());
        match self.io.send_datagrams(to, &datagram, datagram.len(), true) {
            Ok(_) if is_large => {
                self.large_sent.insert(to);
            }
            Ok(_) => {
                self.small_sent.insert(to);
            }
            // Nothing else is sent here: the next round has room.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.refused(to, is_large, &error),
        }
    }

    fn refused(&mut self, to: SocketAddr, is_large: bool, error: &io::Error) {
        if self.refused.iter().any(|other| (other.to, other.is_large) == (to, is_large)) {
            return;
        }
        self.refused.push(Refused { to, is_large, error: error.to_string() });
    }
}

fn resolve(name: &str, group: SocketAddr) -> Named {
    let found = name.to_socket_addrs().map_err(|error| error.to_string()).and_then(|all| {
        let of_family: Vec<_> = all.filter(|it| it.is_ipv4() == group.is_ipv4()).collect();
        let family = if group.is_ipv4() { "IPv4" } else { "IPv6" };
        if of_family.is_empty() {
            Err(format!("it has no {family} address, and the link is of {family}"))
        } else {
            Ok(of_family)
        }
    });
    Named { name: name.to_owned(), addresses: found }
}
