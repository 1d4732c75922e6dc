//! A broker's side of a test: a back end with the link's sockets open.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use netcluster_platform::{
    Completion, DatagramConfig, DatagramInfo, DatagramIo, DatagramSockets, DatagramTrain, Io,
    LocalListener, LocalSocket,
};

/// How long what must come may take: only a broken back end needs it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long the sockets are watched for what must not come. All that is sent
/// here is delivered before the send returns, so this could be nothing.
const QUIET: Duration = Duration::from_millis(10);

/// The loopback interface, whose name is not the same everywhere.
const LOOPBACK: &str = if cfg!(windows) { "127.0.0.1" } else { "lo" };

/// A back end with both kinds of sockets.
pub trait LinkIo:
    Io<Socket = LocalSocket, Listener = LocalListener> + DatagramIo<Sockets = DatagramSockets>
{
}
impl<I> LinkIo for I where
    I: Io<Socket = LocalSocket, Listener = LocalListener> + DatagramIo<Sockets = DatagramSockets>
{
}

/// A broker.
pub struct Node<I> {
    pub io: I,
    pub info: DatagramInfo,
    pending: VecDeque<Completion>,
}

/// On the loopback interface, with a group and port that no other test uses.
pub fn on_loopback() -> DatagramConfig {
    on(LOOPBACK)
}

/// The same on another interface, of a namespace.
pub fn on(interface: &str) -> DatagramConfig {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let ip = Ipv4Addr::new(239, 200 + (process >> 16) as u8 % 50, (process >> 8) as u8, 7);
    let port = 10_000 + (process.wrapping_mul(61).wrapping_add(count) % 20_000) as u16;
    DatagramConfig {
        group: (ip, port).into(),
        interface: Some(interface.to_owned()),
        ..DatagramConfig::default()
    }
}

/// Another group with the same port.
pub fn group(config: &DatagramConfig, number: u8) -> SocketAddr {
    match config.group.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            (Ipv4Addr::new(a, b, c, d + number), config.group.port()).into()
        }
        IpAddr::V6(ip) => {
            let mut segments = ip.segments();
            segments[7] += u16::from(number);
            (std::net::Ipv6Addr::from(segments), config.group.port()).into()
        }
    }
}

impl<I: LinkIo> Node<I> {
    /// A broker that has joined the base group.
    #[track_caller]
    pub fn open(io: I, config: &DatagramConfig) -> Node<I> {
        let mut node = Node::unjoined(io, config);
        node.io.join_group(config.group.ip()).unwrap();
        node
    }

    /// A broker that has joined no group.
    #[track_caller]
    pub fn unjoined(mut io: I, config: &DatagramConfig) -> Node<I> {
        let sockets = DatagramSockets::open(config).unwrap_or_else(|error| panic!("{error}"));
        let info = sockets.info().clone();
        io.open_datagrams(sockets).unwrap();
        Node { io, info, pending: VecDeque::new() }
    }

    /// Its unicast address.
    pub fn address(&self) -> SocketAddr {
        self.info.unicast
    }

    /// Its port, which tells the senders of one machine apart.
    pub fn port(&self) -> u16 {
        self.info.unicast.port()
    }

    /// Sends all of `bytes`, which must have room.
    #[track_caller]
    pub fn send(&mut self, to: SocketAddr, bytes: &[u8], segment: usize) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.io.send_datagrams(to, rest, segment, true).unwrap();
            assert!(taken == rest.len() || taken.is_multiple_of(segment));
            rest = &rest[taken..];
        }
    }

    #[track_caller]
    pub fn send_one(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.send(to, bytes, bytes.len());
    }

    /// The next completion, wake-ups passed over.
    #[track_caller]
    pub fn next(&mut self) -> Completion {
        let start = Instant::now();
        loop {
            match self.pending.pop_front() {
                Some(Completion::Woken) => continue,
                Some(completion) => return completion,
                None => {}
            }
            assert!(start.elapsed() < PATIENCE, "no completion came");
            let mut batch = Vec::new();
            self.io.wait(&mut batch, Some(PATIENCE)).unwrap();
            self.pending.extend(batch);
        }
    }

    /// The next datagrams.
    #[track_caller]
    pub fn receive(&mut self) -> DatagramTrain {
        match self.next() {
            Completion::Datagrams(datagrams) => {
                assert!(datagrams.segment > 0);
                assert!(!datagrams.chunk.is_empty());
                datagrams
            }
            completion => panic!("expected datagrams, got {completion:?}"),
        }
    }

    /// Receives one datagram, whose bytes are given.
    #[track_caller]
    pub fn expect(&mut self, bytes: &[u8]) -> DatagramTrain {
        let datagrams = self.receive();
        assert_eq!(&datagrams.chunk[..], bytes);
        datagrams
    }

    /// Receives `count` datagrams.
    #[track_caller]
    pub fn receive_split(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < count {
            let datagrams = self.receive();
            all.extend(datagrams.chunk.chunks(datagrams.segment).map(<[u8]>::to_vec));
        }
        assert_eq!(all.len(), count);
        all
    }

    /// Nothing is there.
    #[track_caller]
    pub fn expect_silence(&mut self) {
        let start = Instant::now();
        let mut all: Vec<_> = self.pending.drain(..).collect();
        while let Some(rest) = QUIET.checked_sub(start.elapsed()) {
            self.io.wait(&mut all, Some(rest)).unwrap();
        }
        all.retain(|completion| !matches!(completion, Completion::Woken));
        assert!(all.is_empty(), "{all:?}");
    }
}

/// Bytes whose order shows.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}
