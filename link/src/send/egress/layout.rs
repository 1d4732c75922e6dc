//! Lays frames over datagrams: where the bytes go and what the headers say.
//!
//! ```text
//!   stream     [channel a| f0 | f1 | f2 ...............| f3 |channel b| f4 ..
//!   datagrams  [     0         ][      1       ][     2          ][    3
//!   boundary    0                 none            in 2: f3         f4
//!   ordinal     0                 3               3                4
//!   channel     none              a               a                b
//! ```
//! A datagram's boundary is the first frame that starts in it, event or channel;
//! its ordinal is of the first event that starts there or later, its channel the
//! one in force just before. A `channel` frame precedes the first event of
//! another channel, and the first one behind a join point; it has no ordinal.
//!
//! What the history has no room for is left to the caller, who comes again with the
//! rest: the layout remembers how much of the frame at hand is missing.
//!
//! The frames are trusted, they were checked where they came in. A frame's head
//! never lies across two pieces.
//!
//! How long a full datagram is may change between two of them, but not while a place
//! was promised that depends on it.
//!
//! Invariant: an open datagram holds less than a full body; one that is full is
//! closed at once.

use netcluster_wire::limits::HEADER_BYTES;
use netcluster_wire::link::DataHeader;
use netcluster_wire::link::limits::NO_BOUNDARY;
use netcluster_wire::{Header, Kind, Source, frame};

use super::history::History;
use crate::channel::{ChannelHash, LinkChannel};
use crate::stream::{Position, StreamId};

const EMPTY: Open = Open { fill: 0, boundary: NO_BOUNDARY, ordinal: 0, channel: ChannelHash::NONE };

/// Layout of frames over datagrams: headers, and where frames begin.
pub(super) struct Layout {
    pub(super) history: History,
    /// Header fields that all datagrams have in common.
    template: DataHeader,
    body_bytes: usize,
    full_bytes: usize,
    /// Bytes of a full datagram as soon as that may be.
    wanted_bytes: usize,
    open: Open,
    /// Ordinal of the next event frame to start.
    ordinal: u64,
    /// Hash of the channel of the frames laid out last; 0 is none.
    in_force: ChannelHash,
    /// A `channel` frame must come next, whatever is in force.
    must_announce: bool,
    /// The frame at hand is the last before a join point.
    joining: bool,
    /// Bytes of the event frame at hand that are not laid out.
    frame_left: usize,
    announcement: Announcement,
}

/// The datagram that is being filled.
struct Open {
    fill: usize,
    boundary: u16,
    /// Ordinal and channel in force at the boundary.
    ordinal: u64,
    channel: ChannelHash,
}

/// Frame of kind `channel` that is partly laid out. The memory is used again.
#[derive(Default)]
struct Announcement {
    frame: Vec<u8>,
    laid: usize,
}

impl Announcement {
    #[inline]
    fn left(&self) -> usize {
        self.frame.len() - self.laid
    }
}

impl Layout {
    pub(super) fn new(
        history: History,
        full_bytes: usize,
        key_id: u32,
        session: u64,
        stream: StreamId,
    ) -> Layout {
        Layout {
            full_bytes,
            wanted_bytes: full_bytes,
            template: DataHeader::new(key_id, session, stream.0, 0, 0),
            body_bytes: history.body_bytes(),
            history,
            open: EMPTY,
            ordinal: 0,
            in_force: ChannelHash::NONE,
            must_announce: true,
            joining: false,
            frame_left: 0,
            announcement: Announcement::default(),
        }
    }

    /// Begins at this place.
    pub(super) fn resume(&mut self, place: Position) {
        self.history.clear(place.number);
        self.ordinal = place.ordinal;
    }

    /// Sets the key that the headers of datagrams name which are not closed yet.
    pub(super) fn set_key_id(&mut self, id: u32) {
        self.template.key_id.set(id);
    }

    /// Sets how many bytes full datagrams are to have, header and tag included.
    pub(super) fn set_full_bytes(&mut self, bytes: usize) {
        self.wanted_bytes = bytes;
        self.resize();
    }

    fn resize(&mut self) {
        if !self.joining && self.wanted_bytes != self.full_bytes {
            self.flush();
            self.full_bytes = self.wanted_bytes;
            self.history.set_full_bytes(self.full_bytes);
            self.body_bytes = self.history.body_bytes();
        }
    }

    /// Bytes in the open datagram.
    #[inline]
    pub(super) fn fill(&self) -> usize {
        self.open.fill
    }

    /// Bytes of the frame at hand, event or channel, that are not laid out.
    #[inline]
    pub(super) fn frame_left(&self) -> usize {
        self.frame_left + self.announcement.left()
    }

    /// Lays out whole frames if they fit the open datagram as it is, with room to
    /// spare: what mostly happens to few and small ones. Returns whether it did.
    #[inline]
    pub(super) fn append(&mut self, channel: &LinkChannel, bytes: &[u8], frames: u64) -> bool {
        debug_assert_eq!(self.frame_left(), 0, "only between frames");
        let fits = self.open.fill > 0 && bytes.len() < self.body_bytes - self.open.fill;
        if !fits || bytes.is_empty() || self.in_force != channel.hash || self.must_announce {
            return false;
        }
        debug_assert_eq!(walk(0, bytes, 0, bytes.len()), (0, frames), "whole frames");
        self.note_boundary(self.open.fill);
        self.ordinal += frames;
        self.history.body_mut(self.open.fill, bytes.len()).copy_from_slice(bytes);
        self.open.fill += bytes.len();
        true
    }

    /// Lays out frames, or the rest of one, as far as there is room; returns how
    /// many bytes. `frames` says how many start in `bytes`, if that is known.
    pub(super) fn lay(
        &mut self,
        channel: &LinkChannel,
        bytes: &[u8],
        frames: Option<u64>,
    ) -> usize {
        let last_ordinal = frames.map(|frames| self.ordinal + frames);
        let mut at = 0;
        while at < bytes.len() {
            if self.frame_left == 0 && !self.announce(channel) || !self.begin() {
                break;
            }
            let mut end = bytes.len().min(at + self.body_bytes - self.open.fill);
            if self.joining {
                end = end.min(at + self.frame_left);
            }
            self.note_frames(bytes, at, end, last_ordinal);
            self.put(&bytes[at..end]);
            at = end;
            if self.joining && self.frame_left == 0 {
                self.end_join();
            }
        }
        at
    }

    /// Counts frames that nobody wants. Ordinals within a datagram have no gaps,
    /// so the open one is closed if any frame starts in it.
    pub(super) fn skip(&mut self, frames: u64) {
        debug_assert_eq!(self.frame_left(), 0, "only between frames");
        if self.open.boundary != NO_BOUNDARY {
            self.close();
        }
        self.ordinal += frames;
    }

    /// Closes the open datagram, if there is anything in it.
    pub(super) fn flush(&mut self) {
        if self.open.fill > 0 {
            self.close();
        }
    }

    /// Position at which a datagram will begin with a `channel` frame: the next one, or if
    /// a frame is partly laid out the one behind its end.
    pub(super) fn join(&mut self) -> Position {
        let left = self.frame_left();
        if left == 0 {
            self.end_join();
            return Position { number: self.history.open(), ordinal: self.ordinal };
        }
        self.joining = true;
        let datagrams = (self.open.fill + left).div_ceil(self.body_bytes);
        Position { number: self.history.open() + datagrams as u64, ordinal: self.ordinal }
    }

    /// The ordinal that belongs to the open datagram, as far as it is known.
    pub(super) fn open_ordinal(&self) -> u64 {
        if self.open.boundary == NO_BOUNDARY { self.ordinal } else { self.open.ordinal }
    }

    /// Counts the frames of bytes that will not be laid out.
    pub(super) fn abandon(&mut self, bytes: &[u8]) {
        let (frame_left, started) = walk(self.frame_left, bytes, 0, bytes.len());
        self.frame_left = frame_left;
        self.ordinal += started;
    }

    /// Abandons the rest of frames that nobody wanted anyway.
    pub(super) fn abandon_skip(&mut self, frames: u64) {
        debug_assert_eq!(self.frame_left, 0, "only between frames");
        self.ordinal += frames;
    }

    /// Gives up what is laid out and not sent. Numbers that are used stay used, so that a
    /// frame that is cut off shows as a gap.
    pub(super) fn clear(&mut self, is_cut: bool) {
        debug_assert_eq!(self.frame_left, 0, "the rest was abandoned");
        let next = self.history.open() + u64::from(is_cut || self.open.fill > 0);
        self.history.clear(next);
        self.open = EMPTY;
        self.announcement.frame.clear();
        self.announcement.laid = 0;
        self.must_announce = true;
        self.joining = false;
        self.resize();
    }

    /// Has the next frame known to be of `channel`. False if there is no room for that.
    #[inline]
    fn announce(&mut self, channel: &LinkChannel) -> bool {
        if self.in_force == channel.hash && !self.must_announce && self.announcement.left() == 0 {
            return true;
        }
        self.lay_announcement(channel)
    }

    #[cold]
    fn lay_announcement(&mut self, channel: &LinkChannel) -> bool {
        loop {
            if self.announcement.left() == 0 {
                if self.in_force == channel.hash && !self.must_announce {
                    return true;
                }
                if !self.begin() {
                    return false;
                }
                self.announcement.laid = 0;
                self.announcement.frame.clear();
                let name = channel.name.as_bytes();
                let out = &mut self.announcement.frame;
                frame::append(out, Kind::Channel, Source::NONE, channel.hash.0, name, &[]);
                self.note_boundary(self.open.fill);
                self.in_force = channel.hash;
                self.must_announce = false;
            }
            let frame = std::mem::take(&mut self.announcement.frame);
            while self.announcement.laid < frame.len() && self.begin() {
                let rest = &frame[self.announcement.laid..];
                let count = rest.len().min(self.body_bytes - self.open.fill);
                self.announcement.laid += count;
                self.put(&rest[..count]);
            }
            self.announcement.frame = frame;
            if self.announcement.left() > 0 {
                return false;
            }
            // A join point behind this very frame asks for another one.
            if self.joining {
                self.end_join();
            }
        }
    }

    #[inline]
    fn end_join(&mut self) {
        self.flush();
        self.must_announce = true;
        self.joining = false;
        self.resize();
    }

    /// Takes note of the frames that start in `bytes[at..end]`, which goes into
    /// the open datagram next.
    #[inline]
    fn note_frames(&mut self, bytes: &[u8], at: usize, end: usize, last_ordinal: Option<u64>) {
        let first = at + self.frame_left;
        if first < end {
            self.note_boundary(self.open.fill + first - at);
        }
        let (frame_left, started) = match last_ordinal {
            // No need to look at them: whatever is left ends here.
            Some(ordinal) if end == bytes.len() => {
                let known = (0, ordinal - self.ordinal);
                debug_assert_eq!(known, walk(self.frame_left, bytes, at, end), "whole frames");
                known
            }
            _ => walk(self.frame_left, bytes, at, end),
        };
        self.frame_left = frame_left;
        self.ordinal += started;
    }

    #[inline]
    fn note_boundary(&mut self, at: usize) {
        if self.open.boundary == NO_BOUNDARY {
            self.open.boundary = at as u16;
            self.open.ordinal = self.ordinal;
            self.open.channel = self.in_force;
        }
    }

    /// Whether a byte can be laid into the open datagram.
    #[inline]
    fn begin(&mut self) -> bool {
        self.open.fill > 0 || self.history.begin()
    }

    /// Copies into the open datagram, which has begun and has room for it.
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.history.body_mut(self.open.fill, bytes.len()).copy_from_slice(bytes);
        self.open.fill += bytes.len();
        if self.open.fill == self.body_bytes {
            self.close();
        }
    }

    fn close(&mut self) {
        let mut header = self.template;
        header.number.set(self.history.open());
        let none = self.open.boundary == NO_BOUNDARY;
        header.ordinal.set(if none { self.ordinal } else { self.open.ordinal });
        header.channel.set(if none { self.in_force.0 } else { self.open.channel.0 });
        header.boundary.set(self.open.boundary);
        self.history.close(&header, self.open.fill);
        self.open = EMPTY;
    }
}

/// Number of bytes missing at `end` of the frame at hand, and of frames that start in
/// `bytes[at..end]`; `frame_left` is what is missing at `at`.
#[inline]
fn walk(frame_left: usize, bytes: &[u8], at: usize, end: usize) -> (usize, u64) {
    let mut next = at + frame_left;
    let mut count = 0;
    while next < end {
        let length = length_at(bytes, next);
        next += length;
        count += 1;
        // Runs mostly have one length. The step is not read from the stream then,
        // so that the processor need not wait for one frame to look at the next.
        while next < end && length_at(bytes, next) == length {
            next += length;
            count += 1;
        }
    }
    (next - end, count)
}

/// The length of the frame at `at`, at least a header's, so that no walk stands
/// still.
#[inline]
fn length_at(bytes: &[u8], at: usize) -> usize {
    let header = Header::read(&bytes[at..]).expect("a frame's head lies in one piece");
    let length = header.length.get() as usize;
    debug_assert!(length >= HEADER_BYTES);
    length.max(HEADER_BYTES)
}
