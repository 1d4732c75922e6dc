//! Connections with shared memory where the system has none: there are none.
//!
//! Its sibling is `shared`, with the same items.

use std::io;
use std::sync::Arc;

use mio::Token;

use super::PollIo;
use crate::ClientMemory;
use crate::io::{Completion, Conn};
use crate::slice::Slice;

impl PollIo {
    pub(super) fn offer(
        &mut self,
        _conn: Conn,
        _frame: &[u8],
        _memory: &ClientMemory,
    ) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn share(
        &mut self,
        _conn: Conn,
        _frame: &[u8],
        _memory: &Arc<ClientMemory>,
    ) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
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
}
