//! Messages between shards: one bounded queue per ordered pair.
//!
//! ```text
//!   shard 0 ──▶ ring ──▶ shard 1        overflow ─▶ ring: what does not fit waits at
//!   shard 0 ◀── ring ◀── shard 1        its source, whose emitters pause
//! ```
//! No shard waits for another. Messages of one pair arrive in the order sent.
//! Other shards are woken once per turn, by [`Mesh::publish`].
//!
//! Decision: `docs/decisions/009-rtrb-and-hashbrown.md`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use netcluster_platform::{Peer, Waker};
use netcluster_wire::control::Audience;
use netcluster_wire::{ErrorCode, Hello, Pattern, Source};

use crate::inbound::Pieces;
use crate::placement::Reason;
use crate::population::Seat;
use crate::returning::Listening;
use crate::routes::Route;
use crate::shard::{Inquiry, Part};
use crate::target::{Emitter, Queue, ShardId, Target};
use netcluster_link::channel::ChannelHash;
use netcluster_link::config::StreamMap;
use netcluster_link::event::Lost;
use netcluster_link::options::LinkOptions;

/// Messages that one ring holds.
pub const RING_MESSAGES: usize = 1024;

/// Message from one shard to another.
pub enum Message<S> {
    /// Whole frames for targets of the receiving shard.
    Run {
        /// The targets, those of other shards too.
        route: Arc<Route>,
        /// Client or stream that emitted the frames.
        emitter: Emitter,
        /// The frames: any number in one slice, or one in several.
        pieces: Pieces,
        /// Number of frames.
        frames: usize,
    },
    /// A client listens to a pattern.
    Subscribe {
        /// Channel that the client is on.
        channel: Arc<str>,
        /// Pattern that the client listens to.
        pattern: Pattern,
        /// Client that listens.
        target: Target,
    },
    /// A client no longer listens to some patterns.
    Unsubscribe {
        /// Channel that the client is on.
        channel: Arc<str>,
        /// Patterns that the client listened to.
        patterns: Vec<Pattern>,
        /// Client that listened.
        target: Target,
    },
    /// A client of this channel has come; for the link's books.
    ChannelUsed(Arc<str>),
    /// A client of this channel has gone; for the link's books.
    ChannelUnused(Arc<str>),
    /// Events from another broker are missing here.
    LinkLost(Lost),
    /// Tell when the other brokers know what this one listens to.
    ClusterWanted {
        /// The client that asks.
        target: Target,
        /// The number of its request.
        request: u64,
        /// Longest time to wait.
        wait: Duration,
    },
    /// The other brokers know, or the wait was too long.
    ClusterAnswered {
        /// The client that asked.
        target: Target,
        /// The number of its request.
        request: u64,
        /// Names of the brokers that have not answered.
        missing: Vec<String>,
    },
    /// Open the link.
    LinkWanted {
        /// The client that asks.
        target: Target,
        /// The number of its request.
        request: u64,
        /// Options of the link.
        options: Box<LinkOptions>,
    },
    /// The link is open, or could not be opened.
    LinkAnswered {
        /// The client that asked.
        target: Target,
        /// The number of its request.
        request: u64,
        /// Reason why not; empty if it is open.
        text: String,
    },
    /// The link is open: events go there as well.
    LinkOpened(Arc<StreamMap>),
    /// Count the brokers of other machines that take a channel's events.
    AudienceWanted {
        /// The client that asks.
        target: Target,
        /// The number of its request.
        request: u64,
        /// Clients that listen on this machine.
        clients: u64,
        /// The channel's hash.
        channel: ChannelHash,
    },
    /// The brokers of other machines are counted.
    AudienceCounted {
        /// The client that asked.
        target: Target,
        /// The number of its request.
        request: u64,
        /// Clients and brokers together.
        audience: Audience,
    },
    /// Answer with `Passed`: everything sent before is then done.
    Barrier(u64),
    /// The answer to `Barrier`.
    Passed(u64),
    /// This emitter feeds a full queue.
    Pause {
        /// Emitter that pauses; its home is the receiving shard.
        emitter: Emitter,
        /// The queue that is full.
        by: Queue,
    },
    /// A full queue has drained: an emitter that fed it goes on.
    Resume {
        /// Emitter that goes on.
        emitter: Emitter,
        /// The queue that was full.
        by: Queue,
    },
    /// Receive buffers run short: copy out what blocked queues pin.
    CopyOut,
    /// The memory budget is used up and an emitter waits for it.
    MemoryWanted,
    /// Take over a connection.
    Adopt(Box<Adoption<S>>),
    /// The client of this channel with this number is gone; for the accepting shard's
    /// books.
    Departed(Arc<str>, u32),
    /// A client was disconnected; for the books of a shard that accepts.
    ClosedByBroker(Box<Reason>),
    /// A flood is over: give back the memory that it took.
    FloodOver,
    /// A client came back after a crash: events of its channel wait for other clients.
    Hold(Arc<str>),
    /// The client that was this source is back, with all its patterns.
    IsBack(Arc<str>, Source),
    /// Events of a channel wait no more: all clients are back.
    Released(Arc<str>),
    /// The link has been left, as the broker ends.
    LinkLeft,
    /// Events of this channel wait no longer for clients that were here before.
    HoldOver(Arc<str>),
    /// Nothing more will come from the sender, which is shutting down; with its clients
    /// that listen, or are waited for.
    Quiet(Vec<Listening>),
    /// Answer a part of this question to the sender.
    Asked(u64, Box<Inquiry>),
    /// A part of the answer to a question.
    Answered(u64, Box<Part>),
    /// Tell the clients that the broker will end, and end it after this time.
    DrainWanted(Duration),
}

/// A connection on its way to its shard.
pub struct Adoption<S> {
    /// Socket of the connection.
    pub socket: S,
    /// User and process at the other end.
    pub peer: Peer,
    /// Seat among all connections of the broker.
    pub seat: Option<Seat>,
    /// Number that the client is to have.
    pub client: u32,
    /// Hello that the client said.
    pub hello: Hello,
    /// Channel that the client joins.
    pub channel: Arc<str>,
    /// Bytes that the client sent after its hello.
    pub rest: Vec<u8>,
    /// Reason why the client's previous connection was disconnected.
    pub reason: Option<(ErrorCode, String)>,
}

struct Outbox<S> {
    ring: Producer<Message<S>>,
    overflow: VecDeque<Message<S>>,
    waiters: Vec<Emitter>,
    waker: Waker,
    /// Set while the overflow waits for room; the receiver clears it and wakes this
    /// shard.
    starving: Arc<AtomicBool>,
    published: bool,
}

struct Inbox<S> {
    ring: Consumer<Message<S>>,
    waker: Waker,
    starving: Arc<AtomicBool>,
}

/// One shard's ends of the queues to and from all others.
pub struct Mesh<S> {
    id: ShardId,
    outboxes: Vec<Option<Outbox<S>>>,
    inboxes: Vec<Option<Inbox<S>>>,
}

impl<S> Mesh<S> {
    /// Returns the ends for every shard of a broker, given the waker of each.
    pub fn new_all(wakers: &[Waker]) -> Vec<Mesh<S>> {
        let shards = wakers.len();
        let mut all: Vec<Mesh<S>> = ShardId::all(shards as u16)
            .map(|id| Mesh {
                id,
                outboxes: (0..shards).map(|_| None).collect(),
                inboxes: (0..shards).map(|_| None).collect(),
            })
            .collect();
        for from in 0..shards {
            for to in (0..shards).filter(|&to| to != from) {
                let (producer, consumer) = RingBuffer::new(RING_MESSAGES);
                let starving = Arc::new(AtomicBool::new(false));
                all[from].outboxes[to] = Some(Outbox {
                    ring: producer,
                    overflow: VecDeque::new(),
                    waiters: Vec::new(),
                    waker: wakers[to].clone(),
                    starving: Arc::clone(&starving),
                    published: false,
                });
                all[to].inboxes[from] =
                    Some(Inbox { ring: consumer, waker: wakers[from].clone(), starving });
            }
        }
        all
    }

    /// Returns the shard whose ends these are.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Returns the number of shards.
    pub fn shards(&self) -> u16 {
        self.outboxes.len() as u16
    }

    /// Returns all shards but this one.
    pub fn others(&self) -> impl ExactSizeIterator<Item = ShardId> + use<S> {
        let id = self.id.0;
        (0..self.shards() - 1).map(move |at| ShardId(at + u16::from(at >= id)))
    }

    /// Sends a message. Returns whether it had to wait at this end, so that the
    /// emitter it came from should pause: see [`Mesh::wait_for`].
    ///
    /// # Panics
    /// If `to` is this shard: a programmer's error.
    pub fn send(&mut self, to: ShardId, message: Message<S>) -> bool {
        let outbox = self.outboxes[to.index()].as_mut().expect("not to oneself");
        if outbox.ring.is_abandoned() {
            // That shard has ended: nobody there misses anything.
            return false;
        }
        outbox.published = true;
        if outbox.overflow.is_empty() {
            match outbox.ring.push(message) {
                Ok(()) => return false,
                Err(rtrb::PushError::Full(message)) => outbox.overflow.push_back(message),
            }
        } else {
            outbox.overflow.push_back(message);
        }
        true
    }

    /// Notes that an emitter pauses until the overflow towards `to` is gone.
    pub fn wait_for(&mut self, to: ShardId, emitter: Emitter) {
        let outbox = self.outboxes[to.index()].as_mut().expect("not to oneself");
        outbox.waiters.push(emitter);
    }

    /// Moves overflow on as far as there is room, and wakes every shard that has
    /// new messages. Returns the emitters that may go on, and what held them.
    #[must_use = "they stay paused"]
    pub fn publish(&mut self) -> Vec<(Emitter, ShardId)> {
        let mut resumed = Vec::new();
        for (to, outbox) in self.outboxes.iter_mut().enumerate() {
            let Some(outbox) = outbox else { continue };
            if !outbox.overflow.is_empty() {
                outbox.move_on();
                if !outbox.overflow.is_empty() {
                    // Tell the receiver first, then look again: room that it made
                    // in between is not missed.
                    outbox.starving.store(true, Ordering::SeqCst);
                    outbox.move_on();
                }
                if outbox.overflow.is_empty() {
                    resumed.extend(
                        outbox.waiters.drain(..).map(|emitter| (emitter, ShardId(to as u16))),
                    );
                }
            }
            if std::mem::take(&mut outbox.published) {
                outbox.waker.wake();
            }
        }
        resumed
    }

    /// Returns the number of messages that wait for room in the ring towards a shard.
    #[inline]
    pub fn overflow(&self, to: ShardId) -> usize {
        self.outboxes[to.index()].as_ref().map_or(0, |outbox| outbox.overflow.len())
    }

    /// Returns whether messages still wait for room in a ring.
    pub fn has_overflow(&self) -> bool {
        self.outboxes.iter().flatten().any(|outbox| !outbox.overflow.is_empty())
    }

    /// Takes the next message from shard `from`.
    #[inline]
    pub fn receive(&mut self, from: ShardId) -> Option<Message<S>> {
        self.inboxes[from.index()].as_mut()?.ring.pop().ok()
    }

    /// Wakes `from` if it waits for room; to be called when a batch was taken from it.
    pub fn taken(&mut self, from: ShardId) {
        if let Some(inbox) = &self.inboxes[from.index()]
            && inbox.starving.swap(false, Ordering::SeqCst)
        {
            inbox.waker.wake();
        }
    }
}

impl<S> Outbox<S> {
    fn move_on(&mut self) {
        if self.ring.is_abandoned() {
            self.overflow.clear();
        }
        while let Some(message) = self.overflow.pop_front() {
            if let Err(rtrb::PushError::Full(message)) = self.ring.push(message) {
                self.overflow.push_front(message);
                return;
            }
            self.published = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use netcluster_platform::WakeTarget;

    use super::*;

    struct Asleep;

    impl WakeTarget for Asleep {
        fn wake(&self) {}
    }

    fn pair() -> (Mesh<()>, Mesh<()>) {
        let wakers = [Waker::new(Arc::new(Asleep)), Waker::new(Arc::new(Asleep))];
        let mut all = Mesh::new_all(&wakers).into_iter();
        (all.next().unwrap(), all.next().unwrap())
    }

    #[test]
    fn what_does_not_fit_waits_at_its_source_and_arrives_in_order() {
        let (mut one, mut two) = pair();
        for number in 0..RING_MESSAGES as u64 + 5 {
            assert_eq!(
                one.send(ShardId(1), Message::Barrier(number)),
                number >= RING_MESSAGES as u64
            );
        }
        assert_eq!(one.overflow(ShardId(1)), 5);
        for number in 0..RING_MESSAGES as u64 + 5 {
            let message = two.receive(ShardId(0)).or_else(|| {
                assert_eq!(one.publish(), []);
                two.receive(ShardId(0))
            });
            assert!(matches!(message, Some(Message::Barrier(it)) if it == number));
        }
        assert!(!one.has_overflow());
    }

    #[test]
    fn nothing_waits_for_a_shard_that_has_ended() {
        let (mut one, two) = pair();
        for number in 0..RING_MESSAGES as u64 + 5 {
            one.send(ShardId(1), Message::Barrier(number));
        }
        drop(two);
        assert!(!one.send(ShardId(1), Message::Barrier(0)), "nobody need pause for it");
        assert_eq!(one.publish(), []);
        assert!(!one.has_overflow());
    }
}
