//! Writes frames: numbers events and requests, refuses what the broker would.
//!
//! Invariant: an event's number is used only if the event was appended.

use std::mem::offset_of;
use std::time::Duration;

use netcluster_wire::frame::append;
use netcluster_wire::limits::{
    DEFAULT_MAX_PAYLOAD_BYTES, HARD_MAX_PAYLOAD_BYTES, HEADER_BYTES, MAX_HEAD_BYTES,
};
use netcluster_wire::{
    Encoding, Frame, Header, Hello, Kind, Pattern, SharedStep, Source, check_channel, check_event,
    control,
};

use super::event_head::EventHead;
use crate::error::Error;
use crate::memory::Ring;

/// After this many bytes of events a ping is slipped in, so that the confirmed
/// sequence advances while nobody asks.
pub const PING_EVERY_BYTES: usize = 4 << 20;

// An event that is not refused fits a frame.
const _: () = assert!(MAX_HEAD_BYTES + HARD_MAX_PAYLOAD_BYTES <= u32::MAX as usize);

/// The writing half of a session.
#[derive(Debug)]
pub struct Outbound {
    source: Source,
    max_payload_bytes: usize,
    /// Sequence of the last event.
    sequence: u64,
    /// Number of the last request.
    request: u64,
    bytes_since_ping: usize,
    /// The front of the last event. The next one of the same name costs a compare of
    /// its name and a copy.
    head: EventHead,
}

impl Default for Outbound {
    fn default() -> Outbound {
        Outbound::new()
    }
}

impl Outbound {
    /// Before the welcome.
    pub fn new() -> Outbound {
        Outbound {
            source: Source::NONE,
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
            sequence: 0,
            request: 0,
            bytes_since_ping: 0,
            head: EventHead::none(),
        }
    }

    /// Appends the first frame of a connection.
    ///
    /// # Errors
    /// If the channel's or the client's name is not allowed.
    pub fn hello(&self, out: &mut Vec<u8>, channel: &str, hello: &Hello) -> Result<(), Error> {
        check_channel(channel.as_bytes()).map_err(Error::ChannelName)?;
        if !hello.client_name.is_empty() {
            check_channel(hello.client_name.as_bytes()).map_err(Error::ClientName)?;
        }
        append(out, Kind::Hello, Source::NONE, 0, channel.as_bytes(), &hello.encode());
        Ok(())
    }

    /// Takes in what the welcome said. Numbers go on from before.
    pub fn welcomed(&mut self, source: Source, max_payload: u64) {
        self.source = source;
        self.max_payload_bytes = usize::try_from(max_payload)
            .map_or(HARD_MAX_PAYLOAD_BYTES, |bytes| bytes.min(HARD_MAX_PAYLOAD_BYTES));
        self.head = EventHead::none();
    }

    /// Takes over to a new connection what an old one did not write: the events
    /// of `unwritten` (whole frames), now from the newly assigned source. Its
    /// requests are dropped: they are made anew. Gives the number of events. Call after
    /// [`Outbound::welcomed`].
    pub fn reconnect(&mut self, unwritten: &[u8], out: &mut Vec<u8>) -> u64 {
        let mut rest = unwritten;
        let mut events = 0;
        while let Ok(Some(frame)) = Frame::read(rest, usize::MAX) {
            if frame.kind() == Kind::Event {
                events += 1;
                let at = out.len() + offset_of!(Header, source);
                out.extend_from_slice(frame.as_bytes());
                out[at..at + size_of::<Source>()]
                    .copy_from_slice(&self.source.to_u64().to_le_bytes());
            }
            rest = &rest[frame.as_bytes().len()..];
        }
        self.bytes_since_ping = 0;
        events
    }

    /// The source that the broker says this client is.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// The largest payload that the broker takes, in bytes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.max_payload_bytes
    }

    /// Sequence of the last event appended; 0: none yet.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.sequence
    }

    /// Appends an event of bytes.
    ///
    /// # Errors
    /// If name or size are not allowed; nothing is appended then.
    #[inline]
    pub fn emit(&mut self, out: &mut Vec<u8>, event: &str, payload: &[u8]) -> Result<u64, Error> {
        self.append_event(out, event, Encoding::Bytes, payload)
    }

    /// Appends an event whose payload the caller has encoded so.
    ///
    /// # Errors
    /// As [`Outbound::emit`].
    #[inline]
    pub fn emit_encoded(
        &mut self,
        out: &mut Vec<u8>,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<u64, Error> {
        self.append_event(out, event, encoding, payload)
    }

    /// Appends an event, inlined into the caller's code.
    ///
    /// # Errors
    /// As [`Outbound::emit`].
    #[inline(always)]
    pub(crate) fn append_event(
        &mut self,
        out: &mut Vec<u8>,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<u64, Error> {
        let sequence = self.number(out, event, payload.len())?;
        self.head.append(out, sequence, encoding, payload);
        Ok(sequence)
    }

    /// Appends an event in a ring; `false`: there is no room now, and nothing was appended.
    ///
    /// # Errors
    /// As [`Outbound::emit`].
    #[inline(always)]
    pub(crate) fn emit_in_place(
        &mut self,
        ring: &mut Ring,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<bool, Error> {
        self.turn_head(event, payload.len())?;
        if self.bytes_since_ping >= PING_EVERY_BYTES && !self.ping_in_place(ring) {
            return Ok(false);
        }
        let Some(space) = ring.space(self.head.space_bytes(payload.len())) else {
            return Ok(false);
        };
        let bytes = self.head.write(space, self.sequence + 1, encoding, payload);
        ring.append(bytes);
        self.bytes_since_ping += bytes;
        self.sequence += 1;
        Ok(true)
    }

    /// Appends a ping in a ring, if there is room.
    #[cold]
    #[inline(never)]
    fn ping_in_place(&mut self, ring: &mut Ring) -> bool {
        let has_room = ring.space(HEADER_BYTES).is_some();
        if has_room {
            let mut ping = Vec::with_capacity(HEADER_BYTES);
            self.ping(&mut ping);
            ring.copy(&ping);
        }
        has_room
    }

    /// Appends that the memory which the broker offered is used, or why not.
    pub(crate) fn step(&self, out: &mut Vec<u8>, step: &SharedStep) {
        append(out, Kind::Shared, self.source, 0, b"", &step.encode());
    }

    /// Appends an event's header and name only: the payload and
    /// [`padding_of`](netcluster_wire::frame::padding_of) it must follow, by whatever means.
    ///
    /// # Errors
    /// As [`Outbound::emit`].
    #[inline]
    pub fn emit_head(
        &mut self,
        out: &mut Vec<u8>,
        event: &str,
        encoding: Encoding,
        payload_len: usize,
    ) -> Result<u64, Error> {
        let sequence = self.number(out, event, payload_len)?;
        self.head.append_front(out, sequence, encoding, payload_len);
        Ok(sequence)
    }

    /// Makes the head that of this event, which is to be appended, and gives it its number.
    #[inline(always)]
    fn number(&mut self, out: &mut Vec<u8>, event: &str, payload_len: usize) -> Result<u64, Error> {
        self.turn_head(event, payload_len)?;
        if self.bytes_since_ping >= PING_EVERY_BYTES {
            self.ping(out);
        }
        self.bytes_since_ping += self.head.frame_bytes(payload_len);
        self.sequence += 1;
        Ok(self.sequence)
    }

    /// Makes the head that of this event, unless it is, or refuses the event.
    #[inline(always)]
    fn turn_head(&mut self, event: &str, payload_len: usize) -> Result<(), Error> {
        if payload_len > self.max_payload_bytes || !self.head.is_of(event.as_bytes()) {
            self.prepare(event, payload_len)?;
        }
        Ok(())
    }

    /// Prepares for another name than the last event's, or refuses a payload that is too large.
    #[cold]
    #[inline(never)]
    fn prepare(&mut self, event: &str, payload_len: usize) -> Result<(), Error> {
        let limit = self.max_payload_bytes;
        if payload_len > limit {
            return Err(Error::PayloadTooLarge { bytes: payload_len, limit });
        }
        check_event(event.as_bytes())?;
        self.head.become_that_of(self.source, event.as_bytes());
        Ok(())
    }

    /// Appends a subscription; gives the number that its answer will carry.
    pub fn subscribe(&mut self, out: &mut Vec<u8>, pattern: &Pattern) -> u64 {
        self.request(out, Kind::Subscribe, pattern.as_str(), b"")
    }

    /// Appends the end of a subscription; gives the number that its answer will carry.
    pub fn unsubscribe(&mut self, out: &mut Vec<u8>, pattern: &Pattern) -> u64 {
        self.request(out, Kind::Unsubscribe, pattern.as_str(), b"")
    }

    /// Appends a ping: its pong comes when all events before it are queued at
    /// every target, and carries this number.
    pub fn ping(&mut self, out: &mut Vec<u8>) -> u64 {
        self.bytes_since_ping = 0;
        self.request(out, Kind::Ping, "", b"")
    }

    /// Appends the orderly end; the broker's bye carries this number.
    pub fn bye(&mut self, out: &mut Vec<u8>) -> u64 {
        self.request(out, Kind::Bye, "", b"")
    }

    /// Appends a question for the broker's status; the answer carries this number.
    pub fn stats(&mut self, out: &mut Vec<u8>) -> u64 {
        self.request(out, Kind::Stats, "", b"")
    }

    /// Appends a request of whoever runs the broker, in JSON that fits a frame; the answer
    /// carries this number.
    pub fn control(&mut self, out: &mut Vec<u8>, json: &str) -> u64 {
        self.request(out, Kind::Control, "", json.as_bytes())
    }

    /// Appends the question whether the brokers of other machines know of all
    /// subscriptions so far, answered after `wait` at the latest; the answer
    /// carries this number.
    pub fn cluster(&mut self, out: &mut Vec<u8>, wait: Duration) -> u64 {
        self.request(out, Kind::Cluster, "", &control::encode_cluster(wait))
    }

    /// Appends the question who would get an event of this name, which is a legal one;
    /// the answer carries this number.
    pub fn audience(&mut self, out: &mut Vec<u8>, event: &str) -> u64 {
        self.request(out, Kind::Audience, event, b"")
    }

    /// Appends the answer to the broker's ping.
    pub fn pong(&mut self, out: &mut Vec<u8>, token: u64) {
        let confirmed = control::encode_pong(self.sequence);
        append(out, Kind::Pong, self.source, token, b"", &confirmed);
    }

    fn request(&mut self, out: &mut Vec<u8>, kind: Kind, name: &str, payload: &[u8]) -> u64 {
        self.request += 1;
        append(out, kind, self.source, self.request, name.as_bytes(), payload);
        self.request
    }
}

/// Finds, in whole frames of which the first `written` bytes were written, the part
/// from the start of the first that was not written as a whole.
pub fn unwritten(frames: &[u8], written: usize) -> &[u8] {
    let mut at = 0;
    while let Ok(Some(frame)) = Frame::read(&frames[at..], usize::MAX) {
        if at + frame.as_bytes().len() > written {
            break;
        }
        at += frame.as_bytes().len();
    }
    &frames[at..]
}
