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
//! [`SimNet::next_due_ns`] or by [`SimNet::advance`].
//!
//! It knows no operating system, no clock and no thread, and it panics when a
//! shard breaks the rules of [`Io`](crate::Io): that is what it is for.
//!
//! Invariant: the same seed, the same faults and the same calls give the same
//! completions; [`SimNet::trace`] is a digest of them.

mod chunks;
mod client;
mod events;
mod faults;
mod io;
mod random;
mod shard;
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

use crate::io::Peer;
use world::World;

/// The simulated machine. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct SimNet(Rc<RefCell<World>>);

impl SimNet {
    /// A machine whose chances all come from `seed`.
    pub fn new(seed: u64, faults: Faults) -> SimNet {
        SimNet(Rc::new(RefCell::new(World::new(seed, faults))))
    }

    /// The back end of one more shard.
    pub fn shard(&self) -> SimIo {
        SimIo::new(self.clone())
    }

    /// Binds the machine's one address; clients can connect from now on. An
    /// earlier listener no longer gets any.
    pub fn listener(&self) -> SimListener {
        SimListener::new(self.world().listen())
    }

    /// Connects a client. If nobody listens it is closed already.
    pub fn connect(&self) -> SimClient {
        let pid = self.world().next_pid();
        self.connect_as(Peer { pid, uid: 1000, gid: 1000 })
    }

    /// Connects a client with these credentials.
    pub fn connect_as(&self, peer: Peer) -> SimClient {
        let socket = self.world().connect(peer);
        SimClient::new(self.clone(), socket)
    }

    /// The virtual time: 0 at the start.
    pub fn now_ns(&self) -> u64 {
        self.world().now_ns()
    }

    /// Moves the virtual time on.
    pub fn advance(&self, duration: Duration) {
        let now_ns = self.now_ns() + duration.as_nanos() as u64;
        self.world().set_now_ns(now_ns);
    }

    /// When a shard's `wait` has something to report again; `None` if nothing is
    /// due before a client or a shard does something.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.world().next_due_ns()
    }

    /// Moves the virtual time on to the next thing that is due; whether there is
    /// one.
    pub fn advance_to_next(&self) -> bool {
        let next_ns = self.next_due_ns();
        if let Some(next_ns) = next_ns {
            let now_ns = self.now_ns();
            self.world().set_now_ns(next_ns.max(now_ns));
        }
        next_ns.is_some()
    }

    /// Turns faults on or off from here on. Pool sizes stay as they were.
    pub fn set_faults(&self, faults: Faults) {
        self.world().set_faults(faults);
    }

    /// A digest of every completion so far: equal for equal runs.
    pub fn trace(&self) -> u64 {
        self.world().trace()
    }

    /// How many connections the broker's side holds open, accepted or not yet: for
    /// tests that look for leaks.
    pub fn sockets(&self) -> usize {
        self.world().sockets()
    }

    fn world(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }
}
