//! Starts a broker, one thread per shard, and ends it.
//!
//! A back end must be made on the thread that uses it, and shards need each
//! other's wakers, so starting takes two steps: every thread makes its back end
//! and hands its waker over; then each gets its ends of the [`Mesh`].

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;

use netcluster_platform::datagram::DatagramSockets;
use netcluster_platform::{
    ArenaSection, Backend, BackendUnavailable, BindError, BrokerArena, Io, LocalListener,
    LocalSocket, Note, PollConfig, PollIo, Waker, allowed_cores, descriptor_limit,
    give_back_memory, pin_to_core, select_backend,
};

use crate::budget::Budget;
use crate::config::{MAX_SHARDS, ShardConfig};
use crate::keeper::Keeper;
use crate::memory_maker::MemoryMaker;
use crate::mesh::Mesh;
use crate::opener::{OpenLink, Opener};
use crate::options::{BrokerOptions, SharedMemory};
use crate::population::Population;
use crate::pulse::{Pulse, Watch};
use crate::reload::Reloader;
use crate::returning::{Record, Successor};
use crate::shard::{LinkStart, Reload, Shard, Shared};
use crate::status::Status;
use crate::uplink;

/// Descriptors of the memory that is shared with one client.
const DESCRIPTORS_OF_MEMORY: u64 = 4;

/// Reason why a broker did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// An option is out of range: which one, and what is allowed.
    Option(String),
    /// The socket cannot be bound.
    Bind(BindError),
    /// The sockets of the link cannot be opened.
    Link(String),
    /// The back end that was asked for cannot be had.
    Backend(BackendUnavailable),
    /// A thread cannot be started.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Option(text) | StartError::Link(text) => formatter.write_str(text),
            StartError::Backend(error) => error.fmt(formatter),
            StartError::Bind(error) => error.fmt(formatter),
            StartError::Thread(error) => write!(formatter, "cannot start a shard: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    /// Returns the system's error; the others are told whole by this error's text.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Bind(error) => error.source(),
            StartError::Thread(error) => Some(error),
            StartError::Option(_) | StartError::Link(_) | StartError::Backend(_) => None,
        }
    }
}

/// A running broker. Dropping it shuts it down.
#[must_use = "a broker ends when it is dropped"]
#[derive(Debug)]
pub struct Broker {
    socket: PathBuf,
    shutdown: Shutdown,
    threads: Vec<thread::JoinHandle<io::Result<()>>>,
    node: u32,
    backend: Backend,
    shards: u16,
    keeper: Option<Keeper>,
    pulse: Pulse,
    /// Ways to give other settings to the shards, until these are started.
    reloads: Vec<mpsc::Sender<Reload>>,
    reloader: Option<Reloader>,
}

/// Handle that asks a broker to shut down, from any thread.
#[derive(Clone, Debug)]
pub struct Shutdown {
    asked: Arc<AtomicBool>,
    /// Wakers of the shards, set once all of them have a back end.
    wakers: Arc<OnceLock<Vec<Waker>>>,
}

impl Shutdown {
    /// Asks the broker to end: clients get what is queued for them and a goodbye first.
    /// Returns at once. Asking again does nothing.
    pub fn request(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.wakers.get().into_iter().flatten().for_each(Waker::wake);
    }
}

impl Broker {
    /// Binds the socket and starts the shards. Clients can connect when this
    /// returns.
    ///
    /// # Errors
    /// Reason why the broker cannot start, and what to change.
    pub fn start(options: BrokerOptions) -> Result<Broker, StartError> {
        options.check().map_err(StartError::Option)?;
        let mut config = options.shard_config(random);
        let cores = allowed_cores();
        let shards = options
            .shards
            .unwrap_or_else(|| (cores.len() / 2).clamp(1, usize::from(MAX_SHARDS)) as u16);
        let (backend, backend_note) =
            select_backend(options.backend).map_err(StartError::Backend)?;
        if let Some(note) = &backend_note {
            tracing::warn!("using the poll back end: {note}");
        }
        let listener =
            LocalListener::bind(&options.socket, &options.bind).map_err(StartError::Bind)?;
        if let Some(flaw) = listener.flaw() {
            tracing::warn!(
                "{flaw}: whoever can write there can put another socket in the place of {}, and \
                 have its clients",
                options.socket.display()
            );
        }
        let keeper = listener.keeper(&options.bind);
        let link = match &options.link {
            Some(link) => Some(uplink::open(link, &mut config).map_err(StartError::Link)?),
            None => None,
        };

        let note = listener.note();
        if let Some(note) = &note {
            config.awaited = Arc::new(Record::decode(&note.read()));
        }
        let awaited = config.awaited.len();
        if awaited > 0 {
            tracing::info!(clients = awaited, "events wait for the clients that were here before");
        }
        let (arena, shared_memory_note) = match options.shared_memory {
            SharedMemory::Auto => make_arena(usize::from(shards)),
            SharedMemory::Off => (None, Some("switched off".to_owned())),
        };
        let about = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: format!("{:08x}", config.node),
            pid: std::process::id(),
            backend_note,
            shared_memory_note,
            ..Status::default()
        };
        let memory_maker = match &arena {
            Some(_) => Some(MemoryMaker::start().map_err(StartError::Thread)?),
            None => None,
        };
        let for_memory =
            options.descriptors_of_shared_memory(descriptor_limit()) / DESCRIPTORS_OF_MEMORY;
        config.max_shared_clients =
            usize::try_from(for_memory / u64::from(shards)).unwrap_or(usize::MAX);
        let node = config.node;
        let shared = Shared {
            config: Arc::new(config),
            budget: Budget::new(options.memory_bytes()),
            population: Population::default(),
            shutdown: Arc::new(AtomicBool::new(false)),
            successor: note.map_or_else(Successor::default, leave_in),
            about: Arc::new(about),
            give_back: give_back_memory,
            yield_core: thread::yield_now,
            memory_maker,
            log: Arc::clone(&options.log),
            pulse: Pulse::new(usize::from(shards)),
            operator: options.operator.clone(),
        };
        let pinned = (options.pin || usize::from(shards) == cores.len() && shards > 1)
            .then_some(cores.as_slice());
        let mut broker = Broker {
            socket: options.socket,
            shutdown: Shutdown { asked: Arc::clone(&shared.shutdown), wakers: Arc::default() },
            pulse: shared.pulse.clone(),
            threads: Vec::new(),
            node,
            backend,
            shards,
            keeper: None,
            reloads: Vec::new(),
            reloader: None,
        };
        let (accepting, listeners) = mpsc::channel();
        broker.start_shards(&shared, (listener, listeners), (link, arena), pinned)?;
        let reloads = std::mem::take(&mut broker.reloads);
        let wakers = broker.shutdown.wakers.get().into_iter().flatten().cloned();
        broker.reloader = Some(Reloader::new(
            ShardConfig::clone(&shared.config),
            options.link,
            shared.budget.clone(),
            reloads.into_iter().zip(wakers).collect(),
        ));
        if let (Some(keeper), Some(wakers)) = (keeper, broker.shutdown.wakers.get()) {
            let asked = Arc::clone(&broker.shutdown.asked);
            let started = Keeper::start(keeper, accepting, wakers[0].clone(), asked);
            broker.keeper = Some(started.map_err(StartError::Thread)?);
        }
        Ok(broker)
    }

    fn start_shards(
        &mut self,
        shared: &Shared,
        (listener, listeners): (LocalListener, mpsc::Receiver<LocalListener>),
        (mut link, arena): (Option<LinkStart<DatagramSockets>>, Option<Arc<BrokerArena>>),
        pinned: Option<&[usize]>,
    ) -> Result<(), StartError> {
        let (ready, wakers) = mpsc::channel();
        let mut meshes = Vec::new();
        let mut each = listener.for_shards(self.shards).into_iter();
        let mut listeners = Some(listeners);
        for id in 0..self.shards {
            let (mesh, mesh_of_shard) = mpsc::channel();
            meshes.push(mesh);
            let (reload, reloads) = mpsc::channel();
            self.reloads.push(reload);
            let start = Start {
                id,
                core: pinned.map(|cores| cores[usize::from(id) % cores.len()]),
                listener: each.next(),
                // Shard 0 has these.
                listeners: listeners.take(),
                link: link.take(),
                arena: arena.as_ref().map(|arena| arena.section(usize::from(id))),
                shared: shared.clone(),
                ready: ready.clone(),
                mesh: mesh_of_shard,
                reloads,
                ended: Ended(self.shutdown.clone()),
            };
            let backend = self.backend;
            let thread = thread::Builder::new()
                .name(format!("shard-{id}"))
                .spawn(move || start.run(backend))
                .map_err(StartError::Thread)?;
            self.threads.push(thread);
        }
        drop(ready);
        let mut all: Vec<Option<Waker>> = vec![None; usize::from(self.shards)];
        for (id, waker) in wakers {
            all[usize::from(id)] = Some(waker.map_err(StartError::Thread)?);
        }
        let all: Option<Vec<Waker>> = all.into_iter().collect();
        let Some(all) = all else {
            let error = io::Error::other("a shard ended before it began");
            return Err(StartError::Thread(error));
        };
        let ends = Mesh::new_all(&all);
        self.shutdown.wakers.set(all).expect("set here alone");
        for (mesh, ends) in meshes.into_iter().zip(ends) {
            // A thread that is gone is noticed when it is joined.
            let _ = mesh.send(ends);
        }
        Ok(())
    }

    /// Returns the path of the socket where clients connect.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the node id of this broker.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// Returns the back end in use.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Returns the number of shards.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// Returns a handle that gives this broker other settings while it runs.
    ///
    /// # Panics
    /// Never: a broker that has started has one.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone().expect("set at the start")
    }

    /// Returns a handle that shuts this broker down, from another thread or a signal
    /// handler.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Returns a handle that asks whether all shards turn.
    #[doc(hidden)]
    pub fn watch(&self) -> Watch {
        Watch::new(self.pulse.clone(), Arc::clone(&self.shutdown.wakers))
    }

    /// Waits until the broker has ended: after [`Shutdown::request`], or because
    /// a shard broke (then the others are shut down).
    ///
    /// # Errors
    /// Error of the shard that broke.
    pub fn join(mut self) -> io::Result<()> {
        self.join_threads()
    }

    fn join_threads(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a shard panicked: this is a bug")));
            result = result.and(ended);
        }
        self.keeper = None;
        result
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shutdown.request();
        if let Err(error) = self.join_threads() {
            tracing::error!(%error, "a shard broke");
        }
    }
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

/// Parts that a shard's thread starts with.
struct Start {
    id: u16,
    core: Option<usize>,
    listener: Option<LocalListener>,
    listeners: Option<mpsc::Receiver<LocalListener>>,
    link: Option<LinkStart<DatagramSockets>>,
    arena: Option<ArenaSection>,
    shared: Shared,
    ready: mpsc::Sender<(u16, io::Result<Waker>)>,
    mesh: mpsc::Receiver<Mesh<LocalSocket>>,
    reloads: mpsc::Receiver<Reload>,
    ended: Ended,
}

/// Guard that ends all shards when one ends, by order, by error or by a panic: half a
/// broker would lose events silently.
struct Ended(Shutdown);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl Start {
    fn run(mut self, backend: Backend) -> io::Result<()> {
        let arena = self.arena.take();
        if let Some(core) = self.core
            && let Err(error) = pin_to_core(core)
        {
            tracing::warn!(%error, core, "cannot pin a shard; it runs anywhere");
        }
        match backend {
            #[cfg(target_os = "linux")]
            Backend::Uring => {
                use netcluster_platform::{UringConfig, UringIo};
                let io = UringIo::new(UringConfig { arena, ..UringConfig::default() })
                    .map_err(|error| io::Error::other(error.to_string()));
                self.run_on(io)
            }
            _ => self.run_on(PollIo::new(PollConfig { arena, ..PollConfig::default() })),
        }
    }

    fn run_on<I>(self, io: io::Result<I>) -> io::Result<()>
    where
        I: Io<Socket = LocalSocket, Listener = LocalListener, Sockets = DatagramSockets>,
    {
        let Start {
            id,
            listener,
            listeners,
            link,
            shared,
            ready,
            mesh,
            reloads,
            ended: _ended,
            ..
        } = self;
        // The starter may have given up; then there is no mesh either.
        let io = match io {
            Ok(io) => {
                let _ = ready.send((id, Ok(io.waker())));
                io
            }
            Err(error) => {
                let _ = ready.send((id, Err(error)));
                return Ok(());
            }
        };
        drop(ready);
        let Ok(mesh) = mesh.recv() else { return Ok(()) };
        let opener = Opener::new(open_link(&shared.config), io.waker());
        let shard = Shard::new(io, shared, mesh, listener, link);
        let shard = shard.map(|shard| shard.with_reloads(reloads)).map(|shard| match listeners {
            Some(listeners) => shard.with_listeners(listeners).with_opener(opener),
            None => shard,
        });
        let result = shard.and_then(Shard::run);
        if let Err(error) = &result {
            tracing::error!(%error, shard = id, "a shard broke; the broker shuts down");
        }
        result
    }
}

/// Returns what opens the link of a broker with these settings while it runs.
fn open_link(config: &Arc<ShardConfig>) -> OpenLink<DatagramSockets> {
    let config = Arc::clone(config);
    Arc::new(move |options| uplink::open(options, &mut ShardConfig::clone(&config)))
}

/// Empties the note, which is outdated, and returns what leaves the broker's own record
/// in it.
fn leave_in(note: Note) -> Successor {
    let write = move |record: &[u8]| {
        if let Err(error) = note.write(record) {
            tracing::warn!(%error, "the lock file takes nothing: after a restart events wait longer");
        }
    };
    write(b"");
    Successor::new(move |record| write(&record))
}

/// Returns a number that the system chose at random: each hash state has keys of its own.
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::random;

    #[test]
    fn runs_differ() {
        assert_ne!(random(), random());
    }
}
