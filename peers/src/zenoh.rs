//! Zenoh's protocol, version 9, as a client of a router on a stream.
//!
//! ```text
//!   client                      router
//!     │ InitSyn ──────────────────► │      each line one batch, as all that follows
//!     │ ◄────────── InitAck, cookie │      reads as a question: reply() answers it
//!     │ OpenSyn, cookie ──────────► │
//!     │ ◄────────────────── OpenAck │      hello is over
//!     │ key 1 = "e0"; events of 1 ► │      a key is declared once, then a number
//!     │ interest ─────────────────► │      the fence: answered behind all before
//!     │ ◄──────── declaration final │
//!     │ ◄─ frames, fragments, alive │
//! ```
//! As the library's client sends if it is to lose nothing: reliable, and with
//! congestion control that blocks. A router then reads from a client no faster than
//! the slowest of its subscribers; what may be dropped, it drops.
//!
//! No extension is asked for: one priority, no compression, no shared memory. Nothing
//! is said to keep the session alive: its lease is longer than any run. Numbers of
//! frames are not checked, since the stream loses none.
//!
//! Invariant: `left` bytes of a batch that was found whole are not decoded yet; at 0,
//! the next bytes are a batch's length.

mod batch;
mod message;
mod reader;

use anyhow::{Result, bail};

use self::batch::{Batch, FRAGMENT, FRAME};
use self::message::Message;
use self::reader::{Reader, push_number};
use crate::frames::{Decoded, Dialect};

const VERSION: u8 = 9;
const INIT: u8 = 0x01;
const OPEN: u8 = 0x02;
const CLOSE: u8 = 0x03;
const KEEP_ALIVE: u8 = 0x04;
/// Flag of INIT and OPEN: the message answers.
const ACK: u8 = 0x20;
/// Flag of INIT: resolutions and the size of a batch are told, not as usual.
const SIZED: u8 = 0x40;
/// Flag of OPEN: the lease is in seconds.
const SECONDS: u8 = 0x40;
/// Resolutions of the numbers of frames, and of requests: 32 bits, of which 28 are used.
const RESOLUTIONS: u8 = 0b1010;
const RESOLUTIONS_MASK: u8 = 0b1111;
/// Role of a client, beside one less than how many bytes the id has.
const CLIENT: u8 = 0x02;
const MAX_ID_BYTES: usize = 16;
/// Time after which a session that is not heard of ends.
const LEASE_SECONDS: u32 = 24 * 60 * 60;
/// Longest message: a longer one is no event of ours.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// The dialect of Zenoh.
#[derive(Debug)]
pub struct Zenoh {
    /// Id of this client among those of the router.
    id: Vec<u8>,
    /// Cookie of the router, which asks for it back.
    cookie: Vec<u8>,
    batch: Batch,
    /// Keys that were declared; a key's number is one more than its place.
    keys: Vec<Key>,
    last_key: usize,
    subscribers: u32,
    interests: u32,
    /// A message that is not an event, or an event's head.
    scratch: Vec<u8>,
    left: usize,
    /// A message that came in fragments, or the first of them.
    joined: Vec<u8>,
    /// Whether more fragments belong to the message that came in fragments.
    joining: bool,
}

#[derive(Debug)]
struct Key {
    name: String,
    /// Head of the key's events, up to the payload's length.
    head: Vec<u8>,
}

/// First message of a batch.
enum Found<'b> {
    Message(Message<'b>),
    /// The last fragment of a message.
    Joined,
    Question,
    Answer,
    Nothing,
}

impl Dialect for Zenoh {
    /// Makes the client's id from the end of its name, where those of a run differ.
    fn new(name: &str, _only_publishes: bool) -> Zenoh {
        let name = if name.is_empty() { "-" } else { name };
        Zenoh {
            id: name.as_bytes()[name.len().saturating_sub(MAX_ID_BYTES)..].to_vec(),
            cookie: Vec::new(),
            batch: Batch::new(),
            keys: Vec::new(),
            last_key: 0,
            subscribers: 0,
            interests: 0,
            scratch: Vec::new(),
            left: 0,
            joined: Vec::new(),
            joining: false,
        }
    }

    fn hello(&mut self, out: &mut Vec<u8>) -> usize {
        let length = (self.id.len() - 1) as u8;
        self.scratch.clear();
        self.scratch.extend_from_slice(&[INIT, VERSION, length << 4 | CLIENT]);
        self.scratch.extend_from_slice(&self.id);
        self.batch.push_alone(out, &self.scratch);
        1
    }

    /// Subscribes to a number and not a name, so that events come with the number alone.
    fn subscribe(&mut self, topic: &str, out: &mut Vec<u8>) -> usize {
        let key = self.key(topic, out) as u32 + 1;
        self.subscribers += 1;
        self.scratch.clear();
        message::push_subscriber(&mut self.scratch, self.subscribers, key);
        self.batch.push(out, &self.scratch, &[]);
        self.fence(out)
    }

    #[inline]
    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Vec<u8>) {
        let key = self.key(topic, out);
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.keys[key].head);
        // Payloads are ours, and shorter than 4 GiB.
        push_number(&mut self.scratch, payload.len() as u32);
        self.batch.push(out, &self.scratch, payload);
    }

    fn fence(&mut self, out: &mut Vec<u8>) -> usize {
        self.interests += 1;
        self.scratch.clear();
        message::push_interest(&mut self.scratch, self.interests);
        self.batch.push(out, &self.scratch, &[]);
        1
    }

    /// Gives the router its cookie back: it wants to know that who wrote to it also
    /// reads.
    fn reply(&mut self, out: &mut Vec<u8>) {
        self.scratch.clear();
        self.scratch.push(OPEN | SECONDS);
        push_number(&mut self.scratch, LEASE_SECONDS);
        // The number of the first frame.
        self.scratch.push(0);
        push_number(&mut self.scratch, self.cookie.len() as u32);
        self.scratch.extend_from_slice(&self.cookie);
        self.batch.push_alone(out, &self.scratch);
    }

    #[inline]
    fn decode<'b>(&'b mut self, bytes: &'b [u8]) -> Result<Decoded<'b>> {
        let (left, rest) = match (self.left, bytes.split_first_chunk()) {
            (0, Some((&length, rest))) => (usize::from(u16::from_le_bytes(length)), rest),
            (0, None) => return Ok(Decoded::Partial),
            (left, _) => (left, bytes),
        };
        let Some(batch) = rest.get(..left) else { return Ok(Decoded::Partial) };
        let mut reader = Reader::new(batch);
        let found = self.find(&mut reader)?;
        self.left = reader.len();
        let used = bytes.len() - rest.len() + batch.len() - reader.len();
        let message = match found {
            Found::Message(message) => message,
            Found::Joined => Message::read(&mut Reader::new(&self.joined))?,
            Found::Question => return Ok(Decoded::Question(used)),
            Found::Answer => return Ok(Decoded::Answer(used)),
            Found::Nothing => Message::Other,
        };
        Ok(match message {
            Message::Event(payload) => Decoded::Event(payload, used),
            Message::Answered => Decoded::Answer(used),
            Message::Other => Decoded::Other(used),
        })
    }
}

impl Zenoh {
    /// Returns a key's place. Keys take turns, so the place is looked for behind the last
    /// one.
    #[inline]
    fn key(&mut self, name: &str, out: &mut Vec<u8>) -> usize {
        let (before, behind) = self.keys.split_at(self.last_key.min(self.keys.len()));
        let is_it = |key: &Key| key.name == name;
        let place = behind.iter().position(is_it).map(|place| place + before.len());
        let place = place.or_else(|| before.iter().position(is_it));
        self.last_key = place.unwrap_or_else(|| self.declare(name, out));
        self.last_key
    }

    #[cold]
    fn declare(&mut self, name: &str, out: &mut Vec<u8>) -> usize {
        let number = self.keys.len() as u32 + 1;
        self.scratch.clear();
        message::push_key(&mut self.scratch, number, name);
        self.batch.push(out, &self.scratch, &[]);
        let mut head = Vec::new();
        message::push_event_head(&mut head, number);
        self.keys.push(Key { name: name.into(), head });
        self.keys.len() - 1
    }

    /// Finds the first message that is more than a frame's head.
    #[inline]
    fn find<'b>(&mut self, reader: &mut Reader<'b>) -> Result<Found<'b>> {
        while let Some(header) = reader.peek() {
            let id = header & message::ID;
            if id >= message::FIRST_ID {
                return Ok(Found::Message(Message::read(reader)?));
            }
            if id != FRAME {
                return self.find_other(reader);
            }
            reader.byte()?;
            reader.number()?;
            reader.skip_extensions(header)?;
        }
        Ok(Found::Nothing)
    }

    fn find_other<'b>(&mut self, reader: &mut Reader<'b>) -> Result<Found<'b>> {
        let header = reader.byte()?;
        let found = match (header & message::ID, header & ACK) {
            (FRAGMENT, _) => {
                reader.number()?;
                reader.skip_extensions(header)?;
                return self.join(reader.rest(), header & batch::MORE != 0);
            }
            (INIT, ACK) => {
                self.begin(reader, header)?;
                Found::Question
            }
            (OPEN, ACK) => {
                reader.number()?;
                reader.number()?;
                Found::Answer
            }
            (KEEP_ALIVE, _) => Found::Nothing,
            (CLOSE, _) => bail!("Zenoh: the router ends the session, reason {}", reader.byte()?),
            (id, _) => bail!("Zenoh: the transport says what was not expected, {id:#x}"),
        };
        reader.skip_extensions(header)?;
        Ok(found)
    }

    fn join<'b>(&mut self, piece: &[u8], more: bool) -> Result<Found<'b>> {
        if !self.joining {
            self.joined.clear();
        }
        if self.joined.len() + piece.len() > MAX_MESSAGE_BYTES {
            bail!("Zenoh: a message of more than {MAX_MESSAGE_BYTES} bytes");
        }
        self.joined.extend_from_slice(piece);
        self.joining = more;
        Ok(if more { Found::Nothing } else { Found::Joined })
    }

    fn begin(&mut self, reader: &mut Reader<'_>, header: u8) -> Result<()> {
        let version = reader.byte()?;
        if version != VERSION {
            bail!("Zenoh: the router speaks version {version}, not {VERSION}");
        }
        let length = (reader.byte()? >> 4) + 1;
        reader.take(length.into())?;
        if header & SIZED != 0 {
            let resolutions = reader.byte()? & RESOLUTIONS_MASK;
            let most = u16::from_le_bytes([reader.byte()?, reader.byte()?]);
            if resolutions != RESOLUTIONS || usize::from(most) < batch::LEAST_BYTES {
                bail!("Zenoh: resolutions {resolutions:#x}, batches of {most} bytes");
            }
            self.batch.limit(most.into());
        }
        self.cookie = reader.sized()?.to_vec();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
