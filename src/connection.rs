//! One client's connection, as its shard keeps it.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use netcluster_platform::{Instant, Peer};
use netcluster_wire::limits::{MAX_CONTROL_PAYLOAD_BYTES, MAX_HEAD_BYTES};
use netcluster_wire::{ErrorCode, Hello, Source};

use crate::budget::{Budget, Charge, Purpose};
use crate::channels::ChannelId;
use crate::guard::Guard;
use crate::inbound::Inbound;
use crate::outbound::{ENTRY_BYTES, KEEP_ENTRIES, Outbound};
use crate::pace::Pace;
use crate::pattern_set::PatternSet;
use crate::population::Seat;
use crate::shard::{Postponed, Sharing};
use crate::target::{Emitter, Queue, ShardId, Target};

/// Bytes that a connection is estimated to take by itself, in the broker and in the
/// kernel: its own state, a control frame that arrived in part, and the kernel's
/// socket, but not what that buffers.
pub const CONNECTION_BYTES: usize = 8 << 10;

const _: () = assert!(
    CONNECTION_BYTES
        > size_of::<Connection>()
            + KEEP_ENTRIES * ENTRY_BYTES
            + MAX_HEAD_BYTES
            + MAX_CONTROL_PAYLOAD_BYTES
);

/// Stage in the life of a connection.
#[derive(Debug)]
pub enum State {
    /// The client must say hello.
    Hello,
    /// The connection goes to another shard once receiving has stopped; what the client
    /// asked for in its hello is kept.
    Moving(Box<Moving>),
    /// The client emits and listens.
    Open,
    /// The connection closes once what is queued is sent.
    Closing,
    /// The connection closes once what is queued is sent and no more bytes come: those
    /// that the client still sends are read and thrown away.
    Draining {
        /// Bytes thrown away so far.
        bytes: usize,
    },
    /// The back end is closing it.
    Closed,
}

/// A connection that waits to be handed over.
#[derive(Debug)]
pub struct Moving {
    /// Shard that the connection goes to.
    pub shard: ShardId,
    /// Hello that the client said.
    pub hello: Hello,
    /// Channel that the client joins.
    pub channel: Arc<str>,
    /// Bytes that the client sent after its hello.
    pub rest: Vec<u8>,
    /// Reason why the client's previous connection was disconnected.
    pub reason: Option<(ErrorCode, String)>,
}

/// State of a connection's receiving side in the back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiving {
    /// Nothing is received.
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

/// Reason why an emitter is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// A full queue.
    Queue(Queue),
    /// The queue of messages to a shard.
    Shard(ShardId),
    /// The memory budget.
    Memory,
    /// Routes that take long to find.
    Routes,
    /// Clients that were here before the broker was restarted, and are not back.
    Hold,
    /// The rate that the client's channel allows.
    Rate,
}

/// Relation of a queue to its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// The queue is drained as fast as it fills, as far as is known.
    None,
    /// The socket is full and the queue has grown: its emitters wait a moment.
    Grace,
    /// The queue did not drain in that moment: it may grow to its limit, in copies.
    Slow,
}

/// One connection.
pub struct Connection {
    /// Target that names the connection in routes.
    pub target: Target,
    /// User and process at the other end.
    pub peer: Peer,
    /// Seat among all connections of the broker; none only in tests of a shard's parts.
    pub seat: Option<Seat>,
    /// Stage in the life of the connection.
    pub state: State,
    /// Source that the client must write into its frames.
    pub source: Source,
    /// Channel that the client is on, once it said hello.
    pub channel: Option<ChannelId>,
    /// Name that the client gave itself.
    pub name: Box<str>,
    /// Own listeners hear own events.
    pub echo: bool,
    /// A full queue loses its oldest events instead of pausing emitters.
    pub latest: bool,
    /// The client does not come back after the connection's end.
    pub leaves: bool,
    /// The client was promised to be told of what it misses until all its patterns are in
    /// force again.
    pub is_promised: bool,
    /// Framer of the bytes that the client sends.
    pub inbound: Inbound,
    /// Stage on the way to shared memory.
    pub sharing: Sharing,
    /// Bytes that the client sent and that wait for others to come back.
    pub held: Vec<Bytes>,
    /// Patterns that the client had before the broker was restarted, and has not again.
    pub awaited: u32,
    /// Source that the client had before the broker was restarted.
    pub previous: Source,
    /// Queue of frames for the client.
    pub outbound: Outbound,
    /// High-water mark that the client asked for; 0: as all others.
    pub wanted_queue_bytes: usize,
    /// Largest payload that the client may emit, as its welcome said.
    pub max_payload_bytes: usize,
    /// Pace of the client, where its channel limits it.
    pub pace: Option<Box<Pace>>,
    /// Guard of the client, if access rules restrict it.
    pub guard: Option<Box<Guard>>,
    /// The client is to connect anew, and is read up to its end for that.
    pub is_parting: bool,
    /// State of the receiving side.
    pub receiving: Receiving,
    /// The client was kept from writing more: the end of its bytes does not mean that
    /// it is gone.
    pub is_read_up: bool,
    /// Time at which a large frame's buffer began to be filled.
    pub filling_since: Instant,
    /// Bytes of that frame that had come before, as chunks.
    pub filling_from: usize,
    /// Reasons why the client is paused as an emitter.
    pub blocked_by: SmallVec<[Blocker; 1]>,
    /// Emitters that wait for this connection's queue.
    pub waiters: Vec<Emitter>,
    /// Lag of the queue behind its socket.
    pub lag: Lag,
    /// Time at which the queue became full.
    pub full_since: Instant,
    /// Time since which the queue is not empty although something of it was sent.
    pub waits_since: Option<Instant>,
    /// The queue is on the list of those to flush.
    pub dirty: bool,
    /// Patterns that the client listens to.
    pub patterns: PatternSet,
    /// Frames that the client sent and that wait for routes.
    pub postponed: Option<Box<Postponed>>,
    /// Sequence of the client's last event that is queued at every target of this
    /// shard.
    pub last_sequence: u64,
    /// Events that the client emitted.
    pub events_in: u64,
    /// Events of the client that access rules did not allow.
    pub forbidden: u64,
    /// Events queued to the client.
    pub events_out: u64,
    _charge: Charge,
}

impl Connection {
    /// Returns a connection whose client has not said hello.
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
            leaves: false,
            is_promised: false,
            latest: false,
            inbound: Inbound::default(),
            sharing: Sharing::Never,
            held: Vec::new(),
            awaited: 0,
            previous: Source::NONE,
            outbound: Outbound::new(max_queue_bytes, budget),
            wanted_queue_bytes: 0,
            max_payload_bytes: 0,
            pace: None,
            guard: None,
            is_parting: false,
            receiving: Receiving::Off,
            is_read_up: false,
            filling_since: Instant::START,
            filling_from: 0,
            blocked_by: SmallVec::new(),
            waiters: Vec::new(),
            lag: Lag::None,
            full_since: Instant::START,
            waits_since: None,
            dirty: false,
            patterns: PatternSet::new(budget),
            postponed: None,
            last_sequence: 0,
            events_in: 0,
            forbidden: 0,
            events_out: 0,
            _charge: budget.charge_for(Purpose::Connections, CONNECTION_BYTES),
        }
    }

    /// Returns whether events may be queued to the client.
    #[inline]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Returns whether access rules let the client emit events of this name.
    #[inline]
    pub fn may_emit(&mut self, name: &[u8]) -> bool {
        self.guard.as_mut().is_none_or(|guard| guard.may_emit(name))
    }

    /// Returns whether the queue lags behind its socket.
    pub fn is_slow(&self) -> bool {
        self.lag == Lag::Slow
    }

    /// Returns whether the connection closes once what is queued is sent.
    pub fn is_ending(&self) -> bool {
        matches!(self.state, State::Closing | State::Draining { .. })
    }

    /// Returns whether the queue has begun to lag: more than `lag_bytes` wait for a
    /// socket that is full.
    #[inline]
    pub fn lags(&self, lag_bytes: usize) -> bool {
        self.lag == Lag::None
            && self.outbound.is_blocked()
            && self.outbound.queued_bytes() >= lag_bytes
    }

    /// Lets a `latest` connection that is over its mark lose its oldest events. Returns
    /// their number.
    pub fn trim_latest(&mut self, budget: &Budget) -> u64 {
        let mark = self.outbound.mark_bytes(budget);
        if self.outbound.held_bytes() > mark { self.outbound.drop_oldest(mark) } else { 0 }
    }

    /// Returns whether emitters that feed the queue must wait.
    #[inline]
    pub fn holds_up(&self) -> bool {
        self.outbound.is_full() || self.lag == Lag::Grace
    }
}
