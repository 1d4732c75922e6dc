//! One client's connection, as its shard keeps it.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use netcluster_platform::{Instant, Peer};
use netcluster_wire::limits::{MAX_CONTROL_PAYLOAD_BYTES, MAX_HEAD_BYTES};
use netcluster_wire::{ErrorCode, Hello, Source};

use crate::budget::{Budget, Charge, Purpose};
use crate::channels::ChannelId;
use crate::inbound::Inbound;
use crate::outbound::{ENTRY_BYTES, KEEP_ENTRIES, Outbound};
use crate::pattern_set::PatternSet;
use crate::population::Seat;
use crate::shard::Postponed;
use crate::target::{Emitter, Queue, ShardId, Target};

/// What a connection is reckoned to take by itself, in the broker and in the kernel:
/// its own state, the control frame that it may have sent in part, and the kernel's
/// socket, but not what that buffers.
pub const CONNECTION_BYTES: usize = 8 << 10;

const _: () = assert!(
    CONNECTION_BYTES
        > size_of::<Connection>()
            + KEEP_ENTRIES * ENTRY_BYTES
            + MAX_HEAD_BYTES
            + MAX_CONTROL_PAYLOAD_BYTES
);

/// How far a connection is.
#[derive(Debug)]
pub enum State {
    /// It must say hello.
    Hello,
    /// It goes to another shard once receiving has stopped; what it was asked to
    /// wait with is kept.
    Moving(Box<Moving>),
    /// It emits and listens.
    Open,
    /// What is queued is still sent, then it closes.
    Closing,
    /// The same, but so many bytes that came meanwhile were read and thrown away, and
    /// it closes when no more come.
    Draining {
        /// How many so far.
        bytes: usize,
    },
    /// The back end is closing it.
    Closed,
}

/// A connection that waits to be handed over.
#[derive(Debug)]
pub struct Moving {
    /// Where it goes.
    pub shard: ShardId,
    /// What it asked for.
    pub hello: Hello,
    /// Its channel.
    pub channel: Arc<str>,
    /// What it sent after its hello.
    pub rest: Vec<u8>,
    /// Why its predecessor was disconnected.
    pub reason: Option<(ErrorCode, String)>,
}

/// What the back end does for this connection's receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiving {
    /// Nothing.
    Off,
    /// Chunks come.
    On,
    /// Chunks may still come until it has stopped.
    Stopping,
    /// A large frame's own buffer is being filled.
    Filling,
    /// The other end has closed its side: nothing more can come.
    Ended,
}

/// What an emitter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// A full queue.
    Queue(Queue),
    /// The queue of messages to a shard.
    Shard(ShardId),
    /// The memory budget.
    Memory,
    /// Routes that it takes long to find.
    Routes,
    /// Clients that were here before the broker was restarted.
    Hold,
}

/// How a queue stands to its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// It is drained as fast as it fills, as far as we know.
    None,
    /// The socket is full and the queue has grown: its emitters wait a moment.
    Grace,
    /// It did not drain in that moment: it may grow to its limit, in copies.
    Slow,
}

/// One connection.
pub struct Connection {
    /// Its name as a target.
    pub target: Target,
    /// Who is at the other end.
    pub peer: Peer,
    /// Its place among all connections, but in tests of a shard's parts.
    pub seat: Option<Seat>,
    /// How far it is.
    pub state: State,
    /// What it must write into its frames.
    pub source: Source,
    /// Its channel, once it said hello.
    pub channel: Option<ChannelId>,
    /// The name it gave itself.
    pub name: Box<str>,
    /// Own listeners hear own events.
    pub echo: bool,
    /// It loses the oldest events instead of pausing emitters.
    pub latest: bool,
    /// What it has sent.
    pub inbound: Inbound,
    /// What it sent that waits for others to come back.
    pub held: Vec<Bytes>,
    /// Patterns that it had before the broker was restarted, and has not again.
    pub awaited: u32,
    /// Its number then.
    pub previous_client: u32,
    /// What it is sent.
    pub outbound: Outbound,
    /// The receiving side.
    pub receiving: Receiving,
    /// It was kept from writing more: the end of what it wrote is not its end.
    pub is_read_up: bool,
    /// When a large frame's buffer began to be filled.
    pub filling_since: Instant,
    /// How much of that frame had come before, as chunks.
    pub filling_from: usize,
    /// What it waits for as an emitter.
    pub blocked_by: SmallVec<[Blocker; 1]>,
    /// Emitters that wait for its queue.
    pub waiters: Vec<Emitter>,
    /// Whether its queue lags.
    pub lag: Lag,
    /// When its queue became full.
    pub full_since: Instant,
    /// It is on the list of those to flush.
    pub dirty: bool,
    /// What it listens to.
    pub patterns: PatternSet,
    /// What it has sent that waits for routes.
    pub postponed: Option<Box<Postponed>>,
    /// Sequence of its last event that is queued at every target of this shard.
    pub last_sequence: u64,
    /// Events it emitted.
    pub events_in: u64,
    /// Events queued to it.
    pub events_out: u64,
    _charge: Charge,
}

impl Connection {
    /// A connection that has not said hello.
    pub fn new(target: Target, peer: Peer, max_queue_bytes: usize, budget: &Budget) -> Connection {
        Connection {
            target,
            peer,
            seat: None,
            state: State::Hello,
            source: Source::NONE,
            channel: None,
            name: "".into(),
            echo: false,
            latest: false,
            inbound: Inbound::default(),
            held: Vec::new(),
            awaited: 0,
            previous_client: 0,
            outbound: Outbound::new(max_queue_bytes, budget),
            receiving: Receiving::Off,
            is_read_up: false,
            filling_since: Instant::START,
            filling_from: 0,
            blocked_by: SmallVec::new(),
            waiters: Vec::new(),
            lag: Lag::None,
            full_since: Instant::START,
            dirty: false,
            patterns: PatternSet::new(budget),
            postponed: None,
            last_sequence: 0,
            events_in: 0,
            events_out: 0,
            _charge: budget.charge_for(Purpose::Connections, CONNECTION_BYTES),
        }
    }

    /// Whether events may be queued to it.
    #[inline]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether only what is queued to it is still to be sent.
    pub fn is_ending(&self) -> bool {
        matches!(self.state, State::Closing | State::Draining { .. })
    }

    /// Whether its queue has begun to lag: more than `lag_bytes` wait for a
    /// socket that is full.
    #[inline]
    pub fn lags(&self, lag_bytes: usize) -> bool {
        self.lag == Lag::None
            && self.outbound.is_blocked()
            && self.outbound.queued_bytes() >= lag_bytes
    }

    /// Lets a `latest` connection that is over its mark lose its oldest events.
    /// Returns how many.
    pub fn trim_latest(&mut self, budget: &Budget) -> u64 {
        let mark = self.outbound.mark_bytes(budget);
        if self.outbound.held_bytes() > mark { self.outbound.drop_oldest(mark) } else { 0 }
    }

    /// Whether emitters that feed it must wait.
    #[inline]
    pub fn holds_up(&self) -> bool {
        self.outbound.is_full() || self.lag == Lag::Grace
    }
}
