//! Receive window: how much each sender may have under way to us, by the receiver's
//! division of its socket buffer.
//!
//! Datagrams that were sent but not yet read lie in the socket's buffer, and the
//! kernel drops what does not fit. So the buffer is counted in datagrams, and each
//! stream is told a number below which it may send:
//!
//! ```text
//!            position                          limit
//!   received    │◄───────── share ───────────────►│   must not be sent yet
//!   ────────────┴─────────────────────────────────┴──────────────────────►
//!                    may be under way              numbers of the stream
//!
//!   buffer = half for the senders that are active now
//!          + half for every sender, so that an idle one starts without asking
//! ```
//!
//! Streams of one sender divide that sender's share. A sender that is busy gets
//! much, one that is idle keeps enough to start with, and all shares together do
//! not exceed the buffer, except that no stream gets less than [`MIN_SHARE`].
//!
//! Invariant: the limit of a stream never falls. Shares shrink when more senders
//! become active; what was granted before stays granted, and the smaller share
//! shows as soon as the position has moved on.
//!
//! It does not know what was lost, and it decides nothing for the sender.

use netcluster_platform::Instant;

use crate::peer_id::PeerId;
use crate::stream::StreamId;

/// The least that a stream is granted, in datagrams: below that a sender would
/// wait for a status after each of its smallest batches.
pub const MIN_SHARE: u64 = 8;
/// Time after data came in which a stream is active.
pub const ACTIVE_NS: u64 = 200_000_000;
/// Part of the window after which a status is due.
pub const STATUS_PART: u64 = 4;

/// The part of the buffer that is given away: the rest is for control datagrams,
/// retransmissions that come twice and the kernel's own rounding.
const USABLE_PERCENT: u64 = 80;
/// The part of a sender's share that is kept for its idle streams.
const IDLE_STREAMS_PART: u64 = 4;

/// Bytes that the kernel charges for the smallest buffers that network cards use: 2048 of
/// data and the `sk_buff`.
const MIN_TRUESIZE_BYTES: u64 = DATA_BUFFER_BYTES + SK_BUFF_BYTES;
const DATA_BUFFER_BYTES: u64 = 2048;
const SK_BUFF_BYTES: u64 = 256;
/// Bytes beside the UDP payload in the kernel's data buffer: headroom, link, IP and UDP
/// headers, `skb_shared_info`.
const BUFFER_OVERHEAD_BYTES: u64 = 464;
/// Most bytes of a UDP payload.
const MAX_UDP_BYTES: usize = 65_535;

const _: () = assert!(MIN_TRUESIZE_BYTES == 2304);
const _: () = assert!(MIN_SHARE >= STATUS_PART);

/// Sizes that the division starts from.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveWindowConfig {
    /// The receive buffer as the kernel granted it, in the units it charges.
    pub granted_bytes: usize,
    /// The largest UDP payload that senders send.
    pub datagram_bytes: usize,
    /// Number of datagrams that a stream may be ahead of its position: where reordered
    /// datagrams are kept there is room for so many.
    pub reorder_datagrams: usize,
}

/// The division of one socket buffer.
#[derive(Debug)]
pub struct ReceiveWindow {
    total: u64,
    max_share: u64,
    /// Streams in the order of (peer, stream): those of a sender lie together.
    streams: Vec<Entry>,
    #[cfg(test)]
    looks: std::cell::Cell<u64>,
}

#[derive(Debug)]
struct Entry {
    peer: PeerId,
    stream: StreamId,
    limit: u64,
    /// Time at which the stream last brought data.
    data_at: Option<Instant>,
    /// Position and window of the stream as last stated.
    stated_position: u64,
    stated_window: u64,
    /// Nothing was stated of the stream yet.
    is_new: bool,
}

/// Bytes that the kernel charges for a datagram of this size while it lies in a socket.
pub fn truesize_bytes(datagram_bytes: usize) -> u64 {
    let bytes = datagram_bytes.min(MAX_UDP_BYTES) as u64 + BUFFER_OVERHEAD_BYTES;
    (bytes.next_power_of_two() + SK_BUFF_BYTES).max(MIN_TRUESIZE_BYTES)
}

impl ReceiveWindow {
    /// Makes a window of which nobody has a part yet.
    pub fn new(config: &ReceiveWindowConfig) -> ReceiveWindow {
        let usable = (config.granted_bytes as u64).saturating_mul(USABLE_PERCENT) / 100;
        ReceiveWindow {
            total: usable / truesize_bytes(config.datagram_bytes),
            max_share: (config.reorder_datagrams as u64).max(MIN_SHARE),
            streams: Vec::new(),
            #[cfg(test)]
            looks: std::cell::Cell::default(),
        }
    }

    /// Number of datagrams that the buffer is taken to hold.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Notes that a stream is joined at this position. Its first status is due at once.
    pub fn open(&mut self, peer: PeerId, stream: StreamId, position: u64) {
        if let Err(at) = self.find(peer, stream) {
            let entry = Entry {
                peer,
                stream,
                limit: position,
                data_at: None,
                stated_position: position,
                stated_window: 0,
                is_new: true,
            };
            self.streams.insert(at, entry);
        }
    }

    /// Forgets a stream that is not received any more.
    pub fn close(&mut self, peer: PeerId, stream: StreamId) {
        if let Ok(at) = self.find(peer, stream) {
            self.streams.remove(at);
        }
    }

    /// Forgets a sender with all its streams.
    pub fn close_peer(&mut self, peer: PeerId) {
        self.streams.retain(|entry| entry.peer != peer);
    }

    /// Notes that data of a stream came, whose position is now here. Whether a status is
    /// due.
    pub fn received(
        &mut self,
        now: Instant,
        peer: PeerId,
        stream: StreamId,
        position: u64,
    ) -> bool {
        let Ok(at) = self.find(peer, stream) else { return false };
        let entry = &mut self.streams[at];
        entry.data_at = Some(now);
        entry.is_due(position)
    }

    /// Whether a status is due although no data came: after joining, or because
    /// the position moved by a loss that was given up, or by the end of pressure.
    pub fn is_due(&self, peer: PeerId, stream: StreamId, position: u64) -> bool {
        self.find(peer, stream).is_ok_and(|at| self.streams[at].is_due(position))
    }

    /// Counts who sends now: the first step to what statuses state, once for all of them.
    pub fn senders(&self, now: Instant) -> Senders {
        let mut senders = Senders { now, all: 0, active: 0 };
        for streams in self.streams.chunk_by(|a, b| a.peer == b.peer) {
            #[cfg(test)]
            self.look_at(streams);
            senders.all += 1;
            senders.active += u64::from(streams.iter().any(|entry| entry.is_active(now)));
        }
        senders
    }

    /// Shares of a sender's streams, which they may have under way: the second step, once
    /// for its status.
    pub fn shares(&self, senders: &Senders, peer: PeerId) -> Shares {
        let first = self.streams.partition_point(|entry| entry.peer < peer);
        let last = self.streams.partition_point(|entry| entry.peer <= peer);
        let streams = &self.streams[first..last];
        #[cfg(test)]
        self.look_at(streams);
        let now = senders.now;
        let all = streams.len().max(1) as u64;
        let active = streams.iter().filter(|entry| entry.is_active(now)).count() as u64;
        let reserve = self.total / 2 / senders.all.max(1);
        let (busy, idle) = match active {
            0 => (0, reserve / all),
            _ => {
                let sender = reserve + self.total / 2 / senders.active.max(1);
                let idle = sender / IDLE_STREAMS_PART;
                ((sender - idle) / active + idle / all, idle / all)
            }
        };
        let clamped = |share: u64| share.clamp(MIN_SHARE, self.max_share);
        Shares { now, peer, busy: clamped(busy), idle: clamped(idle) }
    }

    /// Limit to state in a status of this stream that is sent now.
    pub fn grant(&mut self, shares: &Shares, stream: StreamId, position: u64) -> u64 {
        let Ok(at) = self.find(shares.peer, stream) else { return position };
        let entry = &mut self.streams[at];
        let share = if entry.is_active(shares.now) { shares.busy } else { shares.idle };
        entry.limit = entry.limit.max(position.saturating_add(share));
        entry.stated_position = position;
        // Older and larger grants count no more than the share: as more senders
        // become active, statuses come as often as the new share asks for.
        entry.stated_window = share.min(entry.limit - position);
        entry.is_new = false;
        entry.limit
    }

    /// Number of looks at streams that finding shares took: it must not grow with the
    /// square of how many there are.
    #[cfg(test)]
    pub(crate) fn looks(&self) -> u64 {
        self.looks.get()
    }

    #[cfg(test)]
    fn look_at(&self, streams: &[Entry]) {
        self.looks.set(self.looks.get() + streams.len() as u64);
    }

    fn find(&self, peer: PeerId, stream: StreamId) -> Result<usize, usize> {
        self.streams.binary_search_by_key(&(peer, stream), |entry| (entry.peer, entry.stream))
    }
}

/// Number of senders at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Senders {
    now: Instant,
    all: u64,
    active: u64,
}

/// The shares of one sender's streams at that moment: active ones, and others.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    now: Instant,
    peer: PeerId,
    busy: u64,
    idle: u64,
}

impl Entry {
    fn is_active(&self, now: Instant) -> bool {
        self.data_at.is_some_and(|data_at| now.since(data_at) < ACTIVE_NS)
    }

    /// Whether the position moved by a quarter of what was stated, not of the present
    /// share: a sender that was granted little must hear again before it has used that up.
    fn is_due(&self, position: u64) -> bool {
        let moved = position.saturating_sub(self.stated_position);
        self.is_new || moved >= (self.stated_window / STATUS_PART).max(1)
    }
}

#[cfg(test)]
mod tests;
