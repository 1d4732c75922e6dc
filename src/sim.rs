//! A whole broker in memory, stepped by its caller in virtual time.
//!
//! The shards are the real ones; only their back end is `platform::sim`. Used by
//! the simulator's tests, the fuzz targets and the benches. One thread, one seed:
//! the same calls give the same run.

mod cluster;
mod memories;
mod session;
mod shared_session;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use netcluster_platform::sim::{Faults, SimClient, SimIo, SimNet, SimSockets};
use netcluster_platform::{BrokerArena, Instant, Io, Peer, Waker};
use netcluster_wire::{Hello, Kind, Welcome};

use crate::budget::Budget;
use crate::config::ShardConfig;
use crate::heir::Heir;
use crate::mesh::Mesh;
use crate::population::Population;
use crate::pulse::Pulse;
use crate::returning::{Record, Successor};
use crate::shard::{LinkStart, Shard, Shared};
use crate::status::{ShardStatus, Status};

pub use cluster::{SimCluster, SimMember};
use memories::Maker;
pub use memories::SimMemories;
pub use session::{OwnedFrame, SimSession};
pub use shared_session::{Pace, SharedEnd};

/// Step by which time moves between two looks at a client that waits.
const STEP: Duration = Duration::from_millis(1);

/// Steps after which an answer does not come any more.
const STEPS_OF_AN_ANSWER: usize = 10_000;

const MIN_STEP_NS: u64 = 1_000;
const MAX_STEP_NS: u64 = 5_000_000;

/// A broker and the machine it runs on.
pub struct SimBroker {
    /// Machine that the broker runs on.
    pub net: SimNet,
    /// Memory budget of the broker.
    pub budget: Budget,
    shards: Vec<Option<Shard<SimIo>>>,
    shutdown: Arc<AtomicBool>,
    wakers: Vec<Waker>,
    left: Arc<OnceLock<Vec<u8>>>,
    heir: Heir,
    /// Maker of memory for clients, if it shares some.
    maker: Option<Maker>,
}

impl SimBroker {
    /// Returns a broker of so many shards, listening.
    pub fn new(
        seed: u64,
        faults: Faults,
        shards: usize,
        config: ShardConfig,
        max_memory_bytes: usize,
    ) -> SimBroker {
        SimBroker::on(SimNet::new(seed, faults), shards, config, max_memory_bytes, None)
    }

    /// Returns a broker on a machine of a network, perhaps with a link.
    pub fn on(
        net: SimNet,
        shards: usize,
        config: ShardConfig,
        max_memory_bytes: usize,
        link: Option<LinkStart<SimSockets>>,
    ) -> SimBroker {
        SimBroker::start(net, shards, config, max_memory_bytes, link, None)
    }

    /// Returns a broker that shares memory with clients which can.
    pub fn sharing(
        net: SimNet,
        shards: usize,
        config: ShardConfig,
        max_memory_bytes: usize,
        memories: SimMemories,
    ) -> SimBroker {
        SimBroker::start(net, shards, config, max_memory_bytes, None, Some(memories))
    }

    fn start(
        net: SimNet,
        shards: usize,
        config: ShardConfig,
        max_memory_bytes: usize,
        mut link: Option<LinkStart<SimSockets>>,
        memories: Option<SimMemories>,
    ) -> SimBroker {
        let budget = Budget::new(max_memory_bytes);
        let shutdown = Arc::new(AtomicBool::new(false));
        let left = Arc::new(OnceLock::new());
        let leaving = Arc::clone(&left);
        let successor = Successor::new(move |record: Vec<u8>| drop(leaving.set(record)));
        let arena = memories.map(|it| BrokerArena::in_memory(shards, it.reservable_bytes));
        let (memory_maker, maker) = memories.map(Maker::new).unzip();
        let heir = Heir::default();
        let shared = Shared {
            config: Arc::new(config),
            budget: budget.clone(),
            population: Population::default(),
            shutdown: Arc::clone(&shutdown),
            successor,
            heir: heir.clone(),
            about: Arc::new(Status::default()),
            give_back: || {},
            yield_core: || {},
            memory_maker,
            log: Arc::default(),
            pulse: Pulse::new(shards),
            operator: None,
        };
        let io = |shard| match &arena {
            Some(arena) => net.shard_in(arena.section(shard)),
            None => net.shard(),
        };
        let ios: Vec<SimIo> = (0..shards).map(io).collect();
        let wakers: Vec<_> = ios.iter().map(Io::waker).collect();
        let mut listeners = net.listeners(shards).into_iter();
        let shards = ios
            .into_iter()
            .zip(Mesh::new_all(&wakers))
            .map(|(io, mesh)| {
                let shard = Shard::new(io, shared.clone(), mesh, listeners.next(), link.take());
                Some(shard.expect("the simulator listens"))
            })
            .collect();
        SimBroker { net, budget, shards, shutdown, wakers, left, heir, maker }
    }

    /// Does one turn of every shard that would not wait: a shard that is not woken and
    /// has no deadline does nothing here either. While the machine is paused, none has
    /// one.
    pub fn turn(&mut self) {
        if self.net.is_paused() {
            return;
        }
        if let Some(maker) = &mut self.maker {
            maker.turn(self.net.now());
        }
        for shard in &mut self.shards {
            if let Some(running) = shard
                && (running.is_due() || running.io().is_ready())
                && !running.turn().expect("the simulator does not break")
            {
                *shard = None;
            }
        }
    }

    /// Turns and moves the time on, by at least `duration` in all.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.net.now() + duration.as_nanos() as u64;
        loop {
            self.turn();
            let now = self.net.now();
            if now >= end {
                break;
            }
            // The shards' own timers are not in the net's books: never leap far.
            let due_at = self.net.next_due().unwrap_or(Instant::NEVER).max(now + MIN_STEP_NS);
            let next = due_at.min(now + MAX_STEP_NS).min(end);
            self.net.advance(Duration::from_nanos(next.since(now)));
        }
        // Shards answer each other: a few turns until what they say is heard.
        for _ in 0..4 {
            self.turn();
        }
    }

    /// Returns when a shard has something to do again, as far as the link knows; in the
    /// time of the machine's network.
    pub fn next_due(&self) -> Option<Instant> {
        if self.net.is_paused() {
            return None;
        }
        let skew_ns = self.net.clock().since(self.net.now());
        let due = self.shards.iter().flatten().filter_map(Shard::link_deadline);
        due.min().map(|due_at| due_at.saturating_sub(skew_ns))
    }

    /// Returns the number of brokers that this one has as peers.
    pub fn peers(&self) -> usize {
        self.shards.iter().flatten().map(Shard::peers).sum()
    }

    /// Returns the report of each shard.
    pub fn reports(&mut self) -> Vec<ShardStatus> {
        self.shards.iter_mut().flatten().map(Shard::report).collect()
    }

    /// Asks for a shutdown.
    pub fn shut_down(&mut self) {
        self.shutdown.store(true, Ordering::Relaxed);
        self.wakers.iter().for_each(Waker::wake);
    }

    /// Asks for a shutdown, as a successor listens in this one's place. It may start once this
    /// one has left its record.
    pub fn give_way(&mut self) {
        self.heir.appear();
        self.shut_down();
    }

    /// Asks for a shutdown as [`SimBroker::give_way`] does; the successor goes on with the link's
    /// session on these terms.
    pub fn give_way_on(&mut self, terms: Option<String>) {
        self.heir.want(terms);
        self.give_way();
    }

    /// Returns all that the broker left for its successor, once it has.
    pub fn note(&self) -> Option<Vec<u8>> {
        self.left.get().cloned()
    }

    /// Returns the record that the broker left for its successor, once it has ended in
    /// order.
    pub fn left(&self) -> Option<Record> {
        self.left.get().map(|record| Record::decode(record))
    }

    /// Returns whether every shard has ended.
    pub fn has_ended(&self) -> bool {
        self.shards.iter().all(Option::is_none)
    }

    /// Connects a client that has not said anything.
    pub fn connect(&self) -> SimSession {
        self.session(self.net.connect())
    }

    /// Connects a client of this user that has not said anything.
    pub fn connect_as(&self, uid: u32) -> SimSession {
        self.session(self.net.connect_as(Peer { uid, ..Peer::UNKNOWN }))
    }

    fn session(&self, end: SimClient) -> SimSession {
        let pace = self.maker.as_ref().and_then(|maker| maker.pace(&end));
        SimSession::new(end, pace)
    }

    /// Connects a client and waits for its welcome.
    ///
    /// # Panics
    /// If it is refused.
    pub fn join(&mut self, channel: &str, hello: &Hello) -> SimSession {
        let mut session = self.connect();
        session.hello(channel, hello);
        let frame = self.ask(&mut session);
        assert_eq!(frame.kind, Kind::Welcome, "{:?}", String::from_utf8_lossy(&frame.payload));
        Welcome::decode(&frame.payload).expect("a good welcome");
        session.source = frame.source;
        session
    }

    /// Writes what a client has queued; returns the first frame that comes then.
    ///
    /// # Panics
    /// If none comes.
    pub fn ask(&mut self, session: &mut SimSession) -> OwnedFrame {
        for _ in 0..STEPS_OF_AN_ANSWER {
            session.push();
            self.run_for(STEP);
            if let Some(frame) = session.next_frame() {
                return frame;
            }
        }
        panic!("no answer");
    }

    /// Subscribes a client and waits for the ack; what else arrives is returned.
    ///
    /// # Panics
    /// If it is refused, or no answer comes.
    pub fn subscribe(&mut self, session: &mut SimSession, pattern: &str) -> Vec<OwnedFrame> {
        self.try_subscribe(session, pattern).expect("the subscription is not refused")
    }

    /// Subscribes a client, which may fail; returns what else arrives before the ack,
    /// or the broker's error.
    ///
    /// # Errors
    /// If it is refused.
    ///
    /// # Panics
    /// If no answer comes.
    pub fn try_subscribe(
        &mut self,
        session: &mut SimSession,
        pattern: &str,
    ) -> Result<Vec<OwnedFrame>, OwnedFrame> {
        session.queue(Kind::Subscribe, u64::MAX, pattern.as_bytes(), b"");
        let mut others = Vec::new();
        for _ in 0..STEPS_OF_AN_ANSWER {
            session.push();
            self.run_for(STEP);
            while let Some(frame) = session.next_frame() {
                match (frame.kind, frame.sequence) {
                    (Kind::Ack, u64::MAX) => return Ok(others),
                    (Kind::Error, u64::MAX) => return Err(frame),
                    _ => others.push(frame),
                }
            }
        }
        panic!("no answer");
    }
}
