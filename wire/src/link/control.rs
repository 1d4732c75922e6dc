//! The body of any control datagram, checked.
//!
//! Decoding works on the opened body: what lies between the header and the tag,
//! decrypted. A body has exactly the length that it says; reserved bytes and
//! unknown flags are sent as zero and not looked at.

use std::fmt;

use super::flow::{Heartbeat, Nak, Status};
use super::greet::{Answer, Challenge, Hello, Probe, ProbeReply};
use super::header::ControlKind;
use super::join::{Interest, Joined, Leave};
use super::limits::{MAX_DATAGRAM_BYTES, MAX_GROUPS, MAX_TEXT_BYTES, MIN_DATAGRAM_BYTES};
use super::neighbours::Neighbours;
use super::summary::Summary;

/// Content of a control datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is described at its type")]
pub enum Control<'a> {
    Hello(Hello<'a>),
    Challenge(Challenge),
    Answer(Answer),
    Interest(Interest),
    Joined(Joined<'a>),
    Heartbeat(Heartbeat<'a>),
    Status(Status<'a>),
    Nak(Nak<'a>),
    Leave(Leave<'a>),
    Probe(Probe),
    ProbeReply(ProbeReply<'a>),
    Neighbours(Neighbours<'a>),
    Summary(Summary<'a>),
}

/// Reason for which a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The body has too few bytes, or too many.
    Length,
    /// A name is not UTF-8, or has control characters.
    Text,
    /// Node 0, which is nobody.
    Node,
    /// This number of groups is none, or more than there can be.
    Groups(u16),
    /// Datagrams smaller or larger than allowed; their size.
    DatagramBytes(u16),
    /// This number of entries is more than allowed.
    Count(usize),
    /// A stream of a group that cannot be.
    Stream(u16),
    /// A range without numbers, or beyond the last number.
    Range,
    /// A part of a list that cannot be: which, of how many.
    Part(u16, u16),
}

impl fmt::Display for BodyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Length => formatter.write_str("control datagram of the wrong length"),
            BodyError::Text => formatter.write_str("a name that is not plain UTF-8"),
            BodyError::Node => formatter.write_str("node 0"),
            BodyError::Groups(groups) => {
                write!(formatter, "{groups} groups, 1 to {MAX_GROUPS} are allowed")
            }
            BodyError::DatagramBytes(bytes) => write!(
                formatter,
                "datagrams of {bytes} bytes, {MIN_DATAGRAM_BYTES} to {MAX_DATAGRAM_BYTES} are allowed"
            ),
            BodyError::Count(count) => write!(formatter, "{count} entries are too many"),
            BodyError::Stream(stream) => write!(formatter, "no such stream: {stream:#06x}"),
            BodyError::Range => formatter.write_str("an impossible range of numbers"),
            BodyError::Part(part, parts) => {
                write!(formatter, "part {part} of {parts}, counted from 0, cannot be")
            }
        }
    }
}

impl std::error::Error for BodyError {}

impl<'a> Control<'a> {
    /// Decodes the opened body of a datagram of this kind.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(kind: ControlKind, body: &'a [u8]) -> Result<Control<'a>, BodyError> {
        Ok(match kind {
            ControlKind::Hello => Control::Hello(Hello::decode(body)?),
            ControlKind::Challenge => Control::Challenge(Challenge::decode(body)?),
            ControlKind::Answer => Control::Answer(Answer::decode(body)?),
            ControlKind::Interest => Control::Interest(Interest::decode(body)?),
            ControlKind::Joined => Control::Joined(Joined::decode(body)?),
            ControlKind::Heartbeat => Control::Heartbeat(Heartbeat::decode(body)?),
            ControlKind::Status => Control::Status(Status::decode(body)?),
            ControlKind::Nak => Control::Nak(Nak::decode(body)?),
            ControlKind::Leave => Control::Leave(Leave::decode(body)?),
            ControlKind::Probe => Control::Probe(Probe::decode(body)?),
            ControlKind::ProbeReply => Control::ProbeReply(ProbeReply::decode(body)?),
            ControlKind::Neighbours => Control::Neighbours(Neighbours::decode(body)?),
            ControlKind::Summary => Control::Summary(Summary::decode(body)?),
        })
    }

    /// The kind of the datagram.
    pub fn kind(&self) -> ControlKind {
        match self {
            Control::Hello(_) => ControlKind::Hello,
            Control::Challenge(_) => ControlKind::Challenge,
            Control::Answer(_) => ControlKind::Answer,
            Control::Interest(_) => ControlKind::Interest,
            Control::Joined(_) => ControlKind::Joined,
            Control::Heartbeat(_) => ControlKind::Heartbeat,
            Control::Status(_) => ControlKind::Status,
            Control::Nak(_) => ControlKind::Nak,
            Control::Leave(_) => ControlKind::Leave,
            Control::Probe(_) => ControlKind::Probe,
            Control::ProbeReply(_) => ControlKind::ProbeReply,
            Control::Neighbours(_) => ControlKind::Neighbours,
            Control::Summary(_) => ControlKind::Summary,
        }
    }

    /// Appends the body again, with reserved bytes zero.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Control::Hello(hello) => hello.encode(out),
            Control::Challenge(challenge) => challenge.encode(out),
            Control::Answer(answer) => answer.encode(out),
            Control::Interest(interest) => interest.encode(out),
            Control::Joined(joined) => {
                let places: Vec<_> = joined.places.iter().collect();
                let Joined { to, version, total, echo_ns, age_ns, .. } = joined;
                Joined::encode(to, *version, *total, (*echo_ns, *age_ns), &places, out);
            }
            Control::Heartbeat(heartbeat) => {
                let beats: Vec<_> = heartbeat.beats.iter().collect();
                Heartbeat::encode(heartbeat.time_ns, &beats, out);
            }
            Control::Status(status) => {
                let reports: Vec<_> = status.reports.iter().collect();
                let Status { to, echo_ns, held_ns, share, .. } = status;
                Status::encode(to, *echo_ns, *held_ns, *share, &reports, out);
            }
            Control::Nak(nak) => {
                let ranges: Vec<_> = nak.ranges.iter().collect();
                Nak::encode(&nak.to, nak.stream, nak.seen_lost, &ranges, out);
            }
            Control::Leave(leave) => {
                let places: Vec<_> = leave.places.iter().collect();
                Leave::encode(&places, out);
            }
            Control::Probe(probe) => probe.encode(out),
            Control::Summary(summary) => summary.encode(out),
            Control::ProbeReply(reply) => reply.encode(out),
            Control::Neighbours(list) => {
                let peers: Vec<_> = list.peers.iter().collect();
                Neighbours::encode(list.part, list.parts, &peers, out);
            }
        }
    }
}

/// Checks what hello and probe reply have in common.
pub(super) fn check_settings(node: u32, groups: u16, datagram_bytes: u16) -> Result<(), BodyError> {
    if node == 0 {
        return Err(BodyError::Node);
    }
    if !(1..=MAX_GROUPS).contains(&usize::from(groups)) {
        return Err(BodyError::Groups(groups));
    }
    if !(MIN_DATAGRAM_BYTES..=MAX_DATAGRAM_BYTES).contains(&usize::from(datagram_bytes)) {
        return Err(BodyError::DatagramBytes(datagram_bytes));
    }
    Ok(())
}

/// A length byte and so many bytes of UTF-8, and what is behind them. Texts are
/// shown to people: none has control characters.
pub(super) fn split_text(bytes: &[u8]) -> Result<(&str, &[u8]), BodyError> {
    let (&length, rest) = bytes.split_first().ok_or(BodyError::Length)?;
    let (text, rest) = rest.split_at_checked(usize::from(length)).ok_or(BodyError::Length)?;
    let text = std::str::from_utf8(text).map_err(|_| BodyError::Text)?;
    if text.chars().any(char::is_control) {
        return Err(BodyError::Text);
    }
    Ok((text, rest))
}

/// Appends a text behind its length.
///
/// # Panics
/// If it is over 255 bytes: the configuration is checked before.
pub(super) fn push_text(text: &str, out: &mut Vec<u8>) {
    assert!(text.len() <= MAX_TEXT_BYTES);
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Place;

    const GOOD: Hello<'_> = Hello {
        node: 1,
        groups: 16,
        datagram_bytes: 1372,
        settings: 0,
        answer: true,
        cluster: "c",
        name: "",
        padding_bytes: 0,
    };

    fn decoded(hello: Hello<'_>) -> Result<(), BodyError> {
        let mut body = Vec::new();
        hello.encode(&mut body);
        Hello::decode(&body).map(|_| ())
    }

    #[test]
    fn a_hello_with_impossible_settings_is_refused() {
        assert_eq!(decoded(GOOD), Ok(()));
        assert_eq!(decoded(Hello { node: 0, ..GOOD }), Err(BodyError::Node));
        assert_eq!(decoded(Hello { groups: 0, ..GOOD }), Err(BodyError::Groups(0)));
        assert_eq!(decoded(Hello { groups: 65, ..GOOD }), Err(BodyError::Groups(65)));
        for bytes in [0, 1231, 8953] {
            let hello = Hello { datagram_bytes: bytes, ..GOOD };
            assert_eq!(decoded(hello), Err(BodyError::DatagramBytes(bytes)));
        }
    }

    #[test]
    fn a_name_is_utf8_and_ends_in_the_body() {
        let mut body = Vec::new();
        GOOD.encode(&mut body);
        let at = body.len() - 2;
        body[at] = 0xff;
        assert_eq!(Hello::decode(&body), Err(BodyError::Text));
        body[at] = b'\x1b';
        assert_eq!(Hello::decode(&body), Err(BodyError::Text));
        body[at - 1] = 3;
        assert_eq!(Hello::decode(&body), Err(BodyError::Length));
    }

    #[test]
    fn what_is_behind_a_hello_is_padding() {
        let mut body = Vec::new();
        Hello { padding_bytes: 40, ..GOOD }.encode(&mut body);
        let (names, padding) = body.split_at(Hello::body_bytes(1));
        assert_eq!((names.len(), padding), (27, &[0; 40][..]));
        assert_eq!(Hello::decode(&body), Ok(Hello { padding_bytes: 40, ..GOOD }));
    }

    #[test]
    fn unknown_flags_and_reserved_bytes_are_not_looked_at() {
        let mut body = Vec::new();
        GOOD.encode(&mut body);
        body[16..24].fill(0xff);
        assert_eq!(Hello::decode(&body), Ok(GOOD));
        body[16..24].fill(0);
        assert_eq!(Hello::decode(&body), Ok(Hello { answer: false, ..GOOD }));
    }

    #[test]
    fn a_joined_has_no_more_places_than_in_total() {
        let mut body = Vec::new();
        Joined::encode(&[1; 16], 2, 1, (3, 4), &[Place::default()], &mut body);
        assert!(Joined::decode(&body).is_ok());
        body[22] = 0;
        assert_eq!(Joined::decode(&body), Err(BodyError::Count(0)));
    }

    #[test]
    fn a_nak_of_a_group_that_cannot_be_is_refused() {
        let mut body = Vec::new();
        Nak::encode(&[1; 16], 0x0140, 2, &[], &mut body);
        assert_eq!(Nak::decode(&body), Err(BodyError::Stream(0x0140)));
    }
}
