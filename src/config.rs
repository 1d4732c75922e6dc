//! What a broker can be told, checked: the same for command line and file.
//!
//! Decision: `docs/decisions/037-queue-holds-four-events.md`.

use std::sync::Arc;
use std::time::Duration;

use netcluster_platform::Peer;
use netcluster_wire::limits::{DEFAULT_MAX_PAYLOAD_BYTES, HARD_MAX_PAYLOAD_BYTES};

use crate::placement::DEFAULT_SPILL_CLIENTS;
use crate::population::Limits;
use crate::returning::Record;
use netcluster_link::config::StreamMap;

/// Default high-water mark of one client's queue, in bytes: see [`default_max_queue_bytes`].
pub const DEFAULT_MAX_QUEUE_BYTES: usize = 8 << 20;
/// A queue has room for so many of the largest events, unless it is told otherwise.
const LARGEST_EVENTS_PER_QUEUE: usize = 4;
/// Smallest high-water mark that can be asked for, in bytes.
pub const MIN_MAX_QUEUE_BYTES: usize = 64 << 10;
/// Patterns that one client may listen to unless more are asked for.
pub const DEFAULT_MAX_PATTERNS: usize = 10_000;
/// Longest busy-wait that can be asked for.
pub const MAX_SPIN: Duration = Duration::from_micros(50);

const _: () = assert!(DEFAULT_MAX_PAYLOAD_BYTES <= HARD_MAX_PAYLOAD_BYTES);
const _: () = assert!(MIN_MAX_QUEUE_BYTES <= DEFAULT_MAX_QUEUE_BYTES);
// One event that fills a queue makes others from other machines be lost until it is read.
const _: () =
    assert!(LARGEST_EVENTS_PER_QUEUE * DEFAULT_MAX_PAYLOAD_BYTES <= DEFAULT_MAX_QUEUE_BYTES);

/// The high-water mark of one client's queue where payloads may have so many bytes and
/// nobody has set it.
pub fn default_max_queue_bytes(max_payload_bytes: usize) -> usize {
    LARGEST_EVENTS_PER_QUEUE.saturating_mul(max_payload_bytes).max(DEFAULT_MAX_QUEUE_BYTES)
}

/// What every shard needs to know. Its relations are checked by [`ShardConfig::check`].
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// This broker's node id, not 0.
    pub node: u32,
    /// A number that no other run has.
    pub run: u64,
    /// Seeds hash maps, so that outsiders cannot aim at their buckets.
    pub seed: u64,
    /// Largest payload, in bytes.
    pub max_payload_bytes: usize,
    /// High-water mark of a client's queue, in bytes.
    pub max_queue_bytes: usize,
    /// Most connections at a time.
    pub max_clients: usize,
    /// Most connections of one user, who is neither root nor the broker's own; half of all
    /// if it is not set.
    pub max_clients_per_user: Option<usize>,
    /// Who runs the broker.
    pub owner: Peer,
    /// Most patterns that one client listens to.
    pub max_patterns: usize,
    /// How long a full queue may take to drain to half.
    pub stall_timeout: Duration,
    /// How long a client may take to say hello.
    pub hello_timeout: Duration,
    /// How long a disconnected client may take to read why.
    pub linger: Duration,
    /// How long a shutdown waits for clients to read what is queued.
    pub drain_timeout: Duration,
    /// Busy-wait before sleeping.
    pub spin: Duration,
    /// Clients of one channel that share a shard before another one is used.
    pub spill_clients: usize,
    /// Who listened when the last broker of this socket ended in order.
    pub awaited: Arc<Record>,
    /// With a link to other machines: how channels are spread over its streams.
    pub link: Option<Arc<StreamMap>>,
}

impl Default for ShardConfig {
    fn default() -> ShardConfig {
        ShardConfig {
            node: 1,
            run: 1,
            seed: 0,
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
            max_queue_bytes: DEFAULT_MAX_QUEUE_BYTES,
            max_clients: 65_536,
            max_clients_per_user: None,
            owner: Peer::UNKNOWN,
            max_patterns: DEFAULT_MAX_PATTERNS,
            stall_timeout: Duration::from_secs(5),
            hello_timeout: Duration::from_secs(5),
            linger: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(5),
            spin: Duration::ZERO,
            spill_clients: DEFAULT_SPILL_CLIENTS,
            awaited: Arc::default(),
            link: None,
        }
    }
}

impl ShardConfig {
    /// Checks what a user can set.
    ///
    /// # Errors
    /// Which setting is out of range, and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let require = |good: bool, text: String| if good { Ok(()) } else { Err(text) };
        require(self.node != 0, "node id 0 means nobody: use another".into())?;
        require(
            (1..=HARD_MAX_PAYLOAD_BYTES).contains(&self.max_payload_bytes),
            format!("max-payload must be between 1 B and {HARD_MAX_PAYLOAD_BYTES} B (1 GiB)"),
        )?;
        require(
            self.max_queue_bytes >= MIN_MAX_QUEUE_BYTES,
            format!("max-queue must be at least {MIN_MAX_QUEUE_BYTES} B (64 KiB)"),
        )?;
        require(
            self.spin <= MAX_SPIN,
            format!("spin-us must be at most {} µs", MAX_SPIN.as_micros()),
        )?;
        let timeouts = [
            ("stall-timeout", self.stall_timeout),
            ("hello-timeout", self.hello_timeout),
            ("drain-timeout", self.drain_timeout),
        ];
        for (name, timeout) in timeouts {
            require(
                timeout >= Duration::from_millis(10),
                format!("{name} must be at least 10 ms"),
            )?;
        }
        require(self.max_patterns > 0, "max-patterns must be at least 1".into())?;
        require(self.max_clients > 0, "max-clients must be at least 1".into())?;
        require(
            self.max_clients_per_user != Some(0),
            "max-clients-per-user must be at least 1".into(),
        )
    }

    /// How many connections there may be.
    pub fn limits(&self) -> Limits {
        let all = self.max_clients;
        let per_user = self.max_clients_per_user.unwrap_or(all.div_ceil(2));
        Limits { all, per_user, owner: self.owner.clone() }
    }
}
