//! The bytes between a read and the end of their dispatch.
//!
//! ```text
//!   [ free | start … whole frames … incomplete frame | end … free ]
//! ```
//! One initialised buffer is read into, lent out as [`Bytes`] while its frames
//! are dispatched, and taken back afterwards without copying or allocating. Only
//! if somebody kept a piece it is left to them and a new one is made.
//!
//! Invariant: frames start at addresses that are multiples of eight.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use netcluster_wire::Header;
use netcluster_wire::limits::{
    ALIGNMENT_BYTES, HARD_MAX_PAYLOAD_BYTES, HEADER_BYTES, MAX_HEAD_BYTES,
};

/// Bytes of the buffer, unless a frame is larger.
pub const RECEIVE_BUFFER_BYTES: usize = 256 << 10;

/// Below this much free space the incomplete frame moves to the front.
const MIN_SPACE_BYTES: usize = 64 << 10;

/// A larger buffer is kept for so many rounds that did not need it.
const KEEP_LARGE_ROUNDS: u32 = 16;

/// Largest frame that the buffer grows for.
const MAX_FRAME_BYTES: usize = MAX_HEAD_BYTES + HARD_MAX_PAYLOAD_BYTES;

/// The buffer of one connection.
#[derive(Debug)]
pub struct ReceiveBuffer {
    buffer: BytesMut,
    /// The first aligned index.
    base: usize,
    start: usize,
    end: usize,
    idle_rounds: u32,
}

impl Default for ReceiveBuffer {
    fn default() -> ReceiveBuffer {
        ReceiveBuffer::new()
    }
}

impl ReceiveBuffer {
    /// Empty. The memory is zero pages until it is used.
    pub fn new() -> ReceiveBuffer {
        let (buffer, base) = allocate(RECEIVE_BUFFER_BYTES);
        ReceiveBuffer { buffer, base, start: base, end: base, idle_rounds: 0 }
    }

    /// Gives the space to read to; never empty. Call [`ReceiveBuffer::filled`] afterwards.
    pub fn space(&mut self) -> &mut [u8] {
        let held = self.start..self.end;
        if held.is_empty() {
            self.start = self.base;
            self.end = self.base;
        } else {
            let frame_bytes = Header::read(&self.buffer[held])
                .map_or(0, |header| header.length.get() as usize)
                .min(MAX_FRAME_BYTES);
            let lacks = self.start + frame_bytes > self.buffer.len();
            let held_bytes = self.end - self.start;
            if held_bytes == self.buffer.len() - self.base {
                // What is announced may never come: so it grows with what has come.
                let wanted = frame_bytes.clamp(held_bytes + ALIGNMENT_BYTES, 2 * held_bytes);
                self.replace(wanted + ALIGNMENT_BYTES);
            } else if self.start > self.base
                && (lacks || self.buffer.len() - self.end < MIN_SPACE_BYTES)
            {
                self.buffer.copy_within(self.start..self.end, self.base);
                self.end -= self.start - self.base;
                self.start = self.base;
            }
        }
        &mut self.buffer[self.end..]
    }

    /// Takes in that so many bytes were read to the front of [`ReceiveBuffer::space`].
    pub fn filled(&mut self, bytes: usize) {
        assert!(bytes <= self.buffer.len() - self.end);
        self.end += bytes;
    }

    /// Lends the buffer out; the unread bytes lie in the range. Must come back by
    /// [`ReceiveBuffer::give_back`].
    #[inline]
    pub fn lend(&mut self) -> (Bytes, Range<usize>) {
        (std::mem::take(&mut self.buffer).freeze(), self.start..self.end)
    }

    /// Takes the buffer back, of whose unread bytes the first `used` are done with.
    pub fn give_back(&mut self, lent: Bytes, used: usize) {
        let length = lent.len();
        let round = self.end - self.start;
        assert!(used <= round);
        self.start += used;
        match lent.try_into_mut() {
            Ok(buffer) => self.buffer = buffer,
            Err(kept) => {
                let rest = &kept[self.start..self.end];
                (self.buffer, self.base) = allocate(length.max(RECEIVE_BUFFER_BYTES));
                self.buffer[self.base..self.base + rest.len()].copy_from_slice(rest);
                self.end = self.base + rest.len();
                self.start = self.base;
            }
        }
        if length <= RECEIVE_BUFFER_BYTES || round > RECEIVE_BUFFER_BYTES {
            self.idle_rounds = 0;
        } else {
            self.idle_rounds += 1;
            if self.idle_rounds >= KEEP_LARGE_ROUNDS
                && self.end - self.start < RECEIVE_BUFFER_BYTES / 2
            {
                self.idle_rounds = 0;
                self.replace(RECEIVE_BUFFER_BYTES);
            }
        }
    }

    /// Whether there are no unread bytes.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes in a copy of bytes that are somewhere else: up to the end of the frame that
    /// begins with the unread ones, if there are any; how many.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> usize {
        let held = &self.buffer[self.start..self.end];
        let wanted = match Header::read(held) {
            Some(header) => (header.length.get() as usize).saturating_sub(held.len()),
            None if held.is_empty() => bytes.len(),
            None => HEADER_BYTES - held.len(),
        };
        let space = self.space();
        let copied = bytes.len().min(wanted).min(space.len());
        space[..copied].copy_from_slice(&bytes[..copied]);
        self.filled(copied);
        copied
    }

    /// Takes the unread bytes out.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let taken = self.buffer[self.start..self.end].to_vec();
        self.clear();
        taken
    }

    /// Forgets what was not dispatched, for a new connection.
    pub fn clear(&mut self) {
        self.start = self.base;
        self.end = self.base;
    }

    fn replace(&mut self, bytes: usize) {
        let (mut buffer, base) = allocate(bytes);
        let held = self.end - self.start;
        buffer[base..base + held].copy_from_slice(&self.buffer[self.start..self.end]);
        (self.buffer, self.base, self.start, self.end) = (buffer, base, base, base + held);
    }
}

/// Makes a zeroed buffer; gives its first aligned index. Allocators align large blocks;
/// if one does not, a few bytes stay unused.
fn allocate(bytes: usize) -> (BytesMut, usize) {
    let buffer = BytesMut::zeroed(bytes);
    let address = buffer.as_ptr() as usize;
    (buffer, address.next_multiple_of(ALIGNMENT_BYTES) - address)
}
