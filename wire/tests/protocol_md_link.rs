//! The link's part of `PROTOCOL.md` against the code: every datagram is decoded
//! and encoded again, the tables are compared with what they speak of.

mod document;

use std::collections::{BTreeMap, BTreeSet};

use netcluster_wire::Frame;
use netcluster_wire::limits::DEFAULT_MAX_PAYLOAD_BYTES;
use netcluster_wire::link::data::DATA_KIND;
use netcluster_wire::link::{
    self, Beat, Control, ControlHeader, ControlKind, DataHeader, Datagram, Place, Range, Report,
    limits,
};

use document::{PROTOCOL, compare_limits, kind};
use netcluster_testkit::document::{number, yes};

const LINK_LIMITS_RS: &str = include_str!("../src/link/limits.rs");

#[test]
fn the_table_of_the_links_limits_is_that_of_the_code() {
    let values = BTreeMap::from([
        ("LINK_VERSION", u64::from(limits::LINK_VERSION)),
        ("LINK_MAGIC", u64::from(u16::from_le_bytes(limits::LINK_MAGIC))),
        ("DATA_HEADER_BYTES", limits::DATA_HEADER_BYTES as u64),
        ("CONTROL_HEADER_BYTES", limits::CONTROL_HEADER_BYTES as u64),
        ("TAG_BYTES", limits::TAG_BYTES as u64),
        ("ASKING_HELLO_BYTES", limits::ASKING_HELLO_BYTES as u64),
        ("MIN_DATAGRAM_BYTES", limits::MIN_DATAGRAM_BYTES as u64),
        ("MAX_DATAGRAM_BYTES", limits::MAX_DATAGRAM_BYTES as u64),
        ("DEFAULT_PACKET_BYTES", limits::DEFAULT_PACKET_BYTES as u64),
        ("MAX_GROUPS", limits::MAX_GROUPS as u64),
        ("NO_BOUNDARY", u64::from(limits::NO_BOUNDARY)),
        ("SESSION_BYTES", limits::SESSION_BYTES as u64),
        ("NONCE_BYTES", limits::NONCE_BYTES as u64),
        ("MAX_TEXT_BYTES", limits::MAX_TEXT_BYTES as u64),
        ("MAX_BODY_BYTES", limits::MAX_BODY_BYTES as u64),
        ("MAX_ENTRIES", limits::MAX_ENTRIES as u64),
        ("SHARE_UNIT_BYTES_PER_S", limits::SHARE_UNIT_BYTES_PER_S),
        ("MAX_NAK_RANGES", limits::MAX_NAK_RANGES as u64),
        ("MAX_NEIGHBOURS", limits::MAX_NEIGHBOURS as u64),
        ("MAX_NEIGHBOUR_PARTS", limits::MAX_NEIGHBOUR_PARTS as u64),
    ]);
    compare_limits("## Limits of the link", LINK_LIMITS_RS, &values);
}

#[test]
fn every_datagram_decodes_to_its_fields_and_encodes_to_its_bytes() {
    let mut seen = BTreeSet::new();
    for block in PROTOCOL.blocks_of("datagram") {
        let at = format!("PROTOCOL.md, line {}", block.line_number);
        let (bytes, example) = (block.bytes(), Example(&block.lines));
        let written = match link::parse(&bytes).expect(&at) {
            Datagram::Data { body, .. } => {
                assert_eq!(block.heading[1], "data", "{at}");
                seen.insert(DATA_KIND);
                data_datagram(&example, body)
            }
            Datagram::Control { kind, body, .. } => {
                assert_eq!(block.heading[1], format!("{kind:?}").to_lowercase(), "{at}");
                seen.insert(kind as u8);
                let control = Control::decode(kind, body).expect(&at);
                let mut again = Vec::new();
                control.encode(&mut again);
                assert_eq!(again, body, "{at}: decoded and encoded");
                control_datagram(&example, kind)
            }
        };
        assert_eq!(written, bytes, "{at}");
    }
    let all = ControlKind::ALL.iter().map(|kind| *kind as u8).chain([DATA_KIND]).collect();
    assert_eq!(seen, all, "every kind has an example");
}

#[test]
fn every_sealed_example_falls_into_its_parts() {
    let mut lines = 0;
    for block in PROTOCOL.blocks_of("sealed") {
        let (bytes, example) = (block.bytes(), Example(&block.lines));
        let (key_id, nonce, body, tag) = match link::parse(&bytes).expect("a datagram") {
            Datagram::Data { header, body, tag } => {
                (header.key_id.get(), ("number", header.number.get()), body, tag)
            }
            Datagram::Control { header, body, tag, .. } => {
                (header.key_id.get(), ("counter", header.counter.get()), body, tag)
            }
        };
        assert_eq!(u64::from(key_id), number(example.get("key_id")));
        assert_eq!(nonce.1, number(example.get(nonce.0)));
        assert_eq!(tag.len(), limits::TAG_BYTES);
        // The same body stands open in an example above.
        let open = PROTOCOL.blocks().into_iter().find(|other| {
            other.heading.first() == Some(&"datagram") && other.heading[1] == block.heading[1]
        });
        let open = open.expect("the open one").bytes();
        assert_eq!(open.len() + tag.len(), bytes.len());
        let head = open.len() - body.len();
        assert_eq!((&open[..4], &open[8..head]), (&bytes[..4], &bytes[8..head]));
        lines += 1;
    }
    assert_eq!(lines, 2, "data and control");
}

#[test]
fn the_table_of_datagrams_is_complete_and_right() {
    let rows = PROTOCOL.table("## Datagrams", "| kind | number | to | body |");
    let in_document: Vec<(String, u64)> =
        rows.iter().map(|row| (row[0].clone(), number(&row[1]))).collect();
    let kinds = ControlKind::ALL.iter();
    let controls = kinds.map(|kind| (format!("{kind:?}").to_lowercase(), *kind as u64));
    let data = ("data".to_owned(), u64::from(DATA_KIND));
    assert_eq!(in_document, [data].into_iter().chain(controls).collect::<Vec<_>>());
}

/// The fields of a datagram's example; some keys come several times.
struct Example<'a>(&'a [&'static str]);

impl Example<'_> {
    fn all(&self, key: &str) -> Vec<&'static str> {
        let fields = self.0.iter().take_while(|line| **line != "bytes:");
        let fields = fields.map(|line| line.split_once(": ").expect("key: value"));
        fields.filter(|field| field.0 == key).map(|field| field.1).collect()
    }

    fn get(&self, key: &str) -> &'static str {
        self.all(key).first().unwrap_or_else(|| panic!("no {key}"))
    }

    fn number(&self, key: &str) -> u64 {
        number(self.get(key))
    }

    fn bytes<const N: usize>(&self, key: &str) -> [u8; N] {
        let bytes = self.get(key).split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap());
        bytes.collect::<Vec<u8>>().try_into().expect("so many bytes")
    }
}

/// `name value name value …` of an entry.
fn in_entry<'a>(entry: &'a str, name: &str) -> &'a str {
    let mut words = entry.split(' ');
    words.find(|word| *word == name).unwrap_or_else(|| panic!("no {name} in {entry}"));
    words.next().expect("a value")
}

fn data_datagram(example: &Example<'_>, body: &[u8]) -> Vec<u8> {
    let session: [u8; 8] = example.bytes("session");
    let mut header = DataHeader::new(
        example.number("key_id") as u32,
        u64::from_le_bytes(session),
        example.number("stream") as u16,
        example.number("number"),
        example.number("ordinal"),
    );
    header.channel.set(example.number("channel"));
    header.boundary.set(example.number("boundary") as u16);
    let frames = example.all("frame");
    let mut rest = &body[header.boundary_in(body.len()).unwrap_or(body.len())..];
    for name in &frames {
        let (of, name) = name.split_once(' ').expect("kind and name");
        let frame = Frame::read(rest, DEFAULT_MAX_PAYLOAD_BYTES).unwrap().expect("a whole frame");
        assert_eq!((frame.kind(), frame.name()), (kind(of), name.as_bytes()));
        rest = &rest[frame.as_bytes().len()..];
    }
    assert!(rest.is_empty(), "no other frames");
    [header.bytes(), body].concat()
}

fn control_datagram(example: &Example<'_>, kind: ControlKind) -> Vec<u8> {
    let mut out = Vec::new();
    let key_id = example.number("key_id") as u32;
    let session = example.bytes("session");
    ControlHeader::new(kind, key_id, &session, example.number("counter")).write(&mut out);
    control_body(example, kind, &mut out);
    out
}

fn control_body(example: &Example<'_>, kind: ControlKind, out: &mut Vec<u8>) {
    let places = || -> Vec<Place> {
        let all = example.all("place").into_iter().map(|place| Place {
            stream: number(in_entry(place, "stream")) as u16,
            number: number(in_entry(place, "number")),
            ordinal: number(in_entry(place, "ordinal")),
        });
        all.collect()
    };
    match kind {
        ControlKind::Hello => link::Hello {
            node: example.number("node") as u32,
            groups: example.number("groups") as u16,
            datagram_bytes: example.number("datagram_bytes") as u16,
            settings: example.number("settings"),
            answer: yes(example.get("answer")),
            cluster: example.get("cluster"),
            name: example.get("name"),
            padding_bytes: example.number("padding_bytes") as usize,
        }
        .encode(out),
        ControlKind::Challenge => {
            link::Challenge { nonce: example.bytes("nonce"), to: example.bytes("to") }.encode(out);
        }
        ControlKind::Answer => {
            link::Answer { nonce: example.bytes("nonce"), to: example.bytes("to") }.encode(out);
        }
        ControlKind::Interest => link::Interest {
            to: example.bytes("to"),
            version: example.number("version") as u32,
            hears_multicast: yes(example.get("hears_multicast")),
            fresh: yes(example.get("fresh")),
            groups: example.number("groups"),
            time_ns: example.number("time_ns"),
        }
        .encode(out),
        ControlKind::Joined => {
            let (version, total) = (example.number("version"), example.number("total"));
            let times = (example.number("echo_ns"), example.number("age_ns"));
            let to = example.bytes("to");
            link::Joined::encode(&to, version as u32, total as u16, times, &places(), out);
        }
        ControlKind::Leave => link::Leave::encode(&places(), out),
        ControlKind::Heartbeat => {
            let beats = example.all("beat").into_iter().map(|beat| Beat {
                stream: number(in_entry(beat, "stream")) as u16,
                poll: yes(in_entry(beat, "poll")),
                next: number(in_entry(beat, "next")),
                tail: number(in_entry(beat, "tail")),
                ordinal: number(in_entry(beat, "ordinal")),
            });
            let beats: Vec<Beat> = beats.collect();
            link::Heartbeat::encode(example.number("time_ns"), &beats, out);
        }
        ControlKind::Status => {
            let reports = example.all("report").into_iter().map(|report| Report {
                stream: number(in_entry(report, "stream")) as u16,
                held: yes(in_entry(report, "held")),
                missing: number(in_entry(report, "missing")) as u32,
                position: number(in_entry(report, "position")),
                limit: number(in_entry(report, "limit")),
                seen_lost: number(in_entry(report, "seen_lost")),
            });
            let reports: Vec<Report> = reports.collect();
            let (echo_ns, held_ns) = (example.number("echo_ns"), example.number("held_ns"));
            let (to, share) = (example.bytes("to"), example.number("share") as u32);
            link::Status::encode(&to, echo_ns, held_ns as u32, share, &reports, out);
        }
        ControlKind::Nak => {
            let ranges = example.all("range").into_iter().map(|range| Range {
                first: number(in_entry(range, "first")),
                count: number(in_entry(range, "count")) as u32,
            });
            let ranges: Vec<Range> = ranges.collect();
            let (stream, seen_lost) = (example.number("stream"), example.number("seen_lost"));
            link::Nak::encode(&example.bytes("to"), stream as u16, seen_lost, &ranges, out);
        }
        ControlKind::Probe => link::Probe {
            nonce: example.bytes("nonce"),
            to: example.bytes("to"),
            padding_bytes: example.number("padding_bytes") as usize,
        }
        .encode(out),
        ControlKind::ProbeReply => link::ProbeReply {
            nonce: example.bytes("nonce"),
            to: example.bytes("to"),
            received: example.number("received") as u32,
            multicast: yes(example.get("multicast")),
            node: example.number("node") as u32,
            groups: example.number("groups") as u16,
            datagram_bytes: example.number("datagram_bytes") as u16,
            settings: example.number("settings"),
            cluster: example.get("cluster"),
            name: example.get("name"),
        }
        .encode(out),
        ControlKind::Neighbours => {
            let nodes = example.all("peer").into_iter().map(number);
            let peers = nodes.map(|node| link::Neighbour { node: node as u32 });
            let peers: Vec<link::Neighbour> = peers.collect();
            let (part, parts) = (example.number("part"), example.number("parts"));
            link::Neighbours::encode(part as u16, parts as u16, &peers, out);
        }
        ControlKind::Summary => link::Summary {
            uptime_ms: example.number("uptime_ms"),
            in_per_s: example.number("in_per_s"),
            out_per_s: example.number("out_per_s"),
            lost: example.number("lost"),
            queued_bytes: example.number("queued_bytes"),
            clients: example.number("clients") as u32,
            is_draining: yes(example.get("draining")),
            version: example.get("version"),
        }
        .encode(out),
    }
}
