//! A whole broker over the simulator, and several clients that say anything.
//!
//! Whatever they do: the broker does not panic; a healthy pair of clients, also
//! on their channel, still gets its events through; and when all are gone nothing
//! is left: no connection, no memory charged, and the broker shuts down.

use std::time::Duration;

use netcluster::internals::ShardConfig;
use netcluster::sim::{SimBroker, SimSession};
use netcluster_platform::sim::Faults;
use netcluster_wire::{Hello, Kind, Source};

use super::choices::Choices;
use super::stream::{KINDS, NAMES, SIZES, append_frame, mutate};

const CHANNELS: [&[u8]; 4] = [b"health", b"other", b"", b"\xff"];
const MAX_SESSIONS: usize = 6;
const MAX_PAYLOAD_BYTES: usize = 400_000;
/// Time after which a client that never reads is disconnected.
const STALL: Duration = Duration::from_millis(200);
/// Time within which the healthy pair must be served: a few clients that never read may
/// each stall the pair once, a shard may be out of buffers or descriptors for a while.
const PATIENCE: Duration = Duration::from_secs(20);
const HEALTHY_EVENTS: u64 = 20;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut broker = broker(&mut choices);
    let mut sessions: Vec<SimSession> = Vec::new();
    while !choices.is_empty() {
        step(&mut choices, &mut broker, &mut sessions);
    }
    broker.run_for(Duration::from_millis(5));

    broker.net.set_faults(Faults::rough_without_resets());
    healthy_pair(&mut broker, &mut sessions);

    drop(sessions);
    run_until(&mut broker, |broker| broker.net.sockets() == 0);
    assert_eq!(broker.net.sockets(), 0, "every connection is closed: {:#?}", broker.reports());
    assert_eq!(broker.budget.used_bytes(), 0, "no memory is held");
    for report in broker.reports() {
        assert_eq!((report.totals.clients, report.totals.listeners), (0, 0));
    }
    broker.shut_down();
    run_until(&mut broker, SimBroker::has_ended);
    assert!(broker.has_ended(), "it shuts down");
}

/// Lets the broker run for longer than any of its timeouts, in steps short enough for
/// timers that follow one another.
fn run_until(broker: &mut SimBroker, done: impl Fn(&SimBroker) -> bool) {
    for _ in 0..1000 {
        if done(broker) {
            return;
        }
        broker.run_for(Duration::from_millis(10));
    }
}

fn broker(choices: &mut Choices<'_>) -> SimBroker {
    let seed = u64::from(choices.byte());
    let faults = match choices.below(3) {
        0 => Faults::default(),
        1 => Faults::rough_without_resets(),
        _ => Faults::rough(),
    };
    let config = ShardConfig {
        seed,
        max_payload_bytes: MAX_PAYLOAD_BYTES,
        max_queue_bytes: 64 << 10,
        stall_timeout: STALL,
        hello_timeout: Duration::from_secs(1),
        spill_clients: 1 + choices.below(2),
        ..ShardConfig::default()
    };
    let memory = choices.of(&[256 << 10, 1 << 20, 64 << 20]);
    SimBroker::new(seed, faults, 1 + choices.below(3), config, memory)
}

/// Carries out one step of the input: a client does something, or time passes.
fn step(choices: &mut Choices<'_>, broker: &mut SimBroker, sessions: &mut Vec<SimSession>) {
    let what = choices.below(16);
    if sessions.is_empty() || (what == 0 && sessions.len() < MAX_SESSIONS) {
        let mut session = broker.connect();
        if choices.chance(230) {
            let hello = Hello {
                echo: choices.chance(128),
                latest: choices.chance(80),
                shared: choices.chance(80),
                leaves: choices.chance(80),
                max_queue: u64::from(choices.byte()) << 10,
                previous: Source { node: 1, client: u32::from(choices.byte()) },
                client_name: "any".into(),
            };
            let channel = CHANNELS[choices.below(64).saturating_sub(60)];
            session.queue(Kind::Hello, 0, channel, &hello.encode());
        }
        sessions.push(session);
        return;
    }
    let at = choices.below(sessions.len());
    let session = &mut sessions[at];
    let sources = [session.source, session.source, session.source, Source { node: 1, client: 1 }];
    let mut bytes = Vec::new();
    match what {
        1..=4 => {
            for _ in 0..1 + choices.below(8) {
                let name = ["a", "a.b", "b", "healthy"][choices.below(4)];
                let size = SIZES[choices.below(SIZES.len() * 2).min(SIZES.len() - 1)];
                session.emit(name, &vec![choices.byte(); size]);
            }
        }
        5 | 6 => {
            let pattern = choices.of(&NAMES);
            let kind = choices.of(&[Kind::Subscribe, Kind::Subscribe, Kind::Unsubscribe]);
            session.queue(kind, u64::from(choices.byte()), pattern, b"");
        }
        7 => {
            let kind = choices.of(&[Kind::Ping, Kind::Stats, Kind::Ping, Kind::Bye]);
            session.queue(kind, u64::from(choices.byte()), b"", b"");
        }
        8 => {
            append_frame(choices, &sources, &mut bytes);
            session.queue_bytes(&bytes);
        }
        9 => {
            append_frame(choices, &sources, &mut bytes);
            mutate(choices, 0, &mut bytes);
            session.queue_bytes(&bytes);
        }
        10 => {
            let most = choices.below(64);
            session.queue_bytes(choices.bytes(most));
        }
        11 => {
            let kind = choices.of(&KINDS);
            session.queue(kind, 1, choices.of(&NAMES), b"12345678");
        }
        12 => read(session, choices.below(65_536)),
        13 => match choices.below(8) {
            0 => session.end.close(),
            1 => session.end.reset(),
            2 => drop(sessions.swap_remove(at)),
            _ => read(session, usize::MAX),
        },
        _ => {
            for session in sessions.iter_mut() {
                session.push();
            }
            broker.run_for(Duration::from_micros(1 << choices.below(18)));
            for session in sessions.iter_mut() {
                if choices.chance(128) {
                    read(session, 10_000);
                }
            }
        }
    }
}

/// Reads the broker's frames, which are always good; learns the source.
fn read(session: &mut SimSession, limit: usize) {
    for _ in 0..50 {
        match session.next_frame_slowly(limit) {
            Some(frame) if frame.kind == Kind::Welcome => session.source = frame.source,
            Some(_) => {}
            None => break,
        }
    }
}

/// Checks that two well-behaved clients are served on a channel that others may have
/// flooded.
fn healthy_pair(broker: &mut SimBroker, sessions: &mut [SimSession]) {
    let end = broker.net.now() + PATIENCE.as_nanos() as u64;
    let mut listener = broker.join("health", &Hello::default());
    // While others use the memory up it is refused; they are given up in time.
    let others = loop {
        match broker.try_subscribe(&mut listener, "healthy.only") {
            Ok(others) => break others,
            Err(error) => assert!(broker.net.now() < end, "refused for long: {error:?}"),
        }
        broker.run_for(Duration::from_millis(10));
    };
    assert!(others.is_empty(), "nobody else knows this event");
    let mut emitter = broker.join("health", &Hello::default());
    let size = 4000;
    for _ in 0..HEALTHY_EVENTS {
        emitter.emit("healthy.only", &vec![1; size]);
    }
    let end = broker.net.now() + PATIENCE.as_nanos() as u64;
    let mut got = 0;
    while got < HEALTHY_EVENTS {
        assert!(broker.net.now() < end, "stuck: {:#?}", broker.reports());
        emitter.push();
        for session in sessions.iter_mut() {
            session.push();
        }
        broker.run_for(Duration::from_millis(1));
        while let Some(frame) = listener.next_frame() {
            assert_eq!((frame.kind, frame.source), (Kind::Event, emitter.source));
            got += 1;
            assert_eq!((frame.sequence, frame.payload.len()), (got, size), "in order, each once");
        }
        assert_eq!(emitter.next_frame(), None, "nothing to complain about");
    }
}
