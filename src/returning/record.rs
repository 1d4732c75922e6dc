//! Record of its clients that a broker leaves for its successor as it ends, and how.
//!
//! A successor that ends before all of them are back passes on those that are missing, so
//! that restarts in quick succession lose nobody. Whoever was missing for [`MAX_ABSENCE`]
//! is not waited for any more.
//!
//! Invariant: a record has at most [`MAX_RECORDED`] clients, and each of them once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use netcluster_wire::Source;

use crate::will::Will;

/// Clients that a record holds; further ones are not waited for.
const MAX_RECORDED: usize = 65_536;

/// Brokers of which a record says who was there; of earlier ones nothing is known.
const MAX_NODES: usize = 16;

/// Time for which brokers wait in vain for a client, all of them together.
pub const MAX_ABSENCE: Duration = Duration::from_secs(10);

/// Clients that listened when a broker ended, by channel, and those that it waited for
/// itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Node ids of that broker and of those before it, whose clients are known.
    nodes: Vec<u32>,
    /// Listeners of each channel, under the source that a client had when it listened last
    /// with all its patterns.
    channels: BTreeMap<String, BTreeMap<Source, Entry>>,
}

/// Facts of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    source: Source,
    patterns: u32,
    absent: Duration,
    has_missed: bool,
}

/// Node, number, patterns and milliseconds of absence of a client, and whether events may have
/// passed it by.
type Numbers = (u32, u32, u32, u32, bool);

/// A record as it is written.
#[derive(Default, Serialize, Deserialize)]
struct Written {
    nodes: Vec<u32>,
    channels: BTreeMap<String, Vec<Numbers>>,
}

/// All that a broker leaves.
#[derive(Serialize)]
struct Note<'a> {
    #[serde(flatten)]
    record: Written,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a Will>,
}

impl Record {
    /// Returns the record of a broker with this node id, before it knows of anybody.
    pub fn of(node: u32) -> Record {
        Record { nodes: vec![node], channels: BTreeMap::new() }
    }

    /// Reads what [`Record::encode`] wrote; no record if it is something else.
    pub fn decode(bytes: &[u8]) -> Record {
        let Written { mut nodes, channels } = serde_json::from_slice(bytes).unwrap_or_default();
        nodes.truncate(MAX_NODES);
        let mut record = Record { nodes, channels: BTreeMap::new() };
        for (channel, clients) in channels {
            let channel: Arc<str> = channel.into();
            let listening = |(node, client, patterns, absent_ms, has_missed): Numbers| {
                let (channel, source) = (Arc::clone(&channel), Source { node, client });
                let absent = Duration::from_millis(absent_ms.into());
                Listening { channel, source, before: source, patterns, absent, has_missed }
            };
            record.add(&clients.into_iter().map(listening).collect::<Vec<_>>());
        }
        record
    }

    /// Returns the record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(None)
    }

    /// Returns the record and the link's session as bytes.
    fn encode_with(&self, link: Option<&Will>) -> Vec<u8> {
        let written = |entry: &Entry| {
            let absent_ms = u32::try_from(entry.absent.as_millis()).unwrap_or(u32::MAX);
            (entry.source.node, entry.source.client, entry.patterns, absent_ms, entry.has_missed)
        };
        let channels = self
            .channels
            .iter()
            .map(|(name, clients)| (name.clone(), clients.values().map(written).collect()));
        let record = Written { nodes: self.nodes.clone(), channels: channels.collect() };
        serde_json::to_vec(&Note { record, link }).unwrap_or_default()
    }

    /// Adds brokers of which an earlier record said who was there.
    pub fn add_nodes(&mut self, earlier: &Record) {
        self.nodes.extend(&earlier.nodes);
        self.nodes.truncate(MAX_NODES);
    }

    /// Adds clients. One that is here takes the place of what it was before.
    pub fn add(&mut self, listeners: &[Listening]) {
        let mut room = MAX_RECORDED.saturating_sub(self.len());
        for listening in listeners {
            let Listening { channel, source, before, patterns, absent, has_missed } = listening;
            let clients = self.channels.entry(channel.to_string()).or_default();
            let (source, patterns, absent) = (*source, *patterns, *absent);
            let entry = Entry { source, patterns, absent, has_missed: *has_missed };
            match clients.get_mut(before) {
                Some(known) if known.absent > entry.absent => *known = entry,
                Some(_) => {}
                None if room == 0 => return,
                None => {
                    room -= 1;
                    clients.insert(*before, entry);
                }
            }
        }
    }

    /// Returns the number of clients in the record.
    pub fn len(&self) -> usize {
        self.channels.values().map(BTreeMap::len).sum()
    }

    /// Returns whether no client is in the record.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Returns whether the record says who listened to a broker when it ended.
    pub fn knows(&self, node: u32) -> bool {
        self.nodes.contains(&node)
    }

    /// Returns the node id of the broker that left the record; 0: there is none.
    pub fn node(&self) -> u32 {
        self.nodes.first().copied().unwrap_or(0)
    }

    /// Returns all clients of the record.
    pub fn clients(&self) -> impl Iterator<Item = Listening> {
        self.channels.iter().flat_map(|(name, clients)| {
            let channel: Arc<str> = name.as_str().into();
            clients.iter().map(move |(before, entry)| Listening {
                channel: Arc::clone(&channel),
                source: entry.source,
                before: *before,
                patterns: entry.patterns,
                absent: entry.absent,
                has_missed: entry.has_missed,
            })
        })
    }

    /// Returns the number of patterns that a returning client had; 0 if the client is
    /// not waited for.
    pub fn patterns_of(&self, channel: &str, previous: Source) -> u32 {
        self.entry(channel, previous).map_or(0, |entry| entry.patterns)
    }

    /// Returns whether a client is waited for that nothing has passed by.
    pub fn has_kept_all_for(&self, channel: &str, previous: Source) -> bool {
        self.entry(channel, previous).is_some_and(|entry| entry.patterns > 0 && !entry.has_missed)
    }

    fn entry(&self, channel: &str, previous: Source) -> Option<&Entry> {
        self.channels.get(channel)?.get(&previous)
    }
}

/// A client that listens when its broker ends, or that is waited for then.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Channel that the client is on.
    pub channel: Arc<str>,
    /// Source that the client has, or had when it was here last.
    pub source: Source,
    /// Source under which it is waited for; its own if it is not.
    pub before: Source,
    /// Number of patterns that the client listens to, or did.
    pub patterns: u32,
    /// Time for which it was waited for; none if it is here.
    pub absent: Duration,
    /// Events may have passed it by, as they waited for it no longer.
    pub has_missed: bool,
}

impl Listening {
    /// Returns what stands for clients of a channel of which nobody knows who they are: they
    /// never are all back.
    pub fn unknown(channel: &Arc<str>, absent: Duration) -> Listening {
        let (channel, source) = (Arc::clone(channel), Source::NONE);
        Listening { channel, source, before: source, patterns: 0, absent, has_missed: true }
    }
}

/// Function that a record is handed to when a broker ends.
type Leave = Box<dyn FnOnce(Vec<u8>) + Send>;

/// Handle by which a broker leaves its record, once.
#[derive(Clone, Default)]
pub struct Successor(Arc<Mutex<Option<Leave>>>);

impl Successor {
    /// Returns a handle that leaves the record by calling `leave`.
    pub fn new(leave: impl FnOnce(Vec<u8>) + Send + 'static) -> Successor {
        Successor(Arc::new(Mutex::new(Some(Box::new(leave)))))
    }

    /// Leaves the record, and perhaps the link's session; a second call does nothing.
    pub fn leave(&self, record: &Record, link: Option<&Will>) {
        let leave = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(leave) = leave {
            leave(record.encode_with(link));
        }
    }
}

impl fmt::Debug for Successor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Successor")
    }
}
