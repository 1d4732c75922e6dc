//! A seeded network between simulated machines, in one virtual time.
//!
//! ```text
//!   SimNet 0 (shards, clients) ─ SimSockets ─┐
//!   SimNet 1 (shards, clients) ─ SimSockets ─┼─ SimNetwork: clock, faults, taps
//!   SimNet 2 (shards, clients) ─ SimSockets ─┘
//! ```
//! A test makes a [`SimNetwork`], takes machines from it, gives the sockets of
//! [`SimNet::link_sockets`] to one shard of each broker and moves the time on for all
//! machines together. A datagram to a group reaches every machine with a member;
//! the sender's own machine only if it is looped, and then without any fault. One
//! to an address reaches the socket bound to it; at the group's port of an address
//! the first broker of that machine answers.
//!
//! It knows nothing of what is in a datagram but its third byte, by which it
//! counts; and no sockets of the system: addresses come from `core::net`, which
//! has nothing else.
//!
//! Invariant: the same seeds, faults and calls give the same completions.

mod counters;
mod endpoint;
mod fabric;
mod faults;
mod lane;
mod path;
mod sockets;
mod tap;
#[cfg(test)]
mod tests;
mod train;

use crate::Instant;

use core::net::SocketAddr;
use std::cell::{RefCell, RefMut};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

pub use counters::{KindCounters, NetworkCounters};
pub use faults::{NetworkFaults, PathFaults, PortFaults};
pub use sockets::{SimSockets, SimSocketsConfig};
pub use tap::{Filter, Passage, Tapped};

use super::random::Random;
use super::world::World;
use super::{Faults, SimNet};
pub(super) use fabric::Clock;
use fabric::Fabric;
use train::Train;

/// A machine of a network: a small number, in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId(pub u32);

/// The simulated network. Clones are handles of the same one.
#[derive(Clone)]
pub struct SimNetwork(Rc<RefCell<Fabric>>);

impl SimNetwork {
    /// A network without machines, whose chances all come from `seed`.
    pub fn new(seed: u64, faults: NetworkFaults) -> SimNetwork {
        SimNetwork(Rc::new(RefCell::new(Fabric::new(seed, faults))))
    }

    /// Adds a machine. `seed` and `faults` are of what happens on it, between
    /// its brokers and their clients.
    pub fn machine(&self, seed: u64, faults: Faults) -> SimNet {
        let clock = Clock::clone(&self.fabric().clock);
        let world = Rc::new(RefCell::new(World::new(seed, faults, clock)));
        let id = self.fabric().add_machine(Rc::clone(&world));
        SimNet { world, network: self.clone(), id }
    }

    /// The virtual time: 0 at the start.
    pub fn now(&self) -> Instant {
        self.fabric().clock.get()
    }

    /// Moves the virtual time of all machines on.
    pub fn advance(&self, duration: Duration) {
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.advance_to(self.now().saturating_add(duration_ns));
    }

    /// Time at which some shard's `wait` has something to report again, or something
    /// arrives somewhere; `None` if nothing is due before somebody does something.
    pub fn next_due(&self) -> Option<Instant> {
        self.fabric().next_due()
    }

    /// Moves the virtual time on to the next thing that is due; whether there is
    /// one.
    pub fn advance_to_next(&self) -> bool {
        let next_at = self.next_due();
        if let Some(next_at) = next_at {
            self.advance_to(next_at);
        }
        next_at.is_some()
    }

    fn advance_to(&self, now: Instant) {
        let mut fabric = self.fabric();
        fabric.clock.set(now);
        fabric.pump();
    }

    /// Changes the faults from here on, but not where a pair or a machine has its
    /// own. What is under way is not touched.
    pub fn set_faults(&self, faults: NetworkFaults) {
        self.fabric().faults = faults;
    }

    /// Gives the way from one machine to another its own faults, or the network's
    /// again.
    pub fn set_path_faults(&self, from: MachineId, to: MachineId, faults: Option<PathFaults>) {
        self.fabric().machine(from).paths[to.0 as usize].faults = faults;
    }

    /// Gives a machine its own faults, or the network's again.
    pub fn set_port_faults(&self, machine: MachineId, faults: Option<PortFaults>) {
        self.fabric().machine(machine).faults = faults;
    }

    /// Lets nothing go between the two sides any more. What is under way arrives.
    pub fn partition(&self, one: &[MachineId], other: &[MachineId]) {
        self.partition_one_way(one, other);
        self.partition_one_way(other, one);
    }

    /// Lets nothing go from `senders` to `receivers` any more.
    pub fn partition_one_way(&self, senders: &[MachineId], receivers: &[MachineId]) {
        let mut fabric = self.fabric();
        for &sender in senders {
            for receiver in receivers {
                fabric.machine(sender).paths[receiver.0 as usize].is_partitioned = true;
            }
        }
    }

    /// Ends all partitions.
    pub fn heal(&self) {
        for machine in &mut self.fabric().machines {
            for path in &mut machine.paths {
                path.is_partitioned = false;
            }
        }
    }

    /// Counters since the start.
    pub fn counters(&self) -> NetworkCounters {
        self.fabric().counters.clone()
    }

    /// Records what is sent from now on, the last `limit` datagrams; 0 ends it.
    pub fn set_tap(&self, limit: usize) {
        self.fabric().tap.set_limit(limit);
    }

    /// Takes what was recorded, the oldest first.
    pub fn tapped(&self) -> Vec<Tapped> {
        self.fabric().tap.take()
    }

    /// Lets `filter` decide about each datagram to each other machine from now on.
    pub fn set_filter(&self, filter: Option<Filter>) {
        self.fabric().tap.filter = filter;
    }

    /// Delivers a forged datagram at once and without faults, on every machine
    /// with such an address or such a member.
    ///
    /// # Panics
    /// If it is empty or too large for a datagram.
    pub fn inject(&self, to: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        assert!((1..=train::MAX_TRAIN_BYTES).contains(&bytes.len()));
        let chunk = Bytes::copy_from_slice(bytes);
        self.fabric().inject(&Train { segment: chunk.len(), chunk, from, to });
    }

    /// A digest of every completion of every machine so far: equal for equal runs.
    pub fn trace(&self) -> u64 {
        let fabric = self.fabric();
        let traces = fabric.machines.iter().map(|machine| machine.world.borrow().trace());
        traces.fold(0, |digest, trace| Random::new(digest ^ trace).next())
    }

    fn fabric(&self) -> RefMut<'_, Fabric> {
        self.0.borrow_mut()
    }

    /// Whether `other` is a handle of the same network.
    pub(super) fn is(&self, other: &SimNetwork) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn crash(&self, machine: MachineId) {
        self.fabric().crash(machine);
    }
}

impl fmt::Debug for SimNetwork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SimNetwork")
    }
}
