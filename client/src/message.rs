//! An event as a listener sees it.
//!
//! Invariant: a payload starts at a multiple of eight bytes, in place as well as
//! copied, so that it can be viewed as a struct.

use std::sync::Arc;

use bytes::Bytes;
use netcluster_wire::{Encoding, Frame, Header, Source};

/// Payloads below this are copied by [`Message::into_owned`]; larger ones are kept
/// in the receive buffer that they arrived in. Bounds what a kept message pins.
const COPY_BELOW_BYTES: usize = 16 << 10;

/// A borrowed view of an event in the receive buffer.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    event: &'a Arc<str>,
    payload: &'a [u8],
    /// The frame, for what is asked for more rarely.
    frame: &'a [u8],
    /// The buffer that the frame lies in; `None`: in memory that is the broker's.
    buffer: Option<&'a Bytes>,
}

impl<'a> Message<'a> {
    #[inline(always)]
    pub(crate) fn new(
        event: &'a Arc<str>,
        frame: Frame<'a>,
        buffer: Option<&'a Bytes>,
    ) -> Message<'a> {
        Message { event, payload: frame.payload(), frame: frame.as_bytes(), buffer }
    }

    #[inline]
    fn header(&self) -> &'a Header {
        Header::read(self.frame).expect("a frame starts with its header")
    }

    /// The event's name.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// listener.on("a", move |message| sender.send(message.event().to_owned()).unwrap())?;
    /// emitter.emit("a", "12345")?;
    /// assert_eq!(heard.recv().unwrap(), "a");
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn event(&self) -> &'a str {
        self.event
    }

    /// The data, 8-aligned.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// listener.on("a", move |message| sender.send(message.payload().len()).unwrap())?;
    /// emitter.emit("a", "12345")?;
    /// assert_eq!(heard.recv().unwrap(), 5);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The data to keep. What came by the socket is not copied, and pins the receive buffer
    /// (256 KiB or more) as long as it lives: copy what is small and kept for long. What
    /// came by shared memory is copied.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// listener.on("a", move |message| sender.send(message.payload_bytes()).unwrap())?;
    /// emitter.emit("a", "12345")?;
    /// assert_eq!(heard.recv().unwrap(), "12345");
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        match self.buffer {
            Some(buffer) => buffer.slice_ref(self.payload),
            None => aligned_copy(self.payload),
        }
    }

    /// Who emitted it.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// listener.on("a", move |message| sender.send(message.source()).unwrap())?;
    /// emitter.emit("a", "12345")?;
    /// assert_eq!(heard.recv().unwrap(), emitter.source());
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn source(&self) -> Source {
        self.header().source()
    }

    /// The emitter's number for it.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// listener.on("a", move |message| sender.send(message.sequence()).unwrap())?;
    /// emitter.emit("a", "12345")?;
    /// assert_eq!(heard.recv().unwrap(), emitter.last_sequence());
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.header().sequence.get()
    }

    /// The event to keep or to send to another thread.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// listener.on("a", move |message| sender.send(message.into_owned()).unwrap())?;
    /// emitter.emit("a", "12345")?;
    /// assert_eq!(heard.recv().unwrap().payload(), b"12345");
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn into_owned(self) -> OwnedMessage {
        let payload = match self.payload() {
            small if small.len() < COPY_BELOW_BYTES => aligned_copy(small),
            _ => self.payload_bytes(),
        };
        OwnedMessage {
            event: Arc::clone(self.event),
            payload,
            encoding: self.encoding(),
            source: self.source(),
            sequence: self.sequence(),
        }
    }

    /// The encoding of the payload, as its emitter says.
    ///
    /// ```
    /// use netcluster_client::{Client, Encoding};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// listener.on("a", move |message| sender.send(message.encoding()).unwrap())?;
    /// emitter.emit_text("a", "12345")?;
    /// assert_eq!(heard.recv().unwrap(), Encoding::Text);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn encoding(&self) -> Encoding {
        self.header().encoding()
    }

    /// The payload, read as text, whatever its encoding is said to be.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// listener.on("a", move |message| sender.send(message.text().map(str::len)).unwrap())?;
    /// emitter.emit_text("a", "12345")?;
    /// assert_eq!(heard.recv().unwrap()?, 5);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is no UTF-8.
    pub fn text(&self) -> Result<&'a str, crate::Error> {
        std::str::from_utf8(self.payload).map_err(crate::Error::Text)
    }

    /// The payload, read as JSON, whatever its encoding is said to be.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// listener.on("a", move |message| sender.send(message.json::<u32>()).unwrap())?;
    /// emitter.emit("a", "12345")?;
    /// assert_eq!(heard.recv().unwrap()?, 12345);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is no JSON of a `T`.
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, crate::Error> {
        from_json(self.payload())
    }
}

impl From<Message<'_>> for OwnedMessage {
    fn from(message: Message<'_>) -> OwnedMessage {
        message.into_owned()
    }
}

/// An event that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedMessage {
    event: Arc<str>,
    payload: Bytes,
    encoding: Encoding,
    source: Source,
    sequence: u64,
}

impl OwnedMessage {
    /// The event's name.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// emitter.emit("a", "12345")?;
    /// let message = events.recv().unwrap();
    /// assert_eq!(message.event(), "a");
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn event(&self) -> &str {
        &self.event
    }

    /// The data, 8-aligned.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// emitter.emit("a", "12345")?;
    /// let message = events.recv().unwrap();
    /// assert_eq!(message.payload(), b"12345");
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The data, shared.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// emitter.emit("a", "12345")?;
    /// let message = events.recv().unwrap();
    /// assert_eq!(message.payload_bytes(), "12345");
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        self.payload.clone()
    }

    /// Who emitted it.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// emitter.emit("a", "12345")?;
    /// let message = events.recv().unwrap();
    /// assert_eq!(message.source(), emitter.source());
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// The emitter's number for it.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// emitter.emit("a", "12345")?;
    /// let message = events.recv().unwrap();
    /// assert_eq!(message.sequence(), 1);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Bytes that this event counts for in a bounded queue.
    pub(crate) fn cost_bytes(&self) -> usize {
        self.payload.len() + size_of::<OwnedMessage>()
    }

    /// The encoding of the payload, as its emitter says.
    ///
    /// ```
    /// use netcluster_client::{Client, Encoding};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// emitter.emit_text("a", "12345")?;
    /// let message = events.recv().unwrap();
    /// assert_eq!(message.encoding(), Encoding::Text);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The payload, read as text, whatever its encoding is said to be.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// emitter.emit_text("a", "12345")?;
    /// let message = events.recv().unwrap();
    /// assert_eq!(message.text()?, "12345");
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is no UTF-8.
    pub fn text(&self) -> Result<&str, crate::Error> {
        std::str::from_utf8(&self.payload).map_err(crate::Error::Text)
    }

    /// The payload, read as JSON, whatever its encoding is said to be.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// emitter.emit("a", "12345")?;
    /// let message = events.recv().unwrap();
    /// assert_eq!(message.json::<u32>()?, 12345);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is no JSON of a `T`.
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, crate::Error> {
        from_json(self.payload())
    }
}

/// Makes a copy that starts at a multiple of eight, whatever the allocator does.
fn aligned_copy(payload: &[u8]) -> Bytes {
    let copy = Bytes::copy_from_slice(payload);
    if payload.is_empty() || (copy.as_ptr() as usize).is_multiple_of(8) {
        return copy;
    }
    let mut padded = vec![0; payload.len() + 8];
    let at = padded.as_ptr().align_offset(8).min(8);
    padded[at..at + payload.len()].copy_from_slice(payload);
    Bytes::from(padded).slice(at..at + payload.len())
}

#[cfg(feature = "json")]
fn from_json<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, crate::Error> {
    serde_json::from_slice(payload).map_err(|error| crate::Error::Json(Arc::new(error)))
}
