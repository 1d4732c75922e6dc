//! Batches on the way out: messages that are written at once, with one length for all of
//! them.
//!
//! ```text
//!   0               2      3
//!  +---------------+------+--------+---------+---------+----
//!  | bytes behind, | 0x25 | number | message | message | …      frame
//!  | little endian |      |        |         |         |
//!  +---------------+------+--------+---------+---------+----
//!  | bytes behind  | 0x26 or 0x66  | number  | part of a message …   fragment
//!  +---------------+---------------+---------+-----------------
//! ```
//! The buffer that they are appended to is emptied by its owner whenever it was sent.
//! Invariant: if the buffer is as long as this left it, the batch that was begun last is
//! in it and whole, with its length told; else there is none.

use super::reader::push_number;

/// Length of the longest batch, its own length included: routers have room for it.
pub const MOST_BYTES: usize = u16::MAX as usize;
/// Length of a batch that every peer has room for.
pub const LEAST_BYTES: usize = 1024;

const LENGTH_BYTES: usize = 2;
/// Bytes of a head: a length, an id, and the longest number of a frame.
const HEAD_BYTES: usize = LENGTH_BYTES + 1 + 4;
const _: () = assert!(HEAD_BYTES < LEAST_BYTES && LEAST_BYTES < MOST_BYTES);

/// Id of a frame: whole messages follow.
pub const FRAME: u8 = 0x05;
/// Id of a fragment: a part of a message follows.
pub const FRAGMENT: u8 = 0x06;
/// Flag of a fragment that is not the last one.
pub const MORE: u8 = 0x40;
/// Flag of frames and fragments, of all that are sent: they are reliable.
pub const RELIABLE: u8 = 0x20;
/// Number of different numbers of frames and fragments: 28 bits, which take four bytes.
const NUMBERS: u32 = 1 << 28;
/// End of a batch that takes no more: no buffer is that long.
const CLOSED: usize = usize::MAX;

/// The batch that was begun last.
#[derive(Debug)]
pub struct Batch {
    start: usize,
    /// Length of the buffer once the batch was appended to; [`CLOSED`] if nothing more
    /// may be.
    end: usize,
    number: u32,
    most: usize,
}

impl Batch {
    /// Begins no batch yet, for a peer with room for [`MOST_BYTES`].
    pub fn new() -> Batch {
        Batch { start: 0, end: CLOSED, number: 0, most: MOST_BYTES }
    }

    /// Sets how many bytes the peer has room for, at least [`LEAST_BYTES`].
    pub fn limit(&mut self, most: usize) {
        self.most = most.clamp(LEAST_BYTES, MOST_BYTES);
    }

    /// Appends a message of the transport, in a batch of its own.
    pub fn push_alone(&mut self, out: &mut Vec<u8>, message: &[u8]) {
        self.begin(out);
        out.extend_from_slice(message);
        self.tell_length(out);
        self.end = CLOSED;
    }

    /// Appends a message in two parts, the first of them short: to the frame that is not
    /// full yet, to a new one, or as fragments of a message that is too long for any.
    #[inline]
    pub fn push(&mut self, out: &mut Vec<u8>, head: &[u8], body: &[u8]) {
        let length = head.len() + body.len();
        if self.end != out.len() || self.end - self.start + length > self.most {
            if HEAD_BYTES + length > self.most {
                return self.push_fragments(out, head, body);
            }
            self.begin(out);
            self.push_number(out, FRAME | RELIABLE);
        }
        out.extend_from_slice(head);
        out.extend_from_slice(body);
        self.tell_length(out);
        self.end = out.len();
    }

    fn push_fragments(&mut self, out: &mut Vec<u8>, mut head: &[u8], mut body: &[u8]) {
        loop {
            let more = HEAD_BYTES + head.len() + body.len() > self.most;
            self.begin(out);
            let more_flag = if more { MORE } else { 0 };
            self.push_number(out, FRAGMENT | RELIABLE | more_flag);
            let room = self.most - (out.len() - self.start);
            out.extend_from_slice(head);
            let (piece, rest) = body.split_at(body.len().min(room - head.len()));
            out.extend_from_slice(piece);
            (head, body) = (&[], rest);
            self.tell_length(out);
            if !more {
                break;
            }
        }
        // Its fragment goes to the end of its batch.
        self.end = CLOSED;
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.start = out.len();
        out.extend_from_slice(&[0; LENGTH_BYTES]);
    }

    fn push_number(&mut self, out: &mut Vec<u8>, id: u8) {
        out.push(id);
        push_number(out, self.number);
        self.number = (self.number + 1) % NUMBERS;
    }

    #[inline]
    fn tell_length(&self, out: &mut [u8]) {
        // At most MOST_BYTES, which fits.
        let length = (out.len() - self.start - LENGTH_BYTES) as u16;
        out[self.start..self.start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    }
}
