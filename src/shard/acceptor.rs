//! Acceptance of connections, and the end of those that have not said hello in time.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc;
use std::time::Duration;

use netcluster_platform::{Conn, Instant, Io, Peer};
use netcluster_wire::ErrorCode;

use crate::budget::Purpose;
use crate::config::ShardConfig;
use crate::connection::{CONNECTION_BYTES, Connection, State};
use crate::placement::Placement;
use crate::population::{Limits, Refusal};
use crate::target::{ShardId, Target};
use crate::timers::Timer;

use super::Shard;

/// Time for which accepting pauses when the system is out of descriptors, unless a
/// connection closes before.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// Connections that one turn gives up waiting for: the others wait a turn, so that who
/// has business here does not wait for all of them.
const MAX_EXPIRED_PER_TURN: usize = 256;

/// Connections before those that have said hello are taken out of the list.
const MIN_LISTED: usize = 64;

/// State of accepting on one shard.
pub(super) struct Acceptor<L> {
    /// Books of clients and their shards, which only a shard that accepts has.
    pub placement: Option<Placement>,
    /// Channel that brings a new listener when the socket had to be made again.
    pub listeners: Option<mpsc::Receiver<L>>,
    /// This shard accepts: until the broker ends.
    pub is_accepting: bool,
    /// The system refuses more connections for now.
    is_paused: bool,
    pub(super) limits: Limits,
    hellos: Hellos,
}

impl<L> Acceptor<L> {
    /// Accepts on a listener, if this shard of so many has one.
    ///
    /// # Errors
    /// Error of the system when it was asked to listen.
    pub fn new<I: Io<Listener = L>>(
        io: &mut I,
        id: ShardId,
        shards: u16,
        config: &ShardConfig,
        listener: Option<L>,
    ) -> io::Result<Acceptor<L>> {
        let is_accepting = listener.is_some();
        if let Some(listener) = listener {
            io.accept(listener)?;
        }
        let books = || {
            if io.hands_over() {
                let books = Placement::new(shards, config.spill_clients, config.seed);
                books.from(config.first_client)
            } else {
                Placement::keeping(id, shards, config.seed)
            }
        };
        Ok(Acceptor {
            placement: is_accepting.then(books),
            listeners: None,
            is_accepting,
            is_paused: false,
            limits: config.limits(),
            hellos: Hellos::default(),
        })
    }

    /// Returns the books.
    ///
    /// # Panics
    /// If this shard does not accept.
    pub fn books(&mut self) -> &mut Placement {
        self.placement.as_mut().expect("a shard that accepts has books")
    }
}

/// Connections that have not said hello, the oldest first, with their deadlines.
struct Hellos {
    /// Connections with their deadlines; those that have said hello meanwhile, or have
    /// gone, are still there.
    listed: VecDeque<(Instant, Target)>,
    /// Length of the list at which those are taken out.
    tidy_at: usize,
    /// The timer for these deadlines is set.
    timer: bool,
}

impl Default for Hellos {
    fn default() -> Hellos {
        Hellos { listed: VecDeque::new(), tidy_at: MIN_LISTED, timer: false }
    }
}

impl<I: Io> Shard<I> {
    /// Takes in a client that has connected.
    pub(super) fn accepted(&mut self, conn: Conn, peer: Peer) {
        let client = self.acceptor.books().next_client();
        let target = Target { shard: self.id, conn, client };
        self.totals.accepted += 1;
        if self.acceptor.is_paused {
            self.acceptor.is_paused = false;
            tracing::info!("accepting connections again");
        }
        let budget = &self.shared.budget;
        let has_room = budget.has_room_to_keep(Purpose::Connections, CONNECTION_BYTES);
        let max_queue = self.shared.config.max_queue_bytes;
        let mut connection = Connection::new(target, peer.clone(), max_queue, budget);
        let population = &self.shared.population;
        let admitted = if has_room {
            population.admit(&peer, &self.acceptor.limits)
        } else {
            Err(Refusal::Memory)
        };
        let (seat, refusal) = match admitted {
            Ok(seat) => (Some(seat), None),
            Err(refusal) => (population.tell(), Some(refusal)),
        };
        let is_told = seat.is_some();
        connection.seat = seat;
        self.connections.insert(connection);
        match refusal {
            None if self.is_quiet() || self.is_draining() => self.turn_away(conn),
            None => {
                self.expect_hello(target);
                self.start_receiving(conn);
            }
            Some(refusal) => {
                self.totals.refused += 1;
                if is_told {
                    self.close_with_error(
                        conn,
                        ErrorCode::Busy,
                        &refusal.text(&self.acceptor.limits),
                    )
                } else {
                    self.disconnect(conn)
                }
            }
        }
    }

    /// Pauses accepting, as the system refuses more connections for now.
    pub(super) fn accept_paused(&mut self, error: &io::Error) {
        if !self.acceptor.is_paused {
            self.acceptor.is_paused = true;
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
        if self.acceptor.is_paused && self.acceptor.is_accepting {
            self.io.resume_accept();
        }
    }

    /// Accepts on the socket if it was made again.
    pub(super) fn take_listener(&mut self) {
        let next =
            self.acceptor.listeners.as_ref().and_then(|listeners| listeners.try_iter().last());
        let Some(listener) = next.filter(|_| self.acceptor.is_accepting) else { return };
        if let Err(error) = self.io.accept(listener) {
            tracing::error!(%error, "cannot accept on the socket that was made again");
        }
    }

    fn expect_hello(&mut self, target: Target) {
        let deadline = self.deadline(self.shared.config.hello_timeout);
        if self.acceptor.hellos.listed.len() >= self.acceptor.hellos.tidy_at {
            let mut listed = std::mem::take(&mut self.acceptor.hellos.listed);
            listed.retain(|(_, target)| self.is_silent(*target));
            self.acceptor.hellos.tidy_at = MIN_LISTED.max(2 * listed.len());
            self.acceptor.hellos.listed = listed;
        }
        self.acceptor.hellos.listed.push_back((deadline, target));
        if !self.acceptor.hellos.timer {
            self.acceptor.hellos.timer = true;
            self.timers.set(deadline, Timer::Hello);
        }
    }

    fn is_silent(&mut self, target: Target) -> bool {
        self.connections
            .find(target)
            .is_some_and(|connection| matches!(connection.state, State::Hello))
    }

    /// Disconnects clients whose time to say hello is over, and sets the timer for the
    /// others.
    pub(super) fn hello_timed_out(&mut self) {
        self.acceptor.hellos.timer = false;
        let timeout = self.shared.config.hello_timeout;
        let mut expired = 0;
        while let Some(&(deadline, target)) = self.acceptor.hellos.listed.front() {
            if self.is_silent(target) {
                if deadline > self.now || expired == MAX_EXPIRED_PER_TURN {
                    break;
                }
                expired += 1;
                let text = format!("no hello within {} s", timeout.as_secs_f64());
                self.refuse(target.conn, ErrorCode::HelloTimeout, &text);
            }
            self.acceptor.hellos.listed.pop_front();
        }
        let Some(&(deadline, _)) = self.acceptor.hellos.listed.front() else { return };
        // Not for each of them by itself: an eighth late at the most. And what was too much
        // for this turn is for the next.
        let next = if deadline <= self.now {
            self.now + 1
        } else {
            deadline.max(self.now + timeout.as_nanos() as u64 / 8)
        };
        self.acceptor.hellos.timer = true;
        self.timers.set(next, Timer::Hello);
    }
}
