//! The way by which frames come: the socket, or the broker's memory, where they are read
//! in place.
//!
//! ```text
//!   Socket ─ offer ─► Offered ─ mapped ─► Accepted ─ begin ─► Memory
//!     ▲                 └ declined ┘                        take, dispatch, take, …
//!     └─ the connection is gone
//! ```
//! By memory come descriptors: ranges of the broker's memory, and bytes of the socket. A
//! frame that lies in one range is dispatched there. One in several, or at an address that
//! is no multiple of eight, is put together in the receive buffer first.
//!
//! Invariant: nothing refers to a range after its dispatch.

use std::mem;
use std::time::Instant;

use netcluster_wire::SharedStep;
use netcluster_wire::limits::ALIGNMENT_BYTES;

use super::machine::Machine;
use super::shared::Port;
use crate::error::DisconnectReason;
use crate::memory::{Incoming, Memory, Taken};

/// A range of the broker's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    offset: u64,
    bytes: u32,
}

/// The way by which frames come.
#[derive(Debug, Default)]
pub(super) enum Way {
    /// The socket.
    #[default]
    Socket,
    /// The socket; the broker offers memory.
    Offered { arena_bytes: u64 },
    /// The socket, until the broker begins.
    Accepted(Incoming),
    /// The socket for good: the memory was declined, or is somewhere else at the moment.
    Declined,
    /// The descriptors.
    Memory {
        incoming: Incoming,
        /// The range that was taken and is not dispatched.
        range: Option<Range>,
        /// Bytes of the socket that are announced and not read.
        announced: usize,
        /// Bytes of the socket that were read with the begin, ahead of what announces them.
        ahead: Vec<u8>,
    },
}

impl<P: Port> Machine<P> {
    /// Notes that the driver can map memory. To be said before it connects.
    pub(crate) fn can_map(&mut self) {
        self.can_map = true;
    }

    /// Whether an offer may come: what comes beside bytes of the socket is to be kept.
    pub(crate) fn expects_offer(&self) -> bool {
        matches!(self.way, Way::Socket) && self.shared.options.hello_shares() && self.can_map
    }

    /// Takes in what came of [`Step::Map`](super::Step::Map).
    pub(crate) fn handle_mapped(&mut self, mapped: Result<Memory, String>) {
        let Way::Offered { .. } = self.way else { return };
        self.undispatched = true;
        self.way = match mapped.map(Memory::split) {
            Ok((ring, incoming)) => {
                self.shared.offer(ring);
                Way::Accepted(incoming)
            }
            Err(reason) => {
                tracing::info!(%reason, "memory that the broker offers cannot be used");
                self.shared.decline(reason);
                Way::Declined
            }
        };
    }

    /// Takes in a step of the broker's.
    pub(super) fn step(&mut self, step: SharedStep) -> Option<DisconnectReason> {
        self.way = match (mem::take(&mut self.way), step) {
            (Way::Socket, SharedStep::Offer { arena_bytes })
                if self.can_map && self.shared.options.hello_shares() =>
            {
                Way::Offered { arena_bytes }
            }
            (Way::Accepted(incoming), SharedStep::Begin) => {
                Way::Memory { incoming, range: None, announced: 0, ahead: Vec::new() }
            }
            (_, step) => return protocol(&format!("{step:?} is not the next step to memory")),
        };
        None
    }

    /// The incoming half of the memory, while it is used.
    pub(crate) fn incoming(&mut self) -> Option<&mut Incoming> {
        match &mut self.way {
            Way::Memory { incoming, .. } => Some(incoming),
            _ => None,
        }
    }

    /// Takes what comes next. A range is dispatched next; of bytes of the socket so many
    /// are to be read to [`Machine::space`], and no more.
    pub(crate) fn take(&mut self, now: impl FnOnce() -> Instant) -> Taken {
        let Way::Memory { incoming, range, announced, ahead } = &mut self.way else {
            return Taken::Nothing;
        };
        if *announced > 0 && !ahead.is_empty() {
            let space = self.received.space();
            let bytes = ahead.len().min(*announced).min(space.len());
            space[..bytes].copy_from_slice(&ahead[..bytes]);
            ahead.drain(..bytes);
            self.handle_announced(bytes);
            return Taken::Ahead;
        }
        if *announced > 0 {
            return Taken::Socket(*announced);
        }
        let taken = incoming.take();
        match taken {
            Taken::Range { offset, bytes } => {
                *range = Some(Range { offset, bytes });
                self.undispatched = true;
            }
            Taken::Socket(bytes) => {
                *announced = bytes;
                return self.take(now);
            }
            Taken::Nothing | Taken::Ahead => {}
            Taken::Revoked => self.revoked(now()),
            Taken::Fault => {
                let text = "a descriptor of an unknown kind".to_owned();
                self.lost_connection(DisconnectReason::Protocol(text), now());
            }
        }
        taken
    }

    /// Takes in that so many of the announced bytes were read to the front of
    /// [`Machine::space`].
    pub(crate) fn handle_announced(&mut self, bytes: usize) {
        if let Way::Memory { announced, .. } = &mut self.way {
            *announced -= bytes;
            self.received.filled(bytes);
            self.undispatched = true;
        }
    }

    /// Dispatches what came by the way it came.
    pub(super) fn dispatch_any(
        &mut self,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Option<DisconnectReason> {
        let Way::Memory { .. } = self.way else {
            let end = self.dispatch_received(go_on);
            if let Way::Memory { ahead, .. } = &mut self.way {
                *ahead = self.received.take();
            }
            return end;
        };
        let Way::Memory { incoming, range, announced, ahead } = mem::take(&mut self.way) else {
            return None;
        };
        // Steps are not expected any more.
        self.way = Way::Declined;
        let end = match range {
            Some(range) => self.dispatch_range(&incoming, range, go_on),
            None => self.dispatch_received(go_on),
        };
        self.way = Way::Memory { incoming, range: None, announced, ahead };
        if self.shared.is_held()
            && let Some(incoming) = self.incoming()
        {
            // Nobody knows for how long.
            incoming.release();
        }
        end
    }

    fn dispatch_range(
        &mut self,
        incoming: &Incoming,
        Range { offset, bytes }: Range,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Option<DisconnectReason> {
        let Some(mut rest) = incoming.range(offset, bytes) else {
            return protocol("a range that is not in the broker's memory");
        };
        let mut in_place = (rest.as_ptr() as usize).is_multiple_of(ALIGNMENT_BYTES);
        while !rest.is_empty() {
            let (used, end) = if in_place && self.received.is_empty() {
                // What is left then is the front of a frame.
                in_place = false;
                self.dispatch_frames(rest, None, go_on)
            } else {
                let copied = self.received.copy(rest);
                let end = self.dispatch_received(go_on);
                in_place = (rest[copied..].as_ptr() as usize).is_multiple_of(ALIGNMENT_BYTES);
                (copied, end)
            };
            match end {
                // What was read there may have been anything.
                Some(DisconnectReason::Protocol(_)) if incoming.is_revoked() => {
                    let error = std::io::ErrorKind::ConnectionAborted.into();
                    return Some(DisconnectReason::lost(error));
                }
                Some(end) => return Some(end),
                None => rest = &rest[used..],
            }
        }
        None
    }
}

fn protocol(text: &str) -> Option<DisconnectReason> {
    Some(DisconnectReason::Protocol(text.to_owned()))
}
