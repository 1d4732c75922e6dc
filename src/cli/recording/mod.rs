//! Recordings: how events of the bus lie in MCAP files.
//!
//! ```text
//! Header      profile `netcluster`
//! Metadata    `netcluster.recording`: channel, patterns, queue, part
//! Chunk*      at most 256 KiB and one event, or what came within a second; not compressed
//!   Channel   topic: the event's name; message_encoding: `bytes`, `text`, `json`
//!             metadata: node, client: the source; sequence_high: bits 32 to 63
//!   Message   sequence: bits 0 to 31; log_time = publish_time: when it was received, in
//!             nanoseconds since 1970; data: the payload
//! MessageIndex*, DataEnd, summary, Footer
//! ```
//!
//! An event tells no time of its own, so that both times of a message are the same. There
//! is a channel for each name, encoding and source, since a message has no place for its
//! source. Lost events are messages as well, at their place between the others, of a channel
//! whose metadata say `kind: lost`: JSON with `source`, `count` and `reason`.
//!
//! - `part`: one file that is written; `series`: one after the other.
//! - `records`: the records of a file that is read; `reader`: its events.
//!
//! Invariant: whatever a file claims, reading it ends with events or an error, and takes
//! no more memory than its largest record, which is limited.
//!
//! Decision: `docs/decisions/080-recordings-are-mcap.md`.

pub mod part;
pub mod reader;
mod records;
pub mod series;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use netcluster_client::{LossReason, Source};
use serde::Serialize;

/// Profile in the header of a recording.
const PROFILE: &str = "netcluster";

/// Name of the metadata record that says what was recorded.
const METADATA: &str = "netcluster.recording";

/// Topic of what was lost. An event of this name is another channel's: [`key::KIND`] tells.
const LOST_TOPIC: &str = "$lost";

/// Value of [`key::KIND`] where the messages are losses.
const KIND_LOST: &str = "lost";

/// Keys of metadata.
mod key {
    /// Meaning of the messages of a channel: [`super::KIND_LOST`], or events without it.
    pub const KIND: &str = "kind";
    /// Channel of the bus.
    pub const CHANNEL: &str = "channel";
    /// Patterns that were listened to, as a JSON array.
    pub const PATTERNS: &str = "patterns";
    /// Policy of the queue.
    pub const QUEUE: &str = "queue";
    /// Number of the file in its recording.
    pub const PART: &str = "part";
    /// Machine of a source, 8 hexadecimal digits.
    pub const NODE: &str = "node";
    /// Number of a source on its machine.
    pub const CLIENT: &str = "client";
    /// Bits 32 to 63 of the sequences.
    pub const SEQUENCE_HIGH: &str = "sequence_high";
}

/// Contents of a recording, as its metadata tell them.
#[derive(Clone, Debug)]
pub struct About {
    /// Channel of the bus.
    pub channel: String,
    /// Patterns that were listened to.
    pub patterns: Vec<String>,
    /// Policy of the queue.
    pub queue: &'static str,
}

/// Clock of a recording: times since 1970 that never go back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Time since 1970 at the start.
    epoch: Duration,
    start: Instant,
}

impl Clock {
    /// Starts the clock.
    pub fn start() -> Clock {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { epoch, start: Instant::now() }
    }

    /// Returns the time now, in nanoseconds since 1970.
    pub fn stamp(&self) -> u64 {
        let now = self.epoch + self.start.elapsed();
        u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Events that are missing at a place of the recording.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Emitter of the events; `None` if several or unknown.
    pub source: Option<Source>,
    /// The number of missing events; `None` if unknown.
    pub count: Option<u64>,
    /// The reason of the loss.
    pub reason: LossReason,
}

#[derive(Serialize)]
struct LostEvents {
    source: Option<LostSource>,
    count: Option<u64>,
    reason: String,
}

#[derive(Serialize)]
struct LostSource {
    node: String,
    client: u32,
}

impl Loss {
    /// Writes it as a recording has it.
    fn json(&self) -> Vec<u8> {
        let source = self
            .source
            .map(|Source { node, client }| LostSource { node: format!("{node:08x}"), client });
        let reason = format!("{:?}", self.reason).to_ascii_lowercase();
        let line = LostEvents { source, count: self.count, reason };
        serde_json::to_vec(&line).unwrap_or_default()
    }
}
