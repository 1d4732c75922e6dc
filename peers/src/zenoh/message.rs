//! Messages that travel in frames: declarations, interests in them, and events.
//!
//! ```text
//!   0         1 …
//!  +---------+--------+-------------+------------+-----+--------+---------+
//!  | 0x1d    | scope  | rest of the | extensions | PUT | length | payload |   event
//!  | Z M N   | number | key, if N   | if Z       |     | number |         |
//!  +---------+--------+-------------+------------+-----+--------+---------+
//!  | 0x1e ZI | interest number, if I | extensions | declaration …          |
//!  +---------+-----------------------+------------+-----------------------+
//!  | 0x19    | number | what it is for |   answered by a declaration: final
//!  +---------+--------+----------------+
//! ```
//! A scope is the number of a key that one end has declared: ours if M, else the peer's;
//! 0 is none. No message tells its length, so that one that is not known is an error:
//! what follows it could not be found.

use anyhow::{Result, bail};

use super::reader::{EXTENDED, Reader, push_number};

/// Bits of a header that are the id.
pub const ID: u8 = 0x1f;
/// Lowest id of these messages; those below are of messages of the transport.
pub const FIRST_ID: u8 = INTEREST;

const INTEREST: u8 = 0x19;
const PUSH: u8 = 0x1d;
const DECLARE: u8 = 0x1e;
const OAM: u8 = 0x1f;

const PUT: u8 = 0x01;
const DELETE: u8 = 0x02;

const KEY: u8 = 0x00;
const SUBSCRIBER: u8 = 0x02;
const QUERYABLE: u8 = 0x04;
const TOKEN: u8 = 0x06;
const FINAL: u8 = 0x1a;
/// Bit of the declaration that takes back the one with the id below.
const TAKEN_BACK: u8 = 0x01;

/// Flag of a key: the rest of the key follows its scope.
const NAMED: u8 = 0x20;
/// Flag of a key: its scope was declared by the sender of this message.
const SENDERS: u8 = 0x40;
/// Flag of a declaration: the declaration answers an interest.
const ANSWERS: u8 = 0x20;
/// Flag of a value that is put or deleted: a time stands before it.
const TIMED: u8 = 0x20;
/// Flag of a value that is put: its encoding stands before it.
const ENCODED: u8 = 0x40;
/// Flag of an encoding: a schema follows.
const WITH_SCHEMA: u64 = 1;
/// Bits of an interest that are its mode; one mode has neither options nor a key.
const MODE: u8 = 0x60;
/// An interest in what is declared now, answered once.
const CURRENT: u8 = 0x20;
/// Option of an interest: in liveliness tokens.
const TOKENS: u8 = 0x08;
/// Option of an interest: in one key alone.
const RESTRICTED: u8 = 0x10;
/// Option of an interest: the same as [`NAMED`] in a header.
const OPTION_NAMED: u8 = 0x20;

/// Extension with the quality of service, and its value: the usual priority of data, and
/// to wait when congested. Without it an event is dropped.
const WAITS: [u8; 2] = [0x21, 0x08 | 0x05];

/// A message, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'b> {
    /// Event with this payload.
    Event(&'b [u8]),
    /// End of the answer to an interest.
    Answered,
    /// Message of any other kind.
    Other,
}

impl<'b> Message<'b> {
    /// Takes the first message.
    #[inline]
    pub fn read(reader: &mut Reader<'b>) -> Result<Message<'b>> {
        let header = reader.byte()?;
        if header & ID == PUSH {
            skip_key(reader, header & NAMED)?;
            reader.skip_extensions(header)?;
            return pushed(reader);
        }
        match header & ID {
            DECLARE => declared(reader, header),
            INTEREST => {
                reader.number()?;
                if header & MODE != 0 {
                    let options = reader.byte()?;
                    if options & RESTRICTED != 0 {
                        skip_key(reader, options & OPTION_NAMED)?;
                    }
                }
                reader.skip_extensions(header)?;
                Ok(Message::Other)
            }
            OAM => {
                reader.number()?;
                reader.skip_extensions(header)?;
                // Its body's kind is told as an extension's is.
                match header & MODE {
                    0x20 => drop(reader.number()?),
                    0x40 => drop(reader.sized()?),
                    _ => {}
                }
                Ok(Message::Other)
            }
            id => bail!("Zenoh: a message that was not expected, {id:#x}"),
        }
    }
}

/// Reads what stands behind a key in a push.
#[inline]
fn pushed<'b>(reader: &mut Reader<'b>) -> Result<Message<'b>> {
    let header = reader.byte()?;
    if header & TIMED != 0 {
        reader.number()?;
        reader.sized()?;
    }
    match header & ID {
        PUT => {
            if header & ENCODED != 0 && reader.number()? & WITH_SCHEMA != 0 {
                reader.sized()?;
            }
            reader.skip_extensions(header)?;
            Ok(Message::Event(reader.sized()?))
        }
        DELETE => {
            reader.skip_extensions(header)?;
            Ok(Message::Other)
        }
        id => bail!("Zenoh: a push of what is not known, {id:#x}"),
    }
}

#[inline]
fn skip_key(reader: &mut Reader<'_>, named: u8) -> Result<()> {
    reader.number()?;
    if named != 0 {
        reader.sized()?;
    }
    Ok(())
}

fn declared<'b>(reader: &mut Reader<'b>, header: u8) -> Result<Message<'b>> {
    let answers = header & ANSWERS != 0;
    if answers {
        reader.number()?;
    }
    reader.skip_extensions(header)?;
    let header = reader.byte()?;
    let id = header & ID;
    if id != FINAL {
        if id > TOKEN | TAKEN_BACK {
            bail!("Zenoh: a declaration of what is not known, {id:#x}");
        }
        reader.number()?;
        if matches!(id, KEY | SUBSCRIBER | QUERYABLE | TOKEN) {
            skip_key(reader, header & NAMED)?;
        }
    }
    reader.skip_extensions(header)?;
    Ok(if id == FINAL && answers { Message::Answered } else { Message::Other })
}

/// Declares that a number stands for a key.
pub fn push_key(out: &mut Vec<u8>, number: u32, key: &str) {
    out.extend_from_slice(&[DECLARE, KEY | NAMED]);
    push_number(out, number);
    out.push(0);
    // Keys are ours, and short.
    push_number(out, u32::try_from(key.len()).expect("a short key"));
    out.extend_from_slice(key.as_bytes());
}

/// Subscribes to a key that was declared.
pub fn push_subscriber(out: &mut Vec<u8>, number: u32, key: u32) {
    out.extend_from_slice(&[DECLARE, SUBSCRIBER | SENDERS]);
    push_number(out, number);
    push_number(out, key);
}

/// Asks for what nobody declares here: liveliness tokens. The answer is nothing but its
/// end, which comes behind all that the peer read before.
pub fn push_interest(out: &mut Vec<u8>, number: u32) {
    out.push(INTEREST | CURRENT);
    push_number(out, number);
    out.push(TOKENS);
}

/// Appends an event of this key up to its payload's length.
pub fn push_event_head(out: &mut Vec<u8>, key: u32) {
    out.push(PUSH | SENDERS | EXTENDED);
    push_number(out, key);
    out.extend_from_slice(&WAITS);
    out.push(PUT);
}
