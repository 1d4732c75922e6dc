//! The queue towards one client: runs of frames, bounded, sent by gather-writes.
//!
//! ```text
//!          sent  under way (in the kernel's hands until `Sent`)
//!          ▼     ▼
//!   [ entry ][ entry ][ entry ][ entry ]        entry = slice of a chunk
//!   └ head_sent ┘  └ boundary: where dropping or truncating may start
//! ```
//! The limit is a high-water mark: a push is never refused, the caller pauses
//! whoever feeds a full queue. A queue is full until it has drained to half.
//!
//! Invariants: `queued_bytes` is what the entries hold less `head_sent`; an
//! entry's first `lead` bytes end a frame that began in an entry before, behind
//! them a frame starts. Frames are never cut, except between two sends.
//!
//! Decision: `docs/decisions/016-copies-of-link-ranges.md`.

mod loss;

use std::collections::VecDeque;

use bytes::Bytes;

use netcluster_platform::{MAX_SLICES_PER_SEND, Slice};
use netcluster_wire::header::{Header, Kind};
use netcluster_wire::{LossReason, Source};

use crate::budget::{Budget, Charge};
use crate::copies::Copies;

use self::loss::Loss;

/// Entries of an empty queue beyond which its memory is given back.
pub const KEEP_ENTRIES: usize = 32;

/// Bytes that an entry takes besides those that it names.
pub const ENTRY_BYTES: usize = size_of::<Entry>();

/// Limit of every queue while the broker's memory budget is used up: low enough to stop
/// growth, high enough that any client still makes progress.
pub const EXHAUSTED_LIMIT_BYTES: usize = 64 * 1024;

#[derive(Clone, Debug)]
struct Entry {
    slice: Slice,
    lead: u32,
}

/// One client's outbound queue.
#[derive(Debug)]
pub struct Outbound {
    entries: VecDeque<Entry>,
    /// Charge for the room of `entries`.
    charge: Charge,
    queued_bytes: usize,
    head_sent: usize,
    under_way_bytes: usize,
    limit_bytes: usize,
    resume_bytes: Option<usize>,
    blocked: bool,
    /// Events that the queue did not take, to be told at its end.
    missed: Option<Box<Loss>>,
    /// Events dropped since the start, for `status`.
    pub dropped: u64,
}

impl Outbound {
    /// Returns an empty queue with this high-water mark. Its list is charged to
    /// `budget`; the ranges that the list names are charged by their makers.
    pub fn new(limit_bytes: usize, budget: &Budget) -> Outbound {
        Outbound {
            entries: VecDeque::new(),
            charge: budget.charge(0),
            queued_bytes: 0,
            head_sent: 0,
            under_way_bytes: 0,
            limit_bytes,
            resume_bytes: None,
            blocked: false,
            missed: None,
            dropped: 0,
        }
    }

    /// Appends whole frames in one slice.
    #[inline]
    pub fn push(&mut self, slice: &Slice) {
        self.push_part(slice, 0);
    }

    /// Appends one frame in several slices.
    pub fn push_pieces(&mut self, pieces: &[Slice]) {
        for (at, piece) in pieces.iter().enumerate() {
            self.push_part(piece, if at == 0 { 0 } else { piece.len() });
        }
    }

    /// Refuses these events, which came from another machine: neither the link nor its
    /// emitters wait for a full queue. The loss is told in their place: before the next
    /// events, or when the queue has drained.
    pub fn miss(&mut self, pieces: &[Slice]) {
        self.dropped += self.missed.get_or_insert_default().add_frames(pieces);
    }

    /// Tells the client that events of this source are missing here.
    pub fn push_lost(&mut self, source: Source, count: Option<u64>, reason: LossReason) {
        if self.is_full() {
            // One notice for all of them.
            self.missed.get_or_insert_default().add(source, count);
        } else {
            self.push(&Slice::from(Bytes::from(loss::notice(source, count, reason))));
        }
    }

    #[cold]
    fn tell_missed(&mut self) {
        let Some(missed) = self.missed.take() else { return };
        for notice in missed.notices(LossReason::Slow) {
            self.push(&Slice::from(Bytes::from(notice)));
        }
    }

    #[inline]
    fn push_part(&mut self, slice: &Slice, lead: usize) {
        if self.missed.is_some() && lead == 0 {
            self.tell_missed();
        }
        self.queued_bytes += slice.len();
        // A piece that goes on with a frame stays by itself, so that `lead` tells
        // where that frame ends.
        if lead == 0
            && let Some(last) = self.entries.back_mut()
            && last.slice.try_join(slice)
        {
            return;
        }
        if self.entries.len() == self.entries.capacity() {
            self.grow();
        }
        self.entries.push_back(Entry { slice: slice.clone(), lead: lead as u32 });
    }

    #[cold]
    fn grow(&mut self) {
        self.entries.reserve(1);
        self.charge_list();
    }

    /// Charges the room of the list; a short list is part of what a connection takes
    /// anyhow.
    fn charge_list(&mut self) {
        let capacity = self.entries.capacity();
        self.charge.set(if capacity > KEEP_ENTRIES { capacity * ENTRY_BYTES } else { 0 });
    }

    /// Gives back most of the room of a list that has become short.
    fn shrink(&mut self) {
        if self.entries.capacity() > KEEP_ENTRIES.max(self.entries.len() * 4) {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        self.charge_list();
    }

    /// Returns the bytes that the socket has not taken yet.
    #[inline]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Returns the bytes that count against the marks: those that the socket has not
    /// taken, and the list that names them.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.queued_bytes + self.entries.len() * ENTRY_BYTES
    }

    /// Returns the high-water mark.
    #[inline]
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Returns the mark in force now: a low one while memory is used up.
    #[inline]
    pub fn mark_bytes(&self, budget: &Budget) -> usize {
        if budget.is_exhausted() {
            self.limit_bytes.min(EXHAUSTED_LIMIT_BYTES)
        } else {
            self.limit_bytes
        }
    }

    /// Sets the high-water mark.
    pub fn set_limit_bytes(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
    }

    /// Returns the number of ranges that the queue holds: its gather list.
    pub fn ranges(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether nothing is queued.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queued_bytes == 0
    }

    /// Returns whether a send may start: something is queued, none is under way and the
    /// socket has room.
    #[inline]
    pub fn can_send(&self) -> bool {
        self.queued_bytes > 0 && self.under_way_bytes == 0 && !self.blocked
    }

    /// Returns whether a frame could be sent ahead of the queue: no send is under way, the
    /// socket has room, and the queue begins with a frame's start, which is no welcome.
    pub fn is_between_frames(&self) -> bool {
        let goes_first = |entry: &Entry| {
            let head = Header::read(entry.slice.as_bytes());
            entry.lead > 0 || head.is_some_and(|head| head.kind == Kind::Welcome as u8)
        };
        self.under_way_bytes == 0
            && !self.blocked
            && self.head_sent == 0
            && !self.entries.front().is_some_and(goes_first)
    }

    /// Returns whether the socket has no room.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Starts a send of at most [`MAX_SLICES_PER_SEND`] slices. Returns what is
    /// left of the first one if it is sent in part; [`Outbound::whole_slices`]
    /// gives the others. All are under way until [`Outbound::sent`].
    ///
    /// # Panics
    /// If [`Outbound::can_send`] is false: a programmer's error.
    #[inline]
    pub fn start_send(&mut self) -> Option<Slice> {
        assert!(self.can_send());
        let rest = (self.head_sent > 0).then(|| {
            let mut first = self.entries[0].slice.clone();
            first.advance(self.head_sent);
            first
        });
        self.under_way_bytes = rest.as_ref().map_or(0, Slice::len)
            + self.whole_slices().map(Slice::len).sum::<usize>();
        rest
    }

    /// Returns the slices of the send under way of which nothing was sent before.
    #[inline]
    pub fn whole_slices(&self) -> impl Iterator<Item = &Slice> {
        let skip = usize::from(self.head_sent > 0);
        self.entries.iter().take(MAX_SLICES_PER_SEND).skip(skip).map(|entry| &entry.slice)
    }

    /// Removes `bytes` that the socket took from what was under way.
    pub fn sent(&mut self, bytes: usize, blocked: bool) {
        assert!(bytes <= self.under_way_bytes);
        self.under_way_bytes = 0;
        self.blocked = blocked;
        self.queued_bytes -= bytes;
        let mut left = bytes + self.head_sent;
        while let Some(first) = self.entries.front() {
            if left < first.slice.len() {
                break;
            }
            left -= first.slice.len();
            self.entries.pop_front();
        }
        self.head_sent = left;
        if self.entries.is_empty() && self.entries.capacity() > KEEP_ENTRIES {
            self.entries = VecDeque::new();
            self.charge_list();
        }
    }

    /// Notes that the socket has room again.
    pub fn writable(&mut self) {
        self.blocked = false;
    }

    /// Returns whether the queue has just become full. From then on it counts as full
    /// until [`Outbound::drained`].
    #[inline]
    pub fn fills(&mut self, budget: &Budget) -> bool {
        if self.resume_bytes.is_some() {
            return false;
        }
        let limit = self.mark_bytes(budget);
        let full = self.held_bytes() >= limit;
        if full {
            self.resume_bytes = Some(limit / 2);
        }
        full
    }

    /// Makes the queue count as full though it is below its mark, because memory is
    /// wanted elsewhere. Returns whether it did not count as full already.
    pub fn declare_full(&mut self) -> bool {
        let news = self.resume_bytes.is_none() && self.queued_bytes > 0;
        if news {
            self.resume_bytes = Some(self.held_bytes() / 2);
        }
        news
    }

    /// Returns whether the queue is full.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.resume_bytes.is_some()
    }

    /// Returns whether a full queue has just drained to half: it counts as full no
    /// more.
    #[inline]
    pub fn drained(&mut self) -> bool {
        let drained = self.resume_bytes.is_some_and(|mark| self.held_bytes() <= mark);
        if drained {
            self.resume_bytes = None;
            self.tell_missed();
        }
        drained
    }

    /// Copies the ranges that pin pool buffers to memory of their own, shared through
    /// `copies` with other queues that hold the same chunks.
    pub fn copy_out(&mut self, copies: &mut Copies) {
        // Slices in the kernel's hands keep their own references anyway.
        for entry in &mut self.entries {
            if entry.slice.is_pooled() {
                entry.slice = copies.copy(&entry.slice);
            }
        }
    }

    /// Returns the slices that pin pool buffers.
    pub fn pooled(&self) -> impl Iterator<Item = &Slice> {
        self.entries.iter().map(|entry| &entry.slice).filter(|slice| slice.is_pooled())
    }

    /// Frees an eighth of the mark for a `latest` connection that is over it: see
    /// [`Outbound::drop_oldest_to`].
    pub fn drop_oldest(&mut self, mark_bytes: usize) -> u64 {
        self.drop_oldest_to(mark_bytes - mark_bytes / 8)
    }

    /// Drops the oldest whole events until `goal` bytes are held, and puts one `lost`
    /// frame per source in their place. A range that is under way or half sent stays,
    /// and so do control frames. Returns the number of events dropped.
    pub fn drop_oldest_to(&mut self, goal: usize) -> u64 {
        if self.held_bytes() <= goal {
            return 0;
        }
        let kept = self.split_at_boundary();
        let mut loss = Loss::default();
        let mut controls = Vec::new();
        let mut dropped = 0;
        let mut rest = self.entries.split_off(kept);
        let mut rest_bytes: usize = rest.iter().map(|entry| entry.slice.len()).sum();
        while self.queued_bytes + (kept + controls.len() + rest.len()) * ENTRY_BYTES > goal {
            let Some(mut entry) = rest.pop_front() else { break };
            let head = Header::read(entry.slice.as_bytes()).expect("a frame starts here");
            let length = head.length.get() as usize;
            if length == rest_bytes {
                // The newest event is kept, whatever its size.
                rest.push_front(entry);
                break;
            }
            rest_bytes -= length;
            match Kind::from_byte(head.kind) {
                Some(Kind::Event) => {
                    loss.add(head.source(), Some(1));
                    dropped += 1;
                }
                Some(Kind::Lost) => {
                    loss.add(head.source(), loss::count_of(head.sequence.get()));
                }
                _ => {
                    // Its pieces, if it has several, are entries of their own.
                    let mut missing = length - entry.slice.len();
                    controls.push(entry);
                    while missing > 0 {
                        let piece = rest.pop_front().expect("a frame's pieces follow each other");
                        missing -= piece.slice.len();
                        controls.push(piece);
                    }
                    continue;
                }
            }
            self.queued_bytes -= length;
            let mut missing = length.saturating_sub(entry.slice.len());
            if missing == 0 {
                entry.slice.advance(length);
                if !entry.slice.is_empty() {
                    rest.push_front(entry);
                }
            }
            while missing > 0 {
                let mut next = rest.pop_front().expect("a frame's pieces follow each other");
                let take = missing.min(next.slice.len());
                missing -= take;
                next.slice.advance(take);
                next.lead = 0;
                if !next.slice.is_empty() {
                    rest.push_front(next);
                }
            }
        }
        for notice in loss.notices(LossReason::Overflow) {
            self.queued_bytes += notice.len();
            self.entries.push_back(Entry { slice: Slice::from(Bytes::from(notice)), lead: 0 });
        }
        self.entries.extend(controls);
        self.entries.append(&mut rest);
        self.shrink();
        self.dropped += dropped;
        dropped
    }

    /// Takes out all but the frame that is half sent (and what is under way).
    pub fn truncate(&mut self) -> Remains {
        let kept = self.split_at_boundary();
        let kept_bytes: usize = self.entries.range(..kept).map(|entry| entry.slice.len()).sum();
        self.queued_bytes = kept_bytes - self.head_sent;
        let all = self.charge.bytes();
        let rest = self.entries.split_off(kept);
        self.shrink();
        let mut charge = self.charge.another();
        charge.set(all.saturating_sub(self.charge.bytes()));
        Remains { entries: rest, _charge: charge }
    }

    /// Takes out everything when the connection is gone.
    pub fn into_remains(self) -> Remains {
        Remains { entries: self.entries, _charge: self.charge }
    }

    /// Cuts the entry in which the first frame starts that no send has touched,
    /// and returns the index of the entry that starts with it.
    fn split_at_boundary(&mut self) -> usize {
        let touched = self.head_sent + self.under_way_bytes;
        let mut start = 0; // of the entry, in bytes from the front of the queue
        for at in 0..self.entries.len() {
            let entry = &self.entries[at];
            let length = entry.slice.len();
            let mut boundary = entry.lead as usize;
            while start + boundary < touched && boundary < length {
                let head = &entry.slice.as_bytes()[boundary..];
                boundary += Header::read(head).expect("a frame starts here").length.get() as usize;
            }
            if boundary < length || (boundary == length && start + boundary >= touched) {
                if boundary == 0 {
                    return at;
                }
                if boundary < length {
                    let mut rest = entry.clone();
                    rest.slice.advance(boundary);
                    rest.lead = 0;
                    self.entries[at].slice.truncate(boundary);
                    self.entries.insert(at + 1, rest);
                }
                // The pieces of a frame that ends here may still follow.
                if self.entries.get(at + 1).is_none_or(|next| next.lead == 0) {
                    return at + 1;
                }
            }
            start += length;
        }
        self.entries.len()
    }
}

/// Entries that are no longer to be sent, to be dropped in slices.
#[derive(Debug)]
pub struct Remains {
    entries: VecDeque<Entry>,
    _charge: Charge,
}

impl Remains {
    /// Returns whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops at most so many ranges; returns their number.
    pub fn drop_some(&mut self, ranges: usize) -> usize {
        let count = ranges.min(self.entries.len());
        self.entries.drain(..count);
        count
    }
}

#[cfg(test)]
mod tests;
