//! Framer of one connection: turns the chunks that it sent into whole frames.
//!
//! ```text
//!   chunk 1   [ run ........ | run .. | hea]
//!   chunk 2   [der name | payload | run ......... | run ... | payload of a la]
//!   chunk 3   [rge frame … ]   … chunk 6: read the rest into the frame's own buffer
//! ```
//! Whole frames are found in place by [`scan`]. A frame that straddles chunks is
//! held as slices until it is complete; only a header or name that straddles is
//! copied, in `Inbound::copy_head`. A frame that takes more than
//! [`MAX_PIECES`] slices, large or trickling, gets a buffer of its own.
//!
//! Invariant: at most one frame is incomplete, and what it holds is counted by
//! [`Inbound::held_bytes`].

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use netcluster_platform::Slice;
use netcluster_wire::header::{FrameError, Header, Kind, Layout};
use netcluster_wire::limits::{HEADER_BYTES, MAX_CONTROL_PAYLOAD_BYTES};
use netcluster_wire::scan::{self, Found};

use crate::budget::{Budget, Charge, Purpose};

/// Slices that an incomplete frame may hold before it gets its own buffer.
pub const MAX_PIECES: usize = 4;

/// A frame as slices, in order. The first holds header and name as a whole.
pub type Pieces = SmallVec<[Slice; 1]>;

/// Bytes still to come beyond which a frame is read into its own buffer at once.
const LARGE_FRAME_BYTES: usize = 256 * 1024;

/// Whole events of one name that lie together in a chunk.
pub struct Run<'a> {
    /// Offset in the chunk at which the run begins.
    pub start: usize,
    /// Offset in the chunk at which the run ends.
    pub end: usize,
    /// Name of the events.
    pub name: &'a [u8],
    /// Number of events.
    pub frames: usize,
    /// Source that all events carry.
    pub source: u64,
    /// Sequence of the last event.
    pub last_sequence: u64,
}

/// Result of [`Inbound::next`].
pub enum Step<'a> {
    /// Whole events of one name.
    Run(Run<'a>),
    /// One event that lay in several chunks.
    Event(Pieces),
    /// One control frame, contiguous.
    Control(Bytes),
    /// The frame at the end has its own buffer now: stop receiving, hand on late
    /// chunks, then read the rest with [`Inbound::take_buffer`].
    Gather,
    /// The chunk is used up.
    Done,
}

/// The incomplete frame of one connection, if there is one.
#[derive(Default)]
pub struct Inbound {
    partial: Option<Box<Partial>>,
    /// Bytes of heads and control frames that were copied because they straddled
    /// chunks.
    pub copied_bytes: u64,
}

enum Partial {
    /// Less than header and name of an event, or than a whole control frame.
    Head(Vec<u8>),
    /// An event whose payload is not complete.
    Body { layout: Layout, pieces: Pieces, held: usize },
    /// An event with its own buffer; charged for what has come until all of it is.
    Own { layout: Layout, buffer: BytesMut, charge: Charge },
}

/// Result of [`Inbound::take_buffer`].
pub enum Buffer {
    /// No frame waits for a buffer: receive chunks.
    NotWanted,
    /// Buffer to be filled up to this length.
    Fill(BytesMut, usize),
    /// The memory budget has no room for this frame now.
    NoMemory,
}

impl Inbound {
    /// Looks at `chunk` from `*at` on and moves `*at` behind what it found.
    ///
    /// # Errors
    /// The header is broken; the connection cannot go on.
    #[inline]
    pub fn next<'a>(
        &mut self,
        chunk: &'a Bytes,
        at: &mut usize,
        max_payload_bytes: usize,
        budget: &Budget,
    ) -> Result<Step<'a>, FrameError> {
        if self.partial.is_some() {
            return self.resume(chunk, at, max_payload_bytes, budget);
        }
        if *at == chunk.len() {
            return Ok(Step::Done);
        }
        match scan::next(&chunk[*at..], max_payload_bytes)? {
            Found::Run(run) => {
                let start = *at;
                *at += run.bytes;
                Ok(Step::Run(Run {
                    start,
                    end: *at,
                    name: run.first.name(),
                    frames: run.frames,
                    source: run.first.header().source.get(),
                    last_sequence: run.last_sequence,
                }))
            }
            Found::Control(frame) => {
                refuse_large_requests(frame.layout())?;
                *at += frame.as_bytes().len();
                Ok(Step::Control(Bytes::copy_from_slice(frame.as_bytes())))
            }
            Found::Incomplete => self.hold(chunk, at, max_payload_bytes, budget),
        }
    }

    /// Returns the bytes that the incomplete frame has so far.
    pub fn held_bytes(&self) -> usize {
        match self.partial.as_deref() {
            None => 0,
            Some(Partial::Head(head)) => head.len(),
            Some(Partial::Body { held, .. }) => *held,
            Some(Partial::Own { buffer, .. }) => buffer.len(),
        }
    }

    /// Returns the bytes that the incomplete frame has so far and will have in the end (0:
    /// not known yet); `None` if there is no such frame or it has its own buffer.
    pub fn front(&self) -> Option<(usize, usize)> {
        match self.partial.as_deref()? {
            Partial::Head(head) => {
                let length = Header::read(head).map_or(0, |header| header.length.get() as usize);
                Some((head.len(), length))
            }
            Partial::Body { layout, held, .. } => Some((*held, layout.frame_len)),
            Partial::Own { .. } => None,
        }
    }

    /// Takes the incomplete frame's own buffer, once nothing more comes as chunks. The
    /// whole frame is charged to `budget` first; a frame larger than the budget is let
    /// through when nothing else is queued.
    pub fn take_buffer(&mut self, budget: &Budget) -> Buffer {
        let Some(Partial::Own { layout, buffer, charge }) = self.partial.as_deref_mut() else {
            return Buffer::NotWanted;
        };
        let more_bytes = layout.frame_len.saturating_sub(charge.bytes());
        if !budget.has_room_for(more_bytes) && budget.used_for(Purpose::Queues) > 0 {
            return Buffer::NoMemory;
        }
        *charge = budget.charge(layout.frame_len);
        Buffer::Fill(std::mem::take(buffer), layout.frame_len)
    }

    /// Returns the frame whose buffer [`Inbound::take_buffer`] gave away, now filled.
    ///
    /// # Panics
    /// If none was given away or it is not filled: a programmer's error.
    pub fn filled(&mut self, filled: BytesMut) -> Pieces {
        let partial = self.partial.take().map(|partial| *partial);
        let Some(Partial::Own { layout, charge, .. }) = partial else {
            panic!("no frame waits for a buffer");
        };
        assert_eq!(filled.len(), layout.frame_len);
        SmallVec::from_buf([Slice::from(charge.own(filled))])
    }

    /// Drops the incomplete frame.
    pub fn forget(&mut self) {
        self.partial = None;
    }

    /// Copies an incomplete frame out of the chunks it pins, so that their buffers can
    /// be used again. Returns whether the frame must be gathered now.
    pub fn unpin(&mut self, budget: &Budget) -> bool {
        match self.partial.take().map(|partial| *partial) {
            Some(Partial::Body { layout, pieces, .. }) => {
                self.gather(layout, &pieces, budget);
                true
            }
            other => {
                self.partial = other.map(Box::new);
                false
            }
        }
    }

    /// Keeps the incomplete frame at the end of a chunk.
    fn hold<'a>(
        &mut self,
        chunk: &'a Bytes,
        at: &mut usize,
        max_payload_bytes: usize,
        budget: &Budget,
    ) -> Result<Step<'a>, FrameError> {
        let rest = &chunk[*at..];
        if let Some(header) = Header::read(rest) {
            let layout = header.check(max_payload_bytes)?;
            if layout.kind == Kind::Event && rest.len() >= layout.payload_offset {
                let held = rest.len();
                let piece = Slice::pooled(chunk.clone(), *at, chunk.len());
                *at = chunk.len();
                return Ok(self.body(layout, SmallVec::from_buf([piece]), held, budget));
            }
        }
        self.partial = Some(Box::new(Partial::Head(Vec::new())));
        self.copy_head(chunk, at, max_payload_bytes)?;
        Ok(Step::Done)
    }

    /// Adds what a chunk brings to the incomplete frame.
    #[cold]
    fn resume<'a>(
        &mut self,
        chunk: &'a Bytes,
        at: &mut usize,
        max_payload_bytes: usize,
        budget: &Budget,
    ) -> Result<Step<'a>, FrameError> {
        if *at == chunk.len() {
            return Ok(Step::Done);
        }
        if let Some(Partial::Head(_)) = self.partial.as_deref() {
            let Some(layout) = self.copy_head(chunk, at, max_payload_bytes)? else {
                return Ok(Step::Done);
            };
            let Some(Partial::Head(head)) = self.partial.take().map(|partial| *partial) else {
                unreachable!("it was a head");
            };
            if layout.kind != Kind::Event {
                return Ok(Step::Control(Bytes::from(head)));
            }
            let held = head.len();
            let head = Slice::from(Bytes::from(head));
            if held == layout.frame_len {
                return Ok(Step::Event(SmallVec::from_buf([head])));
            }
            return match self.body(layout, SmallVec::from_buf([head]), held, budget) {
                Step::Done => self.resume(chunk, at, max_payload_bytes, budget),
                gather => Ok(gather),
            };
        }
        match self.partial.take().map(|partial| *partial) {
            Some(Partial::Body { layout, mut pieces, held }) => {
                let take = (layout.frame_len - held).min(chunk.len() - *at);
                pieces.push(Slice::pooled(chunk.clone(), *at, *at + take));
                *at += take;
                if held + take == layout.frame_len {
                    return Ok(Step::Event(pieces));
                }
                Ok(self.body(layout, pieces, held + take, budget))
            }
            Some(Partial::Own { layout, mut buffer, mut charge }) => {
                // Late chunks, on the way before receiving stopped.
                let take = (layout.frame_len - buffer.len()).min(chunk.len() - *at);
                buffer.extend_from_slice(&chunk[*at..*at + take]);
                *at += take;
                if buffer.len() == layout.frame_len {
                    let frame = Slice::from(budget.own(buffer));
                    return Ok(Step::Event(SmallVec::from_buf([frame])));
                }
                charge.set(buffer.capacity());
                self.partial = Some(Box::new(Partial::Own { layout, buffer, charge }));
                Ok(Step::Done)
            }
            Some(Partial::Head(_)) | None => unreachable!("heads went above"),
        }
    }

    /// Holds an event whose payload is incomplete, as slices or in its own buffer.
    fn body(
        &mut self,
        layout: Layout,
        pieces: Pieces,
        held: usize,
        budget: &Budget,
    ) -> Step<'static> {
        // What is still to come would not fit the slices that are left.
        let rest_is_large = layout.frame_len - held > held.max(LARGE_FRAME_BYTES);
        if pieces.len() >= MAX_PIECES || rest_is_large {
            self.gather(layout, &pieces, budget);
            return Step::Gather;
        }
        self.partial = Some(Box::new(Partial::Body { layout, pieces, held }));
        Step::Done
    }

    /// Copies what there is of a frame; its own buffer is charged and allocated
    /// whole only when the rest is read into it.
    fn gather(&mut self, layout: Layout, pieces: &[Slice], budget: &Budget) {
        let held = pieces.iter().map(Slice::len).sum();
        let mut buffer = BytesMut::with_capacity(held);
        for piece in pieces {
            buffer.extend_from_slice(piece.as_bytes());
        }
        // Not charged to queues: emitters that wait for each other's room must not wait
        // for this.
        let charge = budget.charge_for(Purpose::Incoming, held);
        self.partial = Some(Box::new(Partial::Own { layout, buffer, charge }));
    }

    /// Copies a header and name (or a control frame) that straddle chunks: the one
    /// place where bytes are copied on the way in. Returns the layout when it is
    /// complete.
    fn copy_head(
        &mut self,
        chunk: &Bytes,
        at: &mut usize,
        max_payload_bytes: usize,
    ) -> Result<Option<Layout>, FrameError> {
        let Some(Partial::Head(head)) = self.partial.as_deref_mut() else {
            unreachable!("only called with a head");
        };
        loop {
            let (needed, layout) = match Header::read(head) {
                None => (HEADER_BYTES, None),
                Some(header) => {
                    let layout = header.check(max_payload_bytes)?;
                    refuse_large_requests(&layout)?;
                    let needed = match layout.kind {
                        Kind::Event => layout.payload_offset,
                        _ => layout.frame_len,
                    };
                    (needed, Some(layout))
                }
            };
            if let Some(layout) = layout
                && head.len() == needed
            {
                return Ok(Some(layout));
            }
            let take = (needed - head.len()).min(chunk.len() - *at);
            if take == 0 {
                return Ok(None);
            }
            head.extend_from_slice(&chunk[*at..*at + take]);
            self.copied_bytes += take as u64;
            *at += take;
        }
    }
}

/// Refuses `stats` with a payload, and `control` with a large one, from a client: brokers
/// alone send them, and a client must not make the broker gather what may be large.
fn refuse_large_requests(layout: &Layout) -> Result<(), FrameError> {
    let limit = match layout.kind {
        Kind::Stats => 0,
        Kind::Control => MAX_CONTROL_PAYLOAD_BYTES,
        _ => return Ok(()),
    };
    if layout.payload_len > limit {
        return Err(FrameError::PayloadTooLarge { bytes: layout.payload_len, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
