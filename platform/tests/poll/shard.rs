//! What the tests share: one shard on the readiness back end, without a broker.

use std::time::{Duration, Instant};

use bytes::Bytes;
use netcluster_platform::{
    BindOptions, Completion, Conn, Io, LocalListener, PollConfig, PollIo, Slice,
};

pub use crate::client::PATIENCE;
use crate::client::{Client, Leftovers, unused_path};

/// For bytes that are on their way or not; nothing depends on which.
pub const SHORTLY: Duration = Duration::from_millis(20);

/// A shard without a broker: a back end that listens, and a place for sockets.
pub struct Shard {
    pub io: PollIo,
    pub path: Leftovers,
}

impl Shard {
    pub fn new() -> Shard {
        Shard::with(PollConfig::default())
    }

    pub fn with(config: PollConfig) -> Shard {
        let path = unused_path();
        let mut io = PollIo::new(config).unwrap();
        io.accept(LocalListener::bind(&path, &BindOptions::default()).unwrap()).unwrap();
        Shard { io, path: Leftovers(path) }
    }

    pub fn connect(&mut self) -> (Client, Conn) {
        let client = Client::connect(&self.path.0).unwrap();
        let conn = self.until(|completion| match completion {
            Completion::Accepted { conn, peer } => {
                let known =
                    if cfg!(any(target_os = "linux", windows)) { std::process::id() } else { 0 };
                assert_eq!(peer.pid, known);
                Some(*conn)
            }
            _ => None,
        });
        (client, conn)
    }

    /// Waits for a completion that `wanted` makes something of; drops the others.
    pub fn until<T>(&mut self, mut wanted: impl FnMut(&Completion) -> Option<T>) -> T {
        let started = Instant::now();
        let mut completions = Vec::new();
        loop {
            assert!(started.elapsed() < PATIENCE, "it never came");
            self.io.wait(&mut completions, Some(Duration::from_secs(1))).unwrap();
            let mut found = None;
            for completion in completions.drain(..) {
                found = found.or_else(|| wanted(&completion));
            }
            if let Some(found) = found {
                return found;
            }
        }
    }

    pub fn poll_once(&mut self) -> Vec<Completion> {
        let mut completions = Vec::new();
        self.io.wait(&mut completions, Some(Duration::ZERO)).unwrap();
        completions
    }

    pub fn until_closed(&mut self, wanted: Conn) {
        self.until(|completion| match completion {
            Completion::Closed { conn } if *conn == wanted => Some(()),
            _ => None,
        });
    }

    pub fn until_sent(&mut self) -> (usize, bool) {
        self.until(|completion| match completion {
            Completion::Sent { bytes, blocked, .. } => Some((*bytes, *blocked)),
            Completion::SendFailed { error, .. } => panic!("{error}"),
            _ => None,
        })
    }

    /// Sends until the socket is full; how many bytes it took.
    pub fn fill_socket(&mut self, conn: Conn) -> usize {
        let big = [slice(&content(4 << 20))];
        let mut taken = 0;
        loop {
            self.io.send(conn, big.iter());
            let mut completions = Vec::new();
            // It may have taken only a part and have room for more.
            for _ in 0..2 {
                self.io.wait(&mut completions, Some(SHORTLY)).unwrap();
            }
            let Completion::Sent { bytes, .. } = completions[0] else { panic!("{completions:?}") };
            taken += bytes;
            match completions[1..] {
                [] => return taken,
                [Completion::Writable { .. }] => {}
                _ => panic!("{completions:?}"),
            }
        }
    }

    /// Waits once and keeps the chunks that came; returns how many.
    pub fn receive_chunks(&mut self, chunks: &mut Vec<Bytes>, timeout: Duration) -> usize {
        let mut completions = Vec::new();
        self.io.wait(&mut completions, Some(timeout)).unwrap();
        let count = completions.len();
        for completion in completions {
            let Completion::Received { chunk, .. } = completion else { panic!("{completion:?}") };
            chunks.push(chunk);
        }
        count
    }

    /// Receives and drops.
    pub fn receive_bytes_at_least(&mut self, length: usize) {
        let mut bytes = 0;
        self.until(|completion| {
            if let Completion::Received { chunk, .. } = completion {
                bytes += chunk.len();
            }
            (bytes >= length).then_some(())
        });
    }

    /// Receives exactly `length` bytes.
    pub fn receive_bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.until(|completion| {
            if let Completion::Received { chunk, .. } = completion {
                bytes.extend_from_slice(chunk);
            }
            (bytes.len() >= length).then_some(())
        });
        assert_eq!(bytes.len(), length);
        bytes
    }
}

pub fn slice(bytes: &[u8]) -> Slice {
    Slice::from(Bytes::copy_from_slice(bytes))
}

pub fn content(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
