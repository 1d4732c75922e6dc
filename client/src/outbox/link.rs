//! Where the outbox writes to, and what becomes of it when that changes.

use std::sync::Arc;

use super::{EMITTERS_WAIT_AT_BYTES, Link, Outbox, State};
use crate::error::Error;
use crate::session::{Outbound, unwritten};
use crate::stream::Socket;

impl Outbox {
    /// Appends the bye, after which nothing may be emitted.
    pub(crate) fn leave(&self) -> Result<(), Error> {
        if !matches!(self.lock().link, Link::Up(_) | Link::Closed(_)) {
            return Err(Error::NotConnected);
        }
        self.request_last(|outbound, buffer| outbound.bye(buffer))?;
        self.push();
        match self.closed() {
            Some(error @ Error::Forked) => Err(error),
            _ => Ok(()),
        }
    }

    /// The connection is gone; what was not written is kept.
    pub(crate) fn disconnected(&self) {
        let mut state = self.lock();
        if let Link::Up(socket) | Link::Resuming(socket) = &state.link {
            socket.shut_down();
        }
        if !matches!(state.link, Link::Closed(_)) {
            state.link = Link::Down;
            state.limit = if state.leaving { 0 } else { self.max_buffer_bytes };
        }
        self.room.notify_all();
    }

    /// A new connection is welcomed: `outbound` has been told. Its subscriptions
    /// (by `encode`) go first; events wait for [`Outbox::resumed`].
    pub(crate) fn resume(
        &self,
        socket: Arc<Socket>,
        welcomed: impl FnOnce(&mut Outbound),
        encode: impl FnOnce(&mut Outbound, &mut Vec<u8>),
    ) {
        let mut state = self.lock();
        // Its socket is shut down, so it will not be long.
        while state.writing {
            state = self.wait_for_room(state);
        }
        if matches!(state.link, Link::Closed(_)) {
            return;
        }
        let end = state.written + state.pending() as u64;
        let mut old = unwritten(&state.front, state.front_at).to_vec();
        old.extend_from_slice(&state.buffer);
        let State { outbound, buffer, front, front_at, request_bytes, .. } = &mut *state;
        welcomed(outbound);
        buffer.clear();
        outbound.reconnect(&old, buffer);
        front.clear();
        *front_at = 0;
        *request_bytes = 0;
        encode(outbound, front);
        // Whoever waits for `flush` waits for the same event as before.
        state.written = end - state.pending() as u64;
        state.link = Link::Resuming(socket);
        drop(state);
        self.push();
    }

    /// All subscriptions are in force: events may go.
    pub(crate) fn resumed(&self) {
        let mut state = self.lock();
        if let Link::Resuming(socket) = &state.link {
            state.link = Link::Up(Arc::clone(socket));
            state.limit = if state.leaving { 0 } else { EMITTERS_WAIT_AT_BYTES };
            state.unclaimed = true;
        }
        self.room.notify_all();
        drop(state);
        self.push();
    }

    /// It is over.
    pub(crate) fn close(&self, error: Error) {
        let mut state = self.lock();
        if let Link::Up(socket) | Link::Resuming(socket) = &state.link {
            socket.shut_down();
        }
        if !matches!(state.link, Link::Closed(_)) {
            state.link = Link::Closed(error);
        }
        state.limit = 0;
        state.parked = false;
        self.room.notify_all();
        self.work.notify_all();
    }

    /// Whether there is a connection.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.lock().link, Link::Up(_) | Link::Resuming(_))
    }

    /// Whether the bye was appended.
    pub(crate) fn is_leaving(&self) -> bool {
        self.lock().leaving
    }

    /// Why it is over, if it is.
    pub(crate) fn closed(&self) -> Option<Error> {
        match &self.lock().link {
            Link::Closed(error) => Some(error.clone()),
            _ => None,
        }
    }
}
