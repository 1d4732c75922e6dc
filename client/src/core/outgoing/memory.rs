//! The way of outgoing frames from the socket to a ring of shared memory.
//!
//! ```text
//!   offered ─► the next write ends with the accept ─► it is written whole ─► the ring is used
//! ```
//! What is appended while the accept is being written waits in the buffer, and is the
//! first that goes by the ring.

use netcluster_wire::{Header, SharedStep};

use super::{Link, Outgoing};
use crate::error::Error;
use crate::memory::{Bell, Ring};

impl Outgoing {
    /// Takes in that the broker offers memory, of which this is the outgoing half.
    pub(crate) fn offer(&mut self, ring: Ring) {
        // Behind a bye nothing may be written.
        if !self.leaving {
            self.next_ring = Some(ring);
        }
    }

    /// Whether the next write is to end with the accept.
    #[inline]
    pub(crate) fn is_offered(&self) -> bool {
        self.next_ring.is_some() && !self.accepting && !self.leaving && self.is_up()
    }

    fn is_up(&self) -> bool {
        matches!(self.link, Link::Up)
    }

    /// Appends the accept to what is to be written now, behind which nothing may be.
    pub(crate) fn begin_accept(&mut self, written: &mut Vec<u8>) {
        self.outbound.step(written, &SharedStep::Accept);
        self.accepting = true;
    }

    /// Takes in that what was being written is, to its end: if that was the accept, the ring
    /// is used from here on.
    pub(crate) fn end_accept(&mut self) {
        if self.accepting && self.front.is_empty() {
            self.accepting = false;
            self.ring = self.next_ring.take();
        }
    }

    /// Forgets the memory of a connection that is gone; keeps what it did not get.
    pub(crate) fn forget_memory(&mut self) {
        self.next_ring = None;
        self.accepting = false;
        if let Some(mut ring) = self.ring.take() {
            // What the broker said that it does not take is unwritten again.
            let end = self.written + (self.pending() + ring.appended()) as u64;
            let mut waiting = self.cut_frame.take().unwrap_or_default();
            waiting.append(&mut ring.take_back());
            if !waiting.is_empty() {
                waiting.extend_from_slice(super::unwritten(&self.front, self.front_at));
                waiting.append(&mut self.buffer);
                self.buffer = waiting;
                self.front.clear();
                self.front_at = 0;
            }
            self.written = end - self.pending() as u64;
        }
    }

    /// Lets the broker have what waits, as far as the ring has room; gives the bell to be
    /// rung, if it sleeps.
    pub(crate) fn put(&mut self) -> Option<Bell> {
        let ring = self.ring.as_mut()?;
        if ring.is_forked() {
            self.close(Error::Forked);
            return None;
        }
        if ring.is_ended() {
            // As a write that fails because the broker takes nothing more: the reader goes on.
            self.disconnected();
            return None;
        }
        let done = self.front_at;
        self.front_at += copy_front(ring, &self.front, done);
        let mut old_front = Vec::new();
        if self.front_at == self.front.len() {
            old_front = std::mem::take(&mut self.front);
            self.front_at = 0;
            let copied = copy_frames(ring, &self.buffer);
            if copied == self.buffer.len() {
                self.buffer.clear();
                self.request_bytes = 0;
            } else if copied > 0 {
                self.front = std::mem::take(&mut self.buffer);
                self.front_at = copied;
            }
        }
        self.written += ring.appended() as u64;
        let bell = ring.put();
        if ring.is_cut_by_end() {
            // The broker ended just now, within a frame that was cut: it is emitted again.
            let frame = super::unwritten(&old_front, done);
            let bytes = Header::read(frame).map_or(0, |header| header.length.get() as usize);
            self.cut_frame = frame.get(..bytes).map(<[u8]>::to_vec);
        }
        bell
    }

    /// Whether something waits that the ring has no room for.
    pub(crate) fn lacks_room(&self) -> bool {
        self.ring.is_some() && !(self.front.is_empty() && self.buffer.is_empty())
    }

    /// Bytes of room without which nothing more of what waits can be put.
    pub(crate) fn wanted_bytes(&self) -> usize {
        let waiting = if self.front.is_empty() { &self.buffer } else { &self.front };
        let next = super::unwritten(waiting, self.front_at);
        Header::read(next).map_or(0, |header| header.length.get() as usize)
    }

    /// Asks for the bell for room, if something waits for it; whether it will ring.
    #[cfg(any(feature = "tokio", test))]
    pub(crate) fn want_room(&mut self) -> bool {
        let bytes = self.wanted_bytes();
        self.lacks_room() && self.ring.as_mut().is_some_and(|ring| ring.want_room(bytes))
    }

    /// Bytes that an emitter which can wait may leave behind what waits: none while a ring
    /// takes them.
    #[cfg(feature = "tokio")]
    pub(crate) fn bound(&self) -> usize {
        if self.ring.is_some() { 0 } else { self.limit }
    }
}

/// Copies frames to the ring, as many as it has room for. A frame is cut only if it is larger
/// than the ring: the broker leaves the front of a frame where it is until the rest comes.
fn copy_frames(ring: &mut Ring, frames: &[u8]) -> usize {
    let room = ring.room();
    let mut at = 0;
    let mut cut = 0;
    while at < frames.len() {
        let bytes = Header::read(&frames[at..]).map_or(0, |header| header.length.get() as usize);
        if at + bytes > room {
            if bytes > ring.size() {
                cut = bytes;
            }
            break;
        }
        at += bytes;
    }
    let copied = ring.copy(&frames[..at]);
    if cut == 0 || copied < at {
        return copied;
    }
    ring.begin_cut(cut);
    copied + ring.copy(&frames[at..room])
}

/// Copies frames, of which the first bytes are copied already.
fn copy_front(ring: &mut Ring, frames: &[u8], done: usize) -> usize {
    let next = frames.len() - super::unwritten(frames, done).len();
    if next == done {
        return copy_frames(ring, &frames[done..]);
    }
    let bytes = Header::read(&frames[next..]).map_or(0, |header| header.length.get() as usize);
    let copied = ring.copy(&frames[done..next + bytes]);
    if done + copied < next + bytes {
        return copied;
    }
    ring.end_cut();
    copied + copy_frames(ring, &frames[next + bytes..])
}
