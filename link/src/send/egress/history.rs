//! The history of an outbound stream: numbered datagrams in one piece of memory.
//!
//! ```text
//!   slot       0        1        2        3        4        5        6
//!          +--------+--------+--------+--------+--------+--------+--------+
//!   number |   14   |   15   |   16   |   17   |   11   |   12   |   13   |
//!          +--------+--------+--------+--------+--------+--------+--------+
//!            sealed   closed   closed   open     history  owed     owed
//!            sent ^                       ^ open   ^ tail   ^ needed
//!
//!   tail <= sent <= sealed <= open <= tail + limit
//!   one datagram: [ header 44 | body … | tag ]      slot = number % slots
//! ```
//! - `tail..sent` were handed out and can be retransmitted.
//! - `needed` and above must not be overwritten: some receiver may still ask.
//! - `sent..sealed` were handed out and put back, since the socket was full;
//!   their bytes must not change any more.
//! - `sealed..open` are laid out and not sealed yet; `open` is being filled.
//!
//! Datagrams lie one behind the other in the memory, each as long as it is, so that
//! consecutive ones are adjacent and go out as one range. How long a full one is may
//! change: those that are there stay as they are, and as long as a longer one is kept
//! so few are kept that each could be as long as that.
//!
//! Invariant: the order of cursors above; a datagram is overwritten only if it was
//! sent and lies below `needed`. Where it cannot end before the memory does it begins
//! at its start: so one more full one than are kept has room.
//!
//! Decision: `docs/decisions/013-two-copies-on-the-link.md`.

use netcluster_wire::link::DataHeader;
use netcluster_wire::link::limits::{DATA_HEADER_BYTES, MIN_DATAGRAM_BYTES};

/// Most datagrams of one batch: what every kernel with UDP segmentation takes.
pub const MAX_BATCH_DATAGRAMS: u64 = 64;

/// Most bytes of one batch: the largest UDP payload over IPv6, whose headers
/// count for the whole of it.
pub const MAX_BATCH_BYTES: usize = 65_535 - 40 - 8;

/// Fewest datagrams that a ring keeps: one to fill while one is sent.
pub const MIN_KEPT: usize = 2;

/// Place of a datagram, known once it is closed.
#[derive(Clone, Copy, Default)]
struct Slot {
    start: u32,
    bytes: u32,
}

/// Ring of the datagrams that can be sent again.
pub(super) struct History {
    memory: Box<[u8]>,
    slots: Box<[Slot]>,
    /// Bytes of a full datagram, from the open one on.
    full_bytes: usize,
    tag_bytes: usize,
    /// Number of datagrams that are kept at most, the open one among them.
    limit: u64,
    /// Bytes of the longest that may be there, …
    longest_bytes: usize,
    /// … until this one is the first; `u64::MAX`: it is `full_bytes`.
    shorter_from: u64,
    /// The slot of the open datagram and where it starts: what happens for each
    /// datagram needs no division.
    open_slot: usize,
    open_at: usize,
    tail: u64,
    needed: u64,
    sent: u64,
    sealed: u64,
    open: u64,
    unsent_bytes: usize,
}

/// A closed datagram in its parts.
pub(super) struct Parts<'a> {
    pub header: &'a [u8],
    pub body: &'a mut [u8],
    pub tag: &'a mut [u8],
}

impl History {
    /// Makes a ring for datagrams of at most `full_bytes`, ever.
    pub(super) fn new(full_bytes: usize, history_bytes: usize, tag_bytes: usize) -> History {
        assert!(full_bytes >= MIN_DATAGRAM_BYTES, "a datagram holds some body");
        assert!(full_bytes <= usize::from(u16::MAX));
        let kept = (history_bytes / full_bytes).max(MIN_KEPT);
        let memory_bytes = (kept + 1) * full_bytes;
        assert!(u32::try_from(memory_bytes).is_ok());
        History {
            memory: vec![0; memory_bytes].into(),
            slots: vec![Slot::default(); memory_bytes / MIN_DATAGRAM_BYTES].into(),
            full_bytes,
            tag_bytes,
            limit: kept as u64,
            longest_bytes: full_bytes,
            shorter_from: u64::MAX,
            open_slot: 0,
            open_at: 0,
            tail: 0,
            needed: 0,
            sent: 0,
            sealed: 0,
            open: 0,
            unsent_bytes: 0,
        }
    }

    /// Bytes of the stream that a full datagram carries.
    pub(super) fn body_bytes(&self) -> usize {
        self.full_bytes - DATA_HEADER_BYTES - self.tag_bytes
    }

    /// Sets how many bytes the open datagram, in which nothing is yet, and those behind it
    /// have at most: no more than the ring was made for.
    pub(super) fn set_full_bytes(&mut self, full_bytes: usize) {
        debug_assert!(full_bytes >= MIN_DATAGRAM_BYTES);
        if full_bytes >= self.longest_bytes {
            self.shorter_from = u64::MAX;
            self.set_longest(full_bytes);
        } else {
            self.shorter_from = self.open;
        }
        self.full_bytes = full_bytes;
        self.wrap();
        self.look_at_longest();
    }

    fn set_longest(&mut self, bytes: usize) {
        self.longest_bytes = bytes;
        self.limit = (self.memory.len() / bytes) as u64 - 1;
    }

    /// Keeps more datagrams if the longer ones are gone.
    #[inline]
    fn look_at_longest(&mut self) {
        if self.tail >= self.shorter_from {
            self.shorter_from = u64::MAX;
            self.set_longest(self.full_bytes);
        }
    }

    /// Begins the open datagram where a full one has room.
    #[inline]
    fn wrap(&mut self) {
        if self.open_at + self.full_bytes > self.memory.len() {
            self.open_at = 0;
        }
    }

    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn sealed(&self) -> u64 {
        self.sealed
    }

    pub(super) fn open(&self) -> u64 {
        self.open
    }

    /// Bytes of closed datagrams that are not sent.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    pub(super) fn set_needed(&mut self, number: u64) {
        self.needed = number;
    }

    /// Whether there is room for the open datagram.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        // What is gone from the history cannot be needed.
        let kept = self.needed.max(self.tail).min(self.sent);
        self.open < kept.saturating_add(self.limit)
    }

    /// Takes the room for the open datagram, if there is any, before the first
    /// byte is laid into it.
    #[inline]
    pub(super) fn begin(&mut self) -> bool {
        if !self.has_room() {
            return false;
        }
        self.tail = self.tail.max((self.open + 1).saturating_sub(self.limit));
        self.look_at_longest();
        self.check();
        true
    }

    /// A range of the open datagram's body.
    #[inline]
    pub(super) fn body_mut(&mut self, at: usize, count: usize) -> &mut [u8] {
        debug_assert!(at + count <= self.body_bytes());
        let start = self.open_at + DATA_HEADER_BYTES + at;
        &mut self.memory[start..start + count]
    }

    /// Closes the open datagram, which has begun, with so many bytes of body.
    #[inline]
    pub(super) fn close(&mut self, header: &DataHeader, body_bytes: usize) {
        debug_assert_eq!(header.number.get(), self.open);
        debug_assert!(0 < body_bytes && body_bytes <= self.body_bytes());
        let head = &mut self.memory[self.open_at..self.open_at + DATA_HEADER_BYTES];
        head.copy_from_slice(header.bytes());
        let bytes = DATA_HEADER_BYTES + body_bytes + self.tag_bytes;
        self.slots[self.open_slot] = Slot { start: self.open_at as u32, bytes: bytes as u32 };
        self.unsent_bytes += bytes;
        self.open += 1;
        self.open_slot += 1;
        if self.open_slot == self.slots.len() {
            self.open_slot = 0;
        }
        self.open_at += bytes;
        self.wrap();
        self.check();
    }

    /// Number of closed datagrams that can go out as one batch, and their bytes: all but
    /// the last are as long as the first, and all are adjacent.
    pub(super) fn ready(&self, limit: u64, max_bytes: usize) -> (u64, usize) {
        let most = self.open.min(limit).saturating_sub(self.sent).min(MAX_BATCH_DATAGRAMS);
        // At the end of the table a batch ends, too: that is rare.
        let to_wrap = &self.slots[self.index(self.sent)..];
        let first = to_wrap[0];
        let (mut count, mut bytes) = (0, 0);
        for slot in to_wrap.iter().take(most as usize) {
            let more = slot.bytes as usize;
            let is_adjacent = slot.start as usize == first.start as usize + bytes;
            if !is_adjacent || slot.bytes > first.bytes || bytes + more > max_bytes {
                break;
            }
            bytes += more;
            count += 1;
            if slot.bytes < first.bytes {
                break;
            }
        }
        (count, bytes)
    }

    /// Bytes of the next datagram to be sent, which is closed.
    pub(super) fn next_bytes(&self) -> usize {
        self.bytes_of(self.sent)
    }

    /// Whether the open datagram, with so many bytes of body, can be the last of
    /// a batch of what [`History::ready`] found before it.
    pub(super) fn open_follows(
        &self,
        (count, bytes): (u64, usize),
        body_bytes: usize,
        limit: u64,
        max_bytes: usize,
    ) -> bool {
        let more = DATA_HEADER_BYTES + body_bytes + self.tag_bytes;
        let is_first = count == 0;
        self.sent + count == self.open
            && self.open < limit
            && count < MAX_BATCH_DATAGRAMS
            && bytes + more <= max_bytes
            && (is_first || self.follows(count as usize, bytes, more))
    }

    /// Whether the open datagram, so long, is adjacent to a batch of such sizes and no
    /// longer than each of it.
    fn follows(&self, count: usize, bytes: usize, more: usize) -> bool {
        let first = self.slots[self.index(self.sent)];
        let each = first.bytes as usize;
        bytes == count * each
            && more <= each
            && self.open_at == first.start as usize + bytes
            && self.open_slot != 0
    }

    /// The parts of a datagram that is closed and was not sealed before.
    pub(super) fn parts(&mut self, number: u64) -> Parts<'_> {
        debug_assert!(self.sealed <= number && number < self.open);
        let Slot { start, bytes } = self.slots[self.index(number)];
        let (start, bytes) = (start as usize, bytes as usize);
        let (header, rest) = self.memory[start..start + bytes].split_at_mut(DATA_HEADER_BYTES);
        let (body, tag) = rest.split_at_mut(bytes - DATA_HEADER_BYTES - self.tag_bytes);
        Parts { header, body, tag }
    }

    /// Notes that all that is closed is sealed.
    pub(super) fn set_sealed(&mut self) {
        self.sealed = self.open;
    }

    /// Hands out the next `count` datagrams, which are sealed now.
    pub(super) fn send(&mut self, count: u64, bytes: usize) -> &[u8] {
        let start = self.slots[self.index(self.sent)].start as usize;
        self.sent += count;
        self.sealed = self.sealed.max(self.sent);
        self.unsent_bytes -= bytes;
        self.check();
        &self.memory[start..start + bytes]
    }

    /// Puts back what was handed out from `first` on.
    pub(super) fn unsend(&mut self, first: u64) {
        debug_assert!(self.tail <= first && first <= self.sent, "only what was just handed out");
        let first = first.clamp(self.tail, self.sent);
        self.unsent_bytes += (first..self.sent).map(|number| self.bytes_of(number)).sum::<usize>();
        self.sent = first;
        self.check();
    }

    /// Forgets everything: the next datagram has the number `open`, whatever was
    /// laid into the open one before is given up.
    pub(super) fn clear(&mut self, open: u64) {
        debug_assert!(open >= self.open);
        self.open = open;
        self.open_slot = self.index(open);
        self.open_at = 0;
        self.tail = open;
        self.sent = open;
        self.sealed = open;
        self.unsent_bytes = 0;
        self.look_at_longest();
        self.check();
    }

    /// A closed datagram that is still there.
    pub(super) fn datagram(&self, number: u64) -> Option<&[u8]> {
        if number < self.tail || number >= self.open {
            return None;
        }
        let Slot { start, bytes } = self.slots[self.index(number)];
        Some(&self.memory[start as usize..][..bytes as usize])
    }

    #[inline]
    fn index(&self, number: u64) -> usize {
        (number % self.slots.len() as u64) as usize
    }

    #[inline]
    fn bytes_of(&self, number: u64) -> usize {
        self.slots[self.index(number)].bytes as usize
    }

    #[inline]
    fn check(&self) {
        debug_assert!(self.tail <= self.sent);
        debug_assert!(self.sent <= self.sealed);
        debug_assert!(self.sealed <= self.open);
        debug_assert!(self.open <= self.tail + self.slots.len() as u64);
        debug_assert!(self.open_slot == self.index(self.open));
        debug_assert!(self.open_at + self.full_bytes <= self.memory.len());
    }
}
