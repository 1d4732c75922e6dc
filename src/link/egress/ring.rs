//! The history of an own stream: numbered datagrams in one piece of memory.
//!
//! ```text
//!   slot       0        1        2        3        4        5        6
//!          +--------+--------+--------+--------+--------+--------+--------+
//!   number |   14   |   15   |   16   |   17   |   11   |   12   |   13   |
//!          +--------+--------+--------+--------+--------+--------+--------+
//!            sealed   closed   closed   open     history  owed     owed
//!            sent ^                       ^ open   ^ tail   ^ needed
//!
//!   tail <= sent <= sealed <= open <= tail + slots
//!   one slot: [ header 44 | body … | tag ]      slot = number % slots
//! ```
//! - `tail..sent` were handed out and can be repaired.
//! - `needed` and above must not be overwritten: some receiver may still ask.
//! - `sent..sealed` were handed out and put back, since the socket was full;
//!   their bytes must not change any more.
//! - `sealed..open` are laid out and not sealed yet; `open` is being filled.
//!
//! A full datagram fills its slot, so that consecutive ones are adjacent and go
//! out as one range.
//!
//! Invariant: the order of cursors above, and that a slot is begun anew only if
//! its datagram was sent and lies below `needed`.

use netcluster_wire::link::DataHeader;
use netcluster_wire::link::limits::DATA_HEADER_BYTES;

/// Most datagrams of one batch: what every kernel with UDP segmentation takes.
pub const MAX_BATCH_DATAGRAMS: u64 = 64;

/// Most bytes of one batch: the largest UDP payload over IPv6, whose headers
/// count for the whole of it.
pub const MAX_BATCH_BYTES: usize = 65_535 - 40 - 8;

/// Fewest slots of a ring: one to fill while one is sent.
pub const MIN_SLOTS: usize = 2;

/// See the module.
pub(super) struct Ring {
    memory: Box<[u8]>,
    /// Bytes of each slot's datagram, known once it is closed.
    lengths: Box<[u16]>,
    slot_bytes: usize,
    tag_bytes: usize,
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

impl Ring {
    pub(super) fn new(slot_bytes: usize, history_bytes: usize, tag_bytes: usize) -> Ring {
        assert!(slot_bytes > DATA_HEADER_BYTES + tag_bytes, "a datagram holds some body");
        assert!(slot_bytes <= usize::from(u16::MAX));
        let slots = (history_bytes / slot_bytes).max(MIN_SLOTS);
        Ring {
            memory: vec![0; slots * slot_bytes].into(),
            lengths: vec![0; slots].into(),
            slot_bytes,
            tag_bytes,
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
        self.slot_bytes - DATA_HEADER_BYTES - self.tag_bytes
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

    /// Whether the slot of the open datagram is free.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        // What is gone from the history cannot be needed.
        let kept = self.needed.max(self.tail).min(self.sent);
        self.open < kept.saturating_add(self.lengths.len() as u64)
    }

    /// Takes the slot for the open datagram, if it is free, before the first
    /// byte is laid into it.
    #[inline]
    pub(super) fn begin(&mut self) -> bool {
        if !self.has_room() {
            return false;
        }
        self.tail = self.tail.max((self.open + 1).saturating_sub(self.lengths.len() as u64));
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
        self.lengths[self.open_slot] = bytes as u16;
        self.unsent_bytes += bytes;
        self.open += 1;
        self.open_slot += 1;
        self.open_at += self.slot_bytes;
        if self.open_slot == self.lengths.len() {
            (self.open_slot, self.open_at) = (0, 0);
        }
        self.check();
    }

    /// How many closed datagrams can go out as one batch, and their bytes: all
    /// but the last are full, and all are adjacent.
    pub(super) fn ready(&self, limit: u64, max_bytes: usize) -> (u64, usize) {
        let most = self.open.min(limit).saturating_sub(self.sent).min(MAX_BATCH_DATAGRAMS);
        let to_wrap = &self.lengths[self.index(self.sent)..];
        let (mut count, mut bytes) = (0, 0);
        for &length in to_wrap.iter().take(most as usize) {
            let more = usize::from(length);
            if bytes + more > max_bytes {
                break;
            }
            bytes += more;
            count += 1;
            if more < self.slot_bytes {
                break;
            }
        }
        (count, bytes)
    }

    /// Whether the open datagram, with so many bytes of body, can be the last of
    /// a batch of what [`Ring::ready`] found before it.
    pub(super) fn open_follows(
        &self,
        (count, bytes): (u64, usize),
        body_bytes: usize,
        limit: u64,
        max_bytes: usize,
    ) -> bool {
        let more = DATA_HEADER_BYTES + body_bytes + self.tag_bytes;
        self.sent + count == self.open
            && self.open < limit
            && count < MAX_BATCH_DATAGRAMS
            && bytes == count as usize * self.slot_bytes
            && bytes + more <= max_bytes
            && (count == 0 || self.open_slot != 0)
    }

    /// The parts of a datagram that is closed and was not sealed before.
    pub(super) fn parts(&mut self, number: u64) -> Parts<'_> {
        debug_assert!(self.sealed <= number && number < self.open);
        let start = self.index(number) * self.slot_bytes;
        let bytes = self.bytes_of(number);
        let (header, rest) = self.memory[start..start + bytes].split_at_mut(DATA_HEADER_BYTES);
        let (body, tag) = rest.split_at_mut(bytes - DATA_HEADER_BYTES - self.tag_bytes);
        Parts { header, body, tag }
    }

    /// Hands out the next `count` datagrams, which are sealed now.
    pub(super) fn send(&mut self, count: u64, bytes: usize) -> &[u8] {
        let start = self.index(self.sent) * self.slot_bytes;
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
        self.open_at = self.open_slot * self.slot_bytes;
        self.tail = open;
        self.sent = open;
        self.sealed = open;
        self.unsent_bytes = 0;
        self.check();
    }

    /// A closed datagram that is still there.
    pub(super) fn datagram(&self, number: u64) -> Option<&[u8]> {
        if number < self.tail || number >= self.open {
            return None;
        }
        let start = self.index(number) * self.slot_bytes;
        Some(&self.memory[start..start + self.bytes_of(number)])
    }

    #[inline]
    fn index(&self, number: u64) -> usize {
        (number % self.lengths.len() as u64) as usize
    }

    #[inline]
    fn bytes_of(&self, number: u64) -> usize {
        usize::from(self.lengths[self.index(number)])
    }

    #[inline]
    fn check(&self) {
        debug_assert!(self.tail <= self.sent);
        debug_assert!(self.sent <= self.sealed);
        debug_assert!(self.sealed <= self.open);
        debug_assert!(self.open <= self.tail + self.lengths.len() as u64);
        debug_assert!(self.open_slot == self.index(self.open));
    }
}
