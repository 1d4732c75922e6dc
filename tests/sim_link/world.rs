//! Machines, brokers and clients of one run.

use std::collections::BTreeSet;
use std::time::Duration;

use netcluster::sim::{OwnedFrame, SimCluster, SimMember, SimSession};
use netcluster_link::LinkStatus;
use netcluster_platform::sim::{Faults, MachineId, NetworkFaults};
use netcluster_wire::control::{decode_lost, encode_cluster};
use netcluster_wire::{Hello, Kind, Pattern, Source};

use super::check::{Emission, Emitted, Fault, Item, Log};
use super::payload::{self, MIN_PAYLOAD_BYTES};

/// Time between two steps, in which clients read and write.
pub const STEP: Duration = Duration::from_millis(1);

/// Virtual time in which everything must have arrived.
const FINISH_WITHIN: Duration = Duration::from_secs(30);

/// Time that a client waits for an answer.
const ANSWER_WITHIN_MS: usize = 15_000;

pub struct Listener {
    pub machine: usize,
    pub channel: String,
    pub patterns: Vec<Pattern>,
    pub session: SimSession,
    pub log: Log,
    /// Bytes that the listener reads in a step, if it is slow.
    pub pace: Option<usize>,
    /// Whether the client went, or its broker died.
    pub is_gone: bool,
}

pub struct Emitter {
    pub session: SimSession,
    pub is_gone: bool,
}

pub struct World {
    pub cluster: SimCluster,
    pub listeners: Vec<Listener>,
    pub emitters: Vec<Emitter>,
    pub emitted: Vec<Emitted>,
    /// Pairs of machines between which events may be lost: that of the listener, that of
    /// the emitter.
    pub excused: BTreeSet<(usize, usize)>,
    requests: u64,
}

impl World {
    /// Makes machines without brokers.
    pub fn empty(seed: u64, machines: usize, local: Faults, network: NetworkFaults) -> World {
        World {
            cluster: SimCluster::new(seed, machines, local, network),
            listeners: Vec::new(),
            emitters: Vec::new(),
            emitted: Vec::new(),
            excused: BTreeSet::new(),
            requests: 100,
        }
    }

    /// Makes machines whose brokers know each other.
    pub fn new(seed: u64, machines: usize, network: NetworkFaults, member: &SimMember) -> World {
        let mut world = World::empty(seed, machines, Faults::default(), network);
        for at in 0..machines {
            world.cluster.start(at, member);
        }
        world.settle();
        world
    }

    /// Runs until all brokers know each other and look for nobody.
    pub fn settle(&mut self) {
        let running = self.cluster.brokers.iter().flatten().count();
        for _ in 0..1500 {
            let brokers = self.cluster.brokers.iter().flatten();
            let is_settled = brokers.clone().all(|broker| broker.peers() + 1 >= running);
            if is_settled && (0..self.cluster.brokers.len()).all(|at| !self.is_discovering(at)) {
                return;
            }
            self.run(Duration::from_millis(10));
        }
        self.print_links();
        let peers: Vec<_> = self
            .cluster
            .brokers
            .iter()
            .map(|it| it.as_ref().map(|broker| broker.peers()))
            .collect();
        panic!("the brokers have not found each other within 15 s: {peers:?}");
    }

    fn is_discovering(&mut self, at: usize) -> bool {
        self.cluster.brokers[at].is_some() && self.link(at).is_discovering
    }

    /// Tells for failures which brokers lost sight of which.
    fn history(&mut self) -> String {
        let mut history = String::new();
        for at in 0..self.cluster.brokers.len() {
            if self.cluster.brokers[at].is_some() {
                let it = self.link(at).counters;
                let (peers, silent, restarted) = (it.established, it.silent, it.restarted);
                history += &format!(
                    "machine {at}: established {peers}, silent {silent}, restarted {restarted}; "
                );
            }
        }
        history
    }

    /// Prints for failures what all links say of themselves.
    fn print_links(&mut self) {
        for at in 0..self.cluster.brokers.len() {
            if self.cluster.brokers[at].is_some() {
                eprintln!("machine {at}: {:#?}", self.link(at));
            }
        }
        eprintln!("{:?}", self.cluster.network.counters());
    }

    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.cluster.network.now().as_nanos())
    }

    pub fn id(at: usize) -> MachineId {
        MachineId(at as u32)
    }

    /// Returns what the broker of a machine says of its link.
    pub fn link(&mut self, at: usize) -> LinkStatus {
        let reports = self.cluster.broker(at).reports();
        reports.into_iter().find_map(|report| report.link).expect("it has a link").0
    }

    /// Allows that events of one machine are lost on the other, and the reverse.
    pub fn excuse(&mut self, one: usize, other: usize) {
        self.excused.insert((one, other));
        self.excused.insert((other, one));
    }

    /// Allows that any event is lost on a machine, or of it.
    pub fn excuse_all_of(&mut self, at: usize) {
        for other in 0..self.cluster.machines.len() {
            self.excuse(at, other);
        }
    }

    /// Kills a broker and its clients.
    pub fn crash(&mut self, at: usize) {
        self.cluster.crash(at);
        self.excuse_all_of(at);
        self.forget_clients(at);
    }

    /// Forgets the clients of a machine, which do nothing any more.
    pub fn forget_clients(&mut self, at: usize) {
        for listener in self.listeners.iter_mut().filter(|it| it.machine == at) {
            listener.is_gone = true;
        }
        for (emitter, emitted) in self.emitters.iter_mut().zip(&self.emitted) {
            emitter.is_gone |= emitted.machine == at;
        }
    }

    fn client(&mut self, at: usize, channel: &str, hello: &Hello) -> SimSession {
        let mut session = self.cluster.broker(at).connect();
        session.queue(Kind::Hello, 0, channel.as_bytes(), &hello.encode());
        let welcome = self.wait_for(&mut session, Kind::Welcome, 0, &mut Vec::new());
        session.source = welcome.source;
        session
    }

    /// Runs until a client is answered; events that come meanwhile are returned.
    fn wait_for(
        &mut self,
        session: &mut SimSession,
        kind: Kind,
        request: u64,
        others: &mut Vec<OwnedFrame>,
    ) -> OwnedFrame {
        for _ in 0..ANSWER_WITHIN_MS {
            session.push();
            self.step(STEP);
            while let Some(frame) = session.next_frame() {
                if frame.kind == kind && (request == 0 || frame.sequence == request) {
                    return frame;
                }
                others.push(frame);
            }
        }
        panic!("no {kind:?} within {ANSWER_WITHIN_MS} ms");
    }

    /// Connects a client that emits.
    pub fn emitter(&mut self, at: usize, channel: &str) -> usize {
        let session = self.client(at, channel, &Hello::default());
        let source = session.source;
        let channel = channel.to_owned();
        self.emitted.push(Emitted { machine: at, source, channel, events: Vec::new() });
        self.emitters.push(Emitter { session, is_gone: false });
        let emitter = self.emitters.len() - 1;
        for listener in &mut self.listeners {
            listener.log.owed.resize(emitter, None);
            // It was there before: everything is owed.
            listener.log.owed.push(Some(1));
        }
        emitter
    }

    /// Connects a client that listens, and is owed all that is emitted from now on.
    pub fn listener(&mut self, at: usize, channel: &str, patterns: &[&str]) -> usize {
        let listener = self.hasty_listener(at, channel, patterns);
        self.confirm(listener);
        listener
    }

    /// Connects a client that listens, and does not wait until other brokers know.
    pub fn hasty_listener(&mut self, at: usize, channel: &str, patterns: &[&str]) -> usize {
        let hello = Hello::default();
        let mut session = self.client(at, channel, &hello);
        let mut others = Vec::new();
        let mut list = Vec::new();
        for text in patterns {
            self.requests += 1;
            let request = self.requests;
            session.queue(Kind::Subscribe, request, text.as_bytes(), b"");
            self.wait_for(&mut session, Kind::Ack, request, &mut others);
            list.push(Pattern::new(text.as_bytes()).expect("a good pattern"));
        }
        let owed = vec![None; self.emitters.len()];
        self.listeners.push(Listener {
            machine: at,
            channel: channel.to_owned(),
            patterns: list,
            session,
            log: Log { owed, ..Log::default() },
            pace: None,
            is_gone: false,
        });
        let listener = self.listeners.len() - 1;
        for frame in others {
            self.take(listener, &frame);
        }
        listener
    }

    /// Waits until every broker knows what a listener wants: from then on it is
    /// owed everything.
    pub fn confirm(&mut self, listener: usize) {
        for _ in 0..8 {
            let missing = self.ask(listener, Duration::from_secs(2));
            if missing.is_empty() {
                for (owed, emitter) in
                    self.listeners[listener].log.owed.iter_mut().zip(&self.emitters)
                {
                    owed.get_or_insert(emitter.session.sequence + 1);
                }
                return;
            }
        }
        panic!("listener {listener} is not known everywhere after 16 s");
    }

    /// Asks whether every broker knows what a listener wants; returns those that do not.
    pub fn ask(&mut self, listener: usize, wait: Duration) -> String {
        self.requests += 1;
        let request = self.requests;
        self.listeners[listener].session.queue(Kind::Cluster, request, b"", &encode_cluster(wait));
        for _ in 0..ANSWER_WITHIN_MS {
            self.listeners[listener].session.push();
            self.cluster.run_for(STEP);
            self.push_all();
            for at in 0..self.listeners.len() {
                while let Some(frame) = self.next_frame(at) {
                    if at == listener && frame.kind == Kind::Cluster && frame.sequence == request {
                        // What it received later in this step comes with the next.
                        return String::from_utf8(frame.payload).expect("names");
                    }
                    self.take(at, &frame);
                }
            }
        }
        panic!("no answer for listener {listener}");
    }

    fn next_frame(&mut self, at: usize) -> Option<OwnedFrame> {
        let listener = &mut self.listeners[at];
        match listener.pace {
            _ if listener.is_gone => None,
            None => listener.session.next_frame(),
            Some(_) => None,
        }
    }

    /// Emits an event with a payload of so many bytes; returns its sequence.
    pub fn emit(&mut self, emitter: usize, name: &str, bytes: usize) -> u64 {
        let session = &mut self.emitters[emitter].session;
        let sequence = session.sequence + 1;
        let bytes = bytes.max(MIN_PAYLOAD_BYTES);
        session.emit(name, &payload::make(emitter, sequence, bytes));
        self.emitted[emitter].events.push(Emission { name: name.to_owned(), bytes });
        sequence
    }

    /// Emits at most so many events, until the broker takes no more for now; returns
    /// their number.
    pub fn emit_what_fits(
        &mut self,
        emitter: usize,
        name: &str,
        bytes: usize,
        most: usize,
    ) -> usize {
        for count in 0..most {
            if self.emitters[emitter].session.push() > 16 * 1024 {
                return count;
            }
            self.emit(emitter, name, bytes);
        }
        most
    }

    /// Writes the bytes that emitters have; returns how many bytes still wait.
    pub fn push_all(&mut self) -> usize {
        let live = self.emitters.iter_mut().filter(|emitter| !emitter.is_gone);
        live.map(|emitter| emitter.session.push()).sum()
    }

    /// Runs one step: emitters write, brokers run, listeners read.
    pub fn step(&mut self, duration: Duration) {
        self.push_all();
        self.cluster.run_for(duration);
        for at in 0..self.listeners.len() {
            if self.listeners[at].is_gone {
                continue;
            }
            if let Some(bytes) = self.listeners[at].pace {
                // One read of so many bytes, then what is whole.
                let mut limit = bytes;
                while let Some(frame) = self.listeners[at].session.next_frame_slowly(limit) {
                    limit = 0;
                    self.take(at, &frame);
                }
                continue;
            }
            while let Some(frame) = self.next_frame(at) {
                self.take(at, &frame);
            }
        }
    }

    /// Runs steps for this long.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now() + duration;
        while self.now() < end {
            self.step(STEP.min(end - self.now()));
        }
    }

    /// Names a listener that is at fault, for messages.
    fn who(&self, at: usize) -> String {
        let Listener { machine, channel, patterns, .. } = &self.listeners[at];
        let patterns: Vec<_> = patterns.iter().map(Pattern::as_str).collect();
        format!("listener {at} on machine {machine} (channel {channel}, {patterns:?})")
    }

    fn take(&mut self, at: usize, frame: &OwnedFrame) {
        match frame.kind {
            Kind::Event => {
                let (emitter, sequence) = payload::names(&frame.payload);
                let emitted = &self.emitted[emitter];
                assert_eq!(frame.sequence, sequence, "{}: corrupt", self.who(at));
                assert_eq!(frame.source, emitted.source, "{}: corrupt", self.who(at));
                let event = &emitted.events[sequence as usize - 1];
                assert_eq!(frame.name, event.name.as_bytes(), "{}: corrupt", self.who(at));
                assert!(
                    payload::is_of(&frame.payload, sequence, event.bytes),
                    "{}: payload of event {sequence} of emitter {emitter} is corrupt",
                    self.who(at)
                );
                self.listeners[at].log.items.push(Item::Event { emitter, sequence });
            }
            Kind::Lost => {
                let reason = decode_lost(&frame.payload).expect("a reason");
                let (source, count) = (frame.source, frame.sequence);
                let machine = self.listeners[at].machine;
                let is_excused = match source {
                    Source::NONE => self.excused.iter().any(|&(on, _)| on == machine),
                    _ => self.excused.contains(&(machine, source.node as usize - 1)),
                };
                assert!(
                    is_excused,
                    "{}: lost without cause: {count} of {source:?}, {reason:?}, at {:?}",
                    self.who(at),
                    self.now()
                );
                self.listeners[at].log.items.push(Item::Lost { source, count, reason });
            }
            Kind::Bye if self.cluster.brokers[self.listeners[at].machine].is_none() => {}
            Kind::Bye => self.listeners[at].is_gone = true,
            other => panic!(
                "{}: unexpected {other:?}: {:?}",
                self.who(at),
                String::from_utf8_lossy(&frame.payload)
            ),
        }
    }

    /// Returns how many events a listener has received.
    pub fn received(&self, at: usize) -> usize {
        let items = self.listeners[at].log.items.iter();
        items.filter(|item| matches!(item, Item::Event { .. })).count()
    }

    /// Returns the notices that a listener has received.
    pub fn losses(&self, at: usize) -> Vec<Item> {
        let items = self.listeners[at].log.items.iter();
        items.filter(|item| matches!(item, Item::Lost { .. })).cloned().collect()
    }

    /// Returns the first fault of what listeners received.
    ///
    /// # Panics
    /// If a log is broken for good.
    pub fn missing(&mut self) -> Option<String> {
        let mut missing = None;
        for at in 0..self.listeners.len() {
            let Listener { patterns, channel, log, is_gone, .. } = &mut self.listeners[at];
            match log.check(patterns, channel, &self.emitted) {
                Ok(()) => {}
                Err(Fault::Broken(text)) => {
                    let who = self.who(at);
                    panic!("{who}: {text}; {}", self.history());
                }
                Err(Fault::Missing(_)) if *is_gone => {}
                Err(Fault::Missing(text)) => {
                    missing.get_or_insert_with(|| format!("{}: {text}", self.who(at)));
                }
            }
        }
        missing
    }

    /// Runs until all that is owed has arrived, then a little longer to see that nothing
    /// comes twice. Returns the time that it took.
    ///
    /// # Panics
    /// If something does not arrive.
    pub fn finish(&mut self) -> Duration {
        let start = self.now();
        let mut missing = Some("nothing was looked at".to_owned());
        while missing.is_some() && self.now() < start + FINISH_WITHIN {
            self.run(Duration::from_millis(20));
            missing = match self.push_all() {
                0 => self.missing(),
                bytes => Some(format!("{bytes} bytes that brokers do not take")),
            };
        }
        let took = self.now() - start;
        if let Some(missing) = missing {
            self.print_links();
            panic!("after {FINISH_WITHIN:?}: {missing}");
        }
        self.run(Duration::from_millis(300));
        if let Some(missing) = self.missing() {
            panic!("{missing}");
        }
        took
    }
}
