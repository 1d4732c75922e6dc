//! The sockets of one broker's link: what they hear, and what waits to be read.
//!
//! ```text
//!   own port    [ charged bytes ≤ limit ] ─┐
//!                                          ├─▶ one queue, in order of arrival
//!   group port  [ charged bytes ≤ limit ] ─┘
//! ```
//! As in the kernel each socket has a receive buffer of its own, a datagram takes
//! more of it than its bytes, and what does not fit is dropped and counted.
//! Invariant: `charged` is the sum over what waits.

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use super::MachineId;
use super::counters::{Cause, NetworkCounters};
use super::faults::PortFaults;
use super::train::Train;
use crate::Instant;
use crate::io::Completion;
use crate::sim::chunks::ChunkPool;
use crate::sim::random::Random;
use crate::{DatagramStats, DatagramTrain};

/// The most trains of one `wait`.
const MAX_TRAINS_PER_WAIT: usize = 256;

/// Choice of the two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Own,
    Group,
}

#[derive(Debug)]
struct Waiting {
    train: Train,
    port: Port,
    charge: usize,
}

/// The sockets of one link.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) machine: MachineId,
    pub(super) unicast: SocketAddr,
    pub(super) group_port: u16,
    pub(super) is_open: bool,
    /// A send blocked: there is room again then.
    pub(super) writable_at: Option<Instant>,
    pub(super) stats: DatagramStats,
    groups: Vec<IpAddr>,
    queue: VecDeque<Waiting>,
    charged: [usize; 2],
    receive_buffer_bytes: usize,
    pool: ChunkPool,
}

impl Endpoint {
    pub(super) fn new(
        machine: MachineId,
        unicast: SocketAddr,
        group_port: u16,
        receive_buffer_bytes: usize,
        buffers: u32,
    ) -> Endpoint {
        Endpoint {
            machine,
            unicast,
            group_port,
            is_open: false,
            writable_at: None,
            stats: DatagramStats::default(),
            groups: Vec::new(),
            queue: VecDeque::new(),
            charged: [0; 2],
            receive_buffer_bytes,
            pool: ChunkPool::new(buffers, None),
        }
    }

    pub(super) fn join(&mut self, group: IpAddr) {
        if !self.groups.contains(&group) {
            self.groups.push(group);
        }
    }

    pub(super) fn leave(&mut self, group: IpAddr) {
        self.groups.retain(|&joined| joined != group);
    }

    /// Whether it is a member of the group `to`, on that port.
    pub(super) fn hears(&self, to: SocketAddr) -> bool {
        self.group_port == to.port() && self.groups.contains(&to.ip())
    }

    /// Whether it would take what is sent to its machine's address and the
    /// group's port.
    pub(super) fn answers_for(&self, to: SocketAddr) -> bool {
        self.group_port == to.port() && self.unicast.ip() == to.ip()
    }

    /// A train arrived for it: from the network if there are `faults`.
    pub(super) fn arrive(
        &mut self,
        train: &Train,
        overhead_bytes: usize,
        faults: Option<(&PortFaults, &mut Random)>,
        counters: &mut NetworkCounters,
    ) {
        let port = if train.to == self.unicast { Port::Own } else { Port::Group };
        let mut joins = false;
        if let Some((faults, random)) = faults {
            if train.count() > 1 && random.happens(faults.cut_permille, 1000) {
                for single in train.singles() {
                    self.enqueue(single, port, overhead_bytes, false, counters);
                }
                return;
            }
            joins = random.happens(faults.join_permille, 1000);
        }
        self.enqueue(train.clone(), port, overhead_bytes, joins, counters);
    }

    /// Puts into the buffer what of `train` fits.
    fn enqueue(
        &mut self,
        mut train: Train,
        port: Port,
        overhead_bytes: usize,
        joins: bool,
        counters: &mut NetworkCounters,
    ) {
        let mut room = self.receive_buffer_bytes - self.charged[port as usize];
        let (mut fitting, mut charge) = (0, 0);
        for datagram in train.datagrams() {
            let cost = datagram.len().saturating_add(overhead_bytes);
            if cost > room {
                break;
            }
            room -= cost;
            charge += cost;
            fitting += 1;
        }
        for index in fitting..train.count() {
            counters.count_dropped(Cause::Buffer, train.datagram(index));
            self.stats.kernel_drops += 1;
        }
        if fitting == 0 {
            return;
        }
        if fitting < train.count() {
            train = train.part(0..fitting);
        }
        counters.delivered += fitting as u64;
        counters.delivered_bytes += train.chunk.len() as u64;
        self.charged[port as usize] += charge;
        if joins
            && let Some(last) = self.queue.back_mut()
            && last.train.try_join(&train)
        {
            last.charge += charge;
            return;
        }
        self.queue.push_back(Waiting { train, port, charge });
    }

    /// Whether `wait` has something to bring at once.
    pub(super) fn is_readable(&self) -> bool {
        self.is_open && !self.queue.is_empty() && self.pool.pinned() < self.pool.buffers()
    }

    /// Appends what there is to report.
    pub(super) fn deliver(&mut self, now: Instant, completions: &mut Vec<Completion>) {
        if self.writable_at.is_some_and(|writable_at| writable_at <= now) {
            self.writable_at = None;
            completions.push(Completion::DatagramsWritable);
        }
        for _ in 0..MAX_TRAINS_PER_WAIT {
            if !self.is_readable() {
                break;
            }
            let Some(Waiting { train, port, charge }) = self.queue.pop_front() else { break };
            self.charged[port as usize] -= charge;
            self.stats.receives += 1;
            self.stats.received += train.count() as u64;
            self.stats.received_bytes += train.chunk.len() as u64;
            completions.push(Completion::Datagrams(DatagramTrain {
                segment: train.segment,
                from: train.from,
                multicast: train.to.ip().is_multicast(),
                chunk: self.pool.pin(train.chunk),
            }));
        }
    }
}
