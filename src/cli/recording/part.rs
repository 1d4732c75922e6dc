//! One file of a recording, as it is written: chunk after chunk, and an end that makes it
//! whole.
//!
//! A chunk is gathered in memory and written at once, so that whoever ends this process
//! leaves a file of whole chunks and one that is cut. What cannot be written, as on a full
//! disk, is cut off again, and the file ends in order but without an index.
//!
//! Invariant: the file is never larger than [`Part::size_bound`] says.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hash::Hash;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hashbrown::{Equivalent, HashMap};
use mcap::records::{MessageHeader, Metadata};
use mcap::write::NoSeek;
use mcap::{McapError, WriteOptions, Writer};
use netcluster_client::{Encoding, Source};

use super::super::render::Event;
use super::{About, KIND_LOST, LOST_TOPIC, Loss, METADATA, PROFILE, key};

/// Size from which a chunk is written.
const CHUNK_BYTES: u64 = 256 << 10;

/// Most channels of a file; the format has numbers for 65,535. Bounds memory.
const MAX_CHANNELS: usize = 16 << 10;

/// Largest index of a file, which is in memory until the file's end.
const MAX_INDEX_BYTES: u64 = 32 << 20;

/// Size of the buffer behind the chunk.
const BUFFER_BYTES: usize = 64 << 10;

// Sizes of records, rounded up.
/// A message without its data.
const MESSAGE_BYTES: u64 = 31;
/// A message's entry in the index of its chunk.
const MESSAGE_INDEX_BYTES: u64 = 16;
/// A chunk around its records.
const CHUNK_HEAD_BYTES: u64 = 64;
/// A chunk's entry in the file's index, but for its channels.
const CHUNK_INDEX_BYTES: u64 = 96;
/// A channel's head in the index of a chunk.
const CHANNEL_IN_CHUNK_BYTES: u64 = 16;
/// A channel's share in the file's index of a chunk.
const CHANNEL_IN_INDEX_BYTES: u64 = 10;
/// A channel without its topic.
const CHANNEL_BYTES: u64 = 160;
/// All at the end that is not counted otherwise.
const END_BYTES: u64 = 512;

/// The end of a file without an index, behind its last chunk.
const PLAIN_END: [u8; 50] = {
    let mut end = [0; 50];
    // DataEnd: its length and no checksum; Footer: its length, no summary, no checksum.
    end[0] = 0x0f;
    end[1] = 4;
    end[13] = 0x02;
    end[14] = 20;
    let mut at = 0;
    while at < mcap::MAGIC.len() {
        end[42 + at] = mcap::MAGIC[at];
        at += 1;
    }
    end
};

/// Reason for which an event has no place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The file would become too large.
    Size,
    /// The index would become too large.
    Index,
}

/// A file that is written.
pub struct Part {
    path: PathBuf,
    writer: Writer<NoSeek<BufWriter<File>>>,
    /// Second handle of the file, for what a writer that failed does no more.
    file: File,
    max_bytes: Option<u64>,
    channels: HashMap<ChannelKey, Channel, foldhash::fast::RandomState>,
    lost_channel: Option<u16>,
    /// Bytes of the file up to its last whole chunk.
    whole_bytes: u64,
    /// Bytes that the index takes at the end, but for the chunk that is gathered.
    index_bytes: u64,
    chunk: Gathered,
    events: u64,
}

/// Chunk that is gathered and not written yet.
#[derive(Default)]
struct Gathered {
    /// Number of the chunk in the file.
    number: u64,
    /// Bytes of its records.
    bytes: u64,
    messages: u64,
    /// Channels of its messages, or more.
    channels: u64,
}

impl Gathered {
    /// Bytes that it takes with its own index.
    fn bytes(&self) -> u64 {
        CHUNK_HEAD_BYTES
            + self.bytes
            + self.messages * MESSAGE_INDEX_BYTES
            + self.channels * CHANNEL_IN_CHUNK_BYTES
    }

    /// Bytes that it takes in the file's index.
    fn index_bytes(&self) -> u64 {
        CHUNK_INDEX_BYTES + self.channels * CHANNEL_IN_INDEX_BYTES
    }
}

#[derive(PartialEq, Eq, Hash)]
struct ChannelKey {
    name: Box<str>,
    source: Source,
    encoding: Encoding,
    sequence_high: u32,
}

/// A [`ChannelKey`] to look for; its fields are hashed in the same order.
#[derive(Hash)]
struct Wanted<'a> {
    name: &'a str,
    source: Source,
    encoding: Encoding,
    sequence_high: u32,
}

impl Equivalent<ChannelKey> for Wanted<'_> {
    fn equivalent(&self, key: &ChannelKey) -> bool {
        *self.name == *key.name
            && self.source == key.source
            && self.encoding == key.encoding
            && self.sequence_high == key.sequence_high
    }
}

struct Channel {
    id: u16,
    /// Number of the last chunk in which it is.
    chunk: u64,
}

impl Part {
    /// Creates a file that is not there yet.
    pub fn create(
        path: &Path,
        number: u32,
        about: &About,
        max_bytes: Option<u64>,
    ) -> io::Result<Part> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // All that is said on the bus is for whoever may connect to it, not for all.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        let buffer = BufWriter::with_capacity(BUFFER_BYTES, file.try_clone()?);
        let writer = WriteOptions::new()
            .profile(PROFILE)
            .library(concat!("netcluster ", env!("CARGO_PKG_VERSION")))
            .compression(None)
            .chunk_size(None)
            .disable_seeking(true)
            .create(NoSeek::new(buffer))
            .map_err(io_error)?;
        let mut part = Part {
            path: path.to_owned(),
            writer,
            file,
            max_bytes,
            channels: HashMap::default(),
            lost_channel: None,
            whole_bytes: 0,
            index_bytes: 0,
            chunk: Gathered::default(),
            events: 0,
        };
        let begun = part.write_about(number, about).and_then(|()| part.flush());
        match begun {
            Ok(()) => Ok(part),
            Err(error) => {
                part.abandon();
                Err(error)
            }
        }
    }

    fn write_about(&mut self, number: u32, about: &About) -> io::Result<()> {
        let patterns = serde_json::to_string(&about.patterns)?;
        let metadata = BTreeMap::from([
            (key::CHANNEL.to_owned(), about.channel.clone()),
            (key::PATTERNS.to_owned(), patterns),
            (key::QUEUE.to_owned(), about.queue.to_owned()),
            (key::PART.to_owned(), number.to_string()),
        ]);
        self.writer
            .write_metadata(&Metadata { name: METADATA.to_owned(), metadata })
            .map_err(io_error)
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns why an event of this name and size has no place here. The first always has.
    pub fn full_for(&self, name: &str, data_bytes: usize) -> Option<Full> {
        if self.events == 0 {
            return None;
        }
        if self.channels.len() >= MAX_CHANNELS || self.index_bytes >= MAX_INDEX_BYTES {
            return Some(Full::Index);
        }
        let event_bytes = MESSAGE_BYTES
            + MESSAGE_INDEX_BYTES
            + CHANNEL_IN_CHUNK_BYTES
            + CHANNEL_IN_INDEX_BYTES
            + 2 * (CHANNEL_BYTES + name.len() as u64)
            + data_bytes as u64;
        let bytes = self.size_bound() + event_bytes;
        self.max_bytes.is_some_and(|max_bytes| bytes > max_bytes).then_some(Full::Size)
    }

    /// Returns what size the file has at most if it ends now.
    pub fn size_bound(&self) -> u64 {
        let chunk_bytes = self.chunk.bytes() + self.chunk.index_bytes();
        self.whole_bytes + self.index_bytes + chunk_bytes + END_BYTES
    }

    /// Appends an event that was received at this time.
    pub fn event(&mut self, event: &Event<'_>, time_ns: u64) -> io::Result<()> {
        let channel_id = self.channel(event)?;
        // The lower half; the channel tells the upper one.
        self.message(channel_id, event.sequence as u32, time_ns, event.data)?;
        self.events += 1;
        Ok(())
    }

    /// Appends a loss that was told at this time.
    pub fn loss(&mut self, loss: &Loss, number: u32, time_ns: u64) -> io::Result<()> {
        let id = match self.lost_channel {
            Some(id) => id,
            None => {
                let kind = BTreeMap::from([(key::KIND.to_owned(), KIND_LOST.to_owned())]);
                let id = self.add_channel(LOST_TOPIC, Encoding::Json, &kind)?;
                *self.lost_channel.insert(id)
            }
        };
        // Once too often if there are several in a chunk.
        self.chunk.channels += 1;
        self.message(id, number, time_ns, &loss.json())
    }

    fn message(
        &mut self,
        channel_id: u16,
        sequence: u32,
        time: u64,
        data: &[u8],
    ) -> io::Result<()> {
        let header = MessageHeader { channel_id, sequence, log_time: time, publish_time: time };
        self.writer.write_to_known_channel(&header, data).map_err(io_error)?;
        self.chunk.bytes += MESSAGE_BYTES + data.len() as u64;
        self.chunk.messages += 1;
        if self.chunk.bytes >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    /// Returns the number of an event's channel, which is new or known.
    fn channel(&mut self, event: &Event<'_>) -> io::Result<u16> {
        let sequence_high = (event.sequence >> 32) as u32;
        let Event { name, source, encoding, .. } = *event;
        let wanted = Wanted { name, source, encoding, sequence_high };
        if let Some(channel) = self.channels.get_mut(&wanted) {
            if channel.chunk != self.chunk.number {
                channel.chunk = self.chunk.number;
                self.chunk.channels += 1;
            }
            return Ok(channel.id);
        }
        let metadata = BTreeMap::from([
            (key::NODE.to_owned(), format!("{:08x}", source.node)),
            (key::CLIENT.to_owned(), source.client.to_string()),
            (key::SEQUENCE_HIGH.to_owned(), sequence_high.to_string()),
        ]);
        let id = self.add_channel(name, encoding, &metadata)?;
        self.chunk.channels += 1;
        let key = ChannelKey { name: name.into(), source, encoding, sequence_high };
        self.channels.insert(key, Channel { id, chunk: self.chunk.number });
        Ok(id)
    }

    fn add_channel(
        &mut self,
        topic: &str,
        encoding: Encoding,
        metadata: &BTreeMap<String, String>,
    ) -> io::Result<u16> {
        let added = self.writer.add_channel(0, topic, encoding.name(), metadata);
        let bytes = CHANNEL_BYTES + topic.len() as u64;
        self.chunk.bytes += bytes;
        self.index_bytes += bytes;
        added.map_err(io_error)
    }

    /// Writes what is gathered, if there is anything.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().map_err(io_error)?;
        self.whole_bytes = self.file.stream_position()?;
        if self.chunk.bytes > 0 {
            self.index_bytes += self.chunk.index_bytes();
            self.chunk = Gathered { number: self.chunk.number + 1, ..Gathered::default() };
        }
        Ok(())
    }

    /// Ends the file in order, also if that cannot be done wholly; returns its size.
    pub fn finish(mut self) -> io::Result<u64> {
        if let Err(error) = self.flush().and_then(|()| self.writer.finish().map_err(io_error)) {
            self.abandon();
            return Err(error);
        }
        let Part { writer, mut file, whole_bytes, .. } = self;
        let written = writer.into_inner().into_inner().into_inner();
        let written = written.map_err(io::IntoInnerError::into_parts);
        match written {
            Ok(_) => {
                file.sync_all()?;
                file.stream_position()
            }
            Err((error, buffer)) => {
                let _ = buffer.into_parts();
                mend(file, whole_bytes);
                Err(error)
            }
        }
    }

    /// Cuts off what is not whole, without writing what is gathered.
    pub fn abandon(self) {
        let Part { writer, file, whole_bytes, .. } = self;
        let _ = writer.into_inner().into_inner().into_parts();
        mend(file, whole_bytes);
    }
}

/// Ends a file without an index behind its last whole chunk, as far as that can be done.
fn mend(mut file: File, whole_bytes: u64) {
    let _ = file
        .set_len(whole_bytes)
        .and_then(|()| file.seek(SeekFrom::Start(whole_bytes)))
        .and_then(|_| file.write_all(&PLAIN_END))
        .and_then(|()| file.sync_all());
}

/// Returns the operating system's error, if it is one.
fn io_error(error: McapError) -> io::Error {
    match error {
        McapError::Io(error) => error,
        error => io::Error::other(error),
    }
}
