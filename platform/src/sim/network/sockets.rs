//! The simulated sockets of a link: what a shard opens, and what it then does with
//! them.
//!
//! They receive from the moment they are made, as bound sockets do; a shard reads
//! once it has opened them. Invariant: dropping them closes them, and after a
//! crash of their machine they are closed already.

use core::net::{IpAddr, SocketAddr};
use std::io;

use bytes::Bytes;

use super::train::{MAX_TRAIN_BYTES, MAX_TRAIN_DATAGRAMS, Train};
use super::{MachineId, SimNetwork};
use crate::DatagramStats;
use crate::datagram::system::MESSAGE_TOO_LONG;
use crate::io::Completion;

/// The sockets of one broker's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimSocketsConfig {
    /// The machine's address.
    pub address: IpAddr,
    /// The broker's own port; 0 is any that is free.
    pub unicast_port: u16,
    /// The port of the groups, which brokers of one machine share.
    pub group_port: u16,
    /// Bytes that each of the two sockets holds unread.
    pub receive_buffer_bytes: usize,
}

/// Bound sockets. Dropping them closes them.
#[derive(Debug)]
pub struct SimSockets {
    network: SimNetwork,
    id: u64,
    unicast: SocketAddr,
}

impl SimSockets {
    pub(in crate::sim) fn bind(
        network: &SimNetwork,
        machine: MachineId,
        config: &SimSocketsConfig,
    ) -> SimSockets {
        let wanted = SocketAddr::new(config.address, config.unicast_port);
        let receive_buffer_bytes = config.receive_buffer_bytes;
        let mut fabric = network.fabric();
        let (id, unicast) = fabric.bind(machine, wanted, config.group_port, receive_buffer_bytes);
        SimSockets { network: network.clone(), id, unicast }
    }

    /// The address that everything is sent from and that answers return to.
    pub fn unicast_address(&self) -> SocketAddr {
        self.unicast
    }

    pub(in crate::sim) fn network(&self) -> &SimNetwork {
        &self.network
    }

    pub(in crate::sim) fn open(&self) {
        if let Some(endpoint) = self.network.fabric().endpoints.get_mut(&self.id) {
            endpoint.is_open = true;
        }
    }

    /// Sends as [`DatagramIo::send_datagrams`](crate::DatagramIo::send_datagrams) says.
    pub(in crate::sim) fn send(
        &self,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
        looped: bool,
    ) -> io::Result<usize> {
        assert!(segment > 0, "datagrams of no bytes");
        assert!(!bytes.is_empty(), "no datagrams");
        assert!(bytes.len().div_ceil(segment) <= MAX_TRAIN_DATAGRAMS, "too many datagrams at once");
        assert!(bytes.len() <= MAX_TRAIN_BYTES, "too many bytes at once");
        let mut fabric = self.network.fabric();
        fabric.pump();
        let now = fabric.clock.get();
        let fabric = &mut *fabric;
        let Some(endpoint) = fabric.endpoints.get_mut(&self.id) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let sender = endpoint.machine;
        let machine = &mut fabric.machines[sender.0 as usize];
        let faults = machine.faults.unwrap_or(fabric.faults.port);
        let segment = segment.min(bytes.len());
        if segment > faults.mtu_bytes {
            endpoint.stats.send_errors += 1;
            return Err(io::Error::from_raw_os_error(MESSAGE_TOO_LONG));
        }
        if endpoint.writable_at.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(bytes_per_s) = faults.send_bytes_per_s {
            let backlog = machine.uplink.backlog_bytes(bytes_per_s, now);
            let buffer_bytes = faults.send_buffer_bytes;
            if backlog > 0 && backlog.saturating_add(bytes.len() as u64) > buffer_bytes {
                let writable_at = machine.uplink.drained_at(bytes_per_s, buffer_bytes / 2);
                endpoint.writable_at = Some(writable_at.max(now + 1));
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        if machine.random.happens(faults.blocked_send_permille, 1000) {
            endpoint.writable_at = Some(now + 1 + machine.random.below(faults.max_blocked_ns));
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = bytes.len();
        if machine.random.happens(faults.short_send_permille, 1000) {
            let count = machine.random.length(bytes.len().div_ceil(segment));
            taken = taken.min(count * segment);
        }
        let chunk = Bytes::copy_from_slice(&bytes[..taken]);
        let segment = segment.min(taken);
        let train = Train { chunk, segment, from: self.unicast, to };
        endpoint.stats.sends += 1;
        endpoint.stats.sent += train.count() as u64;
        endpoint.stats.sent_bytes += taken as u64;
        fabric.launch(sender, train, looped);
        Ok(taken)
    }

    pub(in crate::sim) fn join(&self, group: IpAddr) -> io::Result<()> {
        if !group.is_multicast() || group.is_ipv4() != self.unicast.is_ipv4() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some(endpoint) = self.network.fabric().endpoints.get_mut(&self.id) {
            endpoint.join(group);
        }
        Ok(())
    }

    pub(in crate::sim) fn leave(&self, group: IpAddr) {
        let mut fabric = self.network.fabric();
        fabric.pump();
        if let Some(endpoint) = fabric.endpoints.get_mut(&self.id) {
            endpoint.leave(group);
        }
    }

    /// Whether [`SimSockets::deliver`] has something now.
    pub(in crate::sim) fn is_ready(&self) -> bool {
        let mut fabric = self.network.fabric();
        fabric.pump();
        let now = fabric.clock.get();
        let endpoint = fabric.endpoints.get(&self.id);
        endpoint.is_some_and(|it| it.is_readable() || it.writable_at.is_some_and(|at| at <= now))
    }

    pub(in crate::sim) fn deliver(&self, completions: &mut Vec<Completion>) {
        let mut fabric = self.network.fabric();
        fabric.pump();
        let now = fabric.clock.get();
        if let Some(endpoint) = fabric.endpoints.get_mut(&self.id) {
            endpoint.deliver(now, completions);
        }
    }

    /// Answers [`DatagramIo::max_datagram_bytes`](crate::DatagramIo::max_datagram_bytes).
    pub(in crate::sim) fn max_datagram_bytes(&self) -> usize {
        let fabric = self.network.fabric();
        let machine = fabric.endpoints.get(&self.id).map(|endpoint| endpoint.machine);
        machine.map_or(usize::MAX, |machine| fabric.port_faults(machine).mtu_bytes)
    }

    pub(in crate::sim) fn stats(&self) -> DatagramStats {
        let fabric = self.network.fabric();
        fabric.endpoints.get(&self.id).map_or_else(DatagramStats::default, |it| it.stats)
    }
}

impl Drop for SimSockets {
    fn drop(&mut self) {
        self.network.fabric().endpoints.remove(&self.id);
    }
}
