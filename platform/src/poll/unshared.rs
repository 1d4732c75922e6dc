//! Connections with shared memory where the system has none: there are none.
//!
//! Its sibling is `shared`, with the same items.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mio::Token;

use super::PollIo;
use crate::io::{Completion, Conn, IoStats};
use crate::slice::Slice;
use crate::{ArenaSection, ClientMemory, MemoryUse, Waker};

/// The connections: none.
#[derive(Debug)]
pub(super) struct SharedMemory;

impl SharedMemory {
    pub(super) fn new(section: Option<ArenaSection>, _waker: Waker) -> SharedMemory {
        match section {
            Some(section) => match section {},
            None => SharedMemory,
        }
    }

    pub(super) fn receive(&mut self, _conn: Conn) {}

    pub(super) fn stop_receive(&mut self, _conn: Conn) {}

    pub(super) fn receive_into(&mut self, _conn: Conn, _buffer: BytesMut, _length: usize) {}

    pub(super) fn end_receiving(&mut self, _conn: Conn) {}

    pub(super) fn put_back(
        &mut self,
        _conn: Conn,
        _chunk: &Bytes,
        _bytes: usize,
        _frame_bytes: usize,
    ) -> bool {
        false
    }

    pub(super) fn is_read(&mut self, _conn: Conn) -> bool {
        true
    }

    pub(super) fn allow_largest_ring(&mut self, _conn: Conn) {}

    pub(super) fn on_writable(&mut self, _conn: Conn) {}

    pub(super) fn arena_bytes(&self) -> usize {
        0
    }

    pub(super) fn usage(&self, _conn: Conn) -> Option<MemoryUse> {
        None
    }

    pub(super) fn has_work(&self) -> bool {
        false
    }

    pub(super) fn starved(&self) -> bool {
        false
    }

    pub(super) fn add_stats(&self, _stats: &mut IoStats) {}
}

impl PollIo {
    pub(super) fn offer(
        &mut self,
        _conn: Conn,
        _frame: &[u8],
        memory: &ClientMemory,
    ) -> io::Result<bool> {
        match *memory {}
    }

    pub(super) fn share(
        &mut self,
        _conn: Conn,
        _frame: &[u8],
        memory: &Arc<ClientMemory>,
    ) -> io::Result<bool> {
        match **memory {}
    }

    pub(super) fn end_sharing(&mut self, _conn: Conn) {}

    pub(super) fn send_shared<'a>(
        &mut self,
        _conn: Conn,
        _slices: impl Iterator<Item = &'a Slice>,
    ) {
    }

    pub(super) fn look_at_socket(&mut self, _conn: Conn) {}

    pub(super) fn take_bell(&mut self, _token: Token, _completions: &mut Vec<Completion>) -> bool {
        false
    }

    pub(super) fn start_shared(&mut self, _completions: &mut Vec<Completion>) {}

    pub(super) fn may_sleep(&mut self) -> bool {
        true
    }

    pub(super) fn take_shared(&mut self, _completions: &mut Vec<Completion>) -> usize {
        0
    }

    pub(super) fn starvations(&self) -> u64 {
        self.stats.starvations
    }
}
