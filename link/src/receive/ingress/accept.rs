//! Datagrams in: each to the assembler if its turn has come, else to the store.
//!
//! ```text
//!   train    [ 7 | 8 | 9 | 12 | 13 ]      next: 7
//!              └─────────┘   ╰── one by one: a hole before it, so to the store
//!              in their turn and nothing missing: at once
//! ```
//!
//! Decision: `docs/decisions/019-trains-at-once.md`.

use netcluster_platform::Instant;
use netcluster_wire::link::DataHeader;
use netcluster_wire::link::limits::{DATA_HEADER_BYTES, MAX_DATAGRAM_BYTES, TAG_BYTES};

use super::reorder::Facts;
use super::{Ingress, Life, MAX_NUMBER, Verdict};
use crate::crypto::Unsealed;

impl Ingress {
    /// Takes the datagrams of this stream that `train` begins with, of `segment`
    /// bytes each, as far as each comes in its turn and nothing is missing: the
    /// usual case, without its questions for each of them. Returns how many bytes
    /// it took; what follows is for [`Ingress::handle`].
    pub fn handle_train(&mut self, now: Instant, train: &[u8], segment: usize) -> usize {
        let is_plain = self.life == Life::Live
            && self.held.is_none()
            && self.fed == self.next
            && self.seen_end == self.next
            && self.assembler.has_memory();
        let Some((first, _)) = DataHeader::split(train) else { return 0 };
        if !is_plain || first.stream.get() != self.stream.0 {
            return 0;
        }
        self.now = now;
        let key_id = first.key_id.get();
        let tag_bytes = if key_id == 0 { 0 } else { TAG_BYTES };
        let mut number = self.next;
        let mut taken_bytes = 0;
        for datagram in train.chunks(segment) {
            let Some((header, rest)) = DataHeader::split(datagram) else { break };
            let is_next = header.number.get() == number
                && header.is_of_stream_of(first)
                && rest.len() >= tag_bytes
                && datagram.len() <= MAX_DATAGRAM_BYTES
                && number < MAX_NUMBER
                && self.assembler.is_open();
            if !is_next {
                break;
            }
            let (body, tag) = rest.split_at(rest.len() - tag_bytes);
            let head = &datagram[..DATA_HEADER_BYTES];
            let opener = &mut self.opener;
            let open = |body: &mut [u8]| opener.open(key_id, number, head, body, tag);
            if self.assembler.push(&Facts::of(header, body), body, open).is_err() {
                break;
            }
            number += 1;
            taken_bytes += datagram.len();
        }
        self.counters.taken += number - self.next;
        (self.fed, self.next, self.seen_end) = (number, number, number);
        taken_bytes
    }

    /// Takes a datagram of this stream with its header.
    #[inline]
    pub fn handle(&mut self, now: Instant, header: &DataHeader, datagram: &[u8]) -> Verdict {
        self.now = now;
        let verdict = self.take(now, header, datagram);
        let counters = &mut self.counters;
        *match verdict {
            Verdict::Taken => &mut counters.taken,
            Verdict::Duplicate => &mut counters.duplicates,
            Verdict::TooFar => &mut counters.too_far,
            Verdict::NoMemory => &mut counters.no_memory,
            Verdict::Forged => &mut counters.forged,
            Verdict::WrongKey(_) => &mut counters.wrong_key,
            Verdict::Malformed => &mut counters.malformed,
            Verdict::Ended => return verdict,
        } += 1;
        verdict
    }

    #[inline]
    fn take(&mut self, now: Instant, header: &DataHeader, datagram: &[u8]) -> Verdict {
        if self.life != Life::Live {
            return Verdict::Ended;
        }
        let (number, key_id) = (header.number.get(), header.key_id.get());
        if number < self.next {
            self.loss_detector.came_again(number);
            return Verdict::Duplicate;
        }
        let ahead = number - self.fed;
        if ahead >= self.reorder_datagrams {
            self.came(number);
            return Verdict::TooFar;
        }
        if self.reorder.has(ahead as usize) {
            self.loss_detector.came_again(number);
            return Verdict::Duplicate;
        }
        let tag_bytes = if key_id == 0 { 0 } else { TAG_BYTES };
        if datagram.len() < DATA_HEADER_BYTES + tag_bytes
            || datagram.len() > MAX_DATAGRAM_BYTES
            || header.stream.get() != self.stream.0
            || number >= MAX_NUMBER
        {
            return Verdict::Malformed;
        }
        if !self.assembler.has_memory() {
            return self.no_memory(now);
        }
        let (head, rest) = datagram.split_at(DATA_HEADER_BYTES);
        let (body, tag) = rest.split_at(rest.len() - tag_bytes);
        let facts = Facts::of(header, body);
        let opener = &mut self.opener;
        let open = |body: &mut [u8]| opener.open(key_id, number, head, body, tag);

        let is_direct = ahead == 0 && self.held.is_none() && self.assembler.is_open();
        if !is_direct && !self.reorder.has_room(body.len()) {
            return self.no_memory(now);
        }
        let opened = if is_direct {
            self.assembler.push(&facts, body, open)
        } else {
            self.reorder.put(ahead as usize, facts, body, open)
        };
        match opened {
            Err(Unsealed::WrongKey(id)) => return Verdict::WrongKey(id),
            Err(_) => return Verdict::Forged,
            Ok(()) if is_direct => {
                self.fed += 1;
                self.reorder.skip(1);
            }
            Ok(()) => self.came(number),
        }
        if number < self.seen_end {
            self.loss_detector.arrived(number, now);
        } else {
            self.notice_until(number);
            self.seen_end = number + 1;
        }
        if number == self.next {
            self.next += 1;
            self.advance_next();
        }
        Verdict::Taken
    }

    /// Notes that a datagram came before its turn: the peer has sent all below it.
    fn came(&mut self, number: u64) {
        self.claims.came(number.min(MAX_NUMBER) + 1);
        self.forget_lost();
    }

    /// Refuses a datagram for want of memory. As it did come, the way does not keep it from
    /// coming.
    #[cold]
    fn no_memory(&mut self, now: Instant) -> Verdict {
        self.loss_detector.forgive(now);
        Verdict::NoMemory
    }
}
