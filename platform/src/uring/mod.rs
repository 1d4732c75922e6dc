//! The io_uring back end: Linux 6.1 and later, where it is allowed.
//!
//! ```text
//!   ring.rs      the ring: push, enter, drain; nothing is known of operations
//!   token.rs     what a completion is for, in its 64 bits of user data
//!   setup.rs     the configuration, and why a ring may be refused
//!   provided.rs  the pool's buffers, lent to the kernel by a buffer ring
//!   table.rs     connections and the operations the kernel has on them
//!   accept.rs    the listener
//!   receive.rs   multishot receive, starvation, filling a frame's own buffer
//!   send.rs      gather-writes and waiting for room
//!   shared.rs    connections with shared memory
//!   close.rs     shutting down, closing, giving away
//!   datagram.rs  the sockets of the link
//!   wake.rs      the event descriptor other threads write to
//! ```
//! One thread makes and drives a ring (`SINGLE_ISSUER`), and the kernel works for
//! it only inside that thread's own calls (`DEFER_TASKRUN`): no interrupts, no
//! locks, and completions in a batch.
//!
//! It does not look at the bytes and keeps no queue of them.
//!
//! Invariant: what the kernel may touch (buffers, gather lists, descriptors)
//! is owned by the table, the pool or the waker until the operation's final
//! completion; dropping [`UringIo`] first cancels everything and waits for it, and
//! leaks what the kernel does not let go of.
//!
//! Decisions, in `docs/decisions`:
//! `001-nonblocking-sends.md`, `008-hang-up-poll.md`.

mod accept;
mod close;
mod datagram;
mod provided;
mod receive;
mod ring;
mod send;
mod setup;
mod shared;
mod table;
mod token;
mod wake;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::shared::SharedMemory;
use crate::{
    ClientMemory, Completion, Conn, Io, IoStats, LocalListener, LocalSocket, MemoryUse, Slice,
    Waker,
};
use accept::Acceptor;
use datagram::DatagramState;
use provided::ProvidedBuffers;
use ring::{Event, Ring};
use send::SendStates;
pub use setup::{Unsupported, UringConfig};
use table::Table;
use token::{Kind, Token};
use wake::WakeEvent;

/// A batch with so many ends of connections is one of a flood, of which the kernel has
/// more: what came behind it must not wait a turn for every few of them.
const FLOOD: usize = 8;

/// Number of completions of a flood that one call fetches, and of calls in one turn.
const FLOOD_WORK: u32 = 256;
const FLOOD_ROUNDS: usize = 4;

/// The io_uring back end. Made on the thread that drives it, and never moved to
/// another: the ring belongs to its maker.
pub struct UringIo {
    ring: Ring,
    provided: ManuallyDrop<ProvidedBuffers>,
    datagrams: DatagramState,
    wake: Arc<WakeEvent>,
    /// Value that the kernel reads from the event descriptor.
    wake_value: Box<u64>,
    table: Table,
    /// Connections of which an operation is to end by itself, and until when it may;
    /// entries may be stale. See `close`.
    late: VecDeque<(Duration, Conn)>,
    /// Completions of ends since the last look.
    ends: usize,
    send_states: SendStates,
    /// Connections with shared memory, if this broker has any to share.
    sharing: SharedMemory,
    acceptor: Option<Acceptor>,
    /// Connections that wait for a pool buffer, in order; entries may be stale.
    starved: VecDeque<Conn>,
    /// Number of connections on that list that still wait.
    starved_count: usize,
    /// Completions found outside of `wait`.
    ready: Vec<Completion>,
    /// Connections that were closed outside of `wait`: their numbers are free
    /// once `Closed` was reported.
    closed: Vec<Conn>,
    /// The batch of kernel completions under work, kept for its memory.
    events: Vec<Event>,
    /// Whether each receiving connection has a poll for hang-ups; see `receive`.
    watch_hang_up: bool,
    stats: IoStats,
    start: Instant,
    /// Marker that makes it not `Send`: see above.
    _thread: PhantomData<*mut ()>,
}

impl UringIo {
    /// Sets up a ring for the calling thread.
    ///
    /// # Errors
    /// Why io_uring cannot be used here, and what would allow it.
    pub fn new(config: UringConfig) -> Result<UringIo, Unsupported> {
        let mut ring = setup::build(&config)?;
        let provided = ProvidedBuffers::new(&mut ring, &config)?;
        let wake = Arc::new(WakeEvent::new().map_err(Unsupported::setup)?);
        provided.pool().set_waker(Waker::new(wake.clone()));
        let sharing = SharedMemory::new(config.arena, Waker::new(wake.clone()));
        let mut io = UringIo {
            ring,
            provided: ManuallyDrop::new(provided),
            datagrams: DatagramState::default(),
            wake,
            wake_value: Box::new(0),
            table: Table::default(),
            late: VecDeque::new(),
            ends: 0,
            send_states: SendStates::default(),
            sharing,
            acceptor: None,
            starved: VecDeque::new(),
            starved_count: 0,
            ready: Vec::new(),
            closed: Vec::new(),
            events: Vec::new(),
            watch_hang_up: config.watch_hang_up,
            stats: IoStats::default(),
            start: Instant::now(),
            _thread: PhantomData,
        };
        io.arm_wake();
        Ok(io)
    }

    /// Whether buffers are consumed piece by piece.
    pub fn is_incremental(&self) -> bool {
        self.provided.is_incremental()
    }

    /// Carries out what the kernel has completed. Returns whether there was anything.
    fn handle_events(&mut self, completions: &mut Vec<Completion>) -> io::Result<bool> {
        let mut events = mem::take(&mut self.events);
        self.ring.drain(&mut events)?;
        let some = !events.is_empty();
        for event in events.drain(..) {
            self.handle(event, completions);
        }
        self.events = events;
        Ok(some)
    }

    fn handle(&mut self, event: Event, completions: &mut Vec<Completion>) {
        let Some(token) = Token::from_bits(event.user_data) else { return };
        let conn = Conn(token.slot);
        match token.kind {
            Kind::Wake => {
                self.wake.rearm();
                self.arm_wake();
                completions.push(Completion::Woken);
            }
            Kind::Accept => self.on_acceptable(),
            Kind::CancelAccept => {}
            Kind::Receive => self.on_receive(conn, event, completions),
            Kind::CancelReceive => self.on_cancel_receive(conn, event, completions),
            Kind::HangUp => self.on_hang_up(conn, completions),
            Kind::Fill => self.on_fill(conn, event, completions),
            Kind::Send => self.on_send(conn, event, completions),
            Kind::Writable => self.on_writable(conn, completions),
            Kind::CancelEnd => self.on_cancel_end(conn),
            Kind::Datagrams => self.on_datagrams(token.slot, event, completions),
            Kind::DatagramsWritable => self.on_datagrams_writable(token.slot, completions),
            Kind::Bell => self.on_bell(conn, event, completions),
            Kind::CancelBell => self.on_cancel_bell(conn, event),
        }
    }

    fn starvations(&self) -> u64 {
        self.stats.starvations + self.sharing.starvations()
    }

    /// Reports what needs no kernel.
    fn report_ready(&mut self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.ready);
        for conn in self.closed.drain(..) {
            self.table.free(conn);
            completions.push(Completion::Closed { conn });
        }
    }
}

impl Io for UringIo {
    type Socket = LocalSocket;
    type Listener = LocalListener;

    fn name(&self) -> &'static str {
        "uring"
    }

    fn hands_over(&self) -> bool {
        true
    }

    fn accept(&mut self, listener: LocalListener) -> io::Result<()> {
        self.start_accept(listener)
    }

    fn resume_accept(&mut self) {
        self.retry_accept();
    }

    fn stop_accept(&mut self) {
        self.end_accept();
    }

    fn adopt(&mut self, socket: LocalSocket) -> io::Result<Conn> {
        let (fd, peer) = socket.into_parts();
        // A descriptor in nonblocking mode would make the kernel complete receives
        // with EAGAIN instead of waiting for data.
        rustix::io::ioctl_fionbio(&fd, false)?;
        Ok(self.table.insert(fd, peer))
    }

    fn release(&mut self, conn: Conn) -> LocalSocket {
        self.give_away(conn)
    }

    fn receive(&mut self, conn: Conn) {
        self.start_receive(conn);
    }

    fn stop_receive(&mut self, conn: Conn) {
        self.end_receive(conn);
    }

    fn receive_into(&mut self, conn: Conn, buffer: BytesMut, length: usize) {
        self.start_fill(conn, buffer, length);
    }

    fn send<'a>(&mut self, conn: Conn, slices: impl Iterator<Item = &'a Slice>) {
        self.start_send(conn, slices);
    }

    fn end_sending(&mut self, conn: Conn) -> bool {
        self.stats.syscalls += 1;
        crate::local::end_sending(self.table.slot(conn).open_fd())
    }

    fn end_receiving(&mut self, conn: Conn) -> bool {
        if self.table.slot(conn).is_shared() {
            self.sharing.end_receiving(conn);
            return true;
        }
        self.stats.syscalls += 1;
        crate::local::end_receiving(self.table.slot(conn).open_fd())
    }

    fn arena_bytes(&self) -> usize {
        self.sharing.arena_bytes()
    }

    fn offer_memory(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &ClientMemory,
    ) -> io::Result<bool> {
        self.offer(conn, frame, memory)
    }

    fn share_memory(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &Arc<ClientMemory>,
    ) -> io::Result<bool> {
        self.share(conn, frame, memory)
    }

    fn put_back(&mut self, conn: Conn, chunk: &Bytes, bytes: usize, frame_bytes: usize) -> bool {
        self.sharing.put_back(conn, chunk, bytes, frame_bytes)
    }

    fn is_read(&mut self, conn: Conn) -> bool {
        self.sharing.is_read(conn)
    }

    fn allow_largest_ring(&mut self, conn: Conn) {
        self.sharing.allow_largest_ring(conn);
    }

    fn memory_use(&self, conn: Conn) -> Option<MemoryUse> {
        self.sharing.usage(conn)
    }

    fn close(&mut self, conn: Conn) {
        self.start_close(conn);
    }

    fn wait(
        &mut self,
        completions: &mut Vec<Completion>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let before = completions.len();
        let starvations = self.starvations();
        let deadline = timeout.map(|timeout| (Instant::now(), timeout));
        loop {
            self.report_ready(completions);
            let more_to_arm = self.feed_starved();
            self.feed_datagrams();
            let starves = self.starved_count > 0;
            self.sharing.start(self.provided.pool_mut(), starves, completions);
            // Completions that a full submission queue forced out earlier, or that
            // came with the last enter, are reported before anything blocks.
            let idle = completions.len() == before && !more_to_arm && !self.ring.has_events();
            let quiet = idle && !self.can_accept() && self.late.is_empty();
            // Who only looks asks for no bells.
            let looks = timeout.is_some_and(|timeout| timeout.is_zero());
            let block = quiet && (looks || self.sharing.may_sleep(starves));
            let rest = match deadline {
                _ if !block => Some(Duration::ZERO),
                None => None,
                Some((_, timeout)) if timeout.is_zero() => Some(timeout),
                Some((start, timeout)) => Some(timeout.saturating_sub(start.elapsed())),
            };
            let timed_out = if self.can_accept() {
                // Who connected before must be read from no slower than others connect.
                self.ring.enter_for(FLOOD_WORK).map(|()| true)?
            } else {
                self.ring.enter(rest)?
            };
            let mut some = self.handle_events(completions)?;
            for _ in 0..FLOOD_ROUNDS {
                if mem::take(&mut self.ends) < FLOOD {
                    break;
                }
                self.ring.enter_for(FLOOD_WORK)?;
                some |= self.handle_events(completions)?;
            }
            while self.more_datagrams() {
                self.ring.enter(Some(Duration::ZERO))?;
                self.handle_events(completions)?;
            }
            self.chase_late(!some);
            self.accept_some(completions);
            self.sharing.turn(self.provided.budget_bytes(), completions);
            self.report_ready(completions);
            // The shard must know that somebody starves: only it can free buffers.
            let starving = self.starvations() > starvations;
            if completions.len() > before || starving || (timed_out && block) {
                return Ok(());
            }
            // Only inner completions (a cancel's, say): go on waiting.
        }
    }

    fn waker(&self) -> Waker {
        Waker::new(self.wake.clone())
    }

    fn now(&self) -> crate::Instant {
        crate::Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    fn starved(&self) -> bool {
        self.starved_count > 0 && self.provided.is_short() || self.sharing.starved()
    }

    fn set_receive_budget(&mut self, bytes: usize) {
        self.provided.set_budget(bytes);
    }

    fn stats(&self) -> IoStats {
        let pool = self.provided.pool();
        let mut stats = IoStats {
            syscalls: self.stats.syscalls + self.ring.enters() + self.wake.writes(),
            buffers: pool.buffers() as u64,
            pinned_buffers: pool.pinned() as u64,
            buffer_bytes: pool.buffer_bytes() as u64,
            ..self.stats
        };
        self.sharing.add_stats(&mut stats);
        stats
    }
}

impl Drop for UringIo {
    fn drop(&mut self) {
        // Receives straight into a frame's buffer, gather lists, the wake value:
        // all of it must be out of the kernel's hands before it is freed.
        if self.ring.cancel_everything() {
            // SAFETY: nothing uses it after this. No operation is left for which the
            // kernel would look at the buffers or their ring.
            unsafe { ManuallyDrop::drop(&mut self.provided) };
            return;
        }
        tracing::error!(
            "the kernel did not let go of the memory of a ring; it stays allocated until this \
             process ends"
        );
        mem::forget(mem::take(&mut self.table));
        mem::forget(mem::take(&mut self.datagrams));
        mem::forget(mem::take(&mut self.wake_value));
        mem::forget(self.acceptor.take());
    }
}

impl std::fmt::Debug for UringIo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("UringIo")
            .field("connections", &self.table.open())
            .field("pool", self.provided.pool())
            .field("starved", &self.starved_count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
