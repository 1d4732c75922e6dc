//! Start of a link: turns its settings into sockets, addresses and a session for its
//! shard.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use netcluster_platform::datagram::{DatagramConfig, DatagramInfo, DatagramSockets};
use netcluster_platform::{Snapshots, Waker};
use ring::rand::{SecureRandom, SystemRandom};

use crate::config::ShardConfig;
use crate::resolver;
use crate::shard::{LinkSockets, LinkStart};
use crate::status::LinkIo;
use netcluster_link::config::{DISCOVERY, Entropy, LinkConfig, StreamMap};
use netcluster_link::options::{LinkOptions, MAX_LINK_PAYLOAD_BYTES};
use netcluster_link::peer_id::Session;

/// Time between two tries to open sockets that something else is still in the way of.
const OPEN_AGAIN: Duration = Duration::from_millis(5);

/// Tries to get a port that is not configured, before any other will do.
const MAX_PREFERRED_TRIES: u32 = 100;

/// Random bytes from the system.
struct SystemEntropy(SystemRandom);

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8; 16]) {
        self.0.fill(out).expect("the system has random bytes");
    }
}

/// Opens the sockets of a link and makes ready what its shard needs.
///
/// # Errors
/// Reason why the link cannot be opened, and what to change.
pub fn open(
    options: &LinkOptions,
    shard: &mut ShardConfig,
) -> Result<LinkStart<DatagramSockets>, String> {
    let sockets = DatagramSockets::open(&datagrams(options)).map_err(|error| error.to_string())?;
    start(options, shard, sockets)
}

/// Makes ready the link of a broker that takes another one's place: its sockets are opened
/// once `predecessor_left` returns. Until then that one has its port, so another one is tried,
/// which tells all else that could fail.
///
/// # Errors
/// Reason why the link cannot be opened, and what to change.
pub fn open_later(
    options: &LinkOptions,
    shard: &mut ShardConfig,
) -> Result<(LinkStart<DatagramSockets>, LateSockets), String> {
    let config = DatagramConfig { unicast_port: None, ..datagrams(options) };
    let sockets = DatagramSockets::open(&config).map_err(|error| error.to_string())?;
    let mut start = start(options, shard, sockets)?;
    let (sender, sockets) = mpsc::channel();
    start.sockets = LinkSockets::Later(sockets);
    Ok((start, LateSockets { config: datagrams(options), preferred_port: None, sender }))
}

/// Sockets that are still to be opened.
#[derive(Debug)]
pub struct LateSockets {
    config: DatagramConfig,
    /// Port that is tried first if none is configured.
    preferred_port: Option<u16>,
    sender: mpsc::Sender<(DatagramSockets, LinkIo)>,
}

impl LateSockets {
    /// Opens them at this port if none is configured and it can be had: peers know it.
    pub fn prefer(&mut self, unicast_port: u16) {
        self.preferred_port = Some(unicast_port).filter(|port| *port != 0);
    }

    /// Opens them, on a thread of their own, once `predecessor_left` returns; tries again
    /// while something is in the way.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn open_once(
        self,
        predecessor_left: impl FnOnce() + Send + 'static,
        waker: Waker,
    ) -> io::Result<()> {
        let run = move || {
            predecessor_left();
            let mut told = String::new();
            for tries in 0.. {
                let preferred = self.preferred_port.filter(|_| tries < MAX_PREFERRED_TRIES);
                let unicast_port = self.config.unicast_port.or(preferred);
                match DatagramSockets::open(&DatagramConfig { unicast_port, ..self.config.clone() })
                {
                    Ok(sockets) => {
                        let about = about(sockets.info());
                        // A broker that has ended needs none.
                        let _ = self.sender.send((sockets, about));
                        return waker.wake();
                    }
                    Err(error) if told != error.to_string() => {
                        told = error.to_string();
                        tracing::warn!("the link cannot be opened yet: {told}");
                    }
                    Err(_) => {}
                }
                thread::sleep(OPEN_AGAIN);
            }
        };
        thread::Builder::new().name("late-link".into()).spawn(run).map(drop)
    }
}

fn datagrams(options: &LinkOptions) -> DatagramConfig {
    DatagramConfig {
        group: options.group,
        unicast_port: options.unicast_port,
        interface: options.interface.clone(),
        ttl: options.ttl.into(),
        receive_buffer_bytes: options.receive_buffer_bytes,
        ..DatagramConfig::default()
    }
}

fn start(
    options: &LinkOptions,
    shard: &mut ShardConfig,
    sockets: DatagramSockets,
) -> Result<LinkStart<DatagramSockets>, String> {
    let info = sockets.info();
    report(options, info);
    let resolved = resolver::resolve(&options.peers, options.group.is_ipv6());
    let (known, addresses) = resolved.map_err(|error| format!("cannot start a thread: {error}"))?;
    let config = LinkConfig {
        cluster: options.cluster.clone(),
        name: options.name.clone(),
        node: shard.node,
        group: options.group,
        groups: options.groups,
        datagram_bytes: options.datagram_bytes(),
        history_bytes: options.history_bytes,
        rate: options.rate,
        receive_buffer_bytes: info.receive_buffer_bytes,
        keys: options.keys.clone(),
        peers: known.addresses,
        unresolved: known.unresolved,
        pressured: options.pressured.clone(),
        stall_timeout: shard.stall_timeout,
        max_payload_bytes: shard.max_payload_bytes,
        reassembly_bytes: MAX_LINK_PAYLOAD_BYTES,
        local_addresses: info.local_addresses.clone(),
        discovery: DISCOVERY,
    };
    shard.link = Some(Arc::new(StreamMap::new(&config)));
    let mut entropy = SystemEntropy(SystemRandom::new());
    let mut session = Session::default();
    entropy.fill(&mut session);
    let about = about(info);
    let snapshots = match Snapshots::watch() {
        Ok(snapshots) => Some(snapshots),
        Err(error) => {
            tracing::debug!(%error, "whether this machine is restored or cloned is not noticed");
            None
        }
    };
    let (entropy, sockets) = (Box::new(entropy), LinkSockets::Open(sockets));
    let expected_peers = options.expected_peers.clone();
    let bequest = None;
    Ok(LinkStart {
        config,
        expected_peers,
        session,
        entropy,
        sockets,
        about,
        addresses,
        snapshots,
        bequest,
    })
}

fn about(info: &DatagramInfo) -> LinkIo {
    LinkIo {
        interface: info.interface.clone(),
        unicast: info.unicast.to_string(),
        gso: info.gso,
        gro: info.gro,
        receive_buffer_bytes: info.receive_buffer_bytes as u64,
        ..LinkIo::default()
    }
}

fn report(options: &LinkOptions, info: &DatagramInfo) {
    tracing::info!(
        group = %options.group,
        groups = options.groups,
        interface = info.interface,
        because = %info.reason,
        unicast = %info.unicast,
        gso = info.gso,
        gro = info.gro,
        receive_buffer = info.receive_buffer_bytes,
        "link",
    );
    for note in &info.notes {
        tracing::warn!("{note}");
    }
}
