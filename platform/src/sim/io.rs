//! The simulated back end of one shard: checks the rules of [`Io`], schedules.
//!
//! Invariant: an operation delivers nothing itself; completions come out of
//! [`Io::wait`] alone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::shard::{Event, Inbound, Outbound};
use super::socket::Holder;
use super::{SimNet, SimNetwork, SimSockets};
use crate::io::{Completion, Conn, Io, IoStats, MAX_SLICES_PER_SEND, Waker};
use crate::slice::Slice;
use crate::{ArenaSection, ClientMemory, Instant, MemoryUse};

/// The address that simulated clients connect to.
#[derive(Debug)]
pub struct SimListener {
    number: u64,
}

impl SimListener {
    pub(super) fn new(number: u64) -> SimListener {
        SimListener { number }
    }
}

/// A connection between two shards. Dropping it closes the connection.
#[derive(Debug)]
pub struct SimSocket {
    number: u64,
    _handle: Arc<()>,
}

/// Simulated back end of one shard. Dropping it closes all its connections, as a
/// process that ends does.
#[derive(Debug)]
pub struct SimIo {
    net: SimNet,
    shard: usize,
    pub(super) datagrams: Option<SimSockets>,
}

impl SimIo {
    pub(super) fn new(net: SimNet, section: Option<ArenaSection>) -> SimIo {
        let shard = net.world().add_shard(section);
        SimIo { net, shard, datagrams: None }
    }

    pub(super) fn is_on(&self, network: &SimNetwork) -> bool {
        self.net.network.is(network)
    }

    /// Whether [`Io::wait`] has something to bring at once: where it could block, it
    /// would return. If not, the shard sleeps from now on, and whoever shares memory with it
    /// must ring.
    pub fn is_ready(&self) -> bool {
        let is_due = self.net.world().is_due(self.shard);
        is_due
            || self.datagrams.as_ref().is_some_and(SimSockets::is_ready)
            || !self.net.world().sleeps(self.shard)
    }
}

impl Io for SimIo {
    type Socket = SimSocket;
    type Listener = SimListener;

    fn name(&self) -> &'static str {
        "sim"
    }

    fn hands_over(&self) -> bool {
        self.net.world().hands_over
    }

    fn accept(&mut self, listener: SimListener) -> io::Result<()> {
        let mut world = self.net.world();
        let state = &mut world.shards[self.shard];
        assert!(state.listener.is_none(), "the shard accepts already");
        state.listener = Some(listener.number);
        state.accept_paused = false;
        world.schedule_accept(self.shard);
        Ok(())
    }

    fn resume_accept(&mut self) {
        let mut world = self.net.world();
        world.shards[self.shard].accept_paused = false;
        world.schedule_accept(self.shard);
    }

    fn stop_accept(&mut self) {
        let mut world = self.net.world();
        let state = &mut world.shards[self.shard];
        state.due.retain(|_, event| *event != Event::Accept);
        state.accept_scheduled = false;
        if let Some(listener) = state.listener.take() {
            world.leave_listener(listener);
        }
    }

    fn adopt(&mut self, socket: SimSocket) -> io::Result<Conn> {
        let mut world = self.net.world();
        assert!(world.hands_over, "a connection moves that cannot");
        let conn = world.shards[self.shard].insert(socket.number);
        world.socket(socket.number).holder = Holder::Shard(self.shard, conn);
        Ok(conn)
    }

    fn release(&mut self, conn: Conn) -> SimSocket {
        let mut world = self.net.world();
        assert!(world.hands_over, "{conn:?} is released but cannot move");
        let state = world.shards[self.shard].open(conn);
        assert!(matches!(state.inbound, Inbound::Idle), "{conn:?} is released while it receives");
        let sends = matches!(state.outbound, Outbound::Lazy(_) | Outbound::Done(_));
        assert!(!sends, "{conn:?} is released while it sends");
        let number = world.shards[self.shard].remove(conn);
        let handle = Arc::new(());
        world.socket(number).holder = Holder::Transit(Arc::clone(&handle));
        SimSocket { number, _handle: handle }
    }

    fn receive(&mut self, conn: Conn) {
        let mut world = self.net.world();
        let state = world.shards[self.shard].open(conn);
        if state.shared {
            return world.shards[self.shard].sharing.receive(conn);
        }
        assert!(matches!(state.inbound, Inbound::Idle), "{conn:?} receives already, or has ended");
        state.inbound = Inbound::Stream;
        world.schedule_inbound(self.shard, conn);
    }

    fn stop_receive(&mut self, conn: Conn) {
        let mut world = self.net.world();
        if world.shards[self.shard].open(conn).shared {
            return world.shards[self.shard].sharing.stop_receive(conn);
        }
        let late_chunks = u64::from(world.faults.late_chunks);
        let late = world.random.below(late_chunks + 1) as u32;
        let shard = &mut world.shards[self.shard];
        let state = shard.open(conn);
        match state.inbound {
            Inbound::Stream => {}
            // Its end is in the batch that the shard is still reading, or asked for.
            Inbound::Idle | Inbound::Ended | Inbound::Stopping { .. } => return,
            Inbound::Into { .. } => panic!("{conn:?} fills a buffer: that cannot be stopped"),
        }
        // What was scheduled is on its way already: it still arrives.
        let chunks = u32::from(state.inbound_scheduled) + late;
        state.inbound = Inbound::Stopping { chunks };
        if std::mem::take(&mut state.starved) {
            shard.starved.retain(|&starved| starved != conn);
        }
        world.schedule_inbound(self.shard, conn);
    }

    fn receive_into(&mut self, conn: Conn, mut buffer: BytesMut, length: usize) {
        let mut world = self.net.world();
        let state = world.shards[self.shard].open(conn);
        if state.shared {
            return world.shards[self.shard].sharing.receive_into(conn, buffer, length);
        }
        assert!(matches!(state.inbound, Inbound::Idle), "{conn:?} receives already, or has ended");
        assert!(buffer.len() <= length, "the buffer holds more than it is to hold");
        buffer.reserve(length - buffer.len());
        state.inbound = Inbound::Into { buffer, length };
        world.schedule_inbound(self.shard, conn);
    }

    fn send<'a>(&mut self, conn: Conn, slices: impl Iterator<Item = &'a Slice>) {
        if self.net.world().shards[self.shard].open(conn).shared {
            return self.net.world().send_shared(self.shard, conn, slices);
        }
        let slices = slices.filter(|slice| !slice.is_empty());
        let slices: Vec<Slice> = slices.take(MAX_SLICES_PER_SEND).cloned().collect();
        let mut world = self.net.world();
        let state = world.shards[self.shard].open(conn);
        match state.outbound {
            Outbound::Idle => {}
            Outbound::Blocked => panic!("{conn:?} sends before it is writable"),
            Outbound::Lazy(_) | Outbound::Done(_) => panic!("{conn:?} sends twice at a time"),
        }
        let socket = state.socket;
        let lazy_permille = world.faults.lazy_send_permille;
        let outbound = if world.random.happens(lazy_permille, 1000) {
            Outbound::Lazy(slices)
        } else {
            Outbound::Done(world.carry_out_send(socket, &slices))
        };
        let shard = &mut world.shards[self.shard];
        shard.any(conn).outbound = outbound;
        shard.sending.push(conn);
    }

    fn end_sending(&mut self, conn: Conn) -> bool {
        let mut world = self.net.world();
        // Pipes have no end of one direction.
        if world.hands_over {
            let state = world.shards[self.shard].open(conn);
            assert!(matches!(state.outbound, Outbound::Idle), "{conn:?} sends and is to end");
            let socket = state.socket;
            world.socket(socket).sending_ended = true;
        }
        world.hands_over
    }

    fn end_receiving(&mut self, conn: Conn) -> bool {
        let mut world = self.net.world();
        if world.shards[self.shard].open(conn).shared {
            world.shards[self.shard].sharing.end_receiving(conn);
            return true;
        }
        if world.hands_over {
            let socket = world.shards[self.shard].open(conn).socket;
            world.socket(socket).receiving_ended = true;
            world.schedule_inbound(self.shard, conn);
        }
        world.hands_over
    }

    fn arena_bytes(&self) -> usize {
        self.net.world().shards[self.shard].sharing.arena_bytes()
    }

    fn offer_memory(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &ClientMemory,
    ) -> io::Result<bool> {
        self.net.world().offer(self.shard, conn, frame, memory)
    }

    fn share_memory(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &Arc<ClientMemory>,
    ) -> io::Result<bool> {
        self.net.world().share(self.shard, conn, frame, memory)
    }

    fn put_back(&mut self, conn: Conn, chunk: &Bytes, bytes: usize, frame_bytes: usize) -> bool {
        let mut world = self.net.world();
        world.shards[self.shard].sharing.put_back(conn, chunk, bytes, frame_bytes)
    }

    fn is_read(&mut self, conn: Conn) -> bool {
        self.net.world().shards[self.shard].sharing.is_read(conn)
    }

    fn allow_largest_ring(&mut self, conn: Conn) {
        self.net.world().shards[self.shard].sharing.allow_largest_ring(conn);
    }

    fn memory_use(&self, conn: Conn) -> Option<MemoryUse> {
        self.net.world().shards[self.shard].sharing.usage(conn)
    }

    fn close(&mut self, conn: Conn) {
        let mut world = self.net.world();
        let shard = &mut world.shards[self.shard];
        shard.open(conn).closing = true;
        if shard.any(conn).shared
            && let Some(attachments) = shard.sharing.any()
        {
            attachments.remove(conn);
        }
        shard.unschedule(conn);
        let state = shard.any(conn);
        state.inbound = Inbound::Ended;
        state.outbound = Outbound::Idle;
        world.schedule(self.shard, Event::Close(conn));
    }

    /// Appends what is due at the present virtual time; never blocks.
    fn wait(
        &mut self,
        completions: &mut Vec<Completion>,
        _timeout: Option<Duration>,
    ) -> io::Result<()> {
        if self.net.world().is_paused() {
            return Ok(());
        }
        let first = completions.len();
        self.net.world().deliver(self.shard, completions);
        if let Some(datagrams) = &self.datagrams {
            datagrams.deliver(completions);
        }
        self.net.world().note(self.shard, &completions[first..]);
        Ok(())
    }

    fn waker(&self) -> Waker {
        let wake = Arc::clone(&self.net.world().shards[self.shard].wake);
        Waker::new(wake)
    }

    fn now(&self) -> Instant {
        self.net.clock()
    }

    fn starved(&self) -> bool {
        let world = self.net.world();
        let shard = &world.shards[self.shard];
        !shard.starved.is_empty() || shard.sharing.starved()
    }

    /// The simulator's turns are bounded by its sockets.
    fn set_receive_budget(&mut self, _bytes: usize) {}

    fn stats(&self) -> IoStats {
        let world = self.net.world();
        let shard = &world.shards[self.shard];
        let mut stats = IoStats {
            buffers: u64::from(shard.pool.buffers()),
            pinned_buffers: u64::from(shard.pool.pinned()),
            buffer_bytes: world.faults.buffer_bytes as u64,
            ..shard.stats
        };
        shard.sharing.add_stats(&mut stats);
        stats
    }
}

impl Drop for SimIo {
    fn drop(&mut self) {
        self.stop_accept();
        let mut world = self.net.world();
        let shard = &mut world.shards[self.shard];
        let sockets = shard.sockets();
        shard.clear();
        for socket in sockets {
            world.close_shard_end(socket);
        }
    }
}
