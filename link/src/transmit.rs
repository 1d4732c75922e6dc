//! Datagrams on their way to the sockets.

use core::net::SocketAddr;
use std::collections::VecDeque;

/// Control datagrams that wait for the socket. More come only when it takes
/// nothing for seconds; all of them are repeated anyway.
pub const MAX_CONTROL_QUEUE: usize = 4096;

/// Buffers kept for the next control datagrams.
const MAX_SPARE_BUFFERS: usize = 64;

/// Destination of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// All who receive this group.
    Group(SocketAddr),
    /// One broker.
    Addr(SocketAddr),
}

impl To {
    /// The address itself.
    pub fn address(&self) -> SocketAddr {
        match self {
            To::Group(address) | To::Addr(address) => *address,
        }
    }
}

/// Datagrams to be sent with one call.
#[derive(Debug)]
pub struct Transmit<'a> {
    /// Destination of the datagrams.
    pub to: To,
    /// Datagrams one behind the other.
    pub bytes: &'a [u8],
    /// Bytes of each but the last.
    pub segment: usize,
    /// Whether brokers on this machine are to hear it too.
    pub looped: bool,
}

/// One sealed control datagram, for one or several receivers.
pub(crate) struct ControlDatagram {
    pub bytes: Vec<u8>,
    pub to: Vec<To>,
}

/// Control datagrams in the order they are to be sent in.
#[derive(Default)]
pub(crate) struct ControlQueue {
    queue: VecDeque<ControlDatagram>,
    spare: Vec<ControlDatagram>,
    /// Datagrams that were dropped since the queue was full.
    pub dropped: u64,
}

impl ControlQueue {
    /// Takes an empty datagram whose memory is of an earlier one.
    pub fn take_spare(&mut self) -> ControlDatagram {
        self.spare.pop().unwrap_or_else(|| ControlDatagram { bytes: Vec::new(), to: Vec::new() })
    }

    /// Takes a datagram back whose memory may be used again.
    pub fn give_back(&mut self, mut post: ControlDatagram) {
        post.bytes.clear();
        post.to.clear();
        if self.spare.len() < MAX_SPARE_BUFFERS {
            self.spare.push(post);
        }
    }

    pub fn push(&mut self, post: ControlDatagram) {
        if post.to.is_empty() {
            self.give_back(post);
        } else if self.queue.len() < MAX_CONTROL_QUEUE {
            self.queue.push_back(post);
        } else {
            self.dropped += 1;
            self.give_back(post);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn pop(&mut self) -> Option<ControlDatagram> {
        self.queue.pop_front()
    }
}
