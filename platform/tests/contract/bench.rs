//! A shard's side of a test: a back end, a listening socket, and completions that
//! must come in time.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use netcluster_platform::{
    BindOptions, Completion, Conn, Io, LocalListener, LocalSocket, ReceiveEnd, Slice,
};

/// How long a completion that must come may take: only a broken back end needs it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A back end for local sockets.
pub trait LocalIo: Io<Socket = LocalSocket, Listener = LocalListener> {}
impl<I: Io<Socket = LocalSocket, Listener = LocalListener>> LocalIo for I {}

pub struct Bench<I> {
    pub io: I,
    pending: VecDeque<Completion>,
    path: PathBuf,
}

impl<I: LocalIo> Bench<I> {
    /// A shard that accepts on a socket of its own.
    pub fn new(mut io: I) -> Bench<I> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netcluster-contract-{}-{count}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = LocalListener::bind(&path, &BindOptions::default()).unwrap();
        io.accept(listener).unwrap();
        Bench { io, pending: VecDeque::new(), path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A client and its connection.
    pub fn connect(&mut self) -> (UnixStream, Conn) {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Among what earlier clients may be doing already.
        let conn = self.find(|completion| match completion {
            Completion::Accepted { conn, .. } => Some(*conn),
            _ => None,
        });
        (stream, conn)
    }

    /// The next completion.
    pub fn next(&mut self) -> Completion {
        let start = Instant::now();
        loop {
            if let Some(completion) = self.pending.pop_front() {
                return completion;
            }
            assert!(start.elapsed() < PATIENCE, "no completion came");
            let mut batch = Vec::new();
            self.io.wait(&mut batch, Some(PATIENCE)).unwrap();
            self.pending.extend(batch);
        }
    }

    /// All completions that are there within `time`.
    pub fn during(&mut self, time: Duration) -> Vec<Completion> {
        let start = Instant::now();
        let mut all: Vec<_> = self.pending.drain(..).collect();
        while let Some(rest) = time.checked_sub(start.elapsed()) {
            self.io.wait(&mut all, Some(rest)).unwrap();
        }
        all
    }

    /// The next completion, which must be what `pick` picks. A wake-up is passed
    /// over, since a back end may wake itself.
    #[track_caller]
    pub fn expect<T>(&mut self, what: &str, pick: impl Fn(&Completion) -> Option<T>) -> T {
        loop {
            match self.next() {
                Completion::Woken => {}
                completion => match pick(&completion) {
                    Some(found) => return found,
                    None => panic!("expected {what}, got {completion:?}"),
                },
            }
        }
    }

    /// The first completion that `pick` picks; the others come later, in order.
    fn find<T>(&mut self, pick: impl Fn(&Completion) -> Option<T>) -> T {
        let mut others = VecDeque::new();
        loop {
            let completion = self.next();
            if let Some(found) = pick(&completion) {
                others.append(&mut self.pending);
                self.pending = others;
                return found;
            }
            others.push_back(completion);
        }
    }

    /// Receives `length` bytes on `conn`, and no more, copying them out.
    #[track_caller]
    pub fn receive_bytes(&mut self, conn: Conn, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let chunk = self.receive_chunk(conn);
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(bytes.len(), length);
        bytes
    }

    #[track_caller]
    pub fn receive_chunk(&mut self, conn: Conn) -> Bytes {
        self.expect("bytes", |completion| match completion {
            Completion::Received { conn: from, chunk } if *from == conn => {
                assert!(!chunk.is_empty());
                Some(chunk.clone())
            }
            _ => None,
        })
    }

    #[track_caller]
    pub fn expect_end(&mut self, conn: Conn) -> End {
        self.expect("the stream's end", |completion| end_of(completion, conn))
    }

    #[track_caller]
    pub fn expect_closed(&mut self, conn: Conn) {
        self.expect("closed", |completion| match completion {
            Completion::Closed { conn: closed } if *closed == conn => Some(()),
            _ => None,
        });
    }

    #[track_caller]
    pub fn close(&mut self, conn: Conn) {
        self.io.close(conn);
        self.expect_closed(conn);
    }

    /// Sends all of `slices`, in as many steps as it takes, until all is taken.
    #[track_caller]
    pub fn send_all(&mut self, conn: Conn, mut slices: VecDeque<Slice>) -> usize {
        let mut blocked_times = 0;
        while !slices.is_empty() {
            self.io.send(conn, slices.iter());
            let (mut bytes, blocked) = self.find(|completion| match completion {
                Completion::Sent { conn: to, bytes, blocked } if *to == conn => {
                    Some((*bytes, *blocked))
                }
                _ => None,
            });
            while bytes > 0 {
                let first = slices.front_mut().expect("no more is taken than was given");
                let step = bytes.min(first.len());
                first.advance(step);
                bytes -= step;
                if first.is_empty() {
                    slices.pop_front();
                }
            }
            if blocked {
                blocked_times += 1;
                self.find(|completion| match completion {
                    Completion::Writable { conn: to } if *to == conn => Some(()),
                    _ => None,
                });
            }
        }
        blocked_times
    }
}

impl<I> Drop for Bench<I> {
    fn drop(&mut self) {
        // A listener leaves its lock file; a test run has hundreds.
        let _ = std::fs::remove_file(self.path.with_extension("sock.lock"));
    }
}

/// How a stream ended, comparable.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Eof,
    Stopped,
    Failed,
}

pub fn end_of(completion: &Completion, conn: Conn) -> Option<End> {
    match completion {
        Completion::ReceiveEnded { conn: of, end } if *of == conn => Some(match end {
            ReceiveEnd::Eof => End::Eof,
            ReceiveEnd::Stopped => End::Stopped,
            ReceiveEnd::Failed(_) => End::Failed,
        }),
        _ => None,
    }
}

/// Bytes whose order shows.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}
