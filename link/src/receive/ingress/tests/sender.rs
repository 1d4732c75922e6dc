//! A reference sender: lays frames over datagrams, as slowly and plainly as the
//! specification reads.

use netcluster_platform::Instant;
use netcluster_wire::link::DataHeader;
use netcluster_wire::link::limits::{DATA_HEADER_BYTES, NO_BOUNDARY};
use netcluster_wire::{Encoding, Kind, Source, frame};

use crate::channel::ChannelHash;
use crate::crypto::{Keys, StreamOpener, StreamSealer};
use crate::peer_id::{Session, session_tag};
use crate::receive::ingress::{Delivery, Ingress, IngressConfig, ReassemblyBudget, Verdict};
use crate::stream::{Position, StreamId};
use crate::tests::time::ns;

pub const NODE: u32 = 7;
pub const STREAM: StreamId = StreamId::new(3, 0);
pub const SESSION: Session = *b"session of tests";

/// Small numbers, the same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The sender, and all that it ever sent.
pub struct Sender {
    sealer: StreamSealer,
    pub datagrams: Vec<Vec<u8>>,
    /// The frames of all events, `None` for those that were skipped.
    pub events: Vec<Option<(ChannelHash, Vec<u8>)>>,
    body_bytes: usize,
    body: Vec<u8>,
    header: DataHeader,
    channel: ChannelHash,
}

impl Sender {
    pub fn new(keys: &Keys, body_bytes: usize) -> Sender {
        let mut sender = Sender {
            sealer: StreamSealer::new(keys, &SESSION, STREAM),
            datagrams: Vec::new(),
            events: Vec::new(),
            body_bytes,
            body: Vec::new(),
            header: DataHeader::new(0, 0, 0, 0, 0),
            channel: ChannelHash::NONE,
        };
        sender.header = sender.blank();
        sender
    }

    fn blank(&self) -> DataHeader {
        let number = self.datagrams.len() as u64;
        DataHeader::new(self.sealer.key_id(), session_tag(&SESSION), STREAM.0, number, 0)
    }

    pub fn position(&self) -> Position {
        Position { number: self.datagrams.len() as u64, ordinal: self.events.len() as u64 }
    }

    /// The ordinal of the next event that is not yet in a closed datagram.
    pub fn sent_ordinal(&self) -> u64 {
        match self.header.boundary.get() {
            NO_BOUNDARY => self.events.len() as u64,
            _ => self.header.ordinal.get(),
        }
    }

    /// An event; its sequence is its ordinal plus one.
    pub fn event(&mut self, channel: &str, client: u32, name: &str, payload: usize) {
        self.set_channel(channel);
        let source = Source { node: NODE, client };
        let sequence = self.events.len() as u64 + 1;
        let payload = vec![sequence as u8; payload];
        let mut frame = frame::encode(Kind::Event, source, sequence, name.as_bytes(), &payload);
        frame::set_encoding(&mut frame, Encoding::ALL[sequence as usize / 3 % 3]);
        self.lay(&frame, true);
        *self.events.last_mut().unwrap() = Some((self.channel, frame));
    }

    pub fn set_channel(&mut self, name: &str) {
        let hash = ChannelHash::of(name);
        if hash != self.channel {
            let frame = frame::encode(Kind::Channel, Source::NONE, hash.0, name.as_bytes(), &[]);
            self.lay(&frame, false);
            self.channel = hash;
        }
    }

    /// Bytes of one frame, good or not; it counts as an event that never arrives.
    pub fn lay(&mut self, frame: &[u8], is_event: bool) {
        for (at, byte) in frame.iter().enumerate() {
            if self.body.len() == self.body_bytes {
                self.flush();
            }
            if at == 0 && self.header.boundary.get() == NO_BOUNDARY {
                self.header.boundary = (self.body.len() as u16).into();
                self.header.ordinal = (self.events.len() as u64).into();
                self.header.channel = self.channel.0.into();
            }
            if at == 0 && is_event {
                self.events.push(None);
            }
            self.body.push(*byte);
        }
    }

    /// Nobody wants the next events.
    pub fn skip(&mut self, count: usize) {
        self.flush();
        self.events.resize(self.events.len() + count, None);
    }

    /// Closes the open datagram.
    pub fn flush(&mut self) {
        if self.body.is_empty() {
            return;
        }
        if self.header.boundary.get() == NO_BOUNDARY {
            self.header.ordinal = (self.events.len() as u64).into();
            self.header.channel = self.channel.0.into();
        }
        let mut body = std::mem::take(&mut self.body);
        let mut tag = vec![0; self.sealer.tag_bytes()];
        self.sealer.seal(self.header.number.get(), self.header.bytes(), &mut body, &mut tag);
        self.datagrams.push([&self.header.bytes()[..], &body, &tag].concat());
        self.header = self.blank();
    }

    /// Changes the header of a datagram of an open link.
    pub fn rewrite(&mut self, number: usize, change: impl FnOnce(&mut DataHeader)) {
        let (mut header, _) =
            DataHeader::split(&self.datagrams[number]).map(|(h, r)| (*h, r)).unwrap();
        change(&mut header);
        self.datagrams[number][..DATA_HEADER_BYTES].copy_from_slice(header.bytes());
    }
}

pub fn config(reorder_datagrams: usize) -> IngressConfig {
    let max_payload_bytes = 1 << 20;
    IngressConfig { max_payload_bytes, reassembly: ReassemblyBudget::default(), reorder_datagrams }
}

pub fn ingress(keys: &Keys, join: Position, config: &IngressConfig) -> Ingress {
    Ingress::new(STREAM, NODE, join, StreamOpener::new(keys, &SESSION, STREAM), config)
}

pub fn handle(ingress: &mut Ingress, now: Instant, datagram: &[u8]) -> Verdict {
    let (header, _) = DataHeader::split(datagram).unwrap();
    ingress.handle(now, header, datagram)
}

/// Deliveries, event by event.
#[derive(Debug, PartialEq, Eq, Clone)]
pub enum Got {
    /// The sequence of an event less one: its ordinal.
    Event(u64),
    Lost(Option<u64>),
    /// One of so many events was of so many bytes.
    Large(Option<u64>, usize),
}

/// Takes all deliveries; checks each event against what was sent.
pub fn drain(ingress: &mut Ingress, sender: &Sender, got: &mut Vec<Got>) {
    while let Some(delivery) = ingress.poll_delivery() {
        match delivery {
            Delivery::Lost { count } => got.push(Got::Lost(count)),
            Delivery::Large { count, bytes } => got.push(Got::Large(count, bytes)),
            Delivery::Run { channel, slice, frames, source, name_len } => {
                let mut bytes = slice.as_bytes();
                for _ in 0..frames {
                    let frame = frame::Frame::read(bytes, usize::MAX).unwrap().unwrap();
                    let ordinal = frame.sequence() - 1;
                    let sent = sender.events[ordinal as usize].as_ref().expect("it was sent");
                    assert_eq!((channel, frame.as_bytes()), (sent.0, &sent.1[..]));
                    assert_eq!((source, name_len), (frame.source(), frame.name().len()));
                    got.push(Got::Event(ordinal));
                    bytes = &bytes[frame.as_bytes().len()..];
                }
                assert!(bytes.is_empty());
            }
        }
    }
}

/// Hands over these datagrams in this order and drains.
pub fn play(ingress: &mut Ingress, sender: &Sender, numbers: &[usize]) -> Vec<Got> {
    for &number in numbers {
        assert_eq!(handle(ingress, ns(0), &sender.datagrams[number]), Verdict::Taken);
    }
    let mut got = Vec::new();
    drain(ingress, sender, &mut got);
    got
}

pub fn events(ordinals: std::ops::Range<u64>) -> Vec<Got> {
    ordinals.map(Got::Event).collect()
}
