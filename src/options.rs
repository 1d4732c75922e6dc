//! Options of a broker, and their check: given by the command line, a file or the
//! program that embeds the broker.
//!
//! Decision: `docs/decisions/037-queue-holds-four-events.md`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use netcluster_link::options::LinkOptions;
use netcluster_platform::{BackendChoice, BindOptions, memory_total_bytes, own_user};
use netcluster_wire::limits::{DEFAULT_MAX_PAYLOAD_BYTES, HARD_MAX_PAYLOAD_BYTES};

use crate::access::{AccessDefault, AccessOptions, AccessRules};
use crate::channel_rules::{ChannelOptions, ChannelRules};
use crate::config::{DEFAULT_MAX_QUEUE_BYTES, MAX_SHARDS, MIN_MAX_QUEUE_BYTES, ShardConfig};
use crate::log::LogCounts;
use crate::operator::Operator;
use crate::returning::MAX_HOLD;

/// Number of the largest events that a queue has room for, unless its size is set.
const LARGEST_EVENTS_PER_QUEUE: usize = 4;
/// Budget of a machine that does not tell its memory, in bytes.
const FALLBACK_MEMORY_BYTES: usize = 256 << 20;
/// Longest busy-wait that can be asked for.
const MAX_SPIN: Duration = Duration::from_micros(50);
/// Shortest timeout that can be asked for.
const MIN_TIMEOUT: Duration = Duration::from_millis(10);

const _: () = assert!(DEFAULT_MAX_PAYLOAD_BYTES <= HARD_MAX_PAYLOAD_BYTES);
// One event that fills a queue makes others from other machines be lost until it is read.
const _: () =
    assert!(LARGEST_EVENTS_PER_QUEUE * DEFAULT_MAX_PAYLOAD_BYTES <= DEFAULT_MAX_QUEUE_BYTES);

/// Whether memory is shared with local clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedMemory {
    /// With those that can and that move more than a few bytes; else their socket is used.
    #[default]
    Auto,
    /// With nobody: sockets do all the work.
    Off,
}

/// Options of a broker, each with a default. [`Broker::start`] checks them.
///
/// ```
/// use netcluster::{BackendChoice, BrokerOptions, LinkOptions};
///
/// let mut options = BrokerOptions::new("/run/example/broker.sock");
/// options.bind.mode = 0o600; // for processes of this user alone
/// options.backend = BackendChoice::Poll;
/// options.max_payload_bytes = 64 << 10;
/// let mut link = LinkOptions::new("example");
/// link.cluster = "office".into();
/// options.link = Some(link);
/// ```
///
/// [`Broker::start`]: crate::Broker::start
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BrokerOptions {
    /// Path of the local socket, where clients connect.
    pub socket: PathBuf,
    /// Mode and group of the socket.
    pub bind: BindOptions,
    /// Number of shards, 1 to 64; `None`: one for two cores, at least one.
    pub shards: Option<u16>,
    /// Whether each shard is pinned to a core of its own.
    pub pin: bool,
    /// Back end that the shards use.
    pub backend: BackendChoice,
    /// Node id of this broker, another one for each broker of a cluster, not 0; `None`: a
    /// random one.
    pub node: Option<u32>,
    /// Largest payload of an event, in bytes: at most 1 GiB, 64 MiB with a link.
    pub max_payload_bytes: usize,
    /// High-water mark of a client's queue, in bytes; `None`: 8 MiB, or four times
    /// `max_payload_bytes` if that is more.
    pub max_queue_bytes: Option<usize>,
    /// Memory that clients may make the broker keep, in bytes; `None`: a quarter of the
    /// machine's, or of the container's.
    pub max_memory_bytes: Option<usize>,
    /// Most connections at a time.
    pub max_clients: usize,
    /// Most connections of one user, who is neither root nor the broker's own; `None`: half
    /// of `max_clients`.
    pub max_clients_per_user: Option<usize>,
    /// Most patterns that one client listens to.
    pub max_patterns: usize,
    /// Time in which a full queue must drain to half, or its client is disconnected.
    pub stall_timeout: Duration,
    /// Time in which a client must say hello.
    pub hello_timeout: Duration,
    /// Time that a shutdown waits for clients to read what is queued for them.
    pub drain_timeout: Duration,
    /// Time that a disconnected client has to read why.
    pub linger: Duration,
    /// Busy-wait of a shard before it sleeps, at most 50 µs.
    pub spin: Duration,
    /// Whether memory is shared with local clients, where the system can.
    pub shared_memory: SharedMemory,
    /// Bytes that a client moves before memory is shared with it.
    #[doc(hidden)]
    pub share_after_bytes: u64,
    /// Number of clients of one channel that share a shard before another one is used.
    pub spill_clients: usize,
    /// Options of single channels, by name.
    pub channels: BTreeMap<String, ChannelOptions>,
    /// Access rules, by name.
    pub access: BTreeMap<String, AccessOptions>,
    /// Rights of clients whom no access rule is for.
    pub access_default: AccessDefault,
    /// Link to other machines; `None`: this broker is alone.
    pub link: Option<LinkOptions>,
    /// Program that the broker runs in, for what the broker's owner asks of it; `None`: it
    /// refuses.
    pub operator: Option<Arc<dyn Operator>>,
    /// Counters of what the program's log leaves out, for `status`.
    #[doc(hidden)]
    pub log: Arc<LogCounts>,
}

impl BrokerOptions {
    /// Returns the default options, for a broker at this socket.
    pub fn new(socket: impl Into<PathBuf>) -> BrokerOptions {
        let default = ShardConfig::default();
        BrokerOptions {
            socket: socket.into(),
            bind: BindOptions::default(),
            shards: None,
            pin: false,
            backend: BackendChoice::Auto,
            node: None,
            max_payload_bytes: default.max_payload_bytes,
            max_queue_bytes: None,
            max_memory_bytes: None,
            max_clients: default.max_clients,
            max_clients_per_user: None,
            max_patterns: default.max_patterns,
            stall_timeout: default.stall_timeout,
            hello_timeout: default.hello_timeout,
            drain_timeout: default.drain_timeout,
            linger: default.linger,
            spin: default.spin,
            shared_memory: SharedMemory::Auto,
            share_after_bytes: default.share_after_bytes,
            spill_clients: default.spill_clients,
            channels: BTreeMap::new(),
            access: BTreeMap::new(),
            access_default: AccessDefault::Allow,
            link: None,
            operator: None,
            log: Arc::default(),
        }
    }

    /// Returns the high-water mark of a client's queue, in bytes: the one that is asked
    /// for, or the default for these payloads.
    pub fn queue_bytes(&self) -> usize {
        let default = LARGEST_EVENTS_PER_QUEUE.saturating_mul(self.max_payload_bytes);
        self.max_queue_bytes.unwrap_or(default.max(DEFAULT_MAX_QUEUE_BYTES))
    }

    /// Returns how many of so many descriptors are for memory that is shared with clients: a
    /// quarter, so that they keep nobody from connecting.
    pub fn descriptors_of_shared_memory(&self, limit: u64) -> u64 {
        match self.shared_memory {
            SharedMemory::Auto => limit / 4,
            SharedMemory::Off => 0,
        }
    }

    /// Checks all that needs no look at the machine.
    ///
    /// # Errors
    /// Which option is out of range, and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let require = |good: bool, text: String| if good { Ok(()) } else { Err(text) };
        require(
            self.shards.is_none_or(|shards| (1..=MAX_SHARDS).contains(&shards)),
            format!("shards must be between 1 and {MAX_SHARDS}"),
        )?;
        require(self.node != Some(0), "node id 0 means nobody: use another".into())?;
        require(
            (1..=HARD_MAX_PAYLOAD_BYTES).contains(&self.max_payload_bytes),
            format!("max-payload must be between 1 B and {HARD_MAX_PAYLOAD_BYTES} B (1 GiB)"),
        )?;
        require(
            self.queue_bytes() >= MIN_MAX_QUEUE_BYTES,
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
                timeout >= MIN_TIMEOUT,
                format!("{name} must be at least {} ms", MIN_TIMEOUT.as_millis()),
            )?;
        }
        let counts = [
            ("max-patterns", self.max_patterns),
            ("max-clients", self.max_clients),
            ("max-clients-per-user", self.max_clients_per_user.unwrap_or(1)),
        ];
        for (name, count) in counts {
            require(count > 0, format!("{name} must be at least 1"))?;
        }
        ChannelRules::new(&self.channels)?;
        self.access_rules()?;
        self.link.as_ref().map_or(Ok(()), |link| link.check(self.max_payload_bytes))
    }

    /// Returns the memory that clients may make the broker keep, in bytes: as much as is asked
    /// for, or the default for this machine.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.max_memory_bytes.unwrap_or_else(|| {
            let total = memory_total_bytes().and_then(|bytes| usize::try_from(bytes).ok());
            total.map_or(FALLBACK_MEMORY_BYTES, |bytes| bytes / 4)
        })
    }

    /// Returns the access rules, checked.
    ///
    /// # Errors
    /// Which key is wrong, and what is allowed.
    pub(crate) fn access_rules(&self) -> Result<AccessRules, String> {
        AccessRules::new(&self.access, self.access_default)
    }

    /// Turns the options into what each shard of such a broker is made with; `random` gives
    /// numbers that nobody can guess.
    ///
    /// # Errors
    /// Which rule is wrong.
    pub(crate) fn shard_config(
        &self,
        mut random: impl FnMut() -> u64,
    ) -> Result<ShardConfig, String> {
        Ok(ShardConfig {
            node: self.node.unwrap_or_else(|| (random() as u32).max(1)),
            run: random(),
            seed: random(),
            max_payload_bytes: self.max_payload_bytes,
            max_queue_bytes: self.queue_bytes(),
            max_clients: self.max_clients,
            max_clients_per_user: self.max_clients_per_user,
            owner: own_user(),
            max_patterns: self.max_patterns,
            stall_timeout: self.stall_timeout,
            hello_timeout: self.hello_timeout,
            linger: self.linger,
            drain_timeout: self.drain_timeout,
            spin: self.spin,
            share_after_bytes: self.share_after_bytes,
            max_shared_clients: usize::MAX,
            channels: Arc::new(ChannelRules::new(&self.channels)?),
            access: Arc::new(self.access_rules()?),
            spill_clients: self.spill_clients,
            awaited: Arc::default(),
            hold: MAX_HOLD,
            ..ShardConfig::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut BrokerOptions)) -> BrokerOptions {
        let mut options = BrokerOptions::new("x");
        change(&mut options);
        options
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        assert_eq!(with(|_| ()).check(), Ok(()));
        let refused = |word: &str, change: fn(&mut BrokerOptions)| {
            let text = with(change).check().unwrap_err();
            assert!(text.contains(word), "{word}: {text}");
        };
        refused("shards must", |options| options.shards = Some(0));
        refused("shards must", |options| options.shards = Some(MAX_SHARDS + 1));
        refused("node id 0", |options| options.node = Some(0));
        refused("max-payload", |options| options.max_payload_bytes = 0);
        refused("max-payload", |options| options.max_payload_bytes = HARD_MAX_PAYLOAD_BYTES + 1);
        refused("max-queue", |options| options.max_queue_bytes = Some(MIN_MAX_QUEUE_BYTES - 1));
        refused("spin-us", |options| options.spin = MAX_SPIN + Duration::from_nanos(1));
        refused("stall-timeout", |options| options.stall_timeout = Duration::ZERO);
        refused("hello-timeout", |options| options.hello_timeout = Duration::ZERO);
        refused("drain-timeout", |options| options.drain_timeout = Duration::ZERO);
        refused("max-patterns", |options| options.max_patterns = 0);
        refused("max-clients must", |options| options.max_clients = 0);
        refused("max-clients-per-user", |options| options.max_clients_per_user = Some(0));
        refused("max-payload must be at most 64 MiB", |options| {
            options.link = Some(LinkOptions::new("here"));
            options.max_payload_bytes = 65 << 20;
        });
    }

    #[test]
    fn each_broker_has_random_numbers_unless_it_is_told_its_node() {
        let mut last = 0;
        let mut random = || {
            last += 1;
            last << 32
        };
        let config = with(|_| ()).shard_config(&mut random).unwrap();
        assert_eq!((config.node, config.run, config.seed), (1, 2 << 32, 3 << 32));
        let config = with(|options| options.node = Some(7)).shard_config(&mut random).unwrap();
        assert_eq!((config.node, config.run, config.seed), (7, 4 << 32, 5 << 32));
    }

    /// 16 MiB above 8 MiB were the defaults: one large event lost small ones.
    #[test]
    fn a_queue_holds_several_of_the_largest_events_unless_it_is_told_otherwise() {
        let queue = |max_payload_bytes, max_queue_bytes| {
            with(|options| {
                options.max_payload_bytes = max_payload_bytes;
                options.max_queue_bytes = max_queue_bytes;
            })
            .shard_config(|| 1)
            .unwrap()
            .max_queue_bytes
        };
        assert_eq!(queue(DEFAULT_MAX_PAYLOAD_BYTES, None), DEFAULT_MAX_QUEUE_BYTES);
        assert_eq!(queue(1 << 10, None), DEFAULT_MAX_QUEUE_BYTES);
        assert_eq!(queue(16 << 20, None), 64 << 20);
        assert_eq!(queue(16 << 20, Some(16 << 20)), 16 << 20);
    }
}
