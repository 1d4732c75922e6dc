//! Event frames to be emitted, many in one piece, in the way that a receive pool's buffer
//! holds them: the same frames over and over, with a new number and stamp each.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use netcluster_platform::Slice;
use netcluster_wire::frame;
use netcluster_wire::header::{Kind, Source as Origin, frame_len};

use crate::link::plan::EVENT;
use crate::stamp::{self, Stamp, Template};

/// Bytes of one piece: a buffer of the receive pool.
const PIECE_BYTES: usize = 64 << 10;
/// Most pieces that may wait in the link.
const MAX_BEFORE: usize = 8;
/// Place of the sequence in a frame's header.
const SEQUENCE: std::ops::Range<usize> = 16..24;

/// Frames of one emitter.
pub struct Source {
    emitter: u16,
    frame_bytes: usize,
    payload: std::ops::Range<usize>,
    /// Pattern of a piece: as many frames as fit.
    pattern: Vec<u8>,
    /// Earlier pieces, the oldest first: memory that is used again once nobody holds it,
    /// so that making events costs less than sending them.
    before: VecDeque<Bytes>,
    emitted: u64,
}

impl Source {
    /// Makes a source of events with payloads of `size` bytes, emitted by the broker
    /// `node`.
    pub fn new(node: u32, emitter: u16, size: usize) -> Source {
        let frame_bytes = frame_len(EVENT.len(), size);
        let payload_offset = frame_len(EVENT.len(), 0);
        let template = Template::new(size).write(Stamp::default(), 0).to_vec();
        let origin = Origin { node, client: 1 };
        let one = frame::encode(Kind::Event, origin, 0, EVENT.as_bytes(), &template);
        let pattern = one.repeat((PIECE_BYTES / frame_bytes).max(1));
        let payload = payload_offset..payload_offset + size;
        Source { emitter, frame_bytes, payload, pattern, before: VecDeque::new(), emitted: 0 }
    }

    /// Returns how many events were made.
    pub fn emitted(&self) -> u64 {
        self.emitted
    }

    /// Returns how many frames make a piece.
    pub fn frames_per_piece(&self) -> usize {
        self.pattern.len() / self.frame_bytes
    }

    /// Makes the next frames, at most as many as make a piece.
    pub fn next(&mut self, frames: usize, intended_ns: u64) -> Slice {
        let bytes = self.frame_bytes * frames;
        let mut piece = match self.before.pop_front().map(Bytes::try_into_mut) {
            Some(Ok(piece)) if piece.len() == bytes => piece,
            Some(Err(held)) if self.before.len() < MAX_BEFORE => {
                self.before.push_back(held);
                BytesMut::from(&self.pattern[..bytes])
            }
            _ => BytesMut::from(&self.pattern[..bytes]),
        };
        for frame in piece.chunks_exact_mut(self.frame_bytes) {
            let stamp = Stamp { sequence: self.emitted, emitter: self.emitter, event: 0 };
            frame[SEQUENCE].copy_from_slice(&self.emitted.to_le_bytes());
            stamp::write_into(&mut frame[self.payload.clone()], stamp, intended_ns);
            self.emitted += 1;
        }
        let piece = piece.freeze();
        self.before.push_back(piece.clone());
        Slice::new(piece, 0, bytes)
    }
}

#[cfg(test)]
mod tests {
    use netcluster_wire::frame::Frame;

    use super::*;

    #[test]
    fn frames_are_whole_and_numbered_on() {
        let mut source = Source::new(7, 2, 100);
        let template = Template::new(100);
        let mut expected = 0;
        for frames in [1, source.frames_per_piece(), source.frames_per_piece(), 3] {
            let piece = source.next(frames, 5);
            let mut rest = piece.as_bytes();
            while let Some(frame) = Frame::read(rest, 1 << 20).unwrap() {
                let stamp = Stamp { sequence: expected, emitter: 2, event: 0 };
                assert_eq!(template.read(frame.payload(), true), Some(stamp));
                assert_eq!(stamp::intended_ns(frame.payload()), Some(5));
                assert_eq!((frame.sequence(), frame.source().node), (expected, 7));
                assert_eq!(frame.name(), EVENT.as_bytes());
                rest = &rest[frame.as_bytes().len()..];
                expected += 1;
            }
            assert!(rest.is_empty());
        }
        assert_eq!(source.emitted(), expected);
    }
}
