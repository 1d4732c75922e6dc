//! A whole broker in memory, stepped by its caller in virtual time.
//!
//! The shards are the real ones; only their back end is `platform::sim`. Used by
//! the simulator's tests, the fuzz targets and the benches. One thread, one seed:
//! the same calls give the same run.

mod cluster;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use netcluster_platform::sim::{Faults, SimClient, SimIo, SimNet, SimSockets};
use netcluster_platform::{Instant, Io, Peer, Waker};
use netcluster_wire::limits::HARD_MAX_PAYLOAD_BYTES;
use netcluster_wire::{Frame, FrameError, Hello, Kind, Source, Welcome, frame};

use crate::budget::Budget;
use crate::config::ShardConfig;
use crate::mesh::Mesh;
use crate::population::Population;
use crate::returning::{Record, Successor};
use crate::shard::{LinkStart, Shard, Shared};
use crate::status::{ShardStatus, Status};

pub use cluster::{SimCluster, SimMember};

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
        mut link: Option<LinkStart<SimSockets>>,
    ) -> SimBroker {
        let budget = Budget::new(max_memory_bytes);
        let shutdown = Arc::new(AtomicBool::new(false));
        let left = Arc::new(OnceLock::new());
        let leaving = Arc::clone(&left);
        let successor = Successor::new(move |record: Vec<u8>| drop(leaving.set(record)));
        let shared = Shared {
            config: Arc::new(config),
            budget: budget.clone(),
            population: Population::default(),
            shutdown: Arc::clone(&shutdown),
            successor,
            about: Arc::new(Status::default()),
            give_back: || {},
            memory_maker: None,
            log: Arc::default(),
        };
        let ios: Vec<SimIo> = (0..shards).map(|_| net.shard()).collect();
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
        SimBroker { net, budget, shards, shutdown, wakers, left }
    }

    /// Does one turn of every shard that would not wait: a shard that is not woken and
    /// has no deadline does nothing here either. While the machine is paused, none has
    /// one.
    pub fn turn(&mut self) {
        if self.net.is_paused() {
            return;
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
        SimBroker::session(self.net.connect())
    }

    /// Connects a client of this user that has not said anything.
    pub fn connect_as(&self, uid: u32) -> SimSession {
        SimBroker::session(self.net.connect_as(Peer { uid, ..Peer::UNKNOWN }))
    }

    fn session(end: SimClient) -> SimSession {
        SimSession {
            end,
            source: Source::NONE,
            sequence: 0,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
        }
    }

    /// Connects a client and waits for its welcome.
    ///
    /// # Panics
    /// If it is refused.
    pub fn join(&mut self, channel: &str, hello: &Hello) -> SimSession {
        let mut session = self.connect();
        session.queue(Kind::Hello, 0, channel.as_bytes(), &hello.encode());
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

/// A frame that a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedFrame {
    /// Kind of the frame.
    pub kind: Kind,
    /// Source of the frame.
    pub source: Source,
    /// Sequence of the frame.
    pub sequence: u64,
    /// Name in the frame.
    pub name: Vec<u8>,
    /// Payload of the frame.
    pub payload: Vec<u8>,
}

/// A client of a [`SimBroker`] that reads and writes bytes.
pub struct SimSession {
    /// Client's end of the connection.
    pub end: SimClient,
    /// Source of the client's frames.
    pub source: Source,
    /// Sequence of the client's last event.
    pub sequence: u64,
    input: Vec<u8>,
    /// Bytes of the input that were given out already.
    taken: usize,
    output: Vec<u8>,
}

impl SimSession {
    /// Appends a frame to what is to be written.
    pub fn queue(&mut self, kind: Kind, sequence: u64, name: &[u8], payload: &[u8]) {
        frame::append(&mut self.output, kind, self.source, sequence, name, payload);
    }

    /// Appends any bytes to what is to be written.
    pub fn queue_bytes(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Appends an event; returns its sequence.
    pub fn emit(&mut self, name: &str, payload: &[u8]) -> u64 {
        self.sequence += 1;
        self.queue(Kind::Event, self.sequence, name.as_bytes(), payload);
        self.sequence
    }

    /// Writes as much as the socket takes; returns how many bytes still wait.
    pub fn push(&mut self) -> usize {
        let taken = self.end.write(&self.output);
        self.output.drain(..taken);
        self.output.len()
    }

    /// Returns the next frame that has arrived whole.
    ///
    /// # Panics
    /// If the broker sent a broken one.
    pub fn next_frame(&mut self) -> Option<OwnedFrame> {
        self.try_next_frame().expect("the broker sends whole, good frames")
    }

    /// Returns the next frame that has arrived whole, for tests that expect a broken
    /// one.
    ///
    /// # Errors
    /// The broker sent a broken header.
    pub fn try_next_frame(&mut self) -> Result<Option<OwnedFrame>, FrameError> {
        self.end.read(&mut self.input);
        self.take_frame()
    }

    /// Reads at most `limit` bytes, then gives a frame if one is whole.
    ///
    /// # Panics
    /// If the broker sent a broken one.
    pub fn next_frame_slowly(&mut self, limit: usize) -> Option<OwnedFrame> {
        self.end.read_up_to(&mut self.input, limit);
        self.take_frame().expect("the broker sends whole, good frames")
    }

    fn take_frame(&mut self) -> Result<Option<OwnedFrame>, FrameError> {
        let Some(frame) = Frame::read(&self.input[self.taken..], HARD_MAX_PAYLOAD_BYTES)? else {
            self.input.drain(..self.taken);
            self.taken = 0;
            return Ok(None);
        };
        let owned = OwnedFrame {
            kind: frame.kind(),
            source: frame.source(),
            sequence: frame.sequence(),
            name: frame.name().to_vec(),
            payload: frame.payload().to_vec(),
        };
        self.taken += frame.as_bytes().len();
        Ok(Some(owned))
    }
}
