//! Meeting of brokers: hello, challenge, answer; and the probes.
//!
//! ```text
//!  hello        0 node u32 | 4 groups u16 | 6 datagram_bytes u16 | 8 settings u64 | 16 flags u16
//!               | 18 zero (6) | 24 cluster text | name text | padding …
//!  challenge    0 nonce (16) | 16 to (16)
//!  answer       0 nonce (16) | 16 to (16)
//!  probe        0 nonce (16) | 16 padding …
//!  probe reply  0 nonce (16) | 16 to (16) | 32 received u32 | 36 node u32 | 40 groups u16
//!               | 42 datagram_bytes u16 | 44 flags u32 | 48 settings u64 | 56 cluster text | name text
//! ```
//! A text is a byte with its length and so many bytes of UTF-8.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::control::{BodyError, check_settings, push_text, split_text};
use super::limits::{
    ASKING_HELLO_BYTES, CONTROL_HEADER_BYTES, MAX_BODY_BYTES, MAX_TEXT_BYTES, MIN_DATAGRAM_BYTES,
    NONCE_BYTES, SESSION_BYTES, TAG_BYTES,
};

/// Flag of a hello: answer with yours.
const HELLO_ANSWER: u16 = 1 << 0;
/// Flag of a probe reply: the probe came by multicast.
const REPLY_MULTICAST: u32 = 1 << 0;

/// The longest two texts, each behind a byte with its length.
const TEXTS_BYTES: usize = 2 * (1 + MAX_TEXT_BYTES);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HelloBytes {
    node: U32,
    groups: U16,
    datagram_bytes: U16,
    settings: U64,
    flags: U16,
    zero: [u8; 6],
}

/// Challenge and answer: of one size, so that neither asks for more than it is.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct AnswerBytes {
    nonce: [u8; NONCE_BYTES],
    to: [u8; SESSION_BYTES],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ProbeReplyBytes {
    nonce: [u8; NONCE_BYTES],
    to: [u8; SESSION_BYTES],
    received: U32,
    node: U32,
    groups: U16,
    datagram_bytes: U16,
    flags: U32,
    settings: U64,
}

const _: () = assert!(size_of::<HelloBytes>() == 24);
const _: () = assert!(size_of::<ProbeReplyBytes>() == 56);
const _: () = assert!(
    ASKING_HELLO_BYTES
        == CONTROL_HEADER_BYTES * 2
            + Hello::body_bytes(2 * MAX_TEXT_BYTES)
            + size_of::<AnswerBytes>()
            + 2 * TAG_BYTES
);
const _: () = assert!(ASKING_HELLO_BYTES <= MIN_DATAGRAM_BYTES);
const _: () = assert!(size_of::<ProbeReplyBytes>() + TEXTS_BYTES <= MAX_BODY_BYTES);

/// A broker says who it is, and how it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Node id of the sender; never 0.
    pub node: u32,
    /// Number of groups that channels are spread over.
    pub groups: u16,
    /// Largest UDP payload that it sends.
    pub datagram_bytes: u16,
    /// Hash of the set of pressured channels; 0 if there are none.
    pub settings: u64,
    /// Please answer with your hello.
    pub answer: bool,
    /// Name of the sender's cluster.
    pub cluster: &'a str,
    /// Name of the sender, for people.
    pub name: &'a str,
    /// Zeros behind it: no answer is larger than what it answers.
    pub padding_bytes: usize,
}

impl<'a> Hello<'a> {
    /// Bytes of a body without padding whose names have so many bytes together.
    pub const fn body_bytes(names_bytes: usize) -> usize {
        size_of::<HelloBytes>() + 2 + names_bytes
    }

    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &'a [u8]) -> Result<Hello<'a>, BodyError> {
        let (head, rest) = HelloBytes::ref_from_prefix(body).map_err(|_| BodyError::Length)?;
        let (cluster, name, padding) = split_names(rest)?;
        let hello = Hello {
            node: head.node.get(),
            groups: head.groups.get(),
            datagram_bytes: head.datagram_bytes.get(),
            settings: head.settings.get(),
            answer: head.flags.get() & HELLO_ANSWER != 0,
            cluster,
            name,
            padding_bytes: padding.len(),
        };
        check_settings(hello.node, hello.groups, hello.datagram_bytes)?;
        Ok(hello)
    }

    /// Appends the body.
    ///
    /// # Panics
    /// If a name is over 255 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let head = HelloBytes {
            node: U32::new(self.node),
            groups: U16::new(self.groups),
            datagram_bytes: U16::new(self.datagram_bytes),
            settings: U64::new(self.settings),
            flags: U16::new(if self.answer { HELLO_ANSWER } else { 0 }),
            zero: [0; 6],
        };
        out.extend_from_slice(head.as_bytes());
        push_text(self.cluster, out);
        push_text(self.name, out);
        out.resize(out.len() + self.padding_bytes, 0);
    }
}

/// Asks a session to prove that it is there now, and not a recording, and that it
/// is reached at this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Nonce that only the receiver at this address can know.
    pub nonce: [u8; NONCE_BYTES],
    /// The session that is asked.
    pub to: [u8; SESSION_BYTES],
}

impl Challenge {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &[u8]) -> Result<Challenge, BodyError> {
        let head = AnswerBytes::ref_from_bytes(body).map_err(|_| BodyError::Length)?;
        Ok(Challenge { nonce: head.nonce, to: head.to })
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(AnswerBytes { nonce: self.nonce, to: self.to }.as_bytes());
    }
}

/// The answer to a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Nonce of the challenge.
    pub nonce: [u8; NONCE_BYTES],
    /// The session that challenged.
    pub to: [u8; SESSION_BYTES],
}

impl Answer {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &[u8]) -> Result<Answer, BodyError> {
        let head = AnswerBytes::ref_from_bytes(body).map_err(|_| BodyError::Length)?;
        Ok(Answer { nonce: head.nonce, to: head.to })
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(AnswerBytes { nonce: self.nonce, to: self.to }.as_bytes());
    }
}

/// Asks whether a datagram of this size arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Fresh and random.
    pub nonce: [u8; NONCE_BYTES],
    /// The session that is to answer; zeros: whoever hears it.
    pub to: [u8; SESSION_BYTES],
    /// Zeros behind it, which make up the size.
    pub padding_bytes: usize,
}

impl Probe {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &[u8]) -> Result<Probe, BodyError> {
        let (nonce, rest) = body.split_first_chunk().ok_or(BodyError::Length)?;
        let (to, padding) = rest.split_first_chunk().ok_or(BodyError::Length)?;
        Ok(Probe { nonce: *nonce, to: *to, padding_bytes: padding.len() })
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.to);
        out.resize(out.len() + self.padding_bytes, 0);
    }
}

/// The answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeReply<'a> {
    /// Nonce of the probe.
    pub nonce: [u8; NONCE_BYTES],
    /// The session that probed.
    pub to: [u8; SESSION_BYTES],
    /// Bytes of the probe's UDP payload.
    pub received: u32,
    /// Whether the probe came by multicast.
    pub multicast: bool,
    /// Node id of the answering broker, as in a hello.
    pub node: u32,
    /// Number of its groups, as in a hello.
    pub groups: u16,
    /// Largest datagram that it sends, in bytes, as in a hello.
    pub datagram_bytes: u16,
    /// Hash of its settings, as in a hello.
    pub settings: u64,
    /// Name of its cluster, as in a hello.
    pub cluster: &'a str,
    /// Name of the broker, for people, as in a hello.
    pub name: &'a str,
}

impl<'a> ProbeReply<'a> {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &'a [u8]) -> Result<ProbeReply<'a>, BodyError> {
        let (head, rest) = ProbeReplyBytes::ref_from_prefix(body).map_err(|_| BodyError::Length)?;
        let (cluster, name, []) = split_names(rest)? else { return Err(BodyError::Length) };
        let reply = ProbeReply {
            nonce: head.nonce,
            to: head.to,
            received: head.received.get(),
            multicast: head.flags.get() & REPLY_MULTICAST != 0,
            node: head.node.get(),
            groups: head.groups.get(),
            datagram_bytes: head.datagram_bytes.get(),
            settings: head.settings.get(),
            cluster,
            name,
        };
        check_settings(reply.node, reply.groups, reply.datagram_bytes)?;
        Ok(reply)
    }

    /// Appends the body.
    ///
    /// # Panics
    /// If a name is over 255 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let head = ProbeReplyBytes {
            nonce: self.nonce,
            to: self.to,
            received: U32::new(self.received),
            node: U32::new(self.node),
            groups: U16::new(self.groups),
            datagram_bytes: U16::new(self.datagram_bytes),
            flags: U32::new(if self.multicast { REPLY_MULTICAST } else { 0 }),
            settings: U64::new(self.settings),
        };
        out.extend_from_slice(head.as_bytes());
        push_text(self.cluster, out);
        push_text(self.name, out);
    }
}

/// Cluster and name, and what is behind them.
fn split_names(bytes: &[u8]) -> Result<(&str, &str, &[u8]), BodyError> {
    let (cluster, rest) = split_text(bytes)?;
    let (name, rest) = split_text(rest)?;
    Ok((cluster, name, rest))
}
