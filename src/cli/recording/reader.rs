//! Events of a recording, in the order in which they were recorded.
//!
//! Also of MCAP files that others wrote, where topics are the names of events.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use mcap::records::{Channel, Record, op};
use netcluster_client::{Encoding, Source};
use netcluster_wire::name;
use serde::Deserialize;

use super::records::{Bad, Place, Records};
use super::{KIND_LOST, METADATA, key};

/// Size of the buffer in front of a file.
const BUFFER_BYTES: usize = 256 << 10;

/// Longest part of a topic that is kept to complain about.
const SHOWN_CHARS: usize = 80;

/// One entry of a recording.
#[derive(Debug)]
pub enum Entry<'a> {
    /// An event.
    Event(Recorded<'a>),
    /// Events are missing at this place.
    Lost {
        /// Number of the events, if that was known.
        count: Option<u64>,
    },
    /// A message whose topic cannot be the name of an event.
    Unnamed {
        /// The beginning of its topic.
        topic: &'a str,
        /// Whether it is the first of its channel.
        is_first: bool,
    },
}

/// An event of a recording.
#[derive(Debug)]
pub struct Recorded<'a> {
    /// Name of the event.
    pub name: &'a str,
    /// Encoding of the data.
    pub encoding: Encoding,
    /// Emitter of the event; `None` in a file of others.
    pub source: Option<Source>,
    /// The emitter's number for it.
    pub sequence: u64,
    /// Time at which it was received, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Data of the event.
    pub data: &'a [u8],
}

/// A file that is read.
pub struct Reader<R> {
    records: Records<R>,
    channels: HashMap<u16, Topic>,
    bus_channel: Option<String>,
    /// The first message, found and not told yet.
    first: Option<Result<Option<Place>, Bad>>,
}

enum Topic {
    Event { name: String, encoding: Encoding, source: Option<Source>, sequence_high: u32 },
    Lost,
    Unnamed { shown: String, is_told: bool },
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Reader<BufReader<File>>, Bad> {
        let file = File::open(path).map_err(Bad::Io)?;
        let length = file.metadata().map_err(Bad::Io)?.len();
        Reader::begin(BufReader::with_capacity(BUFFER_BYTES, file), length)
    }
}

impl<R: BufRead> Reader<R> {
    /// Begins with a file of this length.
    pub fn begin(input: R, length: u64) -> Result<Reader<R>, Bad> {
        let records = Records::begin(input, length)?;
        let channels = HashMap::new();
        let mut reader = Reader { records, channels, bus_channel: None, first: None };
        reader.first = Some(reader.find());
        Ok(reader)
    }

    /// Returns the channel of the bus that the file tells in front of its first event.
    pub fn bus_channel(&self) -> Option<&str> {
        self.bus_channel.as_deref()
    }

    /// Finds the next message, and learns of what is in front of it.
    fn find(&mut self) -> Result<Option<Place>, Bad> {
        loop {
            let Some(place) = self.records.advance()? else { return Ok(None) };
            if place.opcode == op::MESSAGE {
                return Ok(Some(place));
            }
            match self.records.record(place)? {
                Record::Channel(channel) => {
                    self.channels.insert(channel.id, Topic::of(channel));
                }
                Record::Metadata(metadata) if metadata.name == METADATA => {
                    self.bus_channel = channel_of(&metadata.metadata);
                }
                _ => {}
            }
        }
    }

    /// Reads the next entry; `None` at the end of a whole file.
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Bad> {
        let found = match self.first.take() {
            Some(found) => found?,
            None => self.find()?,
        };
        let Some(place) = found else { return Ok(None) };
        let Record::Message { header, data: Cow::Borrowed(data) } = self.records.record(place)?
        else {
            return Err(place.damaged("a message is none"));
        };
        let Some(topic) = self.channels.get_mut(&header.channel_id) else {
            return Err(place.damaged("a message is of a channel that was not told"));
        };
        Ok(Some(match topic {
            Topic::Event { name, encoding, source, sequence_high } => Entry::Event(Recorded {
                name,
                encoding: *encoding,
                source: *source,
                sequence: u64::from(*sequence_high) << 32 | u64::from(header.sequence),
                time_ns: header.log_time,
                data,
            }),
            Topic::Lost => Entry::Lost { count: lost_count(data) },
            Topic::Unnamed { shown, is_told } => {
                let is_first = !std::mem::replace(is_told, true);
                Entry::Unnamed { topic: shown, is_first }
            }
        }))
    }
}

impl Topic {
    fn of(channel: Channel) -> Topic {
        let Channel { topic, message_encoding, metadata, .. } = channel;
        let told = |key: &str| metadata.get(key).map(String::as_str);
        if told(key::KIND) == Some(KIND_LOST) {
            return Topic::Lost;
        }
        if name::check_event(topic.as_bytes()).is_err() {
            return Topic::Unnamed {
                shown: topic.chars().take(SHOWN_CHARS).collect(),
                is_told: false,
            };
        }
        let node = told(key::NODE).and_then(|node| u32::from_str_radix(node, 16).ok());
        let client = told(key::CLIENT).and_then(|client| client.parse().ok());
        let source = node.zip(client).map(|(node, client)| Source { node, client });
        let sequence_high = told(key::SEQUENCE_HIGH).and_then(|high| high.parse().ok());
        // What others call something else is bytes to us.
        let encoding = Encoding::from_name(&message_encoding).unwrap_or_default();
        Topic::Event { name: topic, encoding, source, sequence_high: sequence_high.unwrap_or(0) }
    }
}

/// Returns the channel of the bus that metadata tell, if it can be one.
fn channel_of(metadata: &BTreeMap<String, String>) -> Option<String> {
    let channel = metadata.get(key::CHANNEL)?;
    name::check_channel(channel.as_bytes()).ok().map(str::to_owned)
}

fn lost_count(data: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Count {
        count: Option<u64>,
    }
    serde_json::from_slice::<Count>(data).ok()?.count
}
