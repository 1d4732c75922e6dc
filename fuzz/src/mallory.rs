//! A broker that has the key and means harm, or is broken: it shakes hands, then
//! says whatever the input says.

use core::net::SocketAddr;

use netcluster_link::crypto::{ControlOpener, ControlSealer, Keys, StreamSealer};
use netcluster_link::{Session, StreamId};
use netcluster_wire::link::limits::{
    CONTROL_HEADER_BYTES, DATA_HEADER_BYTES, LINK_MAGIC, LINK_VERSION, MAX_ENTRIES, MAX_NAK_RANGES,
};
use netcluster_wire::link::{
    Answer, Beat, Challenge, Control, ControlHeader, ControlKind, DataHeader, Datagram, Heartbeat,
    Hello, Interest, Joined, Leave, Nak, Place, Probe, Range, Report, Status, parse, short_session,
};
use netcluster_wire::{Kind, Source, frame};

use super::choices::Choices;

/// Node id of the first mallory.
pub const NODE: u32 = 66;

/// Numbers at which something may overflow or be far away.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    31,
    63,
    4095,
    4096,
    1 << 28,
    (1 << 62) - 1,
    1 << 62,
    (1 << 63) - 1,
    u64::MAX - 4096,
    u64::MAX - 1,
    u64::MAX,
];

/// Broker that has the key and means harm, or is broken.
pub struct Mallory {
    /// Address of the mallory.
    pub address: SocketAddr,
    /// Node id that the mallory claims.
    pub node: u32,
    keys: Keys,
    session: Session,
    sealer: ControlSealer,
    victim: Option<Session>,
    /// Version of the last interest that the mallory was told.
    version: u32,
    own_version: u32,
    settings: u64,
    numbers: [u64; 8],
}

impl Mallory {
    /// Makes a mallory that nobody knows yet.
    pub fn new(keys: &Keys, settings: u64, which: u8) -> Mallory {
        let session = [0xb0 | which; 16];
        Mallory {
            address: SocketAddr::from(([10, 6, 6, which], 666)),
            node: NODE + u32::from(which) - 1,
            keys: keys.clone(),
            session,
            sealer: ControlSealer::new(keys, &session),
            victim: None,
            version: 0,
            own_version: 0,
            settings,
            numbers: [0; 8],
        }
    }

    /// Makes the mallory's hello.
    pub fn hello(&mut self, node: u32) -> Vec<u8> {
        let settings = self.settings;
        self.seal(ControlKind::Hello, |out| {
            Hello {
                node,
                groups: 8,
                datagram_bytes: 1372,
                settings,
                answer: true,
                cluster: "fuzz",
                name: "mallory",
                padding_bytes: 600,
            }
            .encode(out);
        })
    }

    /// Hears a datagram that was sent to the mallory; returns the answer.
    pub fn hear(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let Ok(Datagram::Control { kind, header, body, tag }) = parse(bytes) else { return None };
        let mut body = body.to_vec();
        let mut opener = ControlOpener::new(&self.keys, &header.session);
        let (key_id, counter) = (header.key_id.get(), header.counter.get());
        opener.open(key_id, counter, header.bytes(), &mut body, tag).ok()?;
        match Control::decode(kind, &body).ok()? {
            Control::Challenge(Challenge { nonce, .. }) => {
                self.victim = Some(header.session);
                let to = header.session;
                Some(self.seal(ControlKind::Answer, |out| Answer { nonce, to }.encode(out)))
            }
            Control::Interest(interest) => {
                self.version = interest.version;
                None
            }
            _ => None,
        }
    }

    /// Makes a control datagram of the input's choice.
    pub fn control(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let kind = choices.of(&ControlKind::ALL);
        let to = self.victim.unwrap_or_default();
        let count = choices.of(&[1, 0, 2, 9, MAX_ENTRIES]);
        let entries: Vec<(u16, u64, u64, u64)> = (0..count)
            .map(|_| (stream(choices), number(choices), number(choices), number(choices)))
            .collect();
        let places = || -> Vec<Place> {
            let place = |&(stream, number, ordinal, _)| Place { stream, number, ordinal };
            entries.iter().map(place).collect()
        };
        let (version, total) = (self.version, entries.len() as u16 + u16::from(choices.byte() / 8));
        let (first, flags) = (number(choices), choices.byte());
        self.own_version = self.own_version.saturating_add(u32::from(flags >> 4) + 1);
        let own_version = if flags == 255 { u32::MAX } else { self.own_version };
        self.seal(kind, |out| match kind {
            ControlKind::Joined => {
                Joined::encode(&to, version, total, (first, first), &places(), out)
            }
            ControlKind::Leave => Leave::encode(&places(), out),
            ControlKind::Heartbeat => {
                let beat = |&(stream, next, tail, ordinal)| {
                    let tail = if flags & 8 == 0 { tail % (next | 1) } else { tail };
                    Beat { stream, poll: flags & 1 != 0, next, tail, ordinal }
                };
                Heartbeat::encode(first, &entries.iter().map(beat).collect::<Vec<_>>(), out);
            }
            ControlKind::Status => {
                let report = |&(stream, position, limit, seen_lost)| Report {
                    stream,
                    held: flags & 1 != 0,
                    missing: u32::MAX,
                    position,
                    limit,
                    seen_lost,
                };
                let reports: Vec<Report> = entries.iter().map(report).collect();
                Status::encode(&to, first, u32::from(flags), flags.into(), &reports, out);
            }
            ControlKind::Nak => {
                let range = |&(_, first, count, _): &(u16, u64, u64, u64)| {
                    let first = first.min(u64::MAX - 1);
                    let room = u64::from(u32::MAX).min(u64::MAX - first);
                    Range { first, count: count.clamp(1, room) as u32 }
                };
                let ranges: Vec<Range> = entries.iter().map(range).collect();
                let stream = entries.first().map_or(0, |entry| entry.0);
                Nak::encode(&to, stream, first, &ranges[..count.min(MAX_NAK_RANGES)], out);
            }
            ControlKind::Interest => Interest {
                to,
                version: own_version,
                hears_multicast: flags & 1 != 0,
                fresh: flags & 2 != 0,
                groups: if flags & 4 != 0 { u64::MAX } else { first },
                time_ns: first,
            }
            .encode(out),
            ControlKind::Probe => {
                Probe { nonce: to, to: [0; 16], padding_bytes: count }.encode(out)
            }
            ControlKind::Challenge => Challenge { nonce: to, to }.encode(out),
            _ => out.extend_from_slice(&[flags; 24]),
        })
    }

    /// Makes a good interest in everything, which takes no part in what is sent to groups
    /// or does.
    pub fn interest(&mut self, hears_multicast: bool) -> Vec<u8> {
        self.own_version += 1;
        let (to, version) = (self.victim.unwrap_or_default(), self.own_version);
        self.seal(ControlKind::Interest, |out| {
            let (fresh, groups, time_ns) = (true, u64::MAX, 0);
            Interest { to, version, hears_multicast, fresh, groups, time_ns }.encode(out);
        })
    }

    /// Makes a good joined for all streams, from these positions on.
    pub fn joined(&mut self, choices: &mut Choices<'_>, settings: &[StreamId]) -> Vec<u8> {
        let start = number(choices);
        let places: Vec<Place> = settings
            .iter()
            .map(|stream| Place { stream: stream.0, number: start, ordinal: start })
            .collect();
        self.numbers = [start; 8];
        let (to, version) = (self.victim.unwrap_or_default(), self.version);
        self.seal(ControlKind::Joined, |out| {
            let times = (u64::MAX, start);
            Joined::encode(&to, version, places.len() as u16, times, &places, out);
        })
    }

    /// Makes a data datagram of the input's choice.
    pub fn data(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let stream = stream(choices);
        let next = &mut self.numbers[usize::from(stream % 8)];
        let number = match choices.below(8) {
            0 => number(choices),
            1 => next.saturating_add(choices.below(5000) as u64),
            _ => *next,
        };
        *next = number.saturating_add(1);
        let mut header =
            DataHeader::new(self.sealer.key_id(), short_session(&self.session), stream, number, 0);
        header.ordinal = match choices.below(3) {
            0 => number.into(),
            1 => 0.into(),
            _ => self::number(choices).into(),
        };
        header.channel =
            choices.of(&[0, 1, netcluster_link::channel::ChannelHash::of("news").0]).into();
        header.boundary = choices.of(&[0, 0, 8, 0xffff, 40]).into();
        let mut datagram = header.bytes().to_vec();
        let source = Source { node: choices.of(&[self.node, self.node, self.node, 1]), client: 5 };
        for _ in 0..choices.below(4) {
            let kind = choices.of(&[Kind::Event, Kind::Event, Kind::Channel, Kind::Lost]);
            let payload = vec![0; choices.below(300)];
            let at = datagram.len();
            match kind {
                Kind::Channel => {
                    let hash = netcluster_link::channel::ChannelHash::of("news").0;
                    frame::append(&mut datagram, kind, Source::NONE, hash, b"news", b"");
                }
                kind => frame::append(&mut datagram, kind, source, number, b"tick", &payload),
            }
            match choices.byte() {
                // A frame that goes on in another datagram, perhaps a huge one.
                0..16 => datagram.truncate(at + 24.min(datagram.len() - at)),
                16..32 => datagram[at..at + 4].copy_from_slice(&0x000f_fff8u32.to_le_bytes()),
                _ => {}
            }
        }
        datagram.extend_from_slice(choices.bytes(choices_few(datagram.len())));
        let end = datagram.len();
        datagram.resize(end + self.keys.tag_bytes(), 0);
        let (head, rest) = datagram.split_at_mut(DATA_HEADER_BYTES);
        let (body, tag) = rest.split_at_mut(end - DATA_HEADER_BYTES);
        StreamSealer::new(&self.keys, &self.session, StreamId(stream))
            .seal(number, head, body, tag);
        datagram
    }

    fn seal(&mut self, kind: ControlKind, encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let counter = self.sealer.counter();
        let mut bytes = Vec::new();
        ControlHeader::new(kind, self.sealer.key_id(), &self.session, counter).write(&mut bytes);
        debug_assert!(bytes[..2] == LINK_MAGIC && bytes[3] == LINK_VERSION);
        encode(&mut bytes);
        let end = bytes.len();
        bytes.resize(end + self.sealer.tag_bytes(), 0);
        let (header, rest) = bytes.split_at_mut(CONTROL_HEADER_BYTES);
        let (body, tag) = rest.split_at_mut(end - CONTROL_HEADER_BYTES);
        self.sealer.seal(header, body, tag);
        bytes
    }
}

/// Returns how many trailing bytes there are: few, and none of most datagrams.
fn choices_few(length: usize) -> usize {
    if length.is_multiple_of(3) { 11 } else { 0 }
}

fn stream(choices: &mut Choices<'_>) -> u16 {
    StreamId::new(choices.below(8) as u8, choices.of(&[0, 0, 0, 1])).0
}

fn number(choices: &mut Choices<'_>) -> u64 {
    match choices.below(4) {
        0 => choices.of(&EDGES),
        _ => choices.below(600) as u64,
    }
}
