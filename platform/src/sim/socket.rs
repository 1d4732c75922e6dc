//! Simulated connection: two bounded byte queues and who holds each end.
//!
//! Invariant: neither queue is longer than the world's `socket_bytes`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::sharing::Offered;
use crate::Conn;
use crate::io::Peer;

/// Holder of the broker's end of a socket.
#[derive(Clone, Debug)]
pub(super) enum Holder {
    /// The backlog: nobody has accepted the socket yet.
    Backlog,
    /// A shard, under this number.
    Shard(usize, Conn),
    /// The socket is on its way between shards. It is closed if the handle is dropped:
    /// then
    /// this is the only reference left.
    Transit(Arc<()>),
    /// The broker closed it.
    Closed,
}

/// A connection between a [`SimClient`](super::SimClient) and a shard.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) to_shard: VecDeque<u8>,
    pub(super) to_client: VecDeque<u8>,
    /// Number of the last bytes to the client that are still on their way: closing now
    /// loses them.
    pub(super) held: usize,
    pub(super) holder: Holder,
    /// The client's end is closed: no more bytes either way.
    pub(super) client_closed: bool,
    /// The broker sends no more.
    pub(super) sending_ended: bool,
    /// The client may write no more: the broker reads what was written, then the end.
    pub(super) receiving_ended: bool,
    /// The client's handle is gone as well: the socket goes with the shard's end.
    pub(super) forgotten: bool,
    /// The client died: the shard sees an error, not an end.
    pub(super) failed: bool,
    pub(super) peer: Peer,
    /// Memory that the client is offered, until it takes it.
    pub(super) offered: Option<Offered>,
}

impl Socket {
    pub(super) fn new(peer: Peer) -> Socket {
        Socket {
            to_shard: VecDeque::new(),
            to_client: VecDeque::new(),
            held: 0,
            holder: Holder::Backlog,
            client_closed: false,
            sending_ended: false,
            receiving_ended: false,
            forgotten: false,
            failed: false,
            peer,
            offered: None,
        }
    }

    /// Whether the broker reads an end behind what was written.
    pub(super) fn written_up(&self) -> bool {
        self.client_closed || self.receiving_ended
    }

    pub(super) fn shard_closed(&self) -> bool {
        match &self.holder {
            Holder::Closed => true,
            Holder::Transit(handle) => Arc::strong_count(handle) == 1,
            Holder::Backlog | Holder::Shard(..) => false,
        }
    }
}

/// Moves the first `count` bytes of `queue` to the end of `memory`.
pub(super) fn take(queue: &mut VecDeque<u8>, count: usize, memory: &mut Vec<u8>) {
    let (front, back) = queue.as_slices();
    let from_front = count.min(front.len());
    memory.extend_from_slice(&front[..from_front]);
    memory.extend_from_slice(&back[..count - from_front]);
    queue.drain(..count);
}
