//! Properties of the link's datagrams over random input.

use proptest::collection::vec;
use proptest::prelude::*;

use netcluster_wire::link::limits::{
    CONTROL_HEADER_BYTES, DATA_HEADER_BYTES, LINK_VERSION, MAX_BODY_BYTES, MAX_DATAGRAM_BYTES,
    MAX_ENTRIES, MAX_GROUPS, MAX_NAK_RANGES, MAX_NEIGHBOUR_PARTS, MAX_NEIGHBOURS,
    MIN_DATAGRAM_BYTES, TAG_BYTES,
};
use netcluster_wire::link::{
    Answer, Beat, BodyError, Challenge, Control, ControlHeader, ControlKind, DataHeader, Datagram,
    DatagramError, Heartbeat, Hello, Interest, Joined, Leave, Nak, Neighbour, Neighbours, Place,
    Probe, ProbeReply, Range, Report, Status, Summary, parse,
};

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, any::<u64>(), Just(u64::MAX)]
}

fn streams() -> impl Strategy<Value = u16> {
    (0..MAX_GROUPS as u8, any::<u8>()).prop_map(|(group, index)| u16::from_le_bytes([group, index]))
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![8 => "\\PC{0,20}", 1 => Just("x".repeat(255))]
}

prop_compose! {
    fn places()(stream in streams(), number in numbers(), ordinal in numbers()) -> Place {
        Place { stream, number, ordinal }
    }
}

prop_compose! {
    fn beats()(
        stream in streams(), poll in any::<bool>(), next in numbers(), tail in numbers(),
        ordinal in numbers(),
    ) -> Beat {
        Beat { stream, poll, next, tail, ordinal }
    }
}

prop_compose! {
    fn reports()(
        stream in streams(), held in any::<bool>(), missing in any::<u32>(), position in numbers(),
        limit in numbers(), seen_lost in numbers(),
    ) -> Report {
        Report { stream, held, missing, position, limit, seen_lost }
    }
}

prop_compose! {
    fn ranges()(first in 0..u64::MAX - u64::from(u32::MAX), count in 1..=u32::MAX) -> Range {
        Range { first, count }
    }
}

/// What every hello and probe reply says.
#[derive(Clone, Debug)]
struct Settings {
    node: u32,
    groups: u16,
    datagram_bytes: u16,
    settings: u64,
    cluster: String,
    name: String,
}

prop_compose! {
    fn settings()(
        node in 1..=u32::MAX,
        groups in 1..=MAX_GROUPS as u16,
        datagram_bytes in MIN_DATAGRAM_BYTES as u16..=MAX_DATAGRAM_BYTES as u16,
        settings in numbers(),
        cluster in texts(),
        name in texts(),
    ) -> Settings {
        Settings { node, groups, datagram_bytes, settings, cluster, name }
    }
}

/// A body of each kind, by its encoder.
fn bodies() -> impl Strategy<Value = (ControlKind, Vec<u8>)> {
    let id = any::<[u8; 16]>;
    let body = |kind, write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        (kind, out)
    };
    prop_oneof![
        (settings(), any::<bool>(), 0..700usize).prop_map(move |(of, answer, padding_bytes)| {
            let Settings { node, groups, datagram_bytes, settings, cluster, name } = &of;
            let hello = Hello {
                node: *node,
                groups: *groups,
                datagram_bytes: *datagram_bytes,
                settings: *settings,
                answer,
                cluster,
                name,
                padding_bytes,
            };
            body(ControlKind::Hello, &|out| hello.encode(out))
        }),
        (settings(), id(), id(), any::<u32>(), any::<bool>()).prop_map(
            move |(of, nonce, to, received, multicast)| {
                let Settings { node, groups, datagram_bytes, settings, cluster, name } = &of;
                let reply = ProbeReply {
                    nonce,
                    to,
                    received,
                    multicast,
                    node: *node,
                    groups: *groups,
                    datagram_bytes: *datagram_bytes,
                    settings: *settings,
                    cluster,
                    name,
                };
                body(ControlKind::ProbeReply, &|out| reply.encode(out))
            }
        ),
        (id(), id()).prop_map(move |(nonce, to)| {
            body(ControlKind::Challenge, &|out| Challenge { nonce, to }.encode(out))
        }),
        (id(), id()).prop_map(move |(nonce, to)| {
            body(ControlKind::Answer, &|out| Answer { nonce, to }.encode(out))
        }),
        (id(), id(), 0..2000usize).prop_map(move |(nonce, to, padding_bytes)| {
            body(ControlKind::Probe, &|out| Probe { nonce, to, padding_bytes }.encode(out))
        }),
        (id(), any::<u32>(), any::<bool>(), any::<bool>(), any::<u64>(), numbers()).prop_map(
            move |(to, version, hears_multicast, fresh, groups, time_ns)| {
                let interest = Interest { to, version, hears_multicast, fresh, groups, time_ns };
                body(ControlKind::Interest, &|out| interest.encode(out))
            }
        ),
        (id(), any::<u32>(), 0..100u16, any::<(u64, u64)>(), vec(places(), 0..=MAX_ENTRIES))
            .prop_map(move |(to, version, more, times, places)| {
                let total = places.len() as u16 + more;
                body(ControlKind::Joined, &|out| {
                    Joined::encode(&to, version, total, times, &places, out);
                })
            }),
        vec(places(), 0..=MAX_ENTRIES)
            .prop_map(move |places| body(ControlKind::Leave, &|out| Leave::encode(&places, out))),
        (numbers(), vec(beats(), 0..=MAX_ENTRIES)).prop_map(move |(time_ns, beats)| {
            body(ControlKind::Heartbeat, &|out| Heartbeat::encode(time_ns, &beats, out))
        }),
        (id(), numbers(), any::<(u32, u32)>(), vec(reports(), 0..=MAX_ENTRIES)).prop_map(
            move |(to, echo_ns, (held_ns, share), reports)| {
                body(ControlKind::Status, &|out| {
                    Status::encode(&to, echo_ns, held_ns, share, &reports, out);
                })
            }
        ),
        (id(), streams(), numbers(), vec(ranges(), 0..=MAX_NAK_RANGES)).prop_map(
            move |(to, stream, seen_lost, ranges)| {
                body(ControlKind::Nak, &|out| Nak::encode(&to, stream, seen_lost, &ranges, out))
            }
        ),
        (0..MAX_NEIGHBOUR_PARTS as u16, 0..=MAX_NEIGHBOURS, any::<u32>()).prop_map(
            move |(part, count, first)| {
                let nodes = (0..count as u32).map(|at| first.wrapping_add(at).max(1));
                let peers: Vec<_> = nodes.map(|node| Neighbour { node }).collect();
                body(ControlKind::Neighbours, &|out| {
                    Neighbours::encode(part, MAX_NEIGHBOUR_PARTS as u16, &peers, out);
                })
            }
        ),
        (any::<[u64; 5]>(), any::<u32>(), any::<bool>(), texts()).prop_map(
            move |(numbers, clients, is_draining, version)| {
                let [uptime_ms, in_per_s, out_per_s, lost, queued_bytes] = numbers;
                let summary = Summary {
                    uptime_ms,
                    in_per_s,
                    out_per_s,
                    lost,
                    queued_bytes,
                    clients,
                    is_draining,
                    version: &version,
                };
                body(ControlKind::Summary, &|out| summary.encode(out))
            }
        ),
    ]
}

proptest! {
    #[test]
    fn a_body_reads_back_and_is_written_the_same_way((kind, body) in bodies()) {
        let control = Control::decode(kind, &body);
        prop_assert!(control.is_ok(), "{control:?}");
        let control = control.unwrap();
        prop_assert_eq!(control.kind(), kind);
        let mut again = Vec::new();
        control.encode(&mut again);
        prop_assert_eq!(&again, &body);
        prop_assert!(kind == ControlKind::Probe || body.len() <= MAX_BODY_BYTES);
    }

    #[test]
    fn lists_read_back_entry_by_entry(
        places in vec(places(), 0..=MAX_ENTRIES),
        beats in vec(beats(), 0..=MAX_ENTRIES),
        reports in vec(reports(), 0..=MAX_ENTRIES),
        ranges in vec(ranges(), 0..=MAX_NAK_RANGES),
    ) {
        let mut body = Vec::new();
        Leave::encode(&places, &mut body);
        prop_assert!(Leave::decode(&body).unwrap().places.iter().eq(places));
        body.clear();
        Heartbeat::encode(7, &beats, &mut body);
        prop_assert!(Heartbeat::decode(&body).unwrap().beats.iter().eq(beats));
        body.clear();
        Status::encode(&[1; 16], 2, 3, 4, &reports, &mut body);
        prop_assert!(Status::decode(&body).unwrap().reports.iter().eq(reports));
        body.clear();
        Nak::encode(&[1; 16], 2, 3, &ranges, &mut body);
        prop_assert!(Nak::decode(&body).unwrap().ranges.iter().eq(ranges));
    }

    #[test]
    fn a_body_that_is_cut_or_longer_is_refused((kind, body) in bodies(), cut in any::<prop::sample::Index>()) {
        if kind == ControlKind::Probe {
            return Ok(());
        }
        // What is cut off a hello, and what is added, may be padding.
        let padding_bytes = match Control::decode(kind, &body) {
            Ok(Control::Hello(hello)) => Some(hello.padding_bytes),
            _ => None,
        };
        let cut = cut.index(body.len() - padding_bytes.unwrap_or(0));
        prop_assert!(Control::decode(kind, &body[..cut]).is_err());
        let longer = [&body[..], &[0]].concat();
        match (Control::decode(kind, &longer), padding_bytes) {
            (Ok(Control::Hello(hello)), Some(bytes)) => {
                prop_assert_eq!(hello.padding_bytes, bytes + 1);
            }
            (decoded, _) => prop_assert_eq!(decoded, Err(BodyError::Length)),
        }
    }

    #[test]
    fn changed_bytes_are_refused_or_mean_something_that_reads_back(
        (kind, mut body) in bodies(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        check_any_body(kind, &body);
    }

    #[test]
    fn any_bytes_are_refused_or_mean_something_that_reads_back(
        kind in prop::sample::select(ControlKind::ALL.to_vec()),
        body in vec(any::<u8>(), 0..200),
    ) {
        check_any_body(kind, &body);
    }

    #[test]
    fn a_control_datagram_falls_into_its_parts(
        (kind, body) in bodies(),
        key_id in prop_oneof![Just(0), any::<u32>()],
        session in any::<[u8; 16]>(),
        counter in any::<u64>(),
    ) {
        let mut datagram = Vec::new();
        let written = ControlHeader::new(kind, key_id, &session, counter);
        written.write(&mut datagram);
        datagram.extend_from_slice(&body);
        let tag_bytes = if key_id == 0 { 0 } else { TAG_BYTES };
        datagram.resize(datagram.len() + tag_bytes, 0xee);
        let Ok(Datagram::Control { kind: read, header, body: inner, tag }) = parse(&datagram) else {
            panic!("a control datagram");
        };
        prop_assert_eq!((read, header.bytes()), (kind, written.bytes()));
        prop_assert_eq!((inner, tag.len()), (&body[..], tag_bytes));
        prop_assert_eq!((header.counter.get(), header.session), (counter, session));
    }

    #[test]
    fn any_datagram_is_told_by_its_first_bytes(
        start in prop::sample::select(vec![&b""[..], b"N", b"NL", b"NL\x01\x01", b"NL\x17\x01"]),
        rest in vec(any::<u8>(), 0..90),
    ) {
        let datagram = [start, &rest].concat();
        match parse(&datagram) {
            Ok(Datagram::Data { header, body, tag }) => {
                prop_assert_eq!(header.bytes(), &datagram[..DATA_HEADER_BYTES]);
                prop_assert_eq!(DATA_HEADER_BYTES + body.len() + tag.len(), datagram.len());
                prop_assert!(header.boundary_in(body.len()).is_none_or(|at| at < body.len()));
            }
            Ok(Datagram::Control { kind, header, body, tag }) => {
                prop_assert_eq!(header.bytes(), &datagram[..CONTROL_HEADER_BYTES]);
                prop_assert_eq!(CONTROL_HEADER_BYTES + body.len() + tag.len(), datagram.len());
                check_any_body(kind, body);
            }
            Err(DatagramError::TooShort(bytes)) => {
                prop_assert_eq!(bytes, datagram.len());
                prop_assert!(bytes < DATA_HEADER_BYTES + TAG_BYTES);
            }
            Err(DatagramError::Magic) => prop_assert_ne!(&datagram[..2], b"NL"),
            Err(DatagramError::Version(version)) => prop_assert_ne!(version, LINK_VERSION),
            Err(DatagramError::Kind(kind)) => {
                prop_assert!(kind != 1 && ControlKind::from_byte(kind).is_none());
            }
        }
    }

    #[test]
    fn a_data_header_reads_back(
        key_id in any::<u32>(), session in any::<u64>(), stream in any::<u16>(),
        number in any::<u64>(), ordinal in any::<u64>(),
    ) {
        let header = DataHeader::new(key_id, session, stream, number, ordinal);
        let (read, rest) = DataHeader::split(header.bytes()).unwrap();
        prop_assert_eq!((read.bytes(), rest.len()), (header.bytes(), 0));
        prop_assert_eq!((read.key_id.get(), read.session.get()), (key_id, session));
        prop_assert_eq!((read.number.get(), read.ordinal.get()), (number, ordinal));
        prop_assert_eq!((read.stream.get(), read.channel.get()), (stream, 0));
    }
}

/// What is not refused reads back from what it is written as.
fn check_any_body(kind: ControlKind, body: &[u8]) {
    let Ok(control) = Control::decode(kind, body) else { return };
    let mut again = Vec::new();
    control.encode(&mut again);
    assert_eq!(again.len(), body.len());
    assert_eq!(Control::decode(kind, &again), Ok(control));
}
