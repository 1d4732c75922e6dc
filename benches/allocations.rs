//! Allocations per event at saturation: of the broker over the simulator, of the
//! client's session, and of both together over a real socket, all threads of the
//! process counted.
//!
//! Prints a table and asserts no times. Fails if any row has
//! [`MAX_PER_EVENT`] allocations per event or more. What is counted includes the
//! harness: the rows `relay` are the simulator by itself, which allocates a few
//! times per chunk where a real back end takes a buffer from its pool.

mod support;

use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use netcluster::{Broker, BrokerOptions};
use netcluster_client::Client;
use netcluster_client::session::{Outbound, ReceiveBuffer, Session, SessionEvent};
use netcluster_wire::{Hello, Kind, Source, Welcome, frame};

use support::{BLOCK_BYTES, Bed, Block, Relay, repeat};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations per event from which on a row fails.
const MAX_PER_EVENT: f64 = 0.01;
/// Blocks of [`BLOCK_BYTES`] that are passed before the count and during it.
const WARM_UP_BLOCKS: usize = 20;
const BLOCKS: usize = 200;
/// Events that go over the real socket.
const WARM_UP_EVENTS: u64 = 100_000;
const EVENTS: u64 = 1_000_000;
/// Time that the events may take.
const PATIENCE: Duration = Duration::from_secs(60);

const EVENT: &str = "tick";
const PAYLOAD: [u8; 16] = [7; 16];
const SOURCE: Source = Source { node: 1, client: 1 };

/// Counts the calls of the allocator while `work` runs, on whatever thread.
fn allocations(work: impl FnOnce()) -> u64 {
    let region = Region::new(ALLOCATOR);
    work();
    let stats = region.change();
    (stats.allocations + stats.reallocations) as u64
}

/// Row of the table; the events are counted once for each listener.
struct Row {
    title: String,
    events: u64,
    allocations: u64,
    chunks: Option<u64>,
}

impl Row {
    fn per_event(&self) -> f64 {
        self.allocations as f64 / self.events as f64
    }

    fn print(&self) {
        let per_chunk = self.chunks.map_or("-".to_owned(), |chunks| {
            format!("{:.2}", self.allocations as f64 / chunks as f64)
        });
        println!(
            "{:<44} {:>10} {:>12} {:>12.6} {:>10}",
            self.title,
            self.events,
            self.allocations,
            self.per_event(),
            per_chunk
        );
    }
}

fn broker(shards: usize, listeners: usize) -> Row {
    let mut bed = Bed::new(shards, &repeat(EVENT, listeners));
    let block = Block::new(bed.emitter.source, &[EVENT.to_owned()], PAYLOAD.len());
    let expected = block.bytes.len() * listeners;
    let mut pass = |blocks: usize| (0..blocks).for_each(|_| bed.pass(&block.bytes, expected));
    pass(WARM_UP_BLOCKS);
    let allocations = allocations(|| pass(BLOCKS));
    Row {
        title: format!("broker over the simulator, shards: {shards}, 1→{listeners}"),
        events: block.frames * (BLOCKS * listeners) as u64,
        allocations,
        chunks: Some(chunks()),
    }
}

fn relay(listeners: usize) -> Row {
    let mut relay = Relay::new(listeners);
    let block = Block::new(SOURCE, &[EVENT.to_owned()], PAYLOAD.len());
    let expected = block.bytes.len() * listeners;
    let mut pass = |blocks: usize| (0..blocks).for_each(|_| relay.pass(&block.bytes, expected));
    pass(WARM_UP_BLOCKS);
    let allocations = allocations(|| pass(BLOCKS));
    Row {
        title: format!("relay over the simulator, 1→{listeners}"),
        events: block.frames * (BLOCKS * listeners) as u64,
        allocations,
        chunks: Some(chunks()),
    }
}

/// Returns how many chunks the simulator makes of the blocks.
fn chunks() -> u64 {
    (BLOCKS * BLOCK_BYTES.div_ceil(64 << 10)) as u64
}

/// Measures the client's writing half: events appended, the buffer handed on when full.
fn session_emits() -> Row {
    let mut outbound = Outbound::new();
    outbound.welcomed(SOURCE, 16 << 20);
    let mut out = Vec::with_capacity(2 * BLOCK_BYTES);
    let mut emit = |events: u64| {
        for _ in 0..events {
            outbound.emit(&mut out, EVENT, &PAYLOAD).expect("an allowed event");
            if out.len() >= BLOCK_BYTES {
                out.clear();
            }
        }
    };
    emit(WARM_UP_EVENTS);
    let allocations = allocations(|| emit(EVENTS));
    Row { title: "client session, emit".into(), events: EVENTS, allocations, chunks: None }
}

/// Measures the client's reading half: bytes read, frames found, the buffer taken back.
fn session_receives() -> Row {
    let mut out = Vec::new();
    let mut session = Session::start(&mut out, "default", &Hello::default()).expect("a session");
    let welcome = Welcome { max_payload: 16 << 20, run: 1, ..Welcome::default() };
    let welcome = frame::encode(Kind::Welcome, SOURCE, 0, b"", &welcome.encode());
    session.next(&welcome).expect("a good welcome");
    let block = Block::new(SOURCE, &[EVENT.to_owned()], PAYLOAD.len());
    let mut buffer = ReceiveBuffer::new();
    let mut read = |blocks: usize| {
        let mut events = 0;
        for _ in 0..blocks {
            buffer.space()[..block.bytes.len()].copy_from_slice(&block.bytes);
            buffer.filled(block.bytes.len());
            let (lent, range) = buffer.lend();
            let mut at = range.start;
            while let Some((event, used)) = session.next(&lent[at..range.end]).expect("frames") {
                assert!(matches!(event, SessionEvent::Event(_)));
                at += used;
                events += 1;
            }
            buffer.give_back(lent, at - range.start);
        }
        events
    };
    read(WARM_UP_BLOCKS);
    let mut events = 0;
    let allocations = allocations(|| events = read(BLOCKS));
    Row {
        title: "client session, receive".into(),
        events,
        allocations,
        chunks: Some(BLOCKS as u64),
    }
}

/// Measures broker, emitter and listeners in this process, over a socket.
fn end_to_end(listeners: u64) -> Row {
    let directory = std::env::temp_dir().join(format!("netcluster-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a temporary directory");
    let socket = directory.join("s");
    let mut options = BrokerOptions::new(&socket);
    options.shards = Some(1);
    let broker = Broker::start(options).expect("a broker");
    let backend = broker.backend();
    let heard = Arc::new(AtomicU64::new(0));
    let clients: Vec<Client> = (0..listeners)
        .map(|_| {
            let client = Client::connect(&socket).expect("a client");
            let heard = Arc::clone(&heard);
            client
                .on(EVENT, move |_| {
                    heard.fetch_add(1, Ordering::Relaxed);
                })
                .expect("a listener");
            client
        })
        .collect();
    let emitter = Client::connect(&socket).expect("a client");
    let emit = |events: u64| {
        let before = heard.load(Ordering::Relaxed);
        for _ in 0..events {
            emitter.emit(EVENT, PAYLOAD).expect("an event");
        }
        emitter.flush().expect("written");
        let deadline = Instant::now() + PATIENCE;
        while heard.load(Ordering::Relaxed) < before + events * listeners {
            assert!(Instant::now() < deadline, "events are missing");
            thread::sleep(Duration::from_millis(1));
        }
    };
    emit(WARM_UP_EVENTS);
    let allocations = allocations(|| emit(EVENTS));
    drop((emitter, clients, broker));
    // The broker has removed its socket.
    let _ = std::fs::remove_dir(&directory);
    Row {
        title: format!("broker ({backend:?}) and clients, 1→{listeners}"),
        events: EVENTS * listeners,
        allocations,
        chunks: None,
    }
}

fn main() {
    println!(
        "{:<44} {:>10} {:>12} {:>12} {:>10}",
        "16 B", "events", "allocations", "per event", "per chunk"
    );
    let rows: [fn() -> Row; 10] = [
        || relay(1),
        || broker(1, 1),
        || broker(2, 1),
        || relay(8),
        || broker(1, 8),
        || broker(2, 8),
        session_emits,
        session_receives,
        || end_to_end(1),
        || end_to_end(8),
    ];
    let mut failed = false;
    for row in rows {
        let row = row();
        row.print();
        failed |= row.per_event() >= MAX_PER_EVENT;
    }
    assert!(!failed, "a row has {MAX_PER_EVENT} allocations per event or more");
}
