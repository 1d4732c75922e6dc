//! Shared memory of one back end, which may have none: both use it in the same way.
//!
//! What concerns a connection that shares none does nothing.

use std::io;

use bytes::{Bytes, BytesMut};

use super::arena::ArenaSection;
use super::{Attachments, MemoryUse};
use crate::Waker;
use crate::io::{Completion, Conn, IoStats};
use crate::pool::BufferPool;

/// The connections, if this broker has memory to share.
#[derive(Debug, Default)]
pub(crate) struct SharedMemory {
    attachments: Option<Box<Attachments>>,
}

impl SharedMemory {
    pub(crate) fn new(section: Option<ArenaSection>, waker: Waker) -> SharedMemory {
        let attachments = section.map(|section| Box::new(Attachments::new(section, waker)));
        SharedMemory { attachments }
    }

    /// The connections, if there are any.
    #[inline]
    pub(crate) fn any(&mut self) -> Option<&mut Attachments> {
        self.attachments.as_deref_mut().filter(|it| !it.is_empty())
    }

    /// Whether a bell of this shard was rung, within one process.
    #[cfg(feature = "sim")]
    pub(crate) fn is_rung(&self) -> bool {
        self.attachments.as_ref().is_some_and(|it| !it.rung().is_empty())
    }

    /// The connections, of which there may be none yet.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn all(&mut self) -> io::Result<&mut Attachments> {
        let text = "this broker has no memory to share";
        let missing = || io::Error::new(io::ErrorKind::Unsupported, text);
        self.attachments.as_deref_mut().ok_or_else(missing)
    }

    /// The connections, to offer memory to one more.
    ///
    /// # Errors
    /// There is no memory, or none for what comes by rings.
    pub(crate) fn for_offer(&mut self) -> io::Result<&mut Attachments> {
        let attachments = self.all()?;
        if attachments.has_ring_buffers() {
            return Ok(attachments);
        }
        let text = "there is no memory for what comes by rings";
        Err(io::Error::new(io::ErrorKind::OutOfMemory, text))
    }

    pub(crate) fn receive(&mut self, conn: Conn) {
        if let Some(attachments) = self.any() {
            attachments.receive(conn);
        }
    }

    pub(crate) fn stop_receive(&mut self, conn: Conn) {
        if let Some(attachments) = self.any() {
            attachments.stop_receive(conn);
        }
    }

    pub(crate) fn receive_into(&mut self, conn: Conn, buffer: BytesMut, length: usize) {
        if let Some(attachments) = self.any() {
            attachments.receive_into(conn, buffer, length);
        }
    }

    pub(crate) fn end_receiving(&mut self, conn: Conn) {
        if let Some(attachments) = self.any() {
            attachments.end_receiving(conn);
        }
    }

    pub(crate) fn put_back(
        &mut self,
        conn: Conn,
        chunk: &Bytes,
        bytes: usize,
        frame_bytes: usize,
    ) -> bool {
        self.any().is_some_and(|it| it.put_back(conn, chunk, bytes, frame_bytes))
    }

    pub(crate) fn is_read(&mut self, conn: Conn) -> bool {
        self.any().is_none_or(|it| it.is_read(conn))
    }

    pub(crate) fn allow_largest_ring(&mut self, conn: Conn) {
        if let Some(attachments) = self.any() {
            attachments.allow_largest_ring(conn);
        }
    }

    pub(crate) fn on_writable(&mut self, conn: Conn) {
        if let Some(attachments) = self.any() {
            attachments.on_writable(conn);
        }
    }

    pub(crate) fn arena_bytes(&self) -> usize {
        self.attachments.as_ref().map_or(0, |it| it.section().arena_bytes())
    }

    pub(crate) fn usage(&self, conn: Conn) -> Option<MemoryUse> {
        self.attachments.as_ref()?.usage(conn)
    }

    pub(crate) fn has_work(&self) -> bool {
        // What is left on the lists of who is gone is no work.
        self.attachments.as_ref().is_some_and(|it| !it.is_empty() && it.has_work())
    }

    pub(crate) fn starved(&self) -> bool {
        self.attachments.as_ref().is_some_and(|it| it.starved())
    }

    pub(crate) fn add_stats(&self, stats: &mut IoStats) {
        if let Some(attachments) = &self.attachments {
            attachments.add_stats(stats);
        }
    }

    pub(crate) fn starvations(&self) -> u64 {
        self.attachments.as_ref().map_or(0, |it| it.starvations())
    }

    /// Begins a wait, in which some may starve for the back end's own pool. Its state is told
    /// also by a shard without such connections: those of others are sent what it receives.
    pub(crate) fn start(
        &mut self,
        pool: &mut BufferPool,
        starves: bool,
        completions: &mut Vec<Completion>,
    ) {
        let Some(attachments) = self.attachments.as_deref_mut() else { return };
        attachments.tell_pools(pool);
        if attachments.is_empty() {
            return;
        }
        if starves {
            attachments.look_at_all_releases(completions);
        }
        attachments.start(completions);
    }

    /// Whether the shard may block: rings are empty, and their bells ring.
    pub(crate) fn may_sleep(&mut self, starves: bool) -> bool {
        self.any().is_none_or(|it| it.may_sleep() && (!starves || it.ask_for_releases()))
    }

    /// Takes what is in rings, as far as the budget goes. Returns how many bytes came.
    pub(crate) fn turn(&mut self, budget: usize, completions: &mut Vec<Completion>) -> usize {
        self.any().map_or(0, |it| it.turn(budget, completions))
    }
}
