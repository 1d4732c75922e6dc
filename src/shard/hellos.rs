//! Who is accepted, and who has not said hello in time.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use netcluster_platform::{Conn, Instant, Io, Peer};
use netcluster_wire::ErrorCode;

use crate::budget::Purpose;
use crate::connection::{CONNECTION_BYTES, Connection, State};
use crate::population::Refusal;
use crate::target::Target;
use crate::timers::Timer;

use super::Shard;
use super::lifecycle::SHUTTING_DOWN;

/// How long accepting pauses when the system is out of descriptors, unless a
/// connection closes before.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// Connections that one turn gives up waiting for: the others wait a turn, so that who
/// has business here does not wait for all of them.
const MAX_EXPIRED_PER_TURN: usize = 256;

/// Connections before those that have said hello are taken out of the list.
const MIN_LISTED: usize = 64;

/// Connections that have not said hello, the oldest first, and until when they may.
pub(super) struct Hellos {
    /// Those that have said it meanwhile, or have gone, are still there.
    listed: VecDeque<(Instant, Target)>,
    /// How long the list becomes before they are taken out.
    tidy_at: usize,
    /// The timer is set.
    timer: bool,
}

impl Default for Hellos {
    fn default() -> Hellos {
        Hellos { listed: VecDeque::new(), tidy_at: MIN_LISTED, timer: false }
    }
}

impl<I: Io> Shard<I> {
    /// A client connected.
    pub(super) fn accepted(&mut self, conn: Conn, peer: Peer) {
        let placement = self.placement.as_mut().expect("a shard that accepts has books");
        let target = Target { shard: self.id, conn, client: placement.next_client() };
        self.totals.accepted += 1;
        if self.accept_paused {
            self.accept_paused = false;
            tracing::info!("accepting connections again");
        }
        let budget = &self.shared.budget;
        let has_room = budget.has_room_to_keep(Purpose::Connections, CONNECTION_BYTES);
        let max_queue = self.shared.config.max_queue_bytes;
        let mut connection = Connection::new(target, peer.clone(), max_queue, budget);
        let population = &self.shared.population;
        let admitted =
            if has_room { population.admit(&peer, &self.limits) } else { Err(Refusal::Memory) };
        let (seat, refusal) = match admitted {
            Ok(seat) => (Some(seat), None),
            Err(refusal) => (population.tell(), Some(refusal)),
        };
        let is_told = seat.is_some();
        connection.seat = seat;
        self.insert(connection);
        match refusal {
            None if self.is_quiet() => {
                self.close_with_error(conn, ErrorCode::Shutdown, SHUTTING_DOWN)
            }
            None => {
                self.expect_hello(target);
                self.start_receiving(conn);
            }
            Some(refusal) => {
                self.totals.refused += 1;
                if is_told {
                    self.close_with_error(conn, ErrorCode::Busy, &refusal.text(&self.limits))
                } else {
                    self.disconnect(conn)
                }
            }
        }
    }

    /// The system refuses more connections for now.
    pub(super) fn accept_paused(&mut self, error: &io::Error) {
        if !self.accept_paused {
            self.accept_paused = true;
            self.totals.accept_pauses += 1;
            tracing::warn!(
                %error,
                "accepting is paused; connected clients are not affected. Raise the limit of open \
                 files (ulimit -n, LimitNOFILE=) if this is not passing"
            );
        }
        self.timers.set(self.deadline(ACCEPT_RETRY), Timer::Accept);
    }

    pub(super) fn resume_accept(&mut self) {
        if self.accept_paused && self.accepting {
            self.io.resume_accept();
        }
    }

    /// Accepts on the socket that was made again, if it was.
    pub(super) fn take_listener(&mut self) {
        let next = self.listeners.as_ref().and_then(|listeners| listeners.try_iter().last());
        let Some(listener) = next.filter(|_| self.accepting) else { return };
        if let Err(error) = self.io.accept(listener) {
            tracing::error!(%error, "cannot accept on the socket that was made again");
        }
    }

    fn expect_hello(&mut self, target: Target) {
        let deadline = self.deadline(self.shared.config.hello_timeout);
        if self.hellos.listed.len() >= self.hellos.tidy_at {
            let mut listed = std::mem::take(&mut self.hellos.listed);
            listed.retain(|(_, target)| self.is_silent(*target));
            self.hellos.tidy_at = MIN_LISTED.max(2 * listed.len());
            self.hellos.listed = listed;
        }
        self.hellos.listed.push_back((deadline, target));
        if !self.hellos.timer {
            self.hellos.timer = true;
            self.timers.set(deadline, Timer::Hello);
        }
    }

    fn is_silent(&mut self, target: Target) -> bool {
        self.find(target).is_some_and(|connection| matches!(connection.state, State::Hello))
    }

    /// Disconnects those that have had time enough, and comes back for the others.
    pub(super) fn hello_timed_out(&mut self) {
        self.hellos.timer = false;
        let timeout = self.shared.config.hello_timeout;
        let mut expired = 0;
        while let Some(&(deadline, target)) = self.hellos.listed.front() {
            if self.is_silent(target) {
                if deadline > self.now || expired == MAX_EXPIRED_PER_TURN {
                    break;
                }
                expired += 1;
                let text = format!("no hello within {} s", timeout.as_secs_f64());
                self.refuse(target.conn, ErrorCode::HelloTimeout, &text);
            }
            self.hellos.listed.pop_front();
        }
        let Some(&(deadline, _)) = self.hellos.listed.front() else { return };
        // Not for each of them by itself: an eighth late at the most. And what was too much
        // for this turn is for the next.
        let next = if deadline <= self.now {
            self.now + 1
        } else {
            deadline.max(self.now + timeout.as_nanos() as u64 / 8)
        };
        self.hellos.timer = true;
        self.timers.set(next, Timer::Hello);
    }
}
