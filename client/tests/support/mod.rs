//! A broker of threads and blocking sockets, for tests of the client alone: it
//! routes, acknowledges and answers, and can be told to misbehave.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

pub mod memory;
mod transport;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use memory::Memory;
use netcluster_testkit::Directory;
pub use netcluster_testkit::{PATIENCE, wait_until};
use netcluster_wire::control::Audience;
use netcluster_wire::frame::{append, encode};
use netcluster_wire::{
    ErrorCode, Frame, Hello, Kind, Pattern, SharedStep, Source, Welcome, control,
};
#[cfg(unix)]
pub use transport::full_backlog;
use transport::{Listener, Stream, remove};
pub use transport::{NOBODY, address, impossible};

/// Batches that a connection's queue holds before its emitters wait.
const QUEUE_BATCHES: usize = 4;

/// Use that a broker makes of memory shared with its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// All by sockets.
    #[default]
    Nobody,
    /// Each client is offered memory behind its welcome.
    Everybody,
    /// Every other client is.
    Some,
}

thread_local! {
    static SHARING: Cell<Sharing> = const { Cell::new(Sharing::Nobody) };
}

/// Runs a test whose brokers share memory in this way.
pub fn with_sharing(sharing: Sharing, test: impl FnOnce()) {
    SHARING.set(sharing);
    test();
}

/// A batch for a client.
enum Batch {
    Bytes(Vec<u8>),
    /// Memory, offered by this frame.
    Offer(Vec<u8>),
    /// The frame by which the use of memory begins.
    Begin(Vec<u8>),
}

/// A frame that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub connection: u32,
    pub kind: Kind,
    pub source: Source,
    pub sequence: u64,
    pub name: String,
    pub payload: usize,
}

struct Connection {
    stream: Stream,
    queue: SyncSender<Batch>,
    patterns: Vec<Pattern>,
    echo: bool,
    last_event: u64,
}

pub struct State {
    connections: Mutex<BTreeMap<u32, Connection>>,
    next: AtomicU32,
    pub seen: Mutex<Vec<Seen>>,
    pub hellos: Mutex<Vec<(String, Hello)>>,
    pub reads: AtomicUsize,
    pub events: AtomicUsize,
    /// Keep events in `seen`, not only their number.
    pub log_events: AtomicBool,
    /// Subscriptions are not acknowledged while set.
    pub hold_acks: AtomicBool,
    /// Byes are not answered.
    pub ignore_bye: AtomicBool,
    /// Nothing is read while set.
    pub stalled: AtomicBool,
    /// Meanwhile a client waits for room in its ring.
    pub room_wanted: AtomicBool,
    /// Connections get these bytes instead of a welcome.
    pub greeting: Mutex<Option<Vec<u8>>>,
    pub max_payload: AtomicUsize,
    sharing: Sharing,
    /// Clients that accepted memory, and reasons of those that did not.
    pub accepted: AtomicUsize,
    pub declined: Mutex<Vec<String>>,
    /// Size of the largest ring that a client used, in bytes.
    pub largest_ring: AtomicUsize,
}

pub struct Broker {
    pub path: PathBuf,
    pub state: Arc<State>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
    directory: Option<Directory>,
}

impl Broker {
    pub fn start() -> Broker {
        Broker::start_in(Directory::new())
    }

    pub fn start_in(directory: Directory) -> Broker {
        let path = address(&directory);
        remove(&path);
        let listener = Listener::bind(&path);
        let state = Arc::new(State {
            connections: Mutex::default(),
            next: AtomicU32::new(1),
            seen: Mutex::default(),
            hellos: Mutex::default(),
            reads: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
            log_events: AtomicBool::new(false),
            hold_acks: AtomicBool::new(false),
            ignore_bye: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            room_wanted: AtomicBool::new(false),
            greeting: Mutex::default(),
            max_payload: AtomicUsize::new(16 << 20),
            sharing: SHARING.get(),
            accepted: AtomicUsize::new(0),
            declined: Mutex::default(),
            largest_ring: AtomicUsize::new(0),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (accepts, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        let accepting = std::thread::spawn(move || {
            loop {
                let stream = listener.accept();
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&accepts);
                std::thread::spawn(move || serve(&state, stream));
            }
        });
        Broker { path, state, stop, accepting: Some(accepting), directory: Some(directory) }
    }

    /// Ends like a killed broker; the directory can be used again.
    pub fn kill(mut self) -> Directory {
        self.end();
        self.directory.take().unwrap()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.state.stalled.store(false, Ordering::SeqCst);
        if let Some(accepting) = self.accepting.take() {
            // Has it look at `stop`; held until it did, or a pipe may not see it.
            let _knock = Stream::connect(&self.path);
            let _ = accepting.join();
        }
        remove(&self.path);
        self.cut();
    }

    /// Sends bytes to every client.
    pub fn send(&self, bytes: &[u8]) {
        for connection in self.state.connections.lock().unwrap().values() {
            connection.queue.send(Batch::Bytes(bytes.to_vec())).unwrap();
        }
    }

    /// Sends bytes to every client by its socket, and descriptors with them.
    #[cfg(target_os = "linux")]
    pub fn send_with(&self, bytes: &[u8], descriptors: &[std::os::fd::BorrowedFd<'_>]) {
        for connection in self.state.connections.lock().unwrap().values() {
            memory::send_with(&connection.stream, bytes, descriptors);
        }
    }

    /// Sends an error to every client and hangs up.
    pub fn kick(&self, code: ErrorCode, text: &str) {
        self.send(&encode(Kind::Error, Source::NONE, 0, b"", &control::encode_error(code, text)));
        // Behind the error, in each queue: the end.
        self.send(b"");
    }

    /// Hangs up on every client.
    pub fn cut(&self) {
        for connection in self.state.connections.lock().unwrap().values() {
            connection.stream.shut_down();
        }
    }

    pub fn clients(&self) -> usize {
        self.state.connections.lock().unwrap().len()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub fn events(&self) -> usize {
        self.state.events.load(Ordering::SeqCst)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}

fn serve(state: &State, stream: Stream) {
    let mut buffer = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    let id = state.next.fetch_add(1, Ordering::SeqCst);
    let source = Source { node: 7, client: id };
    let (queue, outgoing) = sync_channel(QUEUE_BATCHES);
    let writer = stream.clone();
    let is_offered = match state.sharing {
        Sharing::Nobody => false,
        Sharing::Everybody => true,
        Sharing::Some => id.is_multiple_of(2),
    };
    let memory = is_offered.then(Memory::new).flatten();
    let shares = memory.clone();
    let writing = std::thread::spawn(move || write_all(&writer, outgoing, shares));
    let mut ring: Option<memory::Reader> = None;
    loop {
        while state.stalled.load(Ordering::SeqCst) {
            if ring.as_ref().is_some_and(memory::Reader::is_room_wanted) {
                state.room_wanted.store(true, Ordering::SeqCst);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let read = match &mut ring {
            Some(ring) => {
                let read = ring.read(&stream, &mut chunk);
                state.largest_ring.fetch_max(ring.size(), Ordering::SeqCst);
                read
            }
            None => stream.read(&mut chunk),
        };
        let bytes = match read {
            Ok(0) | Err(_) => break,
            Ok(bytes) => bytes,
        };
        state.reads.fetch_add(1, Ordering::SeqCst);
        buffer.extend_from_slice(&chunk[..bytes]);
        let mut at = 0;
        let mut outgoing: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let mut bye = false;
        let mut offer_after = None;
        while let Some(frame) = Frame::read(&buffer[at..], 64 << 20).expect("a client's frame") {
            at += frame.as_bytes().len();
            if frame.kind() == Kind::Shared {
                match SharedStep::decode(frame.payload()).unwrap() {
                    SharedStep::Accept => {
                        assert_eq!(at, buffer.len(), "the accept is the last on the socket");
                        state.accepted.fetch_add(1, Ordering::SeqCst);
                        ring = memory.as_ref().map(Memory::reader);
                        let begin = SharedStep::Begin.encode();
                        let begin = encode(Kind::Shared, source, 0, b"", &begin);
                        let _ = queue.send(Batch::Begin(begin));
                    }
                    SharedStep::Decline(reason) => state.declined.lock().unwrap().push(reason),
                    step => panic!("{step:?}"),
                }
                continue;
            }
            let shares = frame.kind() == Kind::Hello
                && Hello::decode(frame.payload()).is_ok_and(|hello| hello.shared);
            if let Some(memory) = memory.as_ref().filter(|_| shares) {
                let offer = SharedStep::Offer { arena_bytes: memory.arena_bytes() }.encode();
                offer_after = Some(encode(Kind::Shared, source, 0, b"", &offer));
            }
            bye |= handle(state, id, source, &stream, &queue, frame, &mut outgoing);
        }
        buffer.drain(..at);
        // Its own last: a pong says that the events before it are queued.
        let own = outgoing.remove_entry(&id);
        for (target, bytes) in outgoing.into_iter().chain(own) {
            let queue = state.connections.lock().unwrap().get(&target).map(|c| c.queue.clone());
            if let Some(queue) = queue {
                let _ = queue.send(Batch::Bytes(bytes));
            }
        }
        if let Some(offer) = offer_after.filter(|_| !bye) {
            let _ = queue.send(Batch::Offer(offer));
        }
        if bye {
            break;
        }
    }
    state.connections.lock().unwrap().remove(&id);
    drop(queue);
    let _ = writing.join();
    stream.shut_down();
}

fn write_all(stream: &Stream, batches: Receiver<Batch>, memory: Option<Arc<Memory>>) {
    let mut alive = true;
    let mut writer: Option<memory::Writer> = None;
    for batch in batches {
        // Goes on taking, so that nobody waits for a dead connection.
        alive = alive
            && match (batch, &mut writer, &memory) {
                (Batch::Bytes(bytes), _, _) if bytes.is_empty() => false,
                (Batch::Bytes(bytes), Some(writer), _) => writer.send(stream, &bytes),
                (Batch::Bytes(bytes), ..) => stream.write_all(&bytes).is_ok(),
                (Batch::Offer(frame), _, Some(memory)) => {
                    memory.offer(stream, &frame);
                    true
                }
                (Batch::Begin(frame), _, Some(memory)) => {
                    writer = Some(memory.writer());
                    stream.write_all(&frame).is_ok()
                }
                _ => false,
            };
        if !alive {
            stream.shut_down();
        }
    }
}

/// Handles one frame; whether it was a bye.
fn handle(
    state: &State,
    id: u32,
    source: Source,
    stream: &Stream,
    queue: &SyncSender<Batch>,
    frame: Frame<'_>,
    outgoing: &mut BTreeMap<u32, Vec<u8>>,
) -> bool {
    let name = String::from_utf8(frame.name().to_vec()).unwrap();
    let mut connections = state.connections.lock().unwrap();
    if frame.kind() != Kind::Event || state.log_events.load(Ordering::SeqCst) {
        state.seen.lock().unwrap().push(Seen {
            connection: id,
            kind: frame.kind(),
            source: frame.source(),
            sequence: frame.sequence(),
            name: name.clone(),
            payload: frame.payload().len(),
        });
    }
    let number = frame.sequence();
    let mut answer = |kind, payload: &[u8]| {
        append(outgoing.entry(id).or_default(), kind, source, number, b"", payload);
    };
    match frame.kind() {
        Kind::Hello => {
            let hello = Hello::decode(frame.payload()).unwrap();
            let echo = hello.echo;
            state.hellos.lock().unwrap().push((name, hello));
            let connection = Connection {
                stream: stream.clone(),
                queue: queue.clone(),
                patterns: Vec::new(),
                echo,
                last_event: 0,
            };
            connections.insert(id, connection);
            if let Some(greeting) = &*state.greeting.lock().unwrap() {
                outgoing.insert(id, greeting.clone());
                return true;
            }
            let max_payload = state.max_payload.load(Ordering::SeqCst) as u64;
            answer(Kind::Welcome, &Welcome { max_payload, run: 1, ..Welcome::default() }.encode());
            return false;
        }
        _ => assert_eq!(frame.source(), source, "a frame under another source"),
    }
    match frame.kind() {
        Kind::Subscribe | Kind::Unsubscribe => {
            let pattern = Pattern::new(name.as_bytes()).unwrap();
            let patterns = &mut connections.get_mut(&id).unwrap().patterns;
            patterns.retain(|other| *other != pattern);
            if frame.kind() == Kind::Subscribe {
                if name == "refused" {
                    let error = control::encode_error(ErrorCode::Pattern, "not here");
                    answer(Kind::Error, &error);
                    return false;
                }
                patterns.push(pattern);
            }
            if !state.hold_acks.load(Ordering::SeqCst) {
                answer(Kind::Ack, b"");
            }
        }
        Kind::Ping => {
            let confirmed = connections[&id].last_event;
            answer(Kind::Pong, &control::encode_pong(confirmed));
        }
        Kind::Audience => {
            let audience = Audience { clients: name.len() as u64, brokers: 1 };
            answer(Kind::Audience, &control::encode_audience(audience));
        }
        Kind::Stats => answer(Kind::Stats, b"{\"clients\":1}"),
        Kind::Bye if !state.ignore_bye.load(Ordering::SeqCst) => {
            answer(Kind::Bye, b"");
            return true;
        }
        Kind::Event => {
            state.events.fetch_add(1, Ordering::SeqCst);
            connections.get_mut(&id).unwrap().last_event = number;
            for (&target, connection) in connections.iter() {
                if (target != id || connection.echo)
                    && connection.patterns.iter().any(|pattern| pattern.matches(frame.name()))
                {
                    outgoing.entry(target).or_default().extend_from_slice(frame.as_bytes());
                }
            }
        }
        _ => {}
    }
    false
}
