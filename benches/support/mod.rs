//! A broker over the simulator with one emitter and its listeners, and a relay
//! over the same simulator that parses nothing, to tell what the simulator
//! itself costs: it copies every byte into and out of its sockets.

// Each bench uses a part of it.
#![allow(dead_code)]

pub mod links;

use netcluster::internals::ShardConfig;
use netcluster::sim::{SimBroker, SimSession};
use netcluster_platform::sim::{Faults, SimClient, SimIo, SimNet};
use netcluster_platform::{Completion, Conn, Io, Slice};
use netcluster_wire::{Hello, Kind, Source, frame};

const SEED: u64 = 1;
const MAX_MEMORY_BYTES: usize = 64 << 20;
/// Most turns that a block takes, unless it never is through.
const MAX_TURNS: usize = 10_000;
/// Bytes that the emitter writes at a time: three chunks, within what a socket holds.
pub const BLOCK_BYTES: usize = 192 << 10;
/// Bytes that a receive of the simulator brings at most.
const CHUNK_BYTES: usize = 64 << 10;

/// Whole frames of one source, written by an emitter in one go.
pub struct Block {
    pub bytes: Vec<u8>,
    pub frames: u64,
}

impl Block {
    /// Makes a block of as many frames as fit [`BLOCK_BYTES`], of these names in turn.
    pub fn new(source: Source, names: &[String], payload_bytes: usize) -> Block {
        let payload = vec![7; payload_bytes];
        let mut block = Block { bytes: Vec::new(), frames: 0 };
        for name in names.iter().cycle() {
            let before = block.bytes.len();
            let (sequence, name) = (block.frames + 1, name.as_bytes());
            frame::append(&mut block.bytes, Kind::Event, source, sequence, name, &payload);
            if block.bytes.len() > BLOCK_BYTES {
                block.bytes.truncate(before);
                break;
            }
            block.frames += 1;
        }
        block
    }

    /// Makes a block of as many frames as there are names, or of so many times as many as
    /// fit.
    pub fn of_rounds(source: Source, names: &[String], payload_bytes: usize) -> Block {
        let mut block = Block::new(source, names, payload_bytes);
        let rounds = block.frames / names.len() as u64;
        assert!(rounds > 0, "a block holds every name at least once");
        let frames = rounds * names.len() as u64;
        // Names are of one length, so frames are too.
        block.bytes.truncate((block.bytes.len() as u64 / block.frames * frames) as usize);
        block.frames = frames;
        block
    }
}

/// Emitter and its listeners at a broker over the simulator.
pub struct Bed {
    pub broker: SimBroker,
    pub emitter: SimSession,
    listeners: Vec<SimSession>,
    input: Vec<u8>,
}

impl Bed {
    /// Starts a broker of so many shards and a listener for each of `patterns`. With
    /// several shards, neighbours are on different ones.
    pub fn new(shards: usize, patterns: &[String]) -> Bed {
        let config = ShardConfig {
            spill_clients: if shards > 1 { 1 } else { usize::MAX },
            ..ShardConfig::default()
        };
        let mut broker = SimBroker::new(SEED, Faults::default(), shards, config, MAX_MEMORY_BYTES);
        let emitter = broker.join("default", &Hello::default());
        let mut listeners = Vec::new();
        for pattern in patterns {
            let mut listener = broker.join("default", &Hello::default());
            broker.subscribe(&mut listener, pattern);
            listeners.push(listener);
        }
        Bed { broker, emitter, listeners, input: Vec::with_capacity(4 * BLOCK_BYTES) }
    }

    /// Lets the emitter write these bytes and the shards turn until the listeners have
    /// `expected` bytes in all.
    pub fn pass(&mut self, bytes: &[u8], expected: usize) {
        assert_eq!(self.emitter.end.write(bytes), bytes.len());
        let mut got = 0;
        for _ in 0..MAX_TURNS {
            self.broker.turn();
            for listener in &mut self.listeners {
                got += listener.end.read(&mut self.input);
                self.input.clear();
            }
            if got >= expected {
                assert_eq!(got, expected);
                return;
            }
        }
        panic!("{got} of {expected} bytes arrived");
    }

    /// Lets the emitter write these bytes, which nobody listens to, and the shards take
    /// them, a chunk in each turn.
    pub fn swallow(&mut self, bytes: &[u8]) {
        self.pass(bytes, 0);
        for _ in 0..BLOCK_BYTES.div_ceil(CHUNK_BYTES) {
            self.broker.turn();
        }
    }

    /// Returns how many chunks the shards have received.
    pub fn chunks(&mut self) -> u64 {
        self.broker.reports().iter().map(|report| report.summary.io.receives).sum()
    }
}

/// Simulated back end that hands every chunk on to all listeners unchanged.
pub struct Relay {
    io: SimIo,
    emitter: SimClient,
    listeners: Vec<(Conn, SimClient)>,
    /// Chunks that the present turn has to send.
    chunks: Vec<Slice>,
    completions: Vec<Completion>,
    input: Vec<u8>,
}

impl Relay {
    /// Connects an emitter and so many listeners.
    pub fn new(listeners: usize) -> Relay {
        let net = SimNet::new(SEED, Faults::default());
        let mut io = net.shard();
        io.accept(net.listener()).expect("the simulator listens");
        let mut completions = Vec::new();
        let mut connect = |io: &mut SimIo| {
            let client = net.connect();
            io.wait(&mut completions, None).expect("the simulator does not break");
            match completions.drain(..).next() {
                Some(Completion::Accepted { conn, .. }) => (conn, client),
                other => panic!("{other:?}"),
            }
        };
        let (conn, emitter) = connect(&mut io);
        let listeners = (0..listeners).map(|_| connect(&mut io)).collect();
        io.receive(conn);
        Relay { io, emitter, listeners, chunks: Vec::new(), completions, input: Vec::new() }
    }

    /// Does the same as [`Bed::pass`] without a broker.
    pub fn pass(&mut self, bytes: &[u8], expected: usize) {
        assert_eq!(self.emitter.write(bytes), bytes.len());
        let mut got = 0;
        for _ in 0..MAX_TURNS {
            self.io.wait(&mut self.completions, None).expect("the simulator does not break");
            for completion in self.completions.drain(..) {
                match completion {
                    Completion::Received { chunk, .. } => {
                        let end = chunk.len();
                        self.chunks.push(Slice::pooled(chunk, 0, end));
                    }
                    Completion::Sent { blocked, .. } => assert!(!blocked),
                    other => panic!("{other:?}"),
                }
            }
            if !self.chunks.is_empty() {
                for (conn, _) in &self.listeners {
                    self.io.send(*conn, self.chunks.iter());
                }
                self.chunks.clear();
            }
            for (_, listener) in &self.listeners {
                got += listener.read(&mut self.input);
                self.input.clear();
            }
            if got >= expected {
                assert_eq!(got, expected);
                // Takes the report of the last send, so that the next can start.
                self.io.wait(&mut self.completions, None).expect("the simulator does not break");
                self.completions.clear();
                return;
            }
        }
        panic!("{got} of {expected} bytes arrived");
    }
}

/// Makes names of one length: `sensor.0000`, `sensor.0001` …
pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("sensor.{at:04}")).collect()
}

/// Repeats a text so many times.
pub fn repeat(text: &str, count: usize) -> Vec<String> {
    vec![text.to_owned(); count]
}
