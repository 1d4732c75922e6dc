//! The threads of a broker, one for each shard: started with their back ends, and set to
//! work later.
//!
//! A back end must be made on the thread that uses it, and shards need each other's
//! wakers, so it takes two steps: every thread makes its back end and hands its waker
//! over; then each gets its ends of the [`Mesh`] and all else that it works with. Whatever
//! can fail for want of something does so in the first step.

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock, atomic::AtomicBool};
use std::thread;

use netcluster_platform::datagram::DatagramSockets;
use netcluster_platform::{
    ArenaSection, Backend, BrokerArena, Io, LocalListener, LocalSocket, PollConfig, PollIo, Waker,
    pin_to_core,
};

use crate::broker::Shutdown;
use crate::config::ShardConfig;
use crate::mesh::Mesh;
use crate::opener::{OpenLink, Opener};
use crate::shard::{LinkStart, Reload, Shard, Shared};
use crate::uplink;

/// Threads that have back ends. Dropping this ends those that do not work yet.
#[derive(Debug)]
pub struct Crew {
    threads: Vec<thread::JoinHandle<io::Result<()>>>,
    duties: Vec<mpsc::Sender<Duty>>,
    wakers: Vec<Waker>,
    shutdown: Shutdown,
}

/// Threads of the shards.
pub type Threads = Vec<thread::JoinHandle<io::Result<()>>>;

/// Work of all shards: what they share, and what the first has besides.
pub struct Work {
    /// State that they share.
    pub shared: Shared,
    /// Listener of the broker.
    pub listener: LocalListener,
    /// Listeners that are made later.
    pub listeners: mpsc::Receiver<LocalListener>,
    /// Link to other machines.
    pub link: Option<LinkStart<DatagramSockets>>,
}

impl Crew {
    /// Starts a thread for each of so many shards, on the cores if there are any.
    ///
    /// # Errors
    /// A thread or its back end cannot be had.
    pub fn muster(
        shards: u16,
        backend: Backend,
        arena: Option<&Arc<BrokerArena>>,
        cores: Option<&[usize]>,
    ) -> io::Result<Crew> {
        let shutdown =
            Shutdown { asked: Arc::new(AtomicBool::new(false)), wakers: Arc::new(OnceLock::new()) };
        let (ready, wakers) = mpsc::channel();
        let (mut threads, mut duties) = (Vec::new(), Vec::new());
        for id in 0..shards {
            let (duty, given) = mpsc::channel();
            duties.push(duty);
            let hand = Hand {
                id,
                core: cores.map(|cores| cores[usize::from(id) % cores.len()]),
                arena: arena.map(|arena| arena.section(usize::from(id))),
                ready: ready.clone(),
                given,
                ended: Ended(shutdown.clone()),
            };
            let thread = thread::Builder::new().name(format!("shard-{id}"));
            threads.push(thread.spawn(move || hand.run(backend))?);
        }
        drop(ready);
        let mut all: Vec<Option<Waker>> = vec![None; usize::from(shards)];
        for (id, waker) in wakers {
            all[usize::from(id)] = Some(waker?);
        }
        let all: Option<Vec<Waker>> = all.into_iter().collect();
        let wakers = all.ok_or_else(|| io::Error::other("a shard ended before it began"))?;
        let _ = shutdown.wakers.set(wakers.clone());
        Ok(Crew { threads, duties, wakers, shutdown })
    }

    /// Returns the handle that ends them.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Returns the waker of the first shard.
    pub fn first_waker(&self) -> Waker {
        self.wakers[0].clone()
    }

    /// Has them work. Returns the threads, and the way to give each other settings.
    pub fn set_to_work(self, work: Work) -> (Threads, Vec<(mpsc::Sender<Reload>, Waker)>) {
        let Work { shared, listener, listeners, mut link } = work;
        let mut each = listener.for_shards(self.duties.len() as u16).into_iter();
        let mut listeners = Some(listeners);
        let mut ways = Vec::new();
        for (duty, mesh) in self.duties.into_iter().zip(Mesh::new_all(&self.wakers)) {
            let (reload, reloads) = mpsc::channel();
            ways.push(reload);
            // A thread that is gone is noticed when it is joined.
            let _ = duty.send(Duty {
                mesh,
                reloads,
                shared: shared.clone(),
                listener: each.next(),
                // Shard 0 has these.
                listeners: listeners.take(),
                link: link.take(),
            });
        }
        (self.threads, ways.into_iter().zip(self.wakers).collect())
    }
}

/// Duty of one shard's thread.
struct Duty {
    mesh: Mesh<LocalSocket>,
    reloads: mpsc::Receiver<Reload>,
    shared: Shared,
    listener: Option<LocalListener>,
    listeners: Option<mpsc::Receiver<LocalListener>>,
    link: Option<LinkStart<DatagramSockets>>,
}

/// Parts that a shard's thread starts with.
struct Hand {
    id: u16,
    core: Option<usize>,
    arena: Option<ArenaSection>,
    ready: mpsc::Sender<(u16, io::Result<Waker>)>,
    given: mpsc::Receiver<Duty>,
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

impl Hand {
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
        let Hand { id, ready, given, ended: _ended, .. } = self;
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
        // Whoever started it may have given up.
        let Ok(Duty { mesh, reloads, shared, listener, listeners, link }) = given.recv() else {
            return Ok(());
        };
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
