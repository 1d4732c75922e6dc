//! Settings that each shard of a broker is made with.

use std::sync::Arc;
use std::time::Duration;

use netcluster_platform::Peer;
use netcluster_wire::limits::DEFAULT_MAX_PAYLOAD_BYTES;

use crate::access::AccessRules;
use crate::channel_rules::ChannelRules;
use crate::placement::DEFAULT_SPILL_CLIENTS;
use crate::population::Limits;
use crate::returning::{MAX_HOLD, Record};
use netcluster_link::config::StreamMap;

/// Most shards of a broker: each pair has a ring.
pub const MAX_SHARDS: u16 = 64;
/// High-water mark of one client's queue unless another one is asked for, in bytes.
pub const DEFAULT_MAX_QUEUE_BYTES: usize = 8 << 20;
/// Smallest high-water mark that can be asked for, in bytes.
pub const MIN_MAX_QUEUE_BYTES: usize = 64 << 10;
/// Bytes that a client moves, either way, before memory is shared with it: a program that
/// emits a few events and ends is over by then.
pub const DEFAULT_SHARE_AFTER_BYTES: u64 = 64 << 10;
/// Patterns that one client may listen to unless more are asked for.
const DEFAULT_MAX_PATTERNS: usize = 10_000;

const _: () = assert!(MIN_MAX_QUEUE_BYTES <= DEFAULT_MAX_QUEUE_BYTES);

/// Settings of every shard, complete and checked (see [`BrokerOptions`]).
///
/// [`BrokerOptions`]: crate::BrokerOptions
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// This broker's node id, not 0.
    pub node: u32,
    /// Random number of this run of the broker, for which no other run has the same.
    pub run: u64,
    /// Seed of hash maps, so that outsiders cannot aim at their buckets.
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
    /// User who runs the broker.
    pub owner: Peer,
    /// Most patterns that one client listens to.
    pub max_patterns: usize,
    /// Time in which a full queue must drain to half.
    pub stall_timeout: Duration,
    /// Time in which a client must say hello.
    pub hello_timeout: Duration,
    /// Time that a disconnected client has to read why.
    pub linger: Duration,
    /// Time that a shutdown waits for clients to read what is queued.
    pub drain_timeout: Duration,
    /// Busy-wait of a shard before it sleeps.
    pub spin: Duration,
    /// Bytes that a client moves before memory is shared with it.
    pub share_after_bytes: u64,
    /// Most clients of one shard that memory is shared with.
    pub max_shared_clients: usize,
    /// Rules of channels.
    pub channels: Arc<ChannelRules>,
    /// Access rules.
    pub access: Arc<AccessRules>,
    /// Clients of one channel that share a shard before another one is used.
    pub spill_clients: usize,
    /// Clients that listened when the last broker of this socket ended in order.
    pub awaited: Arc<Record>,
    /// Longest time for which an event waits for them.
    pub hold: Duration,
    /// Spread of channels over the streams of the link; none without a link to other
    /// machines.
    pub link: Option<Arc<StreamMap>>,
    /// The link goes on with the session of the broker before.
    pub is_heir_of_link: bool,
    /// Number of the first client.
    pub first_client: u32,
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
            share_after_bytes: DEFAULT_SHARE_AFTER_BYTES,
            max_shared_clients: usize::MAX,
            channels: Arc::default(),
            access: Arc::default(),
            spill_clients: DEFAULT_SPILL_CLIENTS,
            awaited: Arc::default(),
            hold: MAX_HOLD,
            link: None,
            is_heir_of_link: false,
            first_client: 1,
        }
    }
}

impl ShardConfig {
    /// Returns the limits on the number of connections.
    pub fn limits(&self) -> Limits {
        let all = self.max_clients;
        let per_user = self.max_clients_per_user.unwrap_or(all.div_ceil(2));
        Limits { all, per_user, owner: self.owner.clone() }
    }
}
