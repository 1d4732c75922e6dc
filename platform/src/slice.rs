//! A refcounted range of a received chunk: what a queue holds and a send takes.
//!
//! ```text
//!   chunk   [ frame | frame | frame | frame ]      one `Bytes`, refcounted
//!                   ^ start         ^ end          one `Slice` of it
//! ```
//! Invariant: `start <= end <= chunk.len() <= MAX_CHUNK_BYTES`. Two slices of one chunk that touch
//! become one by [`Slice::try_join`], so that a run of frames stays one range
//! however many steps it was found in.
//!
//! A slice also knows whether its chunk pins a buffer of some shard's receive
//! pool ([`Slice::is_pooled`]): such memory is scarce and is copied out when a
//! slow reader holds it for long.

use bytes::Bytes;

/// The largest chunk that a slice can be of: its offsets have 31 bits, since the
/// 32nd of one of them says whether the chunk is pooled.
pub const MAX_CHUNK_BYTES: usize = (1 << 31) - 1;

/// The bit of `Slice::start` that says that the chunk pins a pool buffer. It is
/// kept there and not in a field of its own so that a slice stays at 40 bytes:
/// queues hold them by the thousand.
const POOLED: u32 = 1 << 31;

const _: () = assert!(std::mem::size_of::<Slice>() <= 40);

/// A range of a refcounted chunk. Cloning costs one atomic increment.
#[derive(Clone, Debug)]
pub struct Slice {
    chunk: Bytes,
    /// The offset, and [`POOLED`].
    start: u32,
    end: u32,
}

impl Slice {
    /// The range `start..end` of `chunk`, which is memory of its own.
    ///
    /// # Panics
    /// If the range does not lie in the chunk: a programmer's error.
    #[inline]
    pub fn new(chunk: Bytes, start: usize, end: usize) -> Slice {
        assert!(start <= end);
        assert!(end <= chunk.len());
        assert!(chunk.len() <= MAX_CHUNK_BYTES);
        Slice { chunk, start: start as u32, end: end as u32 }
    }

    /// The range `start..end` of `chunk`, which pins a pool buffer: the chunk of
    /// a `Received` completion.
    ///
    /// # Panics
    /// If the range does not lie in the chunk: a programmer's error.
    #[inline]
    pub fn pooled(chunk: Bytes, start: usize, end: usize) -> Slice {
        let mut slice = Slice::new(chunk, start, end);
        slice.start |= POOLED;
        slice
    }

    /// Whether the chunk pins a buffer of a receive pool (of whichever shard).
    #[inline]
    pub fn is_pooled(&self) -> bool {
        self.start & POOLED != 0
    }

    /// The bytes of the range.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.chunk[self.start()..self.end()]
    }

    /// Number of bytes in the range.
    #[inline]
    pub fn len(&self) -> usize {
        self.end() - self.start()
    }

    /// Whether the range is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The chunk that the range pins.
    #[inline]
    pub fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// Start of the range in its chunk.
    #[inline]
    pub fn start(&self) -> usize {
        (self.start & !POOLED) as usize
    }

    /// End of the range in its chunk.
    #[inline]
    pub fn end(&self) -> usize {
        self.end as usize
    }

    /// Grows this range by `next` if `next` starts where it ends, in the same
    /// chunk; returns whether it did.
    #[inline]
    pub fn try_join(&mut self, next: &Slice) -> bool {
        let same = self.end as usize == next.start()
            && self.is_pooled() == next.is_pooled()
            && self.chunk.as_ptr() == next.chunk.as_ptr()
            && self.chunk.len() == next.chunk.len();
        if same {
            self.end = next.end;
        }
        same
    }

    /// Drops the first `count` bytes from the range.
    ///
    /// # Panics
    /// If the range is shorter.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len());
        self.start += count as u32;
    }

    /// Shortens the range to its first `count` bytes.
    ///
    /// # Panics
    /// If the range is shorter.
    #[inline]
    pub fn truncate(&mut self, count: usize) {
        assert!(count <= self.len());
        self.end = (self.start() + count) as u32;
    }
}

impl From<Bytes> for Slice {
    fn from(chunk: Bytes) -> Slice {
        let end = chunk.len();
        Slice::new(chunk, 0, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_that_touch_join_and_others_do_not() {
        let chunk = Bytes::from_static(b"abcdefgh");
        let mut slice = Slice::new(chunk.clone(), 0, 3);
        assert!(slice.try_join(&Slice::new(chunk.clone(), 3, 5)));
        assert_eq!(slice.as_bytes(), b"abcde");
        assert!(!slice.try_join(&Slice::new(chunk.clone(), 6, 8)), "a gap");
        assert!(!slice.try_join(&Slice::pooled(chunk, 5, 8)), "the same range, otherwise pinned");
    }

    #[test]
    fn the_pooled_mark_does_not_touch_the_range() {
        let mut slice = Slice::pooled(Bytes::from_static(b"abcdefgh"), 1, 8);
        slice.advance(2);
        slice.truncate(3);
        assert!(slice.is_pooled());
        assert_eq!((slice.start(), slice.end(), slice.len()), (3, 6, 3));
        assert_eq!(slice.as_bytes(), b"def");
        assert!(!Slice::from(Bytes::from_static(b"x")).is_pooled());
    }
}
