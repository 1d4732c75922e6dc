//! Steps from sockets to shared memory, connection by connection.
//!
//! ```text
//!   Able ─ some bytes moved ─▶ Ordered ─ made ─▶ Ready ─ offer sent ─▶ Offered
//!    ▲                          │ not made                               │
//!    └──── later, if it may be better then                accept ────────┤ decline
//!                                                           ▼            ▼
//!                              On ◀─ begin sent ─ Accepted             Never
//! ```
//! Only clients that move bytes get memory: thousands that are idle cost nothing. Offer
//! and begin are sent between two frames, as soon as the socket takes them. Whatever does
//! not work out, the socket does the work, and the log says once why.
//!
//! Decision: `docs/decisions/049-shared-memory.md`.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use netcluster_platform::{ClientMemory, Conn, Io};
use netcluster_wire::{ErrorCode, Kind, SharedStep, frame};

use crate::budget::{Charge, Purpose};
use crate::memory_maker::{Made, MemoryOrders};
use crate::target::Target;
use crate::timers::Timer;

use super::Shard;

/// Nanoseconds after which a step is tried again that the socket had no room for: 2 ms.
const RETRY_NS: u64 = 2_000_000;

/// Bytes that a client moves before it is looked at again, if there was no room for it.
const RETRY_AFTER_BYTES: u64 = 64 << 20;

/// Stage of a connection on the way to shared memory.
#[derive(Debug, Default)]
pub enum Sharing {
    /// The client cannot use it, or the broker has none.
    #[default]
    Never,
    /// The client is offered memory once it has moved so many bytes more.
    Able {
        /// Bytes still to be moved.
        bytes: u64,
    },
    /// Memory is being made.
    Ordered(Counted),
    /// The offer is to be sent.
    Ready(Box<Shares>),
    /// The client has been asked.
    Offered(Box<Shares>),
    /// The client sends by its ring from now on; it is to be told that the broker begins.
    Accepted(Box<Shares>),
    /// Both use the memory.
    On(Box<Shares>),
}

/// Memory that a connection has, and what it counts for.
#[derive(Debug)]
pub struct Shares {
    memory: Arc<ClientMemory>,
    charge: Charge,
    _counted: Counted,
    /// The largest ring has been ordered, or is there.
    is_growing: bool,
}

/// Guard of one connection that has memory, or is about to: it counts while it lives.
#[derive(Debug)]
pub struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(count: &Rc<Cell<usize>>) -> Counted {
        count.set(count.get() + 1);
        Counted(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Sharing {
    /// Returns whether the memory is in use.
    #[inline]
    pub fn is_on(&self) -> bool {
        matches!(self, Sharing::On(_))
    }

    /// Returns whether a frame waits to be sent between two others.
    #[inline]
    pub fn is_step_due(&self) -> bool {
        matches!(self, Sharing::Ready(_) | Sharing::Accepted(_))
    }

    /// Notes that so many bytes were moved. Returns whether it is time to order memory.
    #[inline]
    pub fn moved(&mut self, moved: usize) -> bool {
        let Sharing::Able { bytes } = self else { return false };
        *bytes = bytes.saturating_sub(moved as u64);
        *bytes == 0
    }
}

/// Shared memory of one shard.
pub(super) struct Memories {
    orders: Option<MemoryOrders>,
    /// Connections for which a step may be due; entries may be stale.
    pub due: Vec<Conn>,
    /// Connections that have memory, or are about to.
    count: Rc<Cell<usize>>,
    /// The log has said why there is none.
    is_told: bool,
}

impl Memories {
    /// Returns the state of a shard; without `orders` nobody gets memory.
    pub fn new(orders: Option<MemoryOrders>) -> Memories {
        Memories { orders, due: Vec::new(), count: Rc::default(), is_told: false }
    }

    /// Logs, once, why there is no memory.
    fn tell_missing(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!("no memory to share with a client, so its socket is used: {reason}");
        }
    }
}

impl<I: Io> Shard<I> {
    /// Returns the first stage of a client that says whether it can use shared memory.
    pub(super) fn first_sharing(&self, is_able: bool) -> Sharing {
        if is_able && self.memories.orders.is_some() && self.io.arena_bytes() > 0 {
            Sharing::Able { bytes: self.shared.config.share_after_bytes }
        } else {
            Sharing::Never
        }
    }

    /// Orders memory for a connection that has moved enough bytes, if there is room.
    pub(super) fn order_memory(&mut self, conn: Conn) {
        let budget = &self.shared.budget;
        let connection = self.connections.at(conn);
        let Some(orders) = &self.memories.orders else { return };
        if !connection.is_open() {
            return;
        }
        let may_be_more = self.memories.count.get() < self.shared.config.max_shared_clients;
        if !may_be_more || !budget.has_room_to_keep(Purpose::Shared, ClientMemory::FIRST_BYTES) {
            // There may be room later.
            connection.sharing = Sharing::Able { bytes: RETRY_AFTER_BYTES };
            return;
        }
        connection.sharing = Sharing::Ordered(Counted::new(&self.memories.count));
        orders.order_new(connection.target);
    }

    /// Takes what was made for clients of this shard.
    pub(super) fn take_memory(&mut self) {
        while let Some((target, made)) = self.memories.orders.as_ref().and_then(MemoryOrders::take)
        {
            match made {
                Ok(Made::New(memory)) => self.memory_made(target, memory),
                Ok(Made::LargestRing) => self.ring_reserved(target),
                Err(reason) => self.memory_not_made(target, &reason),
            }
        }
    }

    fn memory_made(&mut self, target: Target, memory: Arc<ClientMemory>) {
        let Some(connection) = self.connections.find_open(target) else { return };
        connection.sharing = match std::mem::take(&mut connection.sharing) {
            Sharing::Ordered(_counted) => {
                let charge =
                    self.shared.budget.charge_for(Purpose::Shared, ClientMemory::FIRST_BYTES);
                Sharing::Ready(Box::new(Shares { memory, charge, _counted, is_growing: false }))
            }
            other => other,
        };
        self.memories.due.push(target.conn);
    }

    fn memory_not_made(&mut self, target: Target, reason: &str) {
        if let Some(connection) = self.connections.find(target)
            && matches!(connection.sharing, Sharing::Ordered(_))
        {
            connection.sharing = Sharing::Able { bytes: RETRY_AFTER_BYTES };
        }
        self.memories.tell_missing(reason);
    }

    fn ring_reserved(&mut self, target: Target) {
        let Some(connection) = self.connections.find_open(target) else { return };
        if let Sharing::On(shares) = &mut connection.sharing {
            shares.charge.set(ClientMemory::MAX_BYTES);
            self.io.allow_largest_ring(target.conn);
        }
    }

    /// Sends the frames of the steps that are due.
    #[inline]
    pub(super) fn take_sharing_steps(&mut self) {
        while let Some(conn) = self.memories.due.pop() {
            self.take_sharing_step(conn);
        }
    }

    /// Sends the frame of the step that is due, if the socket takes it between two frames;
    /// else when the queue has moved on.
    #[cold]
    fn take_sharing_step(&mut self, conn: Conn) {
        let arena_bytes = self.io.arena_bytes() as u64;
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if !connection.is_open() || !connection.outbound.is_between_frames() {
            return;
        }
        let (target, source) = (connection.target, connection.source);
        let frame = |step: SharedStep| frame::encode(Kind::Shared, source, 0, b"", &step.encode());
        match std::mem::take(&mut connection.sharing) {
            Sharing::Ready(shares) => {
                let frame = frame(SharedStep::Offer { arena_bytes });
                match self.io.offer_memory(conn, &frame, &shares.memory) {
                    Ok(true) => connection.sharing = Sharing::Offered(shares),
                    Ok(false) => connection.sharing = Sharing::Ready(shares),
                    Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                        connection.sharing = Sharing::Able { bytes: RETRY_AFTER_BYTES };
                        self.memories.tell_missing(&error.to_string());
                    }
                    Err(error) => {
                        tracing::debug!(client = connection.target.client, %error, "no offer");
                    }
                }
            }
            Sharing::Accepted(shares) => {
                let frame = frame(SharedStep::Begin);
                match self.io.share_memory(conn, &frame, &shares.memory) {
                    Ok(true) => connection.sharing = Sharing::On(shares),
                    Ok(false) => connection.sharing = Sharing::Accepted(shares),
                    Err(error) => {
                        // The client sends by the ring already: there is no way back.
                        let text = format!("shared memory cannot be used: {error}");
                        return self.close_with_error(conn, ErrorCode::Busy, &text);
                    }
                }
            }
            other => connection.sharing = other,
        }
        if connection.sharing.is_step_due() {
            self.timers.set(self.now + RETRY_NS, Timer::Sharing(target));
        }
    }

    /// Leaves a client what it has put into its ring, as nothing has been taken of it yet and
    /// the broker ends.
    pub(super) fn refuse_ring(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
        if let Sharing::Accepted(shares) = &connection.sharing {
            shares.memory.refuse_ring();
            connection.sharing = Sharing::Never;
        }
    }

    /// Handles a client's answer to an offer.
    pub(super) fn sharing_answered(&mut self, conn: Conn, payload: &[u8]) {
        let connection = self.connections.at(conn);
        let sharing = std::mem::take(&mut connection.sharing);
        match (SharedStep::decode(payload), sharing) {
            (Ok(SharedStep::Accept), Sharing::Offered(shares)) => {
                connection.sharing = Sharing::Accepted(shares);
                let is_parting = connection.is_parting;
                if self.is_quiet() || is_parting {
                    return self.refuse_ring(conn);
                }
                self.memories.due.push(conn);
            }
            (Ok(SharedStep::Decline(reason)), Sharing::Offered(_)) => {
                tracing::debug!(
                    client = connection.target.client,
                    "the client uses its socket, not shared memory: {reason}"
                );
            }
            (_, sharing) => {
                connection.sharing = sharing;
                let text = "this step towards shared memory is not the next one";
                self.refuse(conn, ErrorCode::Protocol, text);
            }
        }
    }

    /// Looks at a connection with shared memory after each chunk: the front of a frame that
    /// is not whole comes again in one piece, and a ring that is too small grows.
    pub(super) fn after_shared_chunk(&mut self, conn: Conn, chunk: &Bytes) {
        let connection = self.connections.at(conn);
        if !connection.is_open() {
            return;
        }
        if let Some((held, frame_bytes)) = connection.inbound.front()
            && held <= chunk.len()
            && self.io.put_back(conn, chunk, held, frame_bytes)
        {
            connection.inbound.forget();
        }
        let Sharing::On(shares) = &mut connection.sharing else { return };
        let more_bytes = ClientMemory::MAX_BYTES - ClientMemory::FIRST_BYTES;
        if !shares.is_growing
            && self.io.memory_use(conn).is_some_and(|used| used.wants_larger_ring)
            && self.shared.budget.has_room_to_keep(Purpose::Shared, more_bytes)
            && let Some(orders) = &self.memories.orders
        {
            shares.is_growing = true;
            orders.order_largest_ring(connection.target, Arc::clone(&shares.memory));
        }
    }

    /// Notes that a client broke the rules of its memory, if that is what this error says: it
    /// is told in its next welcome, as it takes nothing more now.
    pub(super) fn broke_shared_memory(&mut self, conn: Conn, error: &io::Error) {
        let connection = self.connections.at(conn);
        if error.kind() != io::ErrorKind::InvalidData || !connection.is_open() {
            return;
        }
        self.totals.protocol_errors += 1;
        self.note_disconnected(conn, ErrorCode::Protocol, &error.to_string());
    }
}
