//! The parser of the link's datagrams, and the decoders of their bodies.
//!
//! Anybody on the network can send these bytes. Three inputs: the bytes as they are, as
//! the body of a chosen kind, and a datagram that was good until a few bytes of it were
//! changed. A datagram that is not refused must read back from what it is written as.

use netcluster_wire::link::limits::{
    CONTROL_HEADER_BYTES, DATA_HEADER_BYTES, LINK_MAGIC, LINK_VERSION, MAX_BODY_BYTES, MAX_ENTRIES,
    MAX_GROUPS, MAX_NAK_RANGES, TAG_BYTES,
};
use netcluster_wire::link::{
    Beat, Control, ControlHeader, ControlKind, DataHeader, Datagram, DatagramError, Heartbeat,
    Hello, Joined, Leave, Nak, Place, Range, Report, Status, parse,
};

use super::choices::Choices;

/// Runs one input.
pub fn run(data: &[u8]) {
    whole(data);
    let mut choices = Choices::new(data);
    let kind = choices.of(&ControlKind::ALL);
    let key_id = choices.of(&[0, 7]);
    let mut datagram = Vec::new();
    ControlHeader::new(kind, key_id, &[9; 16], 3).write(&mut datagram);
    if choices.chance(128) {
        datagram.extend_from_slice(choices.all());
    } else {
        good_body(kind, &mut choices, &mut datagram);
        for _ in 0..choices.below(4) {
            let at = choices.below(datagram.len());
            datagram[at] = choices.byte();
        }
        datagram.truncate(datagram.len() - choices.below(3));
    }
    whole(&datagram);
    // As data: the same bytes behind the other header.
    let mut data_datagram = DataHeader::new(key_id, 1, 2, 3, 4).bytes().to_vec();
    data_datagram.extend_from_slice(&datagram);
    whole(&data_datagram);
}

/// Parses a datagram, and its body as if it had been opened.
fn whole(datagram: &[u8]) {
    match parse(datagram) {
        Ok(Datagram::Data { header, body, tag }) => {
            assert_eq!(header.bytes()[..], datagram[..DATA_HEADER_BYTES]);
            assert_eq!(DATA_HEADER_BYTES + body.len() + tag.len(), datagram.len());
            assert_eq!(tag.len(), if header.key_id.get() == 0 { 0 } else { TAG_BYTES });
            assert!(header.boundary_in(body.len()).is_none_or(|at| at < body.len()));
        }
        Ok(Datagram::Control { kind, header, body, tag }) => {
            assert_eq!(header.bytes()[..], datagram[..CONTROL_HEADER_BYTES]);
            assert_eq!(CONTROL_HEADER_BYTES + body.len() + tag.len(), datagram.len());
            assert_eq!(tag.len(), if header.key_id.get() == 0 { 0 } else { TAG_BYTES });
            for other in ControlKind::ALL {
                decoded(other, body);
            }
            decoded(kind, body);
        }
        Err(DatagramError::TooShort(bytes)) => {
            assert_eq!(bytes, datagram.len());
            assert!(bytes < DATA_HEADER_BYTES + TAG_BYTES);
        }
        Err(DatagramError::Magic) => assert_ne!(datagram[..2], LINK_MAGIC),
        Err(DatagramError::Version(version)) => assert_ne!(version, LINK_VERSION),
        Err(DatagramError::Kind(kind)) => assert_eq!(ControlKind::from_byte(kind), None),
    }
}

fn decoded(kind: ControlKind, body: &[u8]) {
    let Ok(control) = Control::decode(kind, body) else { return };
    assert_eq!(control.kind(), kind);
    assert!(kind == ControlKind::Probe || body.len() <= MAX_BODY_BYTES);
    let mut again = Vec::new();
    control.encode(&mut again);
    assert_eq!(again.len(), body.len());
    assert_eq!(Control::decode(kind, &again), Ok(control));
    match control {
        Control::Joined(Joined { places, .. }) | Control::Leave(Leave { places }) => {
            assert_eq!(places.iter().count(), places.len());
            assert!(places.iter().all(|place| is_stream(place.stream)));
        }
        Control::Heartbeat(Heartbeat { beats, .. }) => {
            assert!(beats.iter().all(|beat| is_stream(beat.stream)));
        }
        Control::Status(Status { reports, .. }) => {
            assert!(reports.iter().all(|report| is_stream(report.stream)));
        }
        Control::Nak(Nak { stream, ranges, .. }) => {
            assert!(is_stream(stream));
            let is_good = |range: Range| {
                range.count > 0 && range.first.checked_add(range.count.into()).is_some()
            };
            assert!(ranges.iter().all(is_good));
        }
        _ => {}
    }
}

fn is_stream(stream: u16) -> bool {
    usize::from(stream & 0xff) < MAX_GROUPS
}

/// Appends a body that an encoder has made, for kinds whose body is more than random
/// bytes.
fn good_body(kind: ControlKind, choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    let to = [choices.byte(); 16];
    let number = u64::from(choices.byte());
    let count = choices.below(MAX_ENTRIES + 1);
    let mut stream = || u16::from_le_bytes([choices.below(MAX_GROUPS) as u8, choices.byte()]);
    match kind {
        ControlKind::Hello => Hello {
            node: 1,
            groups: 16,
            datagram_bytes: 1372,
            settings: number,
            answer: number % 2 == 1,
            cluster: "größe",
            name: &"n".repeat(count),
            padding_bytes: number as usize,
        }
        .encode(out),
        ControlKind::Joined | ControlKind::Leave => {
            let place = |_| Place { stream: stream(), number, ordinal: !number };
            let places: Vec<Place> = (0..count).map(place).collect();
            match kind {
                ControlKind::Joined => {
                    Joined::encode(&to, 5, count as u16 + 1, (number, 7), &places, out)
                }
                _ => Leave::encode(&places, out),
            }
        }
        ControlKind::Heartbeat => {
            let beat = |_| Beat { stream: stream(), poll: true, next: number, ..Beat::default() };
            let beats: Vec<Beat> = (0..count).map(beat).collect();
            Heartbeat::encode(number, &beats, out);
        }
        ControlKind::Status => {
            let report = |_| Report { stream: stream(), limit: number, ..Report::default() };
            let reports: Vec<Report> = (0..count).map(report).collect();
            Status::encode(&to, number, 6, 7, &reports, out);
        }
        ControlKind::Nak => {
            let of = stream();
            let ranges = vec![Range { first: number, count: 1 }; count.min(MAX_NAK_RANGES)];
            Nak::encode(&to, of, number, &ranges, out);
        }
        _ => out.extend_from_slice(choices.bytes(count * 4)),
    }
}
