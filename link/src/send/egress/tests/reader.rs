//! Reads sent datagrams as plainly as can be, and judges their headers.

use netcluster_wire::link::DataHeader;
use netcluster_wire::link::limits::{DATA_HEADER_BYTES, LINK_MAGIC, NO_BOUNDARY, TAG_BYTES};
use netcluster_wire::{Frame, Kind};

use super::STREAM;
use crate::channel::ChannelHash;
use crate::crypto::{Keys, StreamOpener};
use crate::peer_id::Session;
use crate::stream::Position;

/// One event as it came out.
pub(super) struct Event {
    pub(super) bytes: Vec<u8>,
    pub(super) channel: ChannelHash,
    /// The datagram it starts in.
    pub(super) datagram: u64,
}

/// All datagrams of a stream, from number 0.
#[derive(Default)]
pub(super) struct Sent {
    /// `None` on an open link.
    opener: Option<StreamOpener>,
    headers: Vec<DataHeader>,
    /// Place in `stream` at which each one's body starts.
    starts: Vec<usize>,
    stream: Vec<u8>,
}

impl Extend<Vec<u8>> for Sent {
    fn extend<I: IntoIterator<Item = Vec<u8>>>(&mut self, datagrams: I) {
        datagrams.into_iter().for_each(|datagram| self.push(&datagram));
    }
}

impl FromIterator<Vec<u8>> for Sent {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(datagrams: I) -> Sent {
        let mut sent = Sent::default();
        sent.extend(datagrams);
        sent
    }
}

impl Sent {
    /// For a stream that is sealed.
    pub(super) fn sealed(keys: &Keys, session: &Session) -> Sent {
        Sent { opener: Some(StreamOpener::new(keys, session, STREAM)), ..Sent::default() }
    }

    fn push(&mut self, datagram: &[u8]) {
        let (header, body) = DataHeader::split(datagram).unwrap();
        let number = self.headers.len() as u64;
        assert_eq!(header.magic, LINK_MAGIC);
        assert_eq!(header.number.get(), number);
        let mut body = body.to_vec();
        if let Some(opener) = &mut self.opener {
            let tag = body.split_off(body.len() - TAG_BYTES);
            let head = &datagram[..DATA_HEADER_BYTES];
            opener.open(header.key_id.get(), number, head, &mut body, &tag).unwrap();
        }
        assert!(!body.is_empty());
        self.headers.push(*header);
        self.starts.push(self.stream.len());
        self.stream.extend_from_slice(&body);
    }

    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }

    /// Every frame, and where it starts in the stream.
    fn frames(&self) -> impl Iterator<Item = (usize, Frame<'_>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let frame = Frame::read(&self.stream[at..], usize::MAX).unwrap()?;
            let start = at;
            at += frame.as_bytes().len();
            Some((start, frame))
        })
    }

    /// The hashes that `channel` frames name, in order.
    pub(super) fn channels_named(&self) -> Vec<ChannelHash> {
        let channels = self.frames().filter(|(_, frame)| frame.kind() == Kind::Channel);
        channels.map(|(_, frame)| ChannelHash(frame.sequence())).collect()
    }

    /// The events, in order. The stream must end with a whole frame.
    pub(super) fn events(&self) -> Vec<Event> {
        let (mut channel, mut end, mut events) = (ChannelHash::NONE, 0, Vec::new());
        for (start, frame) in self.frames() {
            end = start + frame.as_bytes().len();
            match frame.kind() {
                Kind::Channel => channel = ChannelHash(frame.sequence()),
                Kind::Event => events.push(Event {
                    bytes: frame.as_bytes().to_vec(),
                    channel,
                    datagram: self.starts.partition_point(|&body| body <= start) as u64 - 1,
                }),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(end, self.stream.len(), "it ends with a whole frame");
        events
    }

    /// Checks boundary, ordinal and channel of every datagram, if its events have
    /// these ordinals.
    pub(super) fn check_headers(&self, ordinals: &[u64]) {
        // For each frame where it starts, the channel in force before it and, if
        // it is one, the number of the event.
        let (mut channel, mut event, mut frames) = (ChannelHash::NONE, 0, Vec::new());
        for (start, frame) in self.frames() {
            frames.push((start, channel, event));
            match frame.kind() {
                Kind::Channel => channel = ChannelHash(frame.sequence()),
                _ => event += 1,
            }
        }
        frames.push((self.stream.len(), channel, event));
        for (number, header) in self.headers.iter().enumerate() {
            let start = self.starts[number];
            let end = self.starts.get(number + 1).map_or(self.stream.len(), |end| *end);
            let (first, in_force, event) = frames[frames.partition_point(|&(at, ..)| at < start)];
            let boundary = if first < end { (first - start) as u16 } else { NO_BOUNDARY };
            assert_eq!(header.boundary.get(), boundary, "datagram {number}");
            assert_eq!(header.channel.get(), in_force.0, "datagram {number}");
            let beyond = frames[frames.partition_point(|&(at, ..)| at < end)].2;
            let ordinal = header.ordinal.get();
            if event < beyond {
                let within: Vec<u64> = (ordinal..).take(beyond - event).collect();
                assert_eq!(ordinals[event..beyond], within, "datagram {number}");
            } else {
                let least = if event == 0 { 0 } else { ordinals[event - 1] + 1 };
                let most = ordinals.get(event).map_or(u64::MAX, |next| *next);
                assert!((least..=most).contains(&ordinal), "datagram {number}: {ordinal}");
            }
        }
    }

    /// Checks that a receiver can begin at this place, if anything came behind.
    pub(super) fn check_join(&self, join: Position) {
        let Some(header) = self.headers.get(join.number as usize) else {
            assert_eq!(join.number, self.headers.len() as u64);
            return;
        };
        assert_eq!(header.boundary.get(), 0);
        assert!(header.ordinal.get() >= join.ordinal);
        let body = &self.stream[self.starts[join.number as usize]..];
        assert_eq!(Frame::read(body, 0).unwrap().unwrap().kind(), Kind::Channel);
    }
}
