//! The start of a broker: first all that can fail, then the socket, then work.
//!
//! ```text
//!   Prepared ── bind ─────────────────────────────▶ Ready ── start ─▶ Broker
//!      └─────── bind_beside ─▶ Claimant ── own ────────▲
//! ```
//! By the second way it takes the place of a broker that runs: until [`Claimant::own`]
//! nothing of that one has been touched.
//!
//! Decision: `docs/decisions/090-succession.md`.

use std::ffi::OsStr;
use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use netcluster_platform::datagram::DatagramSockets;
use netcluster_platform::{
    Backend, BrokerArena, HeirListener, LocalListener, Note, allowed_cores, descriptor_limit,
    give_back_memory, select_backend,
};

use crate::broker::{Broker, StartError, random};
use crate::budget::Budget;
use crate::config::{MAX_SHARDS, ShardConfig};
use crate::crew::{Crew, Work};
use crate::heir::{Heir, terms_of_node};
use crate::keeper::Keeper;
use crate::memory_maker::MemoryMaker;
use crate::options::{BrokerOptions, SharedMemory};
use crate::population::Population;
use crate::pulse::Pulse;
use crate::reload::Reloader;
use crate::returning::{Record, Successor};
use crate::shard::{LinkStart, Shared};
use crate::status::Status;
use crate::uplink::{self, LateSockets};
use crate::will::Will;

use netcluster_link::succession;

/// Descriptors of the memory that is shared with one client.
const DESCRIPTORS_OF_MEMORY: u64 = 4;

/// A broker that has all it needs but its socket. Dropping it gives all back.
#[derive(Debug)]
pub struct Prepared {
    options: BrokerOptions,
    config: ShardConfig,
    crew: Crew,
    backend: Backend,
    shards: u16,
    backend_note: Option<String>,
    shared_memory_note: Option<String>,
    memory_maker: Option<MemoryMaker>,
}

/// A broker that listens beside another one, whose place it is to take.
pub struct Claimant {
    prepared: Prepared,
    listener: HeirListener,
    link: Option<(LinkStart<DatagramSockets>, LateSockets)>,
}

/// Wait until the broker whose place was taken has left the link.
type PredecessorLeft = Box<dyn FnOnce() + Send>;

/// A broker that owns its socket, where clients queue.
#[derive(Debug)]
pub struct Ready {
    prepared: Prepared,
    listener: LocalListener,
    /// Parts that wait for the broker whose place it took.
    heritage: Option<Heritage>,
}

impl fmt::Debug for Claimant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Claimant").field("name", &self.name()).finish_non_exhaustive()
    }
}

struct Heritage {
    link: Option<(LinkStart<DatagramSockets>, LateSockets)>,
    predecessor_left: PredecessorLeft,
}

impl fmt::Debug for Heritage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Heritage")
    }
}

impl Prepared {
    /// Prepares a broker with these options.
    ///
    /// # Errors
    /// Reason why it cannot start, and what to change.
    pub fn new(options: BrokerOptions) -> Result<Prepared, StartError> {
        options.check().map_err(StartError::Option)?;
        let mut config = options.shard_config(random).map_err(StartError::Option)?;
        let cores = allowed_cores();
        let shards = options
            .shards
            .unwrap_or_else(|| (cores.len() / 2).clamp(1, usize::from(MAX_SHARDS)) as u16);
        let (backend, backend_note) =
            select_backend(options.backend).map_err(StartError::Backend)?;
        if let Some(note) = &backend_note {
            tracing::warn!("using the poll back end: {note}");
        }
        let (arena, shared_memory_note) = match options.shared_memory {
            SharedMemory::Auto => make_arena(usize::from(shards)),
            SharedMemory::Off => (None, Some("switched off".to_owned())),
        };
        let memory_maker = match &arena {
            Some(_) => Some(MemoryMaker::start().map_err(StartError::Thread)?),
            None => None,
        };
        let for_memory =
            options.descriptors_of_shared_memory(descriptor_limit()) / DESCRIPTORS_OF_MEMORY;
        config.max_shared_clients =
            usize::try_from(for_memory / u64::from(shards)).unwrap_or(usize::MAX);
        let pinned = (options.pin || usize::from(shards) == cores.len() && shards > 1)
            .then_some(cores.as_slice());
        let crew =
            Crew::muster(shards, backend, arena.as_ref(), pinned).map_err(StartError::Thread)?;
        Ok(Prepared {
            options,
            config,
            crew,
            backend,
            shards,
            backend_note,
            shared_memory_note,
            memory_maker,
        })
    }

    /// Binds the socket.
    ///
    /// # Errors
    /// Reason why not, and what to do.
    pub fn bind(self) -> Result<Ready, StartError> {
        let listener = LocalListener::bind(&self.options.socket, &self.options.bind)
            .map_err(StartError::Bind)?;
        Ok(Ready { prepared: self, listener, heritage: None })
    }

    /// Listens beside the socket, on which another broker does. That is to be asked to hand
    /// over to [`Claimant::name`]; then [`Claimant::own`] waits for it.
    ///
    /// # Errors
    /// Reason why not, and what to do.
    pub fn bind_beside(mut self) -> Result<Claimant, StartError> {
        let config = &mut self.config;
        let link = self.options.link.as_ref().map(|link| uplink::open_later(link, config));
        let link = link.transpose().map_err(StartError::Link)?;
        let listener = HeirListener::bind(&self.options.socket, &self.options.bind)
            .map_err(StartError::Bind)?;
        Ok(Claimant { prepared: self, listener, link })
    }
}

impl Claimant {
    /// Returns the name of its socket beside the other broker's.
    pub fn name(&self) -> &OsStr {
        self.listener.name()
    }

    /// Returns the terms on which it goes on with the session of the other broker's link; none
    /// without a link.
    pub fn terms(&self) -> Option<String> {
        let (link, _) = self.link.as_ref()?;
        let terms = succession::terms(&link.config);
        Some(match self.prepared.options.node {
            Some(node) => terms_of_node(&terms, node),
            None => terms,
        })
    }

    /// Waits, so long, until the other broker has left its place or is gone, and takes it.
    /// Its link begins once `predecessor_left`, called on a thread of its own, returns.
    ///
    /// # Errors
    /// It does not leave.
    pub fn own(
        self,
        within: Duration,
        predecessor_left: impl FnOnce() + Send + 'static,
    ) -> Result<Ready, StartError> {
        let Claimant { prepared, listener, link } = self;
        let listener = listener.own(within).map_err(StartError::Bind)?;
        let predecessor_left = Box::new(predecessor_left);
        Ok(Ready { prepared, listener, heritage: Some(Heritage { link, predecessor_left }) })
    }
}

impl Ready {
    /// Begins to serve.
    ///
    /// # Errors
    /// The link cannot be opened, or a thread not be started.
    pub fn start(self) -> Result<Broker, StartError> {
        let Ready { prepared, listener, heritage } = self;
        let is_heir = heritage.is_some();
        let Prepared { options, mut config, crew, backend, shards, .. } = prepared;
        if let Some(flaw) = listener.flaw() {
            tracing::warn!(
                "{flaw}: whoever can write there can put another socket in the place of {}, and \
                 have its clients",
                options.socket.display()
            );
        }
        let keeper = listener.keeper(&options.bind);
        let (mut link, mut late_link) = match heritage {
            Some(Heritage { link: Some((link, late)), predecessor_left }) => {
                (Some(link), Some((late, predecessor_left)))
            }
            Some(Heritage { link: None, .. }) => (None, None),
            None => (open_link(&options, &mut config)?, None),
        };
        let note = listener.note();
        if let Some(note) = &note {
            let left = note.read();
            config.awaited = Arc::new(Record::decode(&left));
            // A session is taken once, whatever becomes of this broker.
            let is_taken = is_heir && note.write(b"").is_ok();
            let will = is_taken.then(|| Will::read(&left)).flatten();
            match (will, &mut link, &mut late_link) {
                (Some(will), Some(link), Some((late, _)))
                    if will.is_for(&link.config, options.node) =>
                {
                    late.prefer(will.unicast_port);
                    will.come_into_force(link, &mut config);
                }
                // All of them were just told to come; who does not is as one that does not
                // read.
                _ if is_heir => config.hold = config.hold.max(config.stall_timeout),
                _ => {}
            }
        }
        let awaited = config.awaited.len();
        if awaited > 0 {
            tracing::info!(
                clients = awaited,
                is_heir,
                "events wait for the clients that were here before"
            );
        }
        let about = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: format!("{:08x}", config.node),
            pid: std::process::id(),
            backend_note: prepared.backend_note,
            shared_memory_note: prepared.shared_memory_note,
            ..Status::default()
        };
        let node = config.node;
        let shutdown = crew.shutdown().clone();
        let heir = Heir::default();
        let shared = Shared {
            config: Arc::new(config),
            budget: Budget::new(options.memory_bytes()),
            population: Population::default(),
            shutdown: Arc::clone(&shutdown.asked),
            successor: note.map_or_else(Successor::default, |note| leave_in(note, heir.clone())),
            heir: heir.clone(),
            about: Arc::new(about),
            give_back: give_back_memory,
            yield_core: std::thread::yield_now,
            memory_maker: prepared.memory_maker,
            log: Arc::clone(&options.log),
            pulse: Pulse::new(usize::from(shards)),
            operator: options.operator.clone(),
        };
        if let Some((late, predecessor_left)) = late_link {
            heir.unsettle();
            let opening = late.open_once(predecessor_left, crew.first_waker());
            opening.map_err(StartError::Thread)?;
        }
        let pulse = shared.pulse.clone();
        let (accepting, listeners) = mpsc::channel();
        let keeper = match keeper {
            Some(keeper) => {
                let waker = crew.first_waker();
                let started = Keeper::start(keeper, accepting, waker, &shutdown, &heir);
                Some(started.map_err(StartError::Thread)?)
            }
            None => None,
        };
        let (config, budget) = (ShardConfig::clone(&shared.config), shared.budget.clone());
        let (threads, ways) = crew.set_to_work(Work { shared, listener, listeners, link });
        let reloader = Reloader::new(config, options.link, budget, ways);
        Ok(Broker {
            socket: options.socket,
            shutdown,
            threads,
            node,
            backend,
            shards,
            keeper,
            heir,
            pulse,
            reloader,
        })
    }
}

fn open_link(
    options: &BrokerOptions,
    config: &mut ShardConfig,
) -> Result<Option<LinkStart<DatagramSockets>>, StartError> {
    let link = options.link.as_ref();
    link.map(|link| uplink::open(link, config).map_err(StartError::Link)).transpose()
}

/// Makes the memory that local clients read in place, where the system has it; else the
/// reason why not.
fn make_arena(shards: usize) -> (Option<Arc<BrokerArena>>, Option<String>) {
    match BrokerArena::new(shards) {
        Ok(arena) => (Some(arena), None),
        Err(error) => {
            // Elsewhere nobody misses it.
            if cfg!(target_os = "linux") {
                tracing::warn!(%error, "no memory can be shared with clients; sockets are used");
            }
            (None, Some(error.to_string()))
        }
    }
}

/// Empties the note, which is outdated, and returns what leaves the broker's own record
/// in it; for an heir it lets the path go, too.
fn leave_in(note: Note, heir: Heir) -> Successor {
    let warn = |error| {
        tracing::warn!(%error, "the lock file takes nothing: after a restart events wait longer");
    };
    note.write(b"").unwrap_or_else(warn);
    Successor::new(move |record| {
        let left = if heir.is_there() { note.leave(&record) } else { note.write(&record) };
        left.unwrap_or_else(warn);
    })
}
