//! A shard's side of a test: a back end, a listening socket, and completions that
//! must come in time.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::client::{Client, Leftovers, PATIENCE, unused_path};
use netcluster_platform::{
    BindOptions, Completion, Conn, Io, LocalListener, LocalSocket, ReceiveEnd, Slice,
};

/// A back end for local sockets.
pub trait LocalIo: Io<Socket = LocalSocket, Listener = LocalListener> {}
impl<I: Io<Socket = LocalSocket, Listener = LocalListener>> LocalIo for I {}

pub struct Bench<I> {
    pub io: I,
    pending: VecDeque<Completion>,
    path: Leftovers,
}

impl<I: LocalIo> Bench<I> {
    /// A shard that accepts on a socket of its own.
    pub fn new(mut io: I) -> Bench<I> {
        let path = unused_path();
        let listener = LocalListener::bind(&path, &BindOptions::default()).unwrap();
        io.accept(listener).unwrap();
        Bench { io, pending: VecDeque::new(), path: Leftovers(path) }
    }

    pub fn path(&self) -> &Path {
        &self.path.0
    }

    /// A client and its connection.
    pub fn connect(&mut self) -> (Client, Conn) {
        let stream = Client::connect(self.path()).unwrap();
        (stream, self.accepted())
    }

    /// A client in another process, and its connection.
    pub fn connect_child(&mut self) -> (Child, Conn) {
        let child = Client::in_a_child(self.path());
        (child, self.accepted())
    }

    /// The next connection, among what earlier clients may be doing already.
    pub fn accepted(&mut self) -> Conn {
        self.find(|completion| match completion {
            Completion::Accepted { conn, .. } => Some(*conn),
            _ => None,
        })
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

    /// All completions that are there now.
    #[cfg(target_os = "linux")]
    pub fn quiet(&mut self) -> Vec<Completion> {
        let all = self.during(Duration::from_millis(20));
        all.into_iter().filter(|completion| !matches!(completion, Completion::Woken)).collect()
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

    /// Sends `slice` again and again until the socket is full; how many bytes it took.
    #[track_caller]
    pub fn fill_socket(&mut self, conn: Conn, slice: &Slice) -> usize {
        let mut taken = 0;
        loop {
            self.io.send(conn, [slice].into_iter());
            let (bytes, blocked) = self.expect("a send", |completion| match completion {
                Completion::Sent { conn: to, bytes, blocked } if *to == conn => {
                    Some((*bytes, *blocked))
                }
                _ => None,
            });
            taken += bytes;
            assert!(blocked || bytes == slice.len());
            // It may have taken only a part and have room for more.
            let rest = if blocked { self.during(Duration::from_millis(50)) } else { Vec::new() };
            match rest[..] {
                [] if blocked => return taken,
                [] | [Completion::Writable { .. }] => {}
                _ => panic!("unexpected {rest:?}"),
            }
        }
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
