//! Start of a link: turns its settings into sockets, addresses and a session for its
//! shard.

use std::sync::Arc;

use netcluster_platform::Snapshots;
use netcluster_platform::datagram::{DatagramConfig, DatagramInfo, DatagramSockets};
use ring::rand::{SecureRandom, SystemRandom};

use crate::config::ShardConfig;
use crate::resolver;
use crate::shard::LinkStart;
use crate::status::LinkIo;
use netcluster_link::config::{DISCOVERY, Entropy, LinkConfig, StreamMap};
use netcluster_link::options::{LinkOptions, MAX_LINK_PAYLOAD_BYTES};
use netcluster_link::peer_id::Session;

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
    let config = DatagramConfig {
        group: options.group,
        unicast_port: options.unicast_port,
        interface: options.interface.clone(),
        ttl: options.ttl.into(),
        receive_buffer_bytes: options.receive_buffer_bytes,
        ..DatagramConfig::default()
    };
    let sockets = DatagramSockets::open(&config).map_err(|error| error.to_string())?;
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
    let about = LinkIo {
        interface: info.interface.clone(),
        unicast: info.unicast.to_string(),
        gso: info.gso,
        gro: info.gro,
        receive_buffer_bytes: info.receive_buffer_bytes as u64,
        ..LinkIo::default()
    };
    let snapshots = match Snapshots::watch() {
        Ok(snapshots) => Some(snapshots),
        Err(error) => {
            tracing::debug!(%error, "whether this machine is restored or cloned is not noticed");
            None
        }
    };
    let entropy = Box::new(entropy);
    Ok(LinkStart { config, session, entropy, sockets, about, addresses, snapshots })
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
