//! All connections of one shard that share memory.
//!
//! Both back ends use it in the same way: [`Attachments::start`] at the front of a wait,
//! [`Attachments::may_sleep`] before it blocks, [`Attachments::turn`] behind what sockets
//! brought (see `turn`). They watch bells and sockets and say what became of them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::arena::ArenaSection;
use super::attachment::{Attachment, Inbound, fault_error};
use super::outbound::{Blocked, SendFault};
use super::ring_buffers::{MAX_WHOLE_BYTES, RingBuffers};
use super::{ClientMemory, MemoryUse};
use crate::Waker;
use crate::io::{Completion, Conn, IoStats, ReceiveEnd};
use crate::pool::BufferPool;
use crate::slice::Slice;

/// The connections, their buffers and lists.
#[derive(Debug)]
pub(crate) struct Attachments {
    pub(super) section: ArenaSection,
    pub(super) buffers: RingBuffers,
    pub(super) table: Vec<Option<Box<Attachment>>>,
    count: usize,
    /// Connections to take from.
    pub(super) ready: VecDeque<Conn>,
    /// Connections whose rings were empty, and whose bells are not asked for.
    pub(super) idle: VecDeque<Conn>,
    pub(super) starved: Vec<Conn>,
    pub(super) starved_count: usize,
    /// Connections whose last chunk can be put back.
    pub(super) recent: Vec<Conn>,
    /// Connections that hold on to the front of a frame until they are served.
    pub(super) fronts: Vec<Conn>,
    /// Connections of which something is in flight, but for stale entries.
    pub(super) in_flight: VecDeque<Conn>,
    pub(super) done: Vec<Completion>,
    pub(super) turn: u64,
    pub(super) stats: IoStats,
}

impl Attachments {
    /// None so far, in the section of a shard. The waker wakes it for a buffer.
    pub(crate) fn new(section: ArenaSection, waker: Waker) -> Attachments {
        let buffers = RingBuffers::new(&section);
        buffers.set_waker(waker);
        Attachments {
            section,
            buffers,
            table: Vec::new(),
            count: 0,
            ready: VecDeque::new(),
            idle: VecDeque::new(),
            starved: Vec::new(),
            starved_count: 0,
            recent: Vec::new(),
            fronts: Vec::new(),
            in_flight: VecDeque::new(),
            done: Vec::new(),
            turn: 0,
            stats: IoStats::default(),
        }
    }

    /// The arena and the shard's part of it.
    pub(crate) fn section(&self) -> &ArenaSection {
        &self.section
    }

    /// Whether there is memory for what comes by rings.
    pub(crate) fn has_ring_buffers(&mut self) -> bool {
        self.buffers.has_memory()
    }

    /// Whether there are none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && self.done.is_empty()
    }

    pub(super) fn find(&mut self, conn: Conn) -> Option<&mut Attachment> {
        self.table.get_mut(conn.0 as usize)?.as_deref_mut()
    }

    fn at(&mut self, conn: Conn) -> &mut Attachment {
        self.find(conn).expect("the connection shares memory")
    }

    /// Adds a connection, which receives from now on or does not.
    pub(crate) fn add(&mut self, conn: Conn, memory: &Arc<ClientMemory>, receives: bool) {
        let place = conn.0 as usize;
        if self.table.len() <= place {
            self.table.resize_with(place + 1, || None);
        }
        debug_assert!(self.table[place].is_none());
        self.table[place] = Some(Box::new(Attachment::new(memory, &self.section, receives)));
        self.count += 1;
        self.make_ready(conn);
    }

    /// Removes a connection: its memory is revoked, what it pinned is free.
    pub(crate) fn remove(&mut self, conn: Conn) -> Option<Arc<ClientMemory>> {
        let attachment = self.table.get_mut(conn.0 as usize)?.take()?;
        self.count -= 1;
        self.starved_count -= usize::from(attachment.listed.starved);
        self.done.retain(|completion| conn_of(completion) != Some(conn));
        Some(Arc::clone(&attachment.memory))
    }

    /// Forgets all connections as a process that is killed does: nothing is revoked.
    #[cfg(feature = "sim")]
    pub(crate) fn vanish(&mut self) {
        for attachment in self.table.drain(..).flatten() {
            attachment.vanish();
        }
        self.count = 0;
        self.done.clear();
    }

    /// Connections whose bells were rung, within one process.
    #[cfg(feature = "sim")]
    pub(crate) fn rung(&self) -> Vec<Conn> {
        let is_rung = |it: &Attachment| it.memory.bells().broker.is_rung();
        let all = self.table.iter().enumerate();
        let rung = all.filter(|(_, it)| it.as_deref().is_some_and(is_rung));
        rung.map(|(place, _)| Conn(place as u32)).collect()
    }

    /// The memory of a connection.
    pub(crate) fn memory(&self, conn: Conn) -> Option<Arc<ClientMemory>> {
        Some(Arc::clone(&self.table.get(conn.0 as usize)?.as_ref()?.memory))
    }

    /// Starts the stream of chunks.
    pub(crate) fn receive(&mut self, conn: Conn) {
        let attachment = self.at(conn);
        debug_assert!(matches!(attachment.inbound, Inbound::Idle), "it receives, or has ended");
        attachment.inbound = Inbound::Stream;
        self.make_ready(conn);
    }

    /// Ends it.
    pub(crate) fn stop_receive(&mut self, conn: Conn) {
        let attachment = self.at(conn);
        if matches!(attachment.inbound, Inbound::Stream) {
            attachment.inbound = Inbound::Stopping;
            let starved = std::mem::take(&mut attachment.listed.starved);
            self.starved_count -= usize::from(starved);
            self.done.push(Completion::ReceiveEnded { conn, end: ReceiveEnd::Stopped });
        }
    }

    /// Starts to fill a buffer of the shard.
    pub(crate) fn receive_into(&mut self, conn: Conn, buffer: BytesMut, length: usize) {
        let attachment = self.at(conn);
        debug_assert!(matches!(attachment.inbound, Inbound::Idle), "it receives, or has ended");
        match attachment.start_fill(buffer, length) {
            Some(buffer) => self.done.push(Completion::Filled { conn, buffer }),
            None => self.make_ready(conn),
        }
    }

    /// Puts back the end of a chunk. Returns false, and does nothing, if the frame fits no
    /// chunk, or another chunk came behind this one.
    pub(crate) fn put_back(
        &mut self,
        conn: Conn,
        chunk: &Bytes,
        bytes: usize,
        frame_bytes: usize,
    ) -> bool {
        let fits = bytes < MAX_WHOLE_BYTES && frame_bytes <= MAX_WHOLE_BYTES;
        let put_back = |it: &mut Attachment| it.put_back(chunk, bytes, frame_bytes);
        fits && (bytes == 0 || self.find(conn).is_some_and(put_back))
    }

    /// Sends to a connection, by `write` what goes by its socket. Returns whether that is to be
    /// watched for room.
    pub(crate) fn send<'a>(
        &mut self,
        conn: Conn,
        write: impl FnMut(&[IoSlice<'_>]) -> io::Result<Option<usize>>,
        slices: impl Iterator<Item = &'a Slice>,
    ) -> bool {
        let Attachments { table, stats, .. } = self;
        let attachment = table[conn.0 as usize].as_deref_mut().expect("it shares memory");
        let outbound = &mut attachment.outbound;
        debug_assert!(!outbound.sending, "it sends twice at a time");
        debug_assert!(outbound.blocked == Blocked::No, "it sends before it is writable");
        outbound.sending = true;
        let outcome = match &attachment.fault {
            Some(text) => Err(SendFault::Socket(fault_error(text))),
            None => outbound.send(write, slices),
        };
        let sent = match outcome {
            Ok(sent) => sent,
            Err(SendFault::Socket(error)) => {
                self.done.push(Completion::SendFailed { conn, error });
                return false;
            }
            Err(SendFault::Release(fault)) => {
                let error = fault_error(&fault.to_string());
                self.fail(conn, fault.to_string());
                self.done.push(Completion::SendFailed { conn, error });
                return false;
            }
        };
        if sent.rings {
            attachment.memory.ring_client();
        }
        stats.syscalls += sent.syscalls + u64::from(sent.rings);
        stats.sends += 1;
        stats.sent_bytes += sent.bytes as u64;
        stats.blocked_sends += u64::from(sent.blocked);
        let watches = outbound.blocked == Blocked::Socket;
        if outbound.is_in_flight() && !attachment.listed.in_flight {
            attachment.listed.in_flight = true;
            self.in_flight.push_back(conn);
        }
        self.done.push(Completion::Sent { conn, bytes: sent.bytes, blocked: sent.blocked });
        if sent.writable {
            self.done.push(Completion::Writable { conn });
        }
        watches
    }

    /// Notes that a connection's socket has room again.
    pub(crate) fn on_writable(&mut self, conn: Conn) {
        if let Some(attachment) = self.find(conn) {
            attachment.outbound.blocked = Blocked::No;
        }
    }

    /// Whether the other end has released everything; if not, `Writable` follows.
    pub(crate) fn is_read(&mut self, conn: Conn) -> bool {
        let Some(attachment) = self.find(conn).filter(|it| it.fault.is_none()) else {
            return true;
        };
        match attachment.outbound.is_read() {
            Ok(is_read) => is_read,
            Err(fault) => {
                self.fail(conn, fault.to_string());
                true
            }
        }
    }

    /// Takes note of a connection's bell.
    pub(crate) fn on_bell(&mut self, conn: Conn, completions: &mut Vec<Completion>) {
        if self.find(conn).is_some() {
            self.look_at_releases(conn, completions);
            self.make_ready(conn);
        }
    }

    /// Takes note of the end of a connection's socket.
    pub(crate) fn on_socket_end(&mut self, conn: Conn, end: ReceiveEnd) {
        let Some(attachment) = self.find(conn) else { return };
        let ended = attachment.end(end);
        if attachment.outbound.end() {
            self.done.push(Completion::Writable { conn });
        }
        match ended {
            Ok(()) => self.make_ready(conn),
            Err(text) => self.fail(conn, text),
        }
    }

    /// Has a connection's client put no more into its ring.
    pub(crate) fn end_receiving(&mut self, conn: Conn) {
        match self.at(conn).end_ring() {
            Ok(()) => self.make_ready(conn),
            Err(text) => self.fail(conn, text),
        }
    }

    /// Takes note of bytes that came by a connection's socket, where none may come.
    pub(crate) fn on_socket_bytes(&mut self, conn: Conn) {
        let text = "the client writes to its socket, though it shares memory".to_owned();
        if self.find(conn).is_some_and(|attachment| attachment.fault.is_none()) {
            self.fail(conn, text);
        }
    }

    /// Ends what goes on with a connection that broke the rules.
    pub(super) fn fail(&mut self, conn: Conn, text: String) {
        let attachment = self.at(conn);
        if attachment.fault.is_some() {
            return;
        }
        let error = fault_error(&text);
        attachment.fault = Some(text);
        if matches!(attachment.inbound, Inbound::Stream | Inbound::Filling(..)) {
            attachment.inbound = Inbound::Ended;
            self.done.push(Completion::ReceiveEnded { conn, end: ReceiveEnd::Failed(error) });
        }
        let outbound = &mut self.at(conn).outbound;
        // The next send says why it fails.
        let is_owed = outbound.blocked == Blocked::Release || outbound.awaits_reading;
        outbound.awaits_reading = false;
        if is_owed {
            outbound.blocked = Blocked::No;
            self.done.push(Completion::Writable { conn });
        }
    }

    pub(super) fn make_ready(&mut self, conn: Conn) {
        let attachment = self.at(conn);
        let listed = &attachment.listed;
        // A fault that was found while nothing was received is reported now.
        let wants = matches!(attachment.inbound, Inbound::Stream | Inbound::Filling(..));
        if wants && !listed.ready && !listed.starved {
            attachment.listed.ready = true;
            self.ready.push_back(conn);
        }
    }

    /// Whether a connection waits for a buffer.
    pub(crate) fn starved(&self) -> bool {
        self.starved_count > 0
    }

    /// Tells all shards how far this one's pools are pinned.
    pub(crate) fn tell_pools(&mut self, receive_pool: &mut BufferPool) {
        self.section.tell([receive_pool, self.buffers.pool()]);
    }

    /// Lets a connection use the largest ring.
    pub(crate) fn allow_largest_ring(&mut self, conn: Conn) {
        if let Some(attachment) = self.find(conn) {
            attachment.allow_largest_ring();
        }
    }

    /// Returns how much of its memory a connection uses.
    pub(crate) fn usage(&self, conn: Conn) -> Option<MemoryUse> {
        Some(self.table.get(conn.0 as usize)?.as_ref()?.usage())
    }

    /// Adds the counters of all connections with shared memory.
    pub(crate) fn add_stats(&self, stats: &mut IoStats) {
        stats.syscalls += self.stats.syscalls;
        stats.receives += self.stats.receives;
        stats.received_bytes += self.stats.received_bytes;
        stats.sends += self.stats.sends;
        stats.sent_bytes += self.stats.sent_bytes;
        stats.blocked_sends += self.stats.blocked_sends;
        stats.starvations += self.stats.starvations;
    }

    /// Number of starvations so far.
    pub(crate) fn starvations(&self) -> u64 {
        self.stats.starvations
    }
}

/// The connection that a completion is of.
pub(super) fn conn_of(completion: &Completion) -> Option<Conn> {
    match completion {
        Completion::Sent { conn, .. }
        | Completion::SendFailed { conn, .. }
        | Completion::Writable { conn }
        | Completion::Filled { conn, .. }
        | Completion::ReceiveEnded { conn, .. } => Some(*conn),
        _ => None,
    }
}
