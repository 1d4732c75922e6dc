//! A seeded back end in memory: a broker of several shards and all its clients on
//! one thread, in virtual time.
//!
//! ```text
//!   SimClient ──▶ to_shard  [bounded] ──▶ SimIo (shard 0)
//!             ◀── to_client [bounded] ◀──         │ release / adopt
//!                                         SimIo (shard 1)
//! ```
//! A test makes a [`SimNet`], gives each shard a [`SimIo`], connects
//! [`SimClient`]s, and calls the shards in turn; [`SimIo::wait`](crate::Io::wait)
//! never blocks. When nobody has anything to do it moves the time on, to
//! [`SimNet::next_due`] or by [`SimNet::advance`].
//!
//! Machines of one [`SimNetwork`] share its virtual time and send each other
//! datagrams: see [`network`]. [`SimNet::new`] makes a machine alone.
//!
//! It knows no operating system, no clock and no thread, and it panics when a
//! shard breaks the rules of [`Io`](crate::Io): that is what it is for.
//!
//! Invariant: the same seed, the same faults and the same calls give the same
//! completions; [`SimNet::trace`] is a digest of them.

mod chunks;
mod client;
mod datagram;
mod events;
mod faults;
mod io;
pub mod network;
mod random;
mod shard;
mod sharing;
mod socket;
#[cfg(test)]
mod tests;
mod world;

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

pub use client::SimClient;
pub use faults::Faults;
pub use io::{SimIo, SimListener, SimSocket};
pub use network::{MachineId, NetworkFaults, SimNetwork, SimSockets, SimSocketsConfig};
pub use sharing::SimMemory;

use crate::io::Peer;
use crate::{ArenaSection, Instant};
use world::World;

/// The simulated machine. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct SimNet {
    world: Rc<RefCell<World>>,
    network: SimNetwork,
    id: MachineId,
}

impl SimNet {
    /// A machine whose chances all come from `seed`, alone on a network without
    /// faults.
    pub fn new(seed: u64, faults: Faults) -> SimNet {
        SimNetwork::new(seed, NetworkFaults::default()).machine(seed, faults)
    }

    /// The network that it is on.
    pub fn network(&self) -> &SimNetwork {
        &self.network
    }

    /// Number of the machine on that network.
    pub fn id(&self) -> MachineId {
        self.id
    }

    /// The back end of one more shard.
    pub fn shard(&self) -> SimIo {
        SimIo::new(self.clone(), None)
    }

    /// The back end of one more shard, which can share memory with its clients.
    pub fn shard_in(&self, section: ArenaSection) -> SimIo {
        SimIo::new(self.clone(), Some(section))
    }

    /// Binds the machine's one address; clients can connect from now on. An
    /// earlier listener no longer gets any.
    pub fn listener(&self) -> SimListener {
        SimListener::new(self.world().listen())
    }

    /// Makes a listener for every shard that is to accept: for one of them, or for all
    /// where
    /// connections [stay](SimNet::keep_connections).
    pub fn listeners(&self, shards: usize) -> Vec<SimListener> {
        let count = if self.world().hands_over { 1 } else { shards };
        let number = self.world().listen();
        (0..count).map(|_| SimListener::new(number)).collect()
    }

    /// Makes connections stay where they were accepted from now on, as named pipes do: it
    /// is left to chance which of the accepting shards gets one.
    pub fn keep_connections(&self) {
        self.world().hands_over = false;
    }

    /// Connects a client. If nobody listens it is closed already.
    pub fn connect(&self) -> SimClient {
        let pid = self.world().next_pid();
        self.connect_as(Peer { pid, uid: 1000, gid: 1000, ..Peer::UNKNOWN })
    }

    /// Connects a client with these credentials.
    pub fn connect_as(&self, peer: Peer) -> SimClient {
        let socket = self.world().connect(peer);
        SimClient::new(self.clone(), socket)
    }

    /// Binds the sockets of a broker's link, to be opened by one of its shards.
    ///
    /// # Panics
    /// If the port is in use, or the address is another machine's.
    pub fn link_sockets(&self, config: SimSocketsConfig) -> SimSockets {
        SimSockets::bind(&self.network, self.id, &config)
    }

    /// The virtual time, which is that of all machines of the network: 0 at the
    /// start.
    pub fn now(&self) -> Instant {
        self.network.now()
    }

    /// The time as this machine's shards see it.
    pub fn clock(&self) -> Instant {
        self.world().machine_time()
    }

    /// Lets this machine's clock, and no other, leap forward: it slept.
    pub fn jump_clock(&self, duration: Duration) {
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.world().jump_clock(duration_ns);
    }

    /// Stops the brokers of this machine: their waits bring nothing and nothing is
    /// due for them. Their sockets fill meanwhile.
    pub fn pause(&self) {
        self.world().set_paused(true);
    }

    /// Lets them run again.
    pub fn resume(&self) {
        self.world().set_paused(false);
    }

    /// Whether the machine's brokers stand still.
    pub fn is_paused(&self) -> bool {
        self.world().is_paused()
    }

    /// Kills the brokers of this machine: all their sockets vanish, clients see the
    /// end, what they had sent to other machines still arrives there. Their back
    /// ends are to be dropped, not used; new ones may be made.
    pub fn crash(&self) {
        self.network.crash(self.id);
        self.world().crash();
    }

    /// Moves the virtual time of the network on.
    pub fn advance(&self, duration: Duration) {
        self.network.advance(duration);
    }

    /// Time at which a shard's `wait` has something to report again; `None` if nothing is
    /// due before a client or a shard does something. On a network: the shards of
    /// every machine, and what arrives.
    pub fn next_due(&self) -> Option<Instant> {
        self.network.next_due()
    }

    /// Moves the virtual time on to the next thing that is due; whether there is
    /// one.
    pub fn advance_to_next(&self) -> bool {
        self.network.advance_to_next()
    }

    /// Turns faults on or off from here on. Pool sizes stay as they were.
    pub fn set_faults(&self, faults: Faults) {
        self.world().set_faults(faults);
    }

    /// A digest of every completion so far: equal for equal runs.
    pub fn trace(&self) -> u64 {
        self.world().trace()
    }

    /// Number of connections that the broker's side holds open, accepted or not yet: for
    /// tests that look for leaks.
    pub fn sockets(&self) -> usize {
        self.world().sockets()
    }

    fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }
}
