//! Walks whole frames: finds the runs in them, counts events, follows the channel.
//!
//! It knows no datagrams and moves no bytes: what it finds are offsets.
//!
//! Invariant: `ordinal` is that of the next event, counting every event that was
//! found or reported lost.

use std::collections::VecDeque;

use netcluster_wire::header::{Header, Layout};
use netcluster_wire::limits::HEADER_BYTES;
use netcluster_wire::scan::{self, Found, Run};
use netcluster_wire::{Frame, FrameError, Kind, Source, check_channel};

use crate::channel::ChannelHash;
use crate::options::MAX_LINK_PAYLOAD_BYTES;

/// Piece that a scan found, in order. Offsets are those of the scanned bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Whole events of one channel, source and name.
    Run {
        start: usize,
        end: usize,
        frames: usize,
        channel: ChannelHash,
        source: Source,
        name_len: usize,
    },
    /// Events are missing here: at most so many, or nobody knows.
    Lost(Option<u64>),
    /// Events are missing, since one of them has so many bytes, more than are taken.
    Large(Option<u64>, usize),
}

/// Reason why a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// All bytes were whole frames.
    Whole,
    /// The rest, from this offset on, is the beginning of a frame.
    Partial(usize),
    /// Bytes from this offset on are something that this peer must not send.
    Broken(usize),
}

/// The walker of one stream.
#[derive(Debug)]
pub(super) struct FrameScanner {
    pub pieces: VecDeque<Piece>,
    pub ordinal: u64,
    pub channel: ChannelHash,
    node: u32,
    max_payload_bytes: usize,
    /// Bytes of the frame that comes next, if they are more than are taken.
    large_bytes: Option<usize>,
}

impl FrameScanner {
    pub fn new(node: u32, ordinal: u64, max_payload_bytes: usize) -> FrameScanner {
        let pieces = VecDeque::new();
        FrameScanner {
            pieces,
            ordinal,
            channel: ChannelHash::NONE,
            node,
            max_payload_bytes,
            large_bytes: None,
        }
    }

    /// Walks `bytes[from..to]` and appends what it finds to the pieces.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8], from: usize, to: usize) -> Stop {
        let bytes = &bytes[..to];
        let mut at = from;
        while at < to {
            match scan::next(&bytes[at..], self.max_payload_bytes) {
                Ok(Found::Run(run))
                    if self.is_ours(run.first.header()) && !self.channel.is_none() =>
                {
                    self.push_run(bytes, at, &run);
                    at += run.bytes;
                }
                Ok(Found::Control(frame)) => match channel_of(&frame) {
                    Some(channel) => {
                        self.channel = channel;
                        at += frame.as_bytes().len();
                    }
                    None => return Stop::Broken(at),
                },
                Ok(Found::Incomplete) => return Stop::Partial(at),
                Ok(Found::Run(_)) => return Stop::Broken(at),
                Err(error) => {
                    self.note_large(error);
                    return Stop::Broken(at);
                }
            }
        }
        Stop::Whole
    }

    /// Layout of the frame that `bytes` begin with, once its header is there.
    ///
    /// # Errors
    /// It will be broken when it is complete; no need to wait for it.
    pub fn announced(&mut self, bytes: &[u8]) -> Result<Option<Layout>, ()> {
        let Some(header) = Header::read(bytes) else { return Ok(None) };
        let layout =
            header.check(self.max_payload_bytes).map_err(|error| self.note_large(error))?;
        match layout.kind {
            Kind::Event if self.is_ours(header) && !self.channel.is_none() => Ok(Some(layout)),
            Kind::Channel => Ok(Some(layout)),
            _ => Err(()),
        }
    }

    /// Reports events below this ordinal as missing here; whether there are any.
    pub fn push_lost_until(&mut self, ordinal: u64) -> bool {
        let count = ordinal.saturating_sub(self.ordinal);
        match count {
            0 => self.large_bytes = None,
            _ => {
                self.push_lost(Some(count));
                self.ordinal = ordinal;
            }
        }
        count > 0
    }

    /// Reports that events are missing here.
    pub fn push_lost(&mut self, count: Option<u64>) {
        if let Some(bytes) = self.large_bytes.take() {
            return self.pieces.push_back(Piece::Large(count, bytes));
        }
        match self.pieces.back_mut() {
            Some(Piece::Lost(before)) => {
                *before = before.zip(count).map(|(one, other)| one.saturating_add(other));
            }
            _ => self.pieces.push_back(Piece::Lost(count)),
        }
    }

    /// Notes that a frame is refused as too large, if it is no fault of its sender.
    #[cold]
    fn note_large(&mut self, error: FrameError) {
        if let FrameError::PayloadTooLarge { bytes, .. } = error
            // What no broker can be set up to send is broken.
            && bytes <= MAX_LINK_PAYLOAD_BYTES
        {
            self.large_bytes = Some(bytes);
        }
    }

    #[inline]
    fn is_ours(&self, header: &Header) -> bool {
        header.source().node == self.node
    }

    /// Appends a run, or extends the last one: scans end at datagrams, runs need not.
    #[inline]
    fn push_run(&mut self, bytes: &[u8], at: usize, found: &Run<'_>) {
        self.ordinal = self.ordinal.saturating_add(found.frames as u64);
        let header = found.first.header();
        let run = Piece::Run {
            start: at,
            end: at + found.bytes,
            frames: found.frames,
            channel: self.channel,
            source: header.source(),
            name_len: found.first.layout().name_len,
        };
        if let Some(Piece::Run { start, end, frames, channel, source, name_len }) =
            self.pieces.back_mut()
            && *end == at
            && *channel == self.channel
            && *source == header.source()
            && *name_len == found.first.layout().name_len
            && bytes[*start + HEADER_BYTES..][..*name_len] == *found.first.name()
        {
            *end = at + found.bytes;
            *frames += found.frames;
            return;
        }
        self.pieces.push_back(run);
    }
}

/// Hash of the channel that a frame announces, if it is a good one.
fn channel_of(frame: &Frame<'_>) -> Option<ChannelHash> {
    if frame.kind() != Kind::Channel || frame.layout().payload_len != 0 {
        return None;
    }
    let hash = ChannelHash::of(check_channel(frame.name()).ok()?);
    (hash.0 == frame.sequence()).then_some(hash)
}
