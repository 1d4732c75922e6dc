//! Broker over the simulator: seeded faults, virtual time, every invariant checked on
//! every run.
//!
//! A failing seed is printed with the command that replays it. `SIM_SEEDS=N` runs that
//! many seeds, `SIM_BASE=N` from that one on, `SIM_SEED=N` only that one.

mod seeds;

use std::collections::BTreeMap;
use std::time::Duration;

use netcluster::internals::ShardConfig;
use netcluster::sim::{OwnedFrame, SimBroker, SimMemories, SimSession};
use netcluster_platform::sim::{Faults, SimNet};
use netcluster_wire::control::decode_error;
use netcluster_wire::{ErrorCode, Hello, Kind, Pattern, Source};

use seeds::Seeds;

const SEEDS: Seeds = Seeds { kind: "SIM", count: "SIM_SEEDS", suite: "sim_local" };
const DEFAULT_SEEDS: u64 = 60;
const MAX_PAYLOAD_BYTES: usize = 120_000;

/// Small generator of pseudo-random numbers, so that a run depends on nothing but its
/// seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

fn for_seeds(test: &str, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    SEEDS.run(test, DEFAULT_SEEDS, run);
}

/// Starts a broker, by turns on sockets, on pipes (every shard accepts and keeps what it gets,
/// and bytes that a send took may still be on their way), and with memory for its clients.
fn broker(
    seed: u64,
    faults: Faults,
    shards: usize,
    config: ShardConfig,
    memory_bytes: usize,
) -> SimBroker {
    let is_piped = seed % 3 == 1;
    let held_send_permille = if is_piped { 300 } else { 0 };
    let net = SimNet::new(seed, Faults { held_send_permille, ..faults });
    if shares(seed) {
        let share_after_bytes = [0, 4 << 10, 64 << 10][(seed / 3 % 3) as usize];
        let config = ShardConfig { share_after_bytes, ..config };
        return SimBroker::sharing(net, shards, config, memory_bytes, SimMemories::rough(seed));
    }
    if is_piped {
        net.keep_connections();
    }
    SimBroker::on(net, shards, config, memory_bytes, None)
}

fn shares(seed: u64) -> bool {
    seed % 3 == 2
}

struct Listener {
    session: SimSession,
    channel: usize,
    latest: bool,
    patterns: Vec<Pattern>,
    /// Last sequence seen and events lost, per emitter.
    seen: BTreeMap<Source, (u64, u64)>,
    got: BTreeMap<Source, Vec<u64>>,
}

impl Listener {
    fn take(&mut self, frame: &OwnedFrame, sizes: &BTreeMap<(Source, u64), (String, usize)>) {
        match frame.kind {
            Kind::Event => {
                let (last, _) = self.seen.entry(frame.source).or_default();
                assert!(*last < frame.sequence, "out of order or twice");
                *last = frame.sequence;
                let (name, size) = &sizes[&(frame.source, frame.sequence)];
                assert_eq!(frame.name, name.as_bytes());
                assert_eq!(frame.payload, payload(frame.sequence, *size), "corrupt");
                assert!(self.patterns.iter().any(|pattern| pattern.matches(&frame.name)));
                self.got.entry(frame.source).or_default().push(frame.sequence);
            }
            Kind::Lost => {
                assert!(self.latest, "only a `latest` connection may lose events");
                assert!(frame.sequence > 0);
                self.seen.entry(frame.source).or_default().1 += frame.sequence;
            }
            other => panic!("unexpected {other:?}: {:?}", String::from_utf8_lossy(&frame.payload)),
        }
    }
}

fn payload(sequence: u64, size: usize) -> Vec<u8> {
    (0..size).map(|at| (sequence as usize * 31 + at * 7) as u8).collect()
}

fn event_name(random: &mut Random) -> String {
    let tokens = ["a", "b", "c"];
    let count = 1 + random.below(3);
    (0..count).map(|_| tokens[random.below(3) as usize]).collect::<Vec<_>>().join(".")
}

fn pattern(random: &mut Random) -> Pattern {
    let tokens = ["a", "b", "*", "**"];
    let count = 1 + random.below(3);
    let text: Vec<_> = (0..count).map(|_| tokens[random.below(4) as usize]).collect();
    Pattern::new(text.join(".").as_bytes()).unwrap()
}

/// Listeners, some of them slow, some `latest`, get every event of their channel and
/// patterns over rough sockets once and in order, or, if they are `latest`, a `lost`
/// notice with the right count.
#[test]
fn every_event_arrives_once_and_in_order_or_is_told_lost() {
    for_seeds("every_event_arrives", |seed| {
        let mut random = Random(seed);
        let faults =
            if random.chance(80) { Faults::rough_without_resets() } else { Faults::default() };
        let shards = 1 + random.below(3) as usize;
        let config = ShardConfig {
            seed,
            max_queue_bytes: 64 << 10,
            spill_clients: 1 + random.below(3) as usize,
            stall_timeout: Duration::from_secs(3600),
            ..ShardConfig::default()
        };
        let memory = if random.chance(30) { 256 << 10 } else { 64 << 20 };
        let mut broker = broker(seed, faults, shards, config, memory);

        let mut listeners = Vec::new();
        for _ in 0..1 + random.below(5) {
            let channel = random.below(2) as usize;
            let latest = random.chance(30);
            let hello = Hello { latest, ..Hello::default() };
            let mut session = broker.join(&format!("channel-{channel}"), &hello);
            let mut patterns = Vec::new();
            for _ in 0..1 + random.below(3) {
                let pattern = pattern(&mut random);
                let early = broker.subscribe(&mut session, pattern.as_str());
                assert!(early.is_empty());
                patterns.push(pattern);
            }
            let (seen, got) = Default::default();
            listeners.push(Listener { session, channel, latest, patterns, seen, got });
        }
        let mut emitters = Vec::new();
        for _ in 0..1 + random.below(4) {
            let channel = random.below(2) as usize;
            let session = broker.join(&format!("channel-{channel}"), &Hello::default());
            emitters.push((session, channel));
        }

        // The mark, and what was received before a pause took hold: the receive
        // pools and each emitter's frame in its own buffer, and `lost` notices.
        let pool = if shares(seed) {
            18 << 20
        } else {
            faults.buffer_bytes * faults.pool_buffers as usize
        };
        let pools = shards * pool;
        let own = emitters.len() * MAX_PAYLOAD_BYTES;
        let longest_queue = (64 << 10) + pools + own + 4096;
        let mut sent = BTreeMap::new();
        let mut sizes = BTreeMap::new();
        for _ in 0..60 + random.below(100) {
            for (session, _) in &mut emitters {
                for _ in 0..random.below(12) {
                    let name = event_name(&mut random);
                    let size = match random.below(40) {
                        0 => random.below(MAX_PAYLOAD_BYTES as u64),
                        1..4 => random.below(8_000),
                        _ => random.below(100),
                    } as usize;
                    let sequence = session.sequence + 1;
                    session.emit(&name, &payload(sequence, size));
                    sizes.insert((session.source, sequence), (name.clone(), size));
                    sent.entry(session.source).or_insert_with(Vec::new).push((sequence, name));
                }
                session.push();
            }
            broker.run_for(Duration::from_micros(random.below(400)));
            for client in broker.reports().into_iter().flat_map(|report| report.clients) {
                assert!(client.queued_bytes as usize <= longest_queue, "{client:?}");
            }
            for listener in &mut listeners {
                if random.chance(50) {
                    let limit = random.below(30_000) as usize;
                    while let Some(frame) = listener.session.next_frame_slowly(limit) {
                        listener.take(&frame, &sizes);
                    }
                }
            }
        }
        // Everybody reads on until nothing moves any more.
        let mut quiet = 0;
        while quiet < 50 {
            quiet += 1;
            for (session, _) in &mut emitters {
                if session.push() > 0 {
                    quiet = 0;
                }
                assert_eq!(session.next_frame(), None, "who does not listen hears nothing");
            }
            broker.run_for(Duration::from_millis(1));
            for listener in &mut listeners {
                while let Some(frame) = listener.session.next_frame() {
                    quiet = 0;
                    listener.take(&frame, &sizes);
                }
            }
        }
        for (session, channel) in &emitters {
            for listener in &listeners {
                let expected: Vec<u64> = sent
                    .get(&session.source)
                    .into_iter()
                    .flatten()
                    .filter(|(_, name)| {
                        listener.channel == *channel
                            && listener.patterns.iter().any(|it| it.matches(name.as_bytes()))
                    })
                    .map(|(sequence, _)| *sequence)
                    .collect();
                let got = listener.got.get(&session.source).cloned().unwrap_or_default();
                if listener.latest {
                    let lost = listener.seen.get(&session.source).map_or(0, |seen| seen.1);
                    assert_eq!(got.len() as u64 + lost, expected.len() as u64, "lost is counted");
                } else {
                    assert_eq!(got, expected);
                }
            }
        }
        drop((listeners, emitters));
        broker.run_for(Duration::from_secs(1));
        assert_eq!(broker.net.sockets(), 0, "every connection is closed");
        assert_eq!(broker.budget.used_bytes(), 0, "no memory is held");
        broker.shut_down();
        broker.run_for(Duration::from_secs(10));
        assert!(broker.has_ended());
    });
}

/// A listener that never reads pauses its emitters alone; after the stall timeout it is
/// disconnected with a reason, and they go on.
#[test]
fn a_stuck_listener_is_disconnected_and_disturbs_only_its_emitters() {
    for_seeds("a_stuck_listener", |seed| {
        let config = ShardConfig {
            seed,
            max_queue_bytes: 64 << 10,
            spill_clients: 1 + (seed % 3) as usize,
            ..ShardConfig::default()
        };
        let faults = Faults::rough_without_resets();
        let mut broker = broker(seed, faults, 1 + (seed % 3) as usize, config, 1 << 20);
        let mut stuck = broker.join("c", &Hello::default());
        let mut healthy = broker.join("c", &Hello::default());
        broker.subscribe(&mut stuck, "slow");
        broker.subscribe(&mut healthy, "fast");
        let mut feeds_stuck = broker.join("c", &Hello::default());
        let mut feeds_healthy = broker.join("c", &Hello::default());
        let (mut fast, mut received) = (0, 0);
        for _ in 0..400 {
            while feeds_stuck.push() < 20_000 {
                feeds_stuck.emit("slow", &[1; 500]);
            }
            for _ in 0..5 {
                feeds_healthy.emit("fast", &[2; 100]);
                fast += 1;
            }
            for _ in 0..10 {
                feeds_healthy.push();
                broker.run_for(Duration::from_millis(2));
                while healthy.next_frame().is_some() {
                    received += 1;
                }
            }
        }
        assert!(
            received + 50 >= fast,
            "{received} of {fast}: a healthy pair was held up: {:#?}",
            broker.reports()
        );
        let mut reason = None;
        for _ in 0..10_000 {
            match stuck.next_frame() {
                Some(frame) if frame.kind == Kind::Error => {
                    reason = Some(decode_error(&frame.payload).unwrap());
                }
                Some(_) => {}
                None => break,
            }
        }
        // It may have lingered too long to be told; its successor is.
        if let Some((code, text)) = reason {
            assert_eq!(code, ErrorCode::Stalled);
            assert!(text.contains("--max-queue"), "{text}");
        }
        let waiting = feeds_stuck.push();
        broker.run_for(Duration::from_secs(1));
        assert!(feeds_stuck.push() < waiting || waiting == 0, "its emitter goes on");
    });
}

/// What broke: a broker that was stopped for longer than the stall timeout disconnected
/// listeners that had read all the time.
#[test]
fn time_in_which_the_broker_did_not_run_is_not_the_listeners() {
    for_seeds("time_in_which_the_broker", |seed| {
        let stall_timeout = Duration::from_secs(2);
        let config = ShardConfig {
            seed,
            stall_timeout,
            max_queue_bytes: 64 << 10,
            ..ShardConfig::default()
        };
        let mut broker = broker(seed, Faults::default(), 1, config, 1 << 20);
        let mut listener = broker.join("c", &Hello::default());
        broker.subscribe(&mut listener, "a");
        let mut emitter = broker.join("c", &Hello::default());
        let is_full = |broker: &mut SimBroker| {
            let mut clients = broker.reports().into_iter().flat_map(|report| report.clients);
            clients.any(|client| client.state == "full")
        };
        let mut emitted = 0;
        while !is_full(&mut broker) {
            emitter.emit("a", &[1; 500]);
            emitted += 1;
            emitter.push();
            broker.run_for(Duration::from_millis(1));
        }
        broker.net.advance(stall_timeout * 2);
        let mut got = 0;
        for _ in 0..1000 {
            while let Some(frame) = listener.next_frame() {
                assert_eq!(frame.kind, Kind::Event, "seed {seed}, after {got} of {emitted}");
                got += 1;
            }
            broker.run_for(Duration::from_millis(2));
            emitter.push();
        }
        assert_eq!(got, emitted, "seed {seed}");
    });
}

/// Clients come, die and go, subscribe and unsubscribe, while events flow: nothing
/// panics, nobody gets what it has not asked for, nothing leaks.
#[test]
fn churn_leaks_nothing_and_never_delivers_what_was_not_asked_for() {
    for_seeds("churn", |seed| {
        let mut random = Random(seed ^ 0xc0ffee);
        let config = ShardConfig {
            seed,
            max_queue_bytes: 64 << 10,
            spill_clients: 1 + random.below(2) as usize,
            stall_timeout: Duration::from_millis(500),
            hello_timeout: Duration::from_millis(500),
            ..ShardConfig::default()
        };
        let shards = 1 + random.below(3) as usize;
        let mut broker = broker(seed, Faults::rough(), shards, config, 512 << 10);
        let mut sessions: Vec<(SimSession, bool)> = Vec::new();
        for _ in 0..400 {
            match random.below(12) {
                0 | 1 if sessions.len() < 12 => {
                    let mut session = broker.connect();
                    let hello = Hello { latest: random.chance(30), ..Hello::default() };
                    session.hello("c", &hello);
                    sessions.push((session, false));
                }
                2 if !sessions.is_empty() => {
                    let at = random.below(sessions.len() as u64) as usize;
                    let (session, _) = sessions.swap_remove(at);
                    if random.chance(50) {
                        session.end.reset();
                    }
                }
                _ => {}
            }
            for (session, welcomed) in &mut sessions {
                if *welcomed {
                    match random.below(10) {
                        0 => session.queue(
                            Kind::Subscribe,
                            1,
                            pattern(&mut random).as_str().as_bytes(),
                            b"",
                        ),
                        1 => session.queue(
                            Kind::Unsubscribe,
                            2,
                            pattern(&mut random).as_str().as_bytes(),
                            b"",
                        ),
                        2 => session.queue(Kind::Ping, 3, b"", b""),
                        3 => session.queue(Kind::Stats, 4, b"", b""),
                        4 if random.chance(10) => session.queue(Kind::Bye, 5, b"", b""),
                        _ => {
                            let size = if random.chance(3) {
                                random.below(300_000)
                            } else {
                                random.below(400)
                            };
                            let name = event_name(&mut random);
                            session.emit(&name, &vec![1; size as usize]);
                        }
                    }
                }
                session.push();
                if random.chance(70) {
                    while let Some(frame) = session.next_frame() {
                        match frame.kind {
                            Kind::Welcome => {
                                session.source = frame.source;
                                *welcomed = true;
                            }
                            Kind::Event => assert_ne!(frame.source, session.source, "no echo"),
                            _ => {}
                        }
                    }
                }
            }
            broker.run_for(Duration::from_micros(random.below(3000)));
        }
        sessions.clear();
        broker.run_for(Duration::from_secs(20));
        assert_eq!(broker.net.sockets(), 0, "every connection is closed");
        assert_eq!(broker.budget.used_bytes(), 0, "no memory is held");
        for report in broker.reports() {
            assert_eq!((report.totals.clients, report.totals.listeners), (0, 0));
            assert_eq!(report.totals.queued_bytes, 0);
        }
    });
}

/// Events that were emitted before a shutdown reach their listeners, then a goodbye.
#[test]
fn a_shutdown_delivers_what_is_queued_and_says_goodbye() {
    for_seeds("a_shutdown", |seed| {
        let config = ShardConfig { seed, spill_clients: 1, ..ShardConfig::default() };
        let shards = 1 + (seed % 3) as usize;
        let faults = Faults::rough_without_resets();
        let mut broker = broker(seed, faults, shards, config, 64 << 20);
        let mut listener = broker.join("c", &Hello::default());
        broker.subscribe(&mut listener, "**");
        let mut emitter = broker.join("c", &Hello::default());
        for _ in 0..500 {
            emitter.emit("a", &[3; 200]);
        }
        emitter.queue(Kind::Ping, 9, b"", b"");
        let mut confirmed = false;
        let (mut events, mut bye) = (0, false);
        for _ in 0..20_000 {
            emitter.push();
            broker.run_for(Duration::from_micros(200));
            confirmed |= emitter.next_frame().is_some_and(|frame| frame.kind == Kind::Pong);
            if confirmed {
                break;
            }
        }
        assert!(confirmed);
        broker.shut_down();
        for _ in 0..20_000 {
            broker.run_for(Duration::from_micros(200));
            while let Some(frame) = listener.next_frame() {
                match frame.kind {
                    Kind::Event => events += 1,
                    Kind::Bye => bye = true,
                    other => panic!("{other:?}"),
                }
            }
            // The broker waits until everybody has read what it says.
            emitter.next_frame();
            if broker.has_ended() {
                break;
            }
        }
        assert_eq!(events, 500);
        assert!(bye && broker.has_ended());
    });
}
