//! Deadlines of one shard. An idle shard has none and never ticks.
//!
//! A timer is not cancelled: when it fires, its handler looks whether its reason still
//! holds. Each carries the client's number, so that it never fires at a later
//! connection in the same place.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use netcluster_platform::Instant;

use crate::connection::Connection;
use crate::target::Target;

/// Purpose of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Connections must have said hello. One for all of them: a thousand that
    /// connect and are then idle must not wake the shard a thousand times.
    Hello,
    /// A full queue must have drained to half.
    Stall(Target),
    /// A queue that lags behind its socket no longer holds up its emitters, and
    /// what it pins is copied out.
    Lag(Target),
    /// A disconnected client has had time enough to read why.
    Linger(Target),
    /// Accepting is tried again.
    Accept,
    /// A client that emitted more than its channel lets it goes on.
    Rate(Target),
    /// A client is told of events that access rules did not allow.
    Refusals(Target),
    /// A step towards shared memory, for which the socket had no room, is tried again.
    Sharing(Target),
    /// The clients were told of the broker's end long enough before it.
    Notice,
    /// The shutdown no longer waits for emitters whose listeners are slow.
    Quiet,
    /// The shutdown no longer waits for clients.
    Drain,
    /// Events wait no longer for clients to come back.
    Hold,
    /// Emitters that wait for memory look again.
    Memory,
    /// The link's interface and the addresses of its peers are looked at.
    Interface,
    /// Clients wait until other brokers know of their subscriptions.
    Cluster,
    /// A flood is over: memory is given back if there is a moment.
    Rest,
    /// Connections still starve for receive buffers: relief is asked for again.
    Starved,
}

/// Pending deadlines, earliest first.
#[derive(Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Timer)>>,
}

impl Timers {
    /// Sets a timer.
    pub fn set(&mut self, deadline: Instant, timer: Timer) {
        self.heap.push(Reverse((deadline, timer)));
    }

    /// Watches a queue that has just become full: the client has the stall timeout to
    /// drain it to half.
    pub fn watch_full(&mut self, connection: &mut Connection, now: Instant, stall: Duration) {
        connection.full_since = now;
        let deadline = now.saturating_add(stall.as_nanos() as u64);
        self.set(deadline, Timer::Stall(connection.target));
    }

    /// Gives back the room of timers that have fired.
    pub fn shrink(&mut self) {
        self.heap.shrink_to_fit();
    }

    /// Returns the earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Takes a timer that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, timer))| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_the_order_of_their_deadlines() {
        let mut timers = Timers::default();
        timers.set(Instant::from_nanos(20), Timer::Accept);
        timers.set(Instant::from_nanos(10), Timer::Drain);
        assert_eq!(timers.next(), Some(Instant::from_nanos(10)));
        assert_eq!(timers.pop_due(Instant::from_nanos(9)), None);
        assert_eq!(timers.pop_due(Instant::from_nanos(30)), Some(Timer::Drain));
        assert_eq!(timers.pop_due(Instant::from_nanos(30)), Some(Timer::Accept));
        assert_eq!(timers.pop_due(Instant::from_nanos(30)), None);
    }
}
