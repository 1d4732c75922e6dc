//! One shard: a thread, a back end, and the connections it owns.
//!
//! ```text
//!   completions ─▶ receive ─▶ (inbound, routes) ─▶ fan_out ─▶ outbound queues
//!        ▲                         │                  │              │
//!        │                     control            other shards     flush
//!        └──────────────────────── Io ◀─── (mesh) ────┴──────────────┘
//! ```
//! [`Shard::turn`] is the whole life of a shard: drain what is there, act on it,
//! flush each touched queue once. Nothing in it blocks but the wait at its
//! start; no locks, no async. It takes its clock and its back end from outside,
//! so that the simulator runs the same code.
//!
//! - `receive`: chunks into runs of frames
//! - `router`: names to routes
//! - `fan_out`: runs onto queues; pauses and resumes emitters
//! - `control`: requests of clients
//! - `flush`: queues onto sockets
//! - `slow_listener`: one that does not keep up, and when it is disconnected
//! - `audience`: clients that ask who would get an event
//! - `connections`: the table of connections
//! - `cluster`: clients that wait for other machines
//! - `crossing`: messages from and to other shards
//! - `link`, `from_link`: to and from the brokers of other machines
//! - `interest`: listeners in routes, and what the link is told of them
//! - `reload`: other settings while the broker runs
//! - `access`: what access rules refuse, and clients that lose a right while they are there
//! - `acceptor`: acceptance of connections, and those that have not said hello in time
//! - `lifecycle`: placing, disconnecting
//! - `sharing`: from sockets to shared memory
//! - `shutdown`: the end of the shard
//! - `shortage`: buffers or memory run short
//! - `slices`: work of any size, a bounded part in each turn
//! - `rest`: giving back what a flood took
//! - `farewell`: the last moments of a connection that ends with an error
//! - `hold`: events that wait for clients that come back
//! - `succession`: another broker takes this one's place; `bequest`: and goes on with the
//!   link's session; `late_link`: the link of one that took another's
//! - `report`: the shard's part of `status`
//! - `requests`, `survey`, `count`: what whoever runs the broker asks for, what all shards
//!   answer together, and each shard's part of it

mod acceptor;
mod access;
mod audience;
mod bequest;
mod cluster;
mod connections;
mod control;
mod count;
mod crossing;
mod fan_out;
mod farewell;
mod flush;
mod from_link;
mod hold;
mod interest;
mod late_link;
mod lifecycle;
mod link;
mod opening;
mod receive;
mod relisten;
mod reload;
mod report;
mod requests;
mod rest;
mod router;
mod sharing;
mod shortage;
mod shutdown;
mod slices;
mod slow_listener;
mod succession;
mod summary;
mod survey;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use netcluster_platform::{Completion, Instant, Io, ReceiveEnd};

use crate::budget::Budget;
use crate::config::ShardConfig;
use crate::heir::Heir;
use crate::histogram::DelayHistogram;
use crate::log::LogCounts;
use crate::memory_maker::{MemoryMaker, MemoryOrders};
use crate::mesh::Mesh;
use crate::opener::Opener;
use crate::operator::{Done, Errands, Operator};
use crate::population::Population;
use crate::pulse::Pulse;
use crate::returning::{Returning, Successor};
use crate::status::{LinkIo, Status, Totals};
use crate::target::ShardId;
use crate::timers::{Timer, Timers};

use self::acceptor::Acceptor;
use self::connections::Connections;
use self::control::Barriers;
use self::fan_out::FanOut;
use self::hold::COUNTING_SHARD;
pub use self::late_link::LinkSockets;
use self::link::LinkDriver;
pub use self::link::LinkStart;
pub use self::reload::{LinkReload, PeersReload, Reload};
use self::report::Reports;
use self::rest::Flood;
use self::router::Router;
use self::sharing::Memories;
pub use self::sharing::Sharing;
use self::shortage::Shortage;
use self::shutdown::Shutdown;
pub use self::slices::Postponed;
use self::slices::Slices;
use self::survey::Surveys;
pub use self::survey::{Inquiry, Part};
use netcluster_link::options::LinkOptions;

/// Bytes that a turn receives, at the least: little enough to stay in the cache
/// from the receive to the send, which beat larger turns by a third at 1 KB.
const TURN_BYTES: usize = 256 << 10;

/// Bytes that a turn receives for each of many clients, so that a send to each takes
/// several frames; up to [`MAX_TURN_BYTES`].
const TURN_BYTES_PER_CLIENT: usize = 1 << 10;

/// Bytes that a turn receives, at the most.
const MAX_TURN_BYTES: usize = 1 << 20;

const _: () = assert!(TURN_BYTES < MAX_TURN_BYTES);

/// Messages taken from one other shard in one turn.
const MESSAGES_PER_TURN: usize = 512;

/// State that all shards of a broker share.
#[derive(Clone)]
pub struct Shared {
    /// Settings of the shards.
    pub config: Arc<ShardConfig>,
    /// Memory budget of the broker.
    pub budget: Budget,
    /// Connections of the broker.
    pub population: Population,
    /// Set once, when the broker is to shut down.
    pub shutdown: Arc<AtomicBool>,
    /// Handle that leaves the record of listeners to a successor, when the broker ends
    /// in order.
    pub successor: Successor,
    /// Another broker that took this one's place, if one did.
    pub heir: Heir,
    /// Part of `status` about the broker as a whole.
    pub about: Arc<Status>,
    /// Has the allocator give back what the calling thread has freed.
    pub give_back: fn(),
    /// Lets whatever else wants to run have this core.
    pub yield_core: fn(),
    /// Maker of memory for clients; none if it is not to be shared.
    pub memory_maker: Option<MemoryMaker>,
    /// Counters of lines that the log leaves out.
    pub log: Arc<LogCounts>,
    /// Answers to who asks whether the shards turn.
    pub pulse: Pulse,
    /// Program that the broker runs in, for what its owner asks it for.
    pub operator: Option<Arc<dyn Operator>>,
}

/// One shard of a broker.
pub struct Shard<I: Io> {
    id: ShardId,
    io: I,
    shared: Shared,
    now: Instant,
    started: Instant,
    connections: Connections,
    acceptor: Acceptor<I::Listener>,
    router: Router,
    fan_out: FanOut,
    mesh: Mesh<I::Socket>,
    timers: Timers,
    /// Link to other machines; only one shard has it.
    link: Option<Box<LinkDriver>>,
    /// Sockets of the link that are waited for.
    late_sockets: Option<mpsc::Receiver<(I::Sockets, LinkIo)>>,
    /// Opener of the link, if it is not open; only one shard has it.
    opener: Option<Opener<I::Sockets>>,
    /// Options of a link that was opened while the broker runs, as they are now.
    opened: Option<Box<LinkOptions>>,
    /// Errands of the program around the broker, for clients of this shard.
    errands: Option<Errands>,
    /// Answers to those who asked to take this broker's place.
    takeovers: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    shortage: Shortage,
    memories: Memories,
    slices: Slices,
    flood: Flood,
    barriers: Barriers,
    reports: Reports,
    surveys: Surveys,
    delays: DelayHistogram,
    shutdown: Shutdown,
    returning: Returning,
    totals: Totals,
    last_active: Instant,
    /// Other shards have sent more than one turn takes.
    more_messages: bool,
    /// Source of other settings.
    reloads: Option<mpsc::Receiver<Reload>>,
    completions: Vec<Completion>,
}

impl<I: Io> Shard<I> {
    /// Returns the shard whose ends `mesh` is. `listener` makes it an accepting one:
    /// shard 0 alone if connections can move to others, else every shard. Shard 0 also
    /// drives the `link`.
    ///
    /// # Errors
    /// Error of the system when it was asked to listen.
    pub fn new(
        mut io: I,
        shared: Shared,
        mesh: Mesh<I::Socket>,
        listener: Option<I::Listener>,
        link: Option<LinkStart<I::Sockets>>,
    ) -> io::Result<Shard<I>> {
        let id = mesh.id();
        let acceptor = Acceptor::new(&mut io, id, mesh.shards(), &shared.config, listener)?;
        io.set_receive_budget(TURN_BYTES);
        let now = io.now();
        let fan_out = FanOut::new(&io.stats());
        let maker = shared.memory_maker.clone();
        let memories = Memories::new(maker.map(|maker| MemoryOrders::new(maker, io.waker())));
        let operator = shared.operator.clone();
        let errands = operator.map(|operator| Errands::new(operator, io.waker()));
        let mut shard = Shard {
            id,
            io,
            now,
            started: now,
            connections: Connections::default(),
            acceptor,
            router: Router::new(&shared, mesh.shards()),
            fan_out,
            mesh,
            timers: Timers::default(),
            link: None,
            late_sockets: None,
            opener: None,
            opened: None,
            errands,
            takeovers: mpsc::channel(),
            shortage: Shortage::default(),
            memories,
            slices: Slices::default(),
            flood: Flood::default(),
            barriers: Barriers::default(),
            reports: Reports::new(now),
            surveys: Surveys::default(),
            delays: DelayHistogram::default(),
            shutdown: Shutdown::new(shared.config.node, &shared.config.awaited),
            returning: Returning::new(&shared.config.awaited, now, shared.config.hold),
            totals: Totals::default(),
            last_active: now,
            more_messages: false,
            reloads: None,
            completions: Vec::new(),
            shared,
        };
        if let Some(until) = shard.returning.window_end().filter(|_| id == COUNTING_SHARD) {
            shard.timers.set(until, Timer::Hold);
        }
        if let Some(link) = link {
            shard.start_link(link)?;
        }
        Ok(shard)
    }

    /// Adds a source of listeners: the shard goes on to accept on each one that comes
    /// from there. The sender wakes the shard.
    pub fn with_listeners(mut self, listeners: mpsc::Receiver<I::Listener>) -> Shard<I> {
        self.acceptor.listeners = Some(listeners);
        self
    }

    /// Turns until the shutdown is complete.
    ///
    /// # Errors
    /// The back end broke.
    pub fn run(mut self) -> io::Result<()> {
        while self.turn()? {}
        Ok(())
    }

    /// Does one turn: waits for something to do and does all of it. Returns false when
    /// the shard has shut down.
    ///
    /// # Errors
    /// The back end broke.
    pub fn turn(&mut self) -> io::Result<bool> {
        if self.is_spinning() {
            // What it waits for may need this core.
            (self.shared.yield_core)();
        }
        let timeout = self.timeout();
        let mut completions = std::mem::take(&mut self.completions);
        self.io.wait(&mut completions, timeout)?;
        self.now = self.io.now();
        if !completions.is_empty() {
            self.last_active = self.now;
        }

        self.router.effort.renew();
        self.resume_postponed();
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        self.completions = completions;
        self.take_messages();
        self.fire_timers();
        self.turn_link();
        // The shutdown stands behind the link, whose goodbye may be the last thing that
        // was missing.
        if self.shared.shutdown.load(Ordering::Relaxed) {
            self.drain();
        }

        if self.io.starved() {
            self.relieve_pool();
        }
        self.flush();
        self.take_apart();
        self.watch_flood();
        self.publish();
        self.reports.end_turn(self.now, &self.totals);
        self.surveys.end_turn();
        self.shared.pulse.answer(usize::from(self.id.0));
        Ok(!self.shutdown.is_done())
    }

    /// Returns the back end.
    #[cfg(feature = "sim")]
    pub fn io(&self) -> &I {
        &self.io
    }

    /// Returns whether a turn has something to do whatever the back end brings.
    #[cfg(feature = "sim")]
    pub fn is_due(&self) -> bool {
        self.timeout() == Some(Duration::ZERO)
    }

    fn has_work(&self) -> bool {
        self.more_messages || self.fan_out.has_dirty() || !self.slices.is_empty()
    }

    /// Returns whether the next wait looks for completions instead of sleeping.
    fn is_spinning(&self) -> bool {
        let spin_ns = self.shared.config.spin.as_nanos() as u64;
        spin_ns > 0 && self.now < self.last_active + spin_ns && !self.has_work()
    }

    /// Returns how long the next wait may sleep. An idle shard has no deadline.
    fn timeout(&self) -> Option<Duration> {
        if self.has_work() || self.is_spinning() {
            return Some(Duration::ZERO);
        }
        let next = match (self.timers.next(), self.link_deadline()) {
            (Some(timer), Some(link)) => timer.min(link),
            (timer, link) => timer.or(link)?,
        };
        Some(Duration::from_nanos(next.since(self.io.now())))
    }

    fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Received { conn, chunk } => self.received(conn, &chunk),
            Completion::Sent { conn, bytes, blocked } => self.sent(conn, bytes, blocked),
            Completion::Writable { conn } => self.writable(conn),
            Completion::Filled { conn, buffer } => self.filled(conn, buffer),
            Completion::ReceiveEnded { conn, end: ReceiveEnd::Stopped } => self.stopped(conn),
            Completion::ReceiveEnded { conn, end: ReceiveEnd::Eof } => {
                self.receive_ended(conn, None)
            }
            Completion::ReceiveEnded { conn, end: ReceiveEnd::Failed(error) } => {
                self.receive_ended(conn, Some(error));
            }
            Completion::SendFailed { conn, error } => self.send_failed(conn, &error),
            Completion::Accepted { conn, peer } => self.accepted(conn, peer),
            Completion::AcceptPaused { error } => self.accept_paused(&error),
            Completion::Closed { conn } => self.closed(conn),
            Completion::Datagrams(datagrams) => self.datagrams(&datagrams),
            Completion::DatagramsWritable => self.datagrams_writable(),
            Completion::Woken => {
                self.take_reloads();
                self.take_listener();
                self.take_opened_link();
                self.take_late_sockets();
                self.take_errand();
                self.take_takeover();
                self.take_memory();
                self.look_outside();
            }
        }
    }

    fn fire_timers(&mut self) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Hello => self.hello_timed_out(),
                Timer::Stall(target) => self.stall_timed_out(target),
                Timer::Lag(target) => self.lag_timed_out(target),
                Timer::Linger(target) => self.linger_timed_out(target),
                Timer::Accept => self.resume_accept(),
                Timer::Refusals(target) => self.refusals_timed_out(target),
                Timer::Rate(target) => self.rate_timed_out(target),
                Timer::Sharing(target) => self.memories.due.push(target.conn),
                Timer::Memory => self.memory_timed_out(),
                Timer::Starved => self.shortage.is_relief_asked = false,
                Timer::Hold => self.hold_timed_out(),
                Timer::Quiet => self.quiet_timed_out(),
                Timer::Drain => self.drain_timed_out(),
                Timer::Notice => self.notice_timed_out(),
                Timer::Interface => self.check_link(),
                Timer::Cluster => self.cluster_timed_out(),
                Timer::Rest => self.rest_timed_out(),
            }
        }
    }

    /// Adapts the bytes that a turn receives to the number of clients, after one came
    /// or went.
    fn clients_changed(&mut self) {
        let wanted = self.totals.clients as usize * TURN_BYTES_PER_CLIENT;
        self.io.set_receive_budget(wanted.clamp(TURN_BYTES, MAX_TURN_BYTES));
    }

    fn deadline(&self, after: Duration) -> Instant {
        self.now.saturating_add(after.as_nanos() as u64)
    }
}
