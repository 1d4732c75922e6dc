//! The payloads of the control kinds.
//!
//! ```text
//!  hello    0 magic u32 | 4 version u16 | 6 options u16 | 8 max_queue u64 | 16 previous u64 | 24 client name …
//!  welcome  0 magic u32 | 4 version u16 | 6 flags u16 | 8 max_payload u64 | 16 run u64 | 24 reason u32 | 28 zero u32 | 32 text …
//!  error    0 code u32  | 4 zero u32 | 8 text …
//!  pong     0 confirmed u64
//!  lost     0 reason u32 | 4 zero u32
//! ```
//! Channel (hello) and pattern (subscribe) travel as the frame's name, the
//! assigned source (welcome) in the frame's source, request numbers and counts
//! in its sequence. The others (ack, ping) have no payload; `bye` has a file of its own.

use std::fmt;
use std::time::Duration;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::header::Source;
use crate::limits::{MAGIC, MAX_NAME_BYTES, PROTOCOL_VERSION};

/// Option bit of hello: the client's listeners hear its own events.
pub const OPTION_ECHO: u16 = 1 << 0;
/// Option bit of hello: a full queue loses its oldest events and pauses no emitter.
pub const OPTION_LATEST: u16 = 1 << 1;
/// Option bit of hello: the client can use memory that the broker shares with it.
pub const OPTION_SHARED: u16 = 1 << 2;
/// Option bit of hello: the client does not come back once its connection ends.
pub const OPTION_LEAVES: u16 = 1 << 3;
/// Flag of welcome: what was emitted since the previous connection waits for the client.
pub const FLAG_HELD: u16 = 1 << 0;
const KNOWN_OPTIONS: u16 = OPTION_ECHO | OPTION_LATEST | OPTION_SHARED | OPTION_LEAVES;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HelloBytes {
    magic: U32,
    version: U16,
    options: U16,
    max_queue: U64,
    previous: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct WelcomeBytes {
    magic: U32,
    version: U16,
    flags: U16,
    max_payload: U64,
    run: U64,
    reason: U32,
    zero: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct CodeBytes {
    code: U32,
    zero: U32,
}

/// The first frame of a client. The channel is the frame's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The client's listeners hear the client's own events.
    pub echo: bool,
    /// The client loses its oldest events instead of pausing emitters.
    pub latest: bool,
    /// The client can use memory that the broker shares with it.
    pub shared: bool,
    /// The client does not come back once its connection ends: nobody waits for it.
    pub leaves: bool,
    /// Bytes of outbound queue that the client asks for; 0: as the broker is configured.
    /// The
    /// broker takes the smaller of the two.
    pub max_queue: u64,
    /// The source of the connection that this one replaces, if any.
    pub previous: Source,
    /// A name for `status`, may be empty.
    pub client_name: String,
}

/// Reason for which a control payload is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The payload has too few bytes, or too many.
    Length,
    /// The magic number is another: the sender does not speak netcluster.
    Magic,
    /// The sender speaks this other version of the protocol.
    Version(u16),
    /// The hello has option bits that this version does not know.
    Options(u16),
    /// The client's name is over 255 bytes or not UTF-8.
    ClientName,
    /// The step towards shared memory has this number, which no step has.
    Step(u32),
}

impl fmt::Display for ControlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::Length => formatter.write_str("control frame of the wrong length"),
            ControlError::Magic => formatter.write_str("the other end does not speak netcluster"),
            ControlError::Version(version) => write!(
                formatter,
                "protocol version {version}, this side speaks {PROTOCOL_VERSION}: use the same release on both"
            ),
            ControlError::Options(options) => {
                write!(formatter, "unknown options {options:#06x}: the client is newer")
            }
            ControlError::ClientName => {
                formatter.write_str("a client's name is at most 255 bytes of UTF-8")
            }
            ControlError::Step(step) => {
                write!(formatter, "unknown step {step} towards shared memory")
            }
        }
    }
}

impl std::error::Error for ControlError {}

impl Hello {
    /// Writes the payload.
    pub fn encode(&self) -> Vec<u8> {
        let options = [
            (self.echo, OPTION_ECHO),
            (self.latest, OPTION_LATEST),
            (self.shared, OPTION_SHARED),
            (self.leaves, OPTION_LEAVES),
        ];
        let set = options.into_iter().filter(|(is_set, _)| *is_set);
        let options = set.fold(0, |options, (_, option)| options | option);
        let head = HelloBytes {
            magic: U32::new(MAGIC),
            version: U16::new(PROTOCOL_VERSION),
            options: U16::new(options),
            max_queue: U64::new(self.max_queue),
            previous: U64::new(self.previous.to_u64()),
        };
        [head.as_bytes(), self.client_name.as_bytes()].concat()
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// The reason for which the payload is refused; magic and version are looked at
    /// first.
    pub fn decode(payload: &[u8]) -> Result<Hello, ControlError> {
        check_version(payload)?;
        let (head, name) =
            HelloBytes::ref_from_prefix(payload).map_err(|_| ControlError::Length)?;
        let options = head.options.get();
        if options & !KNOWN_OPTIONS != 0 {
            return Err(ControlError::Options(options));
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(ControlError::ClientName);
        }
        let name = std::str::from_utf8(name).map_err(|_| ControlError::ClientName)?;
        Ok(Hello {
            echo: options & OPTION_ECHO != 0,
            latest: options & OPTION_LATEST != 0,
            shared: options & OPTION_SHARED != 0,
            leaves: options & OPTION_LEAVES != 0,
            max_queue: head.max_queue.get(),
            previous: Source::from_u64(head.previous.get()),
            client_name: name.to_owned(),
        })
    }
}

/// The broker's answer to hello. The assigned source is the frame's source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    /// Largest payload that the broker takes, in bytes.
    pub max_payload: u64,
    /// A number that another run of the broker will not have.
    pub run: u64,
    /// Reason for which the broker ended the previous connection; `None` if it did not.
    pub reason: Option<(ErrorCode, String)>,
    /// Nothing has passed the client by since the previous connection; else it is told.
    pub held: bool,
}

impl Welcome {
    /// Writes the payload.
    pub fn encode(&self) -> Vec<u8> {
        let (code, text) = match &self.reason {
            Some((code, text)) => (*code as u32, text.as_str()),
            None => (0, ""),
        };
        let head = WelcomeBytes {
            magic: U32::new(MAGIC),
            version: U16::new(PROTOCOL_VERSION),
            flags: U16::new(if self.held { FLAG_HELD } else { 0 }),
            max_payload: U64::new(self.max_payload),
            run: U64::new(self.run),
            reason: U32::new(code),
            zero: U32::new(0),
        };
        [head.as_bytes(), text.as_bytes()].concat()
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// The reason for which the payload is refused.
    pub fn decode(payload: &[u8]) -> Result<Welcome, ControlError> {
        check_version(payload)?;
        let (head, text) =
            WelcomeBytes::ref_from_prefix(payload).map_err(|_| ControlError::Length)?;
        let reason = match head.reason.get() {
            0 => None,
            code => Some((ErrorCode::from_number(code), String::from_utf8_lossy(text).into())),
        };
        let held = head.flags.get() & FLAG_HELD != 0;
        Ok(Welcome { max_payload: head.max_payload.get(), run: head.run.get(), reason, held })
    }
}

/// Magic and version stand first in hello and welcome of every version.
fn check_version(payload: &[u8]) -> Result<(), ControlError> {
    let (magic, rest) = U32::ref_from_prefix(payload).map_err(|_| ControlError::Length)?;
    if magic.get() != MAGIC {
        return Err(ControlError::Magic);
    }
    let (version, _) = U16::ref_from_prefix(rest).map_err(|_| ControlError::Length)?;
    match version.get() {
        PROTOCOL_VERSION => Ok(()),
        version => Err(ControlError::Version(version)),
    }
}

/// Subject of an `error` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum ErrorCode {
    /// A code that this version does not know.
    Unknown = 0,
    /// A frame broke the protocol. The connection ends.
    Protocol = 1,
    /// The versions differ. The connection ends.
    Version = 2,
    /// The client said no hello in time. The connection ends.
    HelloTimeout = 3,
    /// A frame carried another source than the welcome assigned. The connection ends.
    Source = 4,
    /// A payload is over the limit. The connection ends.
    PayloadTooLarge = 5,
    /// An event's name is not allowed. The connection ends.
    Name = 6,
    /// A pattern is not allowed. Only that request fails.
    Pattern = 7,
    /// The client did not drain its queue in time. The connection ends.
    Stalled = 8,
    /// The broker is at a limit (clients, memory). The connection ends.
    Busy = 9,
    /// The broker is shutting down. The connection ends.
    Shutdown = 10,
    /// The broker does not do what was asked for. Only that request fails.
    Refused = 11,
    /// Whoever runs the broker disconnected the client. The connection ends.
    Kicked = 12,
    /// The broker will end soon; nothing was asked for and nothing failed.
    Draining = 13,
    /// Access rules do not allow what was asked for, or events that came. Only that fails.
    Forbidden = 14,
}

impl ErrorCode {
    /// The code with this number; unknown ones are [`ErrorCode::Unknown`].
    pub fn from_number(number: u32) -> ErrorCode {
        use ErrorCode::*;
        [
            Protocol,
            Version,
            HelloTimeout,
            Source,
            PayloadTooLarge,
            Name,
            Pattern,
            Stalled,
            Busy,
            Shutdown,
            Refused,
            Kicked,
            Draining,
            Forbidden,
        ]
        .into_iter()
        .find(|code| *code as u32 == number)
        .unwrap_or(Unknown)
    }

    /// Whether the connection goes on after an error frame with this code.
    pub fn is_fatal(self) -> bool {
        !matches!(
            self,
            ErrorCode::Pattern | ErrorCode::Refused | ErrorCode::Draining | ErrorCode::Forbidden
        )
    }
}

/// The payload of an `error` frame.
pub fn encode_error(code: ErrorCode, text: &str) -> Vec<u8> {
    let head = CodeBytes { code: U32::new(code as u32), zero: U32::new(0) };
    [head.as_bytes(), text.as_bytes()].concat()
}

/// Code and text of an `error` frame's payload.
///
/// # Errors
/// The payload is too short.
pub fn decode_error(payload: &[u8]) -> Result<(ErrorCode, String), ControlError> {
    let (head, text) = CodeBytes::ref_from_prefix(payload).map_err(|_| ControlError::Length)?;
    Ok((ErrorCode::from_number(head.code.get()), String::from_utf8_lossy(text).into()))
}

/// Reason for which events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum LossReason {
    /// A reason that this version does not know.
    Unknown = 0,
    /// The connection is `latest` and its queue was full.
    Overflow = 1,
    /// The connection to the broker broke, or a broker did not hold events long enough.
    Disconnected = 2,
    /// The network lost the events, and they could not be sent again.
    Link = 3,
    /// The broker that the events came from died, or the way to it was cut.
    Peer = 4,
    /// The events came from another machine while this listener's queue was full.
    Slow = 5,
    /// The events came from another machine, and one of them was over this broker's
    /// limit.
    Large = 6,
}

impl LossReason {
    /// The reason with this number.
    pub fn from_number(number: u32) -> LossReason {
        match number {
            1 => LossReason::Overflow,
            2 => LossReason::Disconnected,
            3 => LossReason::Link,
            4 => LossReason::Peer,
            5 => LossReason::Slow,
            6 => LossReason::Large,
            _ => LossReason::Unknown,
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            LossReason::Unknown => "for a reason that this version does not know",
            LossReason::Overflow => "the queue of this `latest` connection was full",
            LossReason::Disconnected => "the connection to the broker broke",
            LossReason::Link => "the network lost them for good",
            LossReason::Peer => "their broker died or was cut off",
            LossReason::Slow => "this listener was slower than another machine",
            LossReason::Large => {
                "one of them is larger than this machine's broker takes (--max-payload)"
            }
        })
    }
}

/// The payload of a `lost` frame; its source and count (sequence) are in the header.
pub fn encode_lost(reason: LossReason) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&(reason as u32).to_le_bytes());
    out
}

/// The reason in a `lost` frame's payload.
///
/// # Errors
/// The payload is too short.
pub fn decode_lost(payload: &[u8]) -> Result<LossReason, ControlError> {
    let (head, _) = CodeBytes::ref_from_prefix(payload).map_err(|_| ControlError::Length)?;
    Ok(LossReason::from_number(head.code.get()))
}

/// The payload of a client's `cluster`: how long to wait for other brokers at the
/// most.
pub fn encode_cluster(wait: Duration) -> [u8; 8] {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).to_le_bytes()
}

/// Reads how long a client's `cluster` waits.
///
/// # Errors
/// The payload is too short.
pub fn decode_cluster(payload: &[u8]) -> Result<Duration, ControlError> {
    let (millis, _) = U64::ref_from_prefix(payload).map_err(|_| ControlError::Length)?;
    Ok(Duration::from_millis(millis.get()))
}

/// Number of those who would get an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Clients of this machine's broker that listen to the event's name, without the
    /// emitter
    /// unless it hears itself.
    pub clients: u64,
    /// Brokers of other machines that take what is emitted in its channel. How many of
    /// their clients listen to its name, or whether any does, is not known here.
    pub brokers: u64,
}

/// The payload of the answer to an `audience`.
pub fn encode_audience(audience: Audience) -> [u8; 16] {
    let mut payload = [0; 16];
    payload[..8].copy_from_slice(&audience.clients.to_le_bytes());
    payload[8..].copy_from_slice(&audience.brokers.to_le_bytes());
    payload
}

/// The answer to an `audience`.
///
/// # Errors
/// The payload is too short.
pub fn decode_audience(payload: &[u8]) -> Result<Audience, ControlError> {
    let (counts, _) = <[U64; 2]>::ref_from_prefix(payload).map_err(|_| ControlError::Length)?;
    Ok(Audience { clients: counts[0].get(), brokers: counts[1].get() })
}

/// The payload of a `pong`: the sequence of the emitter's last event that is
/// queued at every target.
pub fn encode_pong(confirmed: u64) -> [u8; 8] {
    confirmed.to_le_bytes()
}

/// The confirmed sequence in a `pong`'s payload.
///
/// # Errors
/// The payload is too short.
pub fn decode_pong(payload: &[u8]) -> Result<u64, ControlError> {
    let (confirmed, _) = U64::ref_from_prefix(payload).map_err(|_| ControlError::Length)?;
    Ok(confirmed.get())
}

#[cfg(test)]
mod tests;
