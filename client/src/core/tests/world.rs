//! A client's core, the stream that it has at the moment, and a broker behind it that
//! says what it should and checks what it gets.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use netcluster_wire::frame::encode;
use netcluster_wire::{Frame, Hello, Kind, Source, Welcome, control};

use super::super::{Core, Question, Step, lock};
use crate::builder::ClientBuilder;
use crate::error::{DisconnectReason, Error};
use crate::lifecycle::Lifecycle;

/// The pattern that is listened to all the time.
pub(super) const KEPT: &str = "keep.**";

/// Random numbers, of which any spread will do.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// A connection, as the broker has it.
#[derive(Default)]
pub(super) struct Link {
    /// Written by the client and not read.
    to_broker: Vec<u8>,
    /// Frames on their way to the client, with the number of an event.
    to_client: VecDeque<(Vec<u8>, Option<u64>)>,
    /// Bytes of the first of them that came.
    came: usize,
    source: Option<Source>,
    /// Acknowledgements that the broker has not sent.
    pub(super) late: Vec<u64>,
    /// Patterns that the client had when it was welcomed again.
    expected: VecDeque<String>,
    /// Requests for these that the client has no answer for.
    open: Vec<u64>,
    /// The kept pattern is acknowledged: its events come.
    pub(super) keeps: bool,
    welcomed: bool,
}

/// A client's core and a broker in virtual time.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Instant,
    pub(super) link: Option<Link>,
    pub(super) told: Arc<Mutex<Vec<Lifecycle>>>,
    heard: Arc<Mutex<Vec<u64>>>,
    /// Events that came to the client as a whole.
    arrived: Vec<u64>,
    /// Events of the client that the broker read.
    pub(super) received: Vec<u64>,
    /// Events that were written to a connection and not read when it ended.
    pub(super) in_doubt: Vec<u64>,
    pub(super) emitted: u64,
    sent: u64,
    connections: u32,
    last_source: Source,
    replies: Vec<Arc<AtomicUsize>>,
    /// Acknowledgements wait until they are released.
    pub(super) hold_acks: bool,
    /// The broker holds events for who comes back.
    pub(super) holds: bool,
    /// The stream ends after so many bytes written, or read.
    pub(super) cut_after: [Option<usize>; 2],
}

impl World {
    pub(super) fn new(builder: ClientBuilder) -> World {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let builder = builder.on_lifecycle(move |event| lock(&tell).push(event.clone()));
        let now = super::epoch();
        let core = Core::new(builder, vec!["broker".into()], 5, now).unwrap();
        World {
            core,
            now,
            link: None,
            told,
            heard: Arc::default(),
            arrived: Vec::new(),
            received: Vec::new(),
            in_doubt: Vec::new(),
            emitted: 0,
            sent: 0,
            connections: 0,
            last_source: Source::NONE,
            replies: Vec::new(),
            hold_acks: false,
            holds: false,
            cut_after: [None; 2],
        }
    }

    /// Makes a world whose client is connected and listens to [`KEPT`].
    pub(super) fn connected(builder: ClientBuilder) -> World {
        let mut world = World::new(builder);
        world.settle();
        let heard = Arc::clone(&world.heard);
        let listen = move |message: &crate::Message<'_>| {
            let number = u64::from_le_bytes(message.payload().try_into().unwrap());
            lock(&heard).push(number);
        };
        world.core.on(KEPT, listen).unwrap();
        world.settle();
        world
    }

    /// Does what the core waits for, unless it is to read; whether it did something.
    pub(super) fn step(&mut self) -> bool {
        match self.core.poll_step() {
            Step::Connect(path, by) => {
                assert_eq!(path.to_str(), Some("broker"));
                assert!(by > self.now);
                self.core.handle_connected();
                self.link = Some(Link::default());
                true
            }
            Step::Wait(until) => {
                self.now = self.now.max(until);
                self.core.handle_timeout(self.now);
                true
            }
            Step::Read(_) | Step::Hold | Step::Closed(_) => false,
            Step::Map(_) | Step::Take => panic!("it was never told that it can"),
            Step::Dispatch => panic!("it dispatches with the input"),
        }
    }

    /// The next connection is refused.
    pub(super) fn refuse(&mut self, kind: io::ErrorKind) {
        self.core.handle_connect_failed(kind.into(), self.now);
    }

    /// Goes on until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let moved = self.write(usize::MAX) + self.read(usize::MAX);
            if !self.step() && moved == 0 {
                return;
            }
        }
        panic!("it never rests: {:?}", self.core);
    }

    pub(super) fn emit(&mut self, event: &str, bytes: usize) {
        if self.core.emit(event, vec![7; bytes]).is_ok() {
            self.emitted += 1;
        }
    }

    /// Sends an event of the broker for [`KEPT`], if it is in force there.
    pub(super) fn send(&mut self) {
        let Some(link) = self.link.as_mut().filter(|link| link.keeps) else { return };
        self.sent += 1;
        let source = Source { node: 1, client: 99 };
        let payload = self.sent.to_le_bytes();
        let frame = encode(Kind::Event, source, self.sent, b"keep.it", &payload);
        link.to_client.push_back((frame, Some(self.sent)));
    }

    /// Bytes of the broker that are no event.
    pub(super) fn say(&mut self, kind: Kind, sequence: u64, payload: &[u8]) {
        let frame = encode(kind, Source::NONE, sequence, b"", payload);
        self.link.as_mut().unwrap().to_client.push_back((frame, None));
    }

    pub(super) fn ask(&mut self) {
        let count = Arc::new(AtomicUsize::new(0));
        self.replies.push(Arc::clone(&count));
        let reply = move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let _ = self.core.ask(Question::Ping, reply);
    }

    /// Counts the replies that are open.
    pub(super) fn open_replies(&self) -> usize {
        let counts = self.replies.iter().map(|count| count.load(Ordering::Relaxed));
        counts.inspect(|count| assert!(*count <= 1, "answered twice")).filter(|n| *n == 0).count()
    }

    /// The client writes, so many bytes at most; how many.
    pub(super) fn write(&mut self, bytes: usize) -> usize {
        let Some(link) = &mut self.link else { return 0 };
        let waiting = self.core.poll_transmit();
        let bytes = bytes.min(waiting.len()).min(self.cut_after[0].unwrap_or(usize::MAX));
        link.to_broker.extend_from_slice(&waiting[..bytes]);
        self.core.handle_transmitted(bytes);
        if self.cut_soon(0, bytes) {
            return bytes;
        }
        while self.serve() {}
        bytes
    }

    /// The client reads, so many bytes at most; how many.
    pub(super) fn read(&mut self, bytes: usize) -> usize {
        let mut left = bytes.min(self.cut_after[1].unwrap_or(usize::MAX));
        let mut read = 0;
        while left > 0 && matches!(self.core.poll_step(), Step::Read(_)) {
            let Some(link) = &mut self.link else { break };
            let Some((frame, event)) = link.to_client.front() else { break };
            let bytes = left.min(frame.len() - link.came);
            let part = frame[link.came..link.came + bytes].to_vec();
            link.came += bytes;
            (left, read) = (left - bytes, read + bytes);
            if link.came == frame.len() {
                self.arrived.extend(*event);
                let (frame, _) = link.to_client.pop_front().unwrap();
                link.came = 0;
                let head = Frame::read(&frame, usize::MAX).unwrap().unwrap();
                if head.kind() == Kind::Ack {
                    link.open.retain(|request| *request != head.sequence());
                }
                if head.kind() == Kind::Welcome && self.connections > 1 {
                    let patterns = self.core.patterns();
                    link.expected = patterns.into();
                }
                if head.kind() == Kind::Welcome {
                    link.welcomed = true;
                    self.last_source = head.source();
                }
            }
            self.core.handle_input(&part, self.now);
        }
        self.cut_soon(1, read);
        read
    }

    fn cut_soon(&mut self, direction: usize, moved: usize) -> bool {
        let Some(left) = &mut self.cut_after[direction] else { return false };
        *left -= moved;
        let cuts = *left == 0;
        if cuts {
            self.cut_after[direction] = None;
            self.cut(None);
        }
        cuts
    }

    /// The stream breaks, with all that is on its way.
    pub(super) fn cut(&mut self, error: Option<io::ErrorKind>) {
        let Some(link) = self.link.take() else { return };
        let mut rest = &link.to_broker[..];
        while let Ok(Some(frame)) = Frame::read(rest, usize::MAX) {
            if frame.kind() == Kind::Event {
                self.in_doubt.push(frame.sequence());
            }
            rest = &rest[frame.as_bytes().len()..];
        }
        self.core.handle_disconnected(error.map(io::Error::from), self.now);
    }

    /// The broker reads a frame; whether there was one.
    fn serve(&mut self) -> bool {
        let Some(link) = &mut self.link else { return false };
        let bytes = std::mem::take(&mut link.to_broker);
        let Some(frame) = Frame::read(&bytes, usize::MAX).expect("frames") else {
            link.to_broker = bytes;
            return false;
        };
        link.to_broker = bytes[frame.as_bytes().len()..].to_vec();
        let number = frame.sequence();
        match (link.source, frame.kind()) {
            (None, Kind::Hello) => self.welcome(&Hello::decode(frame.payload()).unwrap()),
            (None, kind) => panic!("{kind:?} before hello"),
            (Some(source), kind) => {
                assert_eq!(frame.source(), source);
                self.answer(kind, frame.name(), number);
            }
        }
        true
    }

    fn welcome(&mut self, hello: &Hello) {
        assert_eq!(hello.previous, self.last_source, "it says who it was");
        self.connections += 1;
        let source = Source { node: 1, client: self.connections };
        let link = self.link.as_mut().unwrap();
        link.source = Some(source);
        let welcome =
            Welcome { max_payload: 1 << 20, run: 1, held: self.holds, ..Welcome::default() }
                .encode();
        link.to_client.push_back((encode(Kind::Welcome, source, 0, b"", &welcome), None));
    }

    fn answer(&mut self, kind: Kind, name: &[u8], number: u64) {
        let link = self.link.as_mut().unwrap();
        assert!(link.welcomed, "{kind:?} before the welcome came");
        if let Some(pattern) = link.expected.pop_front() {
            assert_eq!((kind, name), (Kind::Subscribe, pattern.as_bytes()), "patterns first");
            link.open.push(number);
        }
        match kind {
            Kind::Subscribe => {
                link.keeps |= name == KEPT.as_bytes();
                if self.hold_acks {
                    link.late.push(number);
                } else {
                    self.say(Kind::Ack, number, b"");
                }
            }
            Kind::Unsubscribe => self.say(Kind::Ack, number, b""),
            Kind::Event => {
                assert_eq!(link.open, [0; 0], "an event before the patterns are in force");
                assert!(self.received.last().is_none_or(|last| *last < number), "out of order");
                self.received.push(number);
            }
            Kind::Ping => {
                let confirmed = self.received.last().copied().unwrap_or(0);
                self.say(Kind::Pong, number, &control::encode_pong(confirmed));
            }
            Kind::Bye => self.say(Kind::Bye, number, b""),
            Kind::Pong => {}
            kind => panic!("{kind:?} from a client"),
        }
    }

    /// The broker sends an acknowledgement that it held.
    pub(super) fn release(&mut self, random: &mut Random) {
        let Some(link) = self.link.as_mut().filter(|link| !link.late.is_empty()) else { return };
        let index = random.below(link.late.len());
        let number = link.late.swap_remove(index);
        self.say(Kind::Ack, number, b"");
    }

    pub(super) fn release_all(&mut self) {
        self.hold_acks = false;
        for _ in 0..self.link.as_ref().map_or(0, |link| link.late.len()) {
            self.release(&mut Random::new(1));
        }
    }

    /// Ends the client in order and checks all that was promised.
    pub(super) fn finish(mut self) {
        self.cut_after = [None; 2];
        self.release_all();
        self.settle();
        self.release_all();
        self.settle();
        for pattern in self.core.patterns() {
            assert!(matches!(self.core.in_force(&pattern), Some(Ok(()))), "{pattern}");
        }
        assert_eq!(self.open_replies(), 0);
        self.core.disconnect(self.now).unwrap();
        self.settle();
        let Step::Closed(Error::Disconnected(DisconnectReason::Requested)) = self.core.poll_step()
        else {
            panic!("{:?}", self.core);
        };
        self.check();
    }

    /// Checks that each event came at most once, in order, and is missing only if it was in doubt.
    pub(super) fn check(&self) {
        let mut known = self.received.clone();
        known.extend(&self.in_doubt);
        known.sort_unstable();
        assert_eq!(known, (1..=self.emitted).collect::<Vec<_>>());
        assert_eq!(*lock(&self.heard), self.arrived);
        check_order(&lock(&self.told));
    }
}

/// Checks the order: connect, then disconnect, again and again, and at the end closed.
fn check_order(told: &[Lifecycle]) {
    let mut connected = false;
    let mut first = true;
    for (index, event) in told.iter().enumerate() {
        match event {
            Lifecycle::Connect { resumed, .. } => {
                assert!(!connected && *resumed != first, "{told:?}");
                (connected, first) = (true, false);
            }
            // A connection may end before its patterns are in force.
            Lifecycle::Disconnect { .. } => connected = false,
            Lifecycle::Closed(_) => {
                assert!(!connected && index == told.len() - 1, "{told:?}");
            }
            _ => {}
        }
    }
}

/// Time passes.
impl World {
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.handle_timeout(self.now);
        if !matches!(self.core.poll_step(), Step::Read(_) | Step::Hold) {
            self.link = None;
        }
    }
}
