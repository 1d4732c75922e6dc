//! Broker that is started again on its machine: events wait for the clients that were
//! there before.

use std::sync::Arc;
use std::time::Duration;

use netcluster::internals::{MAX_HOLD, Record, ShardConfig};
use netcluster::sim::{SimBroker, SimSession};
use netcluster_platform::sim::{Faults, SimNet};
use netcluster_wire::bye::Bye;
use netcluster_wire::{Hello, Kind, Source, Welcome};

const SEEDS: u64 = 30;
const EVENTS: u8 = 40;
const TICK: Duration = Duration::from_millis(1);

/// Patterns that each listener has.
const PATTERNS: [&str; 3] = ["a.*", "**", "a.b"];

/// Makes a machine with sockets for even seeds, with pipes for odd ones, and of one to
/// three shards.
fn machine(seed: u64) -> (SimNet, usize) {
    // An accept that fails is tried again a second later: longer than anybody waits.
    let faults = Faults { accept_failure_permille: 0, ..Faults::rough_without_resets() };
    let net = SimNet::new(seed, faults);
    if seed % 2 == 1 {
        net.keep_connections();
    }
    (net, 1 + (seed % 3) as usize)
}

fn start(seed: u64, (net, shards): &(SimNet, usize), awaited: Record) -> SimBroker {
    let config = ShardConfig {
        seed,
        node: 1 + awaited.node(),
        spill_clients: 1,
        awaited: Arc::new(awaited),
        ..ShardConfig::default()
    };
    SimBroker::on(net.clone(), *shards, config, 64 << 20, None)
}

fn came_from(session: &SimSession) -> Hello {
    Hello { previous: session.source, ..Hello::default() }
}

fn listen(broker: &mut SimBroker, hello: &Hello) -> SimSession {
    let mut listener = broker.join("c", hello);
    for pattern in PATTERNS {
        let others = broker.subscribe(&mut listener, pattern);
        assert!(others.is_empty(), "an event came before all was in force");
    }
    listener
}

fn emit_all(emitter: &mut SimSession) {
    for number in 0..EVENTS {
        // Some in a buffer of their own.
        let bytes = if number == 20 { 20_000 } else { 100 };
        emitter.emit("a.b", &vec![number; bytes]);
    }
    emitter.queue(Kind::Ping, 9, b"", b"");
}

/// Lets the time pass until the listeners have everything; returns the time that it took.
fn all_arrive(
    broker: &mut SimBroker,
    emitter: &mut SimSession,
    listeners: &mut [SimSession],
) -> Duration {
    let start = broker.net.now();
    let mut got = vec![Vec::new(); listeners.len()];
    let mut confirmed = false;
    for _ in 0..5000 {
        emitter.push();
        broker.run_for(TICK);
        confirmed |= emitter.next_frame().is_some_and(|frame| frame.kind == Kind::Pong);
        for (listener, got) in listeners.iter_mut().zip(&mut got) {
            while let Some(frame) = listener.next_frame() {
                assert_eq!(frame.kind, Kind::Event);
                got.push(frame.payload[0]);
            }
        }
        if confirmed && got.iter().all(|got| got.len() == usize::from(EVENTS)) {
            let expected: Vec<u8> = (0..EVENTS).collect();
            assert!(got.iter().all(|got| *got == expected), "in order");
            return Duration::from_nanos(broker.net.now().since(start));
        }
    }
    panic!("missing: {:?}", got.iter().map(Vec::len).collect::<Vec<_>>());
}

/// Runs a broker with two listeners and an emitter, which then ends in order.
fn first_run(seed: u64, machine: &(SimNet, usize)) -> (Vec<Hello>, Hello, Record) {
    let mut broker = start(seed, machine, Record::default());
    let listeners =
        [listen(&mut broker, &Hello::default()), listen(&mut broker, &Hello::default())];
    let emitter = broker.join("c", &Hello::default());
    let hellos = listeners.iter().map(came_from).collect();
    let hello = came_from(&emitter);
    broker.shut_down();
    while !broker.has_ended() {
        broker.run_for(TICK);
    }
    drop((listeners, emitter));
    (hellos, hello, broker.left().expect("a broker that ends in order leaves a record"))
}

#[test]
fn what_is_emitted_waits_until_all_are_back_after_an_orderly_restart() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let machine = machine(seed);
        let (hellos, hello, record) = first_run(seed, &machine);
        // Whoever emits first: one that was there, or one that never was.
        let hello = if seed % 5 == 0 { Hello::default() } else { hello };
        let mut broker = start(seed, &machine, record);
        let mut emitter = broker.join("c", &hello);
        emit_all(&mut emitter);
        emitter.push();
        broker.run_for(Duration::from_millis(40));
        let mut listeners = vec![listen(&mut broker, &hellos[0])];
        emitter.push();
        broker.run_for(Duration::from_millis(40));
        let waited = broker.net.now();
        listeners.push(listen(&mut broker, &hellos[1]));
        all_arrive(&mut broker, &mut emitter, &mut listeners);
        let took = Duration::from_nanos(broker.net.now().since(waited));
        assert!(took < MAX_HOLD / 2, "with all of them back nothing waits longer: {took:?}");
    }
}

#[test]
fn who_does_not_come_back_is_waited_for_no_longer_than_half_a_second() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let machine = machine(seed);
        let (hellos, hello, record) = first_run(seed, &machine);
        let mut broker = start(seed, &machine, record);
        let mut emitter = broker.join("c", &hello);
        emit_all(&mut emitter);
        emitter.push();
        let mut listeners = [listen(&mut broker, &hellos[0])];
        let took = all_arrive(&mut broker, &mut emitter, &mut listeners);
        assert!(took < MAX_HOLD + Duration::from_millis(300), "{took:?}");
        // Other channels were not held, nor is this one any more.
        let mut other = broker.join("d", &Hello::default());
        broker.subscribe(&mut other, "a.b");
        let mut quick = broker.join("d", &Hello::default());
        emit_all(&mut quick);
        assert!(all_arrive(&mut broker, &mut quick, &mut [other]) < MAX_HOLD / 2);
        emit_all(&mut emitter);
        assert!(all_arrive(&mut broker, &mut emitter, &mut listeners) < MAX_HOLD / 2);
    }
}

#[test]
fn after_a_crash_a_channel_waits_once_somebody_comes_back() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let machine = machine(seed);
        let mut broker = start(seed, &machine, Record::default());
        let before = |client| Hello { previous: Source { node: 77, client }, ..Hello::default() };
        let mut emitter = broker.join("c", &before(1));
        emit_all(&mut emitter);
        emitter.push();
        broker.run_for(Duration::from_millis(200));
        let mut listeners = [listen(&mut broker, &before(2)), listen(&mut broker, &before(3))];
        all_arrive(&mut broker, &mut emitter, &mut listeners);
    }
}

#[test]
fn a_first_start_delays_nobody() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let machine = machine(seed);
        let mut broker = start(seed, &machine, Record::default());
        let mut listeners = [listen(&mut broker, &Hello::default())];
        let mut emitter = broker.join("c", &Hello::default());
        emit_all(&mut emitter);
        assert!(all_arrive(&mut broker, &mut emitter, &mut listeners) < MAX_HOLD / 2);
        // One that was disconnected in this run is none that was here before it.
        let hello = came_from(&emitter);
        let mut again = broker.join("c", &hello);
        drop(emitter);
        emit_all(&mut again);
        assert!(all_arrive(&mut broker, &mut again, &mut listeners) < MAX_HOLD / 2);
    }
}

/// Brokers of which one takes the other's place, and time that passes for both.
struct Succession {
    seed: u64,
    machine: (SimNet, usize),
    brokers: Vec<SimBroker>,
    /// The broker gives its place away; its successor starts once it has left its record.
    is_giving: bool,
}

impl Succession {
    fn run(&mut self) {
        self.brokers.iter_mut().for_each(|broker| broker.run_for(TICK / 4));
        let left = self.brokers[0].left().filter(|_| self.is_giving);
        if let Some(record) = left {
            self.is_giving = false;
            self.brokers.push(start(self.seed, &self.machine, record));
        }
        if self.brokers.len() > 1 {
            self.brokers.retain(|broker| !broker.has_ended());
        }
    }

    /// Connects until it is welcomed: whoever still reaches the old broker is turned away.
    fn join(&mut self, previous: Source) -> (SimSession, Welcome) {
        for _ in 0..1000 {
            let mut session = self.brokers[0].connect();
            session.hello("c", &Hello { previous, ..Hello::default() });
            let frame = (0..1000).find_map(|_| {
                session.push();
                self.run();
                session.next_frame()
            });
            // Or it waited behind a listener that was closed.
            let Some(frame) = frame else { continue };
            if frame.kind == Kind::Welcome {
                session.source = frame.source;
                return (session, Welcome::decode(&frame.payload).expect("a good welcome"));
            }
            assert_eq!(frame.kind, Kind::Bye);
            assert!(Bye::decode(&frame.payload).has_successor);
        }
        panic!("nobody takes it in");
    }
}

/// An emitter or a listener that goes from broker to broker.
struct Wanderer {
    session: SimSession,
    acks: usize,
    heard: Vec<u64>,
    /// Number of the first event that was emitted on this connection, and of the next.
    first: u64,
    next: u64,
    listens: bool,
}

impl Wanderer {
    fn new(succession: &mut Succession, listens: bool) -> Wanderer {
        let (session, _) = succession.join(Source::NONE);
        let mut wanderer =
            Wanderer { session, acks: 0, heard: Vec::new(), first: 0, next: 0, listens };
        wanderer.subscribe();
        wanderer
    }

    fn subscribe(&mut self) {
        self.acks = 0;
        if self.listens {
            for (at, pattern) in PATTERNS.iter().enumerate() {
                self.session.queue(Kind::Subscribe, at as u64, pattern.as_bytes(), b"");
            }
        }
    }

    fn emit(&mut self) {
        self.session.emit("a.b", &self.next.to_le_bytes());
        self.next += 1;
    }

    /// Takes what came; after a goodbye goes on to the successor.
    fn turn(&mut self, succession: &mut Succession) {
        self.session.push();
        while let Some(frame) = self.session.next_frame() {
            match frame.kind {
                Kind::Event => {
                    self.heard.push(u64::from_le_bytes(frame.payload[..].try_into().unwrap()));
                }
                Kind::Ack => self.acks += 1,
                Kind::Bye => {
                    let bye = Bye::decode(&frame.payload);
                    assert!(bye.has_successor);
                    let (session, welcome) = succession.join(self.session.source);
                    assert_eq!(welcome.held, self.listens, "what it could miss waits");
                    self.session = session;
                    self.subscribe();
                    // What was not read is emitted again.
                    (self.first, self.next) =
                        (self.first + bye.confirmed, self.first + bye.confirmed);
                    return;
                }
                kind => panic!("{kind:?}"),
            }
        }
    }
}

#[test]
fn successors_one_after_the_other_lose_nothing_and_double_nothing() {
    const TAKEOVERS: u64 = 10;
    const EACH: u64 = 30;
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let machine = machine(seed);
        let brokers = vec![start(seed, &machine, Record::default())];
        let mut succession = Succession { seed, machine, brokers, is_giving: false };
        let mut listeners =
            [Wanderer::new(&mut succession, true), Wanderer::new(&mut succession, true)];
        let mut emitter = Wanderer::new(&mut succession, false);
        let all_listen =
            |listeners: &[Wanderer]| listeners.iter().all(|it| it.acks == PATTERNS.len());
        for takeover in 1..=TAKEOVERS + 1 {
            let goal = takeover * EACH;
            let mut is_given = false;
            for turn in 0.. {
                assert!(turn < 20_000, "{takeover}: {:?}", listeners.map(|it| it.heard.len()));
                if emitter.next < goal && (takeover > 1 || all_listen(&listeners)) {
                    emitter.emit();
                }
                let is_half = emitter.next == goal - EACH / 2;
                if takeover <= TAKEOVERS && is_half && !is_given {
                    succession.brokers[0].give_way();
                    (is_given, succession.is_giving) = (true, true);
                }
                succession.run();
                emitter.turn(&mut succession);
                listeners.iter_mut().for_each(|listener| listener.turn(&mut succession));
                let have_all = listeners.iter().all(|it| it.heard.len() as u64 >= goal);
                let is_over = succession.brokers.len() == 1 && !succession.is_giving;
                if have_all && emitter.next >= goal && is_over {
                    break;
                }
            }
            let expected: Vec<u64> = (0..goal).collect();
            listeners.iter().for_each(|it| assert_eq!(it.heard, expected));
        }
    }
}
