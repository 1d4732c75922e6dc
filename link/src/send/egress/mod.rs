//! One outbound stream: frames into numbered datagrams, and their history.
//!
//! ```text
//!   emit ──▶ backlog ──▶ layout ──▶ history ──▶ seal ──▶ next_batch ──▶ socket
//!   skip     (only if     headers,   slots,      once     up to 64 adjacent
//!   join      the history ordinals   cursors              datagrams
//!             is full)                  └─────────────▶ datagram: retransmissions
//! ```
//! - [`history`]: the memory, what of it is sent, and what may be overwritten.
//! - `layout`: where frames go and what the headers say.
//! - `backlog`: what there was no room for.
//!
//! A frame's bytes are copied once, into the history; there they are sealed, sent
//! and retransmitted from. It does not know the receivers: somebody else says which
//! numbers are still needed, up to which may be sent, and how fast.
//!
//! Invariant: a datagram that was handed out never changes, so that a retransmission
//! brings the same bytes; and while nothing waits, no frame is partly laid out.

mod backlog;

pub mod history;
mod layout;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use netcluster_platform::Slice;
use netcluster_wire::link::DataHeader;
use netcluster_wire::link::limits::{MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES};

use self::backlog::{Backlog, Item};
use self::history::{History, MAX_BATCH_BYTES};
use self::layout::Layout;
use crate::channel::LinkChannel;
use crate::crypto::{Keys, StreamSealer};
use crate::peer_id::{Session, session_tag};
use crate::stream::{Position, StreamId};

/// Configuration that the outbound streams of a broker have in common.
#[derive(Clone, Debug)]
pub struct EgressConfig {
    /// Most bytes of a datagram, header and tag included: more it never gets by
    /// [`Egress::set_datagram_bytes`].
    pub datagram_bytes: usize,
    /// Memory of one stream's history.
    pub history_bytes: usize,
    /// The broker's session.
    pub session: Session,
    /// Keys that seal the datagrams.
    pub keys: Keys,
}

/// Datagrams to send now: consecutive numbers, adjacent in memory.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Number of the first.
    pub first: u64,
    /// Number of datagrams.
    pub datagrams: u32,
    /// Datagrams one behind the other.
    pub bytes: &'a [u8],
    /// Bytes of each but the last, which may be shorter.
    pub segment: usize,
}

/// Datagrams of one outbound stream: frames go in, batches and retransmissions come out.
pub struct Egress {
    stream: StreamId,
    sealer: StreamSealer,
    layout: Layout,
    backlog: Backlog,
    /// Number of event frames so far, sent or not.
    emitted: u64,
}

impl Egress {
    /// Makes an empty stream.
    ///
    /// # Panics
    /// If the size of datagrams is outside of the protocol's limits: the
    /// configuration is checked before.
    pub fn new(stream: StreamId, config: &EgressConfig) -> Egress {
        let datagram_bytes = config.datagram_bytes;
        assert!(datagram_bytes >= MIN_DATAGRAM_BYTES);
        assert!(datagram_bytes <= MAX_DATAGRAM_BYTES);
        let sealer = StreamSealer::new(&config.keys, &config.session, stream);
        let history = History::new(datagram_bytes, config.history_bytes, sealer.tag_bytes());
        let session = session_tag(&config.session);
        let layout = Layout::new(history, datagram_bytes, sealer.key_id(), session, stream);
        Egress { stream, sealer, layout, backlog: Backlog::default(), emitted: 0 }
    }

    /// Goes on at this place, in an empty stream: all before it was sent by another broker.
    pub fn resume(&mut self, place: Position) {
        debug_assert!(self.next() == Position::default(), "only what is empty");
        self.layout.resume(place);
        self.emitted = place.ordinal;
    }

    /// Place behind everything that was emitted.
    pub fn end(&self) -> Position {
        let number = self.layout.history.open() + u64::from(self.layout.fill() > 0);
        Position { number, ordinal: self.emitted }
    }

    /// Sets how many bytes datagrams that are begun from now on have at most; those that
    /// are laid out do not change. It takes effect as soon as no receiver was promised
    /// a place that depends on the size.
    pub fn set_datagram_bytes(&mut self, bytes: usize) {
        self.layout.set_full_bytes(bytes.max(MIN_DATAGRAM_BYTES));
    }

    /// Seals by the first of these keys what is not laid out yet. What is, names the key
    /// before in its header, and is sealed by that.
    pub fn set_keys(&mut self, keys: &Keys) {
        self.seal_before(self.layout.history.open());
        self.layout.history.set_sealed();
        self.sealer.set_keys(keys);
        self.layout.set_key_id(self.sealer.key_id());
    }

    /// Id of the stream.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// Takes `frames` whole event frames, in one piece or one frame in several;
    /// a frame's head lies in one piece. What the history has no room for waits.
    pub fn emit(&mut self, channel: &Arc<LinkChannel>, pieces: &[Slice], frames: usize) {
        self.emitted += frames as u64;
        if let [piece] = pieces
            && self.backlog.is_empty()
            && self.layout.append(channel, piece.as_bytes(), frames as u64)
        {
            return;
        }
        self.lay_waiting();
        let known = (pieces.len() == 1).then_some(frames as u64);
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let laid = if self.backlog.is_empty() {
                self.layout.lay(channel, piece.as_bytes(), known)
            } else {
                0
            };
            if laid < piece.len() {
                self.backlog.push(channel, piece, laid);
            }
        }
        self.check();
    }

    /// Counts frames that nobody wants and that are not sent.
    pub fn skip(&mut self, frames: usize) {
        self.emitted += frames as u64;
        self.lay_waiting();
        if frames == 0 {
            return;
        }
        if self.backlog.is_empty() {
            self.layout.skip(frames as u64);
        } else {
            self.backlog.push_skip(frames as u64);
        }
    }

    /// Bytes that are not sent: in datagrams and waiting for room.
    pub fn queued_bytes(&self) -> usize {
        self.layout.history.unsent_bytes() + self.layout.fill() + self.backlog.bytes()
    }

    /// Whether something waits for room in the history. Those who emit must pause
    /// then: what waits has no other bound.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Frees the history below this number, as nobody who counts will ask for it
    /// (`u64::MAX`: all that is sent). It can be retransmitted until it is overwritten.
    /// Before the first call everything is needed.
    pub fn set_needed(&mut self, number: u64) {
        self.layout.history.set_needed(number);
        self.lay_waiting();
    }

    /// The next datagrams to send, sealed, with numbers below `limit` and of at
    /// most `max_bytes` together. The last may be the one that is being filled.
    ///
    /// They count as sent; see [`Egress::unsend`].
    pub fn next_batch(&mut self, limit: u64, max_bytes: usize) -> Option<Batch<'_>> {
        self.lay_waiting();
        let max_bytes = max_bytes.min(MAX_BATCH_BYTES);
        let mut found = self.layout.history.ready(limit, max_bytes);
        let fill = self.layout.fill();
        if fill > 0 && self.layout.history.open_follows(found, fill, limit, max_bytes) {
            self.layout.flush();
            found = self.layout.history.ready(limit, max_bytes);
        }
        let (count, bytes) = found;
        if count == 0 {
            return None;
        }
        let first = self.layout.history.sent();
        let segment = self.layout.history.next_bytes();
        self.seal_before(first + count);
        let bytes = self.layout.history.send(count, bytes);
        Some(Batch { first, datagrams: count as u32, bytes, segment })
    }

    /// Puts back what the last batch brought from `first` on, as the socket did
    /// not take it. To be called before anything else.
    pub fn unsend(&mut self, first: u64) {
        self.layout.history.unsend(first);
    }

    /// Whether [`Egress::next_batch`] has something, if nothing limits it.
    #[inline]
    pub fn unsent(&self) -> bool {
        let history = &self.layout.history;
        history.sent() < history.open()
            || self.layout.fill() > 0
            || !self.backlog.is_empty() && history.has_room()
    }

    /// A datagram to retransmit: `None` if it is gone or was not sent yet.
    pub fn datagram(&self, number: u64) -> Option<&[u8]> {
        let history = &self.layout.history;
        history.datagram(number).filter(|_| number < history.sent())
    }

    /// The next number to be sent, and the ordinal that its header has or, as far
    /// as is known now, will have.
    pub fn next(&self) -> Position {
        self.position_of(self.layout.history.sent())
    }

    /// The oldest number that is kept, sent or not, and its ordinal.
    pub fn oldest(&self) -> Position {
        self.position_of(self.layout.history.tail())
    }

    fn position_of(&self, number: u64) -> Position {
        let ordinal = match self.layout.history.datagram(number).and_then(DataHeader::split) {
            Some((header, _)) => header.ordinal.get(),
            None => self.layout.open_ordinal(),
        };
        Position { number, ordinal }
    }

    /// The ordinal behind everything that was emitted or skipped, sent or not.
    pub fn end_ordinal(&self) -> u64 {
        self.emitted
    }

    /// The oldest number that can be retransmitted.
    pub fn tail(&self) -> u64 {
        self.layout.history.tail()
    }

    /// Notes that a receiver joins: everything from the returned position on is owed to it,
    /// which is what is emitted from now on and perhaps some of what waits. The datagram
    /// with that number begins with a `channel` frame.
    pub fn join_point(&mut self) -> Position {
        self.lay_waiting();
        let left = self.layout.frame_left();
        let mut position = self.layout.join();
        if left > 0 {
            position.ordinal += self.backlog.skipped_behind(left);
        }
        position
    }

    /// Forgets what is not sent, since nobody turned out to want it, and the
    /// history with it. Numbers and ordinals stay used.
    pub fn discard_unsent(&mut self) {
        let history = &self.layout.history;
        if history.sent() == history.open() && self.layout.fill() == 0 && self.backlog.is_empty() {
            return;
        }
        let is_cut = self.layout.frame_left() > 0;
        while let Some(item) = self.backlog.pop() {
            match item {
                Item::Frames(_, slice) => self.layout.abandon(slice.as_bytes()),
                Item::Skip(frames) => self.layout.abandon_skip(frames),
            }
        }
        self.layout.clear(is_cut);
        self.check();
    }

    /// Seals the datagrams below `end` that are not sealed yet.
    fn seal_before(&mut self, end: u64) {
        if self.sealer.tag_bytes() == 0 {
            return;
        }
        for number in self.layout.history.sealed()..end {
            let parts = self.layout.history.parts(number);
            self.sealer.seal(number, parts.header, parts.body, parts.tag);
        }
    }

    /// Goes on with what waits, as far as there is room now.
    #[inline]
    fn lay_waiting(&mut self) {
        if !self.backlog.is_empty() {
            self.lay_items();
        }
    }

    #[cold]
    fn lay_items(&mut self) {
        while let Some(item) = self.backlog.pop() {
            match item {
                Item::Skip(frames) => self.layout.skip(frames),
                Item::Frames(channel, mut slice) => {
                    let laid = self.layout.lay(&channel, slice.as_bytes(), None);
                    slice.advance(laid);
                    if !slice.is_empty() {
                        self.backlog.put_back(channel, slice);
                        break;
                    }
                }
            }
        }
        self.check();
    }

    #[inline]
    fn check(&self) {
        debug_assert!(!self.backlog.is_empty() || self.layout.frame_left() == 0);
        debug_assert!(self.backlog.is_empty() || self.layout.fill() == 0);
        debug_assert!(self.backlog.is_empty() || !self.layout.history.has_room());
    }
}
