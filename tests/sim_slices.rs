//! Work that one client can make as large as it likes, turn by turn in the simulator:
//! each turn does a bounded part of it, and others are served in between.

use std::sync::Arc;
use std::time::Duration;

use netcluster::internals::{Listening, Record, ShardConfig};
use netcluster::sim::{SimBroker, SimSession};
use netcluster_platform::sim::Faults;
use netcluster_wire::{Hello, Kind, Source};

/// Number of the patterns' tokens: two to the power of this is how many match one name.
const TOKENS: u32 = 13;

const MEMORY_BYTES: usize = 256 << 20;

fn config() -> ShardConfig {
    ShardConfig {
        max_patterns: 1 << TOKENS,
        spill_clients: 1,
        stall_timeout: Duration::from_secs(3600),
        ..ShardConfig::default()
    }
}

fn broker(shards: usize) -> SimBroker {
    SimBroker::new(1, Faults::default(), shards, config(), MEMORY_BYTES)
}

/// Connects a client that listens to every pattern of `a` and `*`, all of which match
/// `a.a.….NUMBER`.
fn hoarder(broker: &mut SimBroker, channel: &str) -> SimSession {
    let mut session = broker.join(channel, &Hello::default());
    for bits in 0..1u32 << TOKENS {
        let word = |at: u32| if bits >> at & 1 == 0 { "*" } else { "a" };
        let text = (0..TOKENS).map(word).collect::<Vec<_>>().join(".") + ".*";
        session.queue(Kind::Subscribe, u64::from(bits) + 1, text.as_bytes(), b"");
    }
    let mut acks = 0;
    while acks < 1 << TOKENS {
        session.push();
        broker.run_for(Duration::from_micros(100));
        while let Some(frame) = session.next_frame() {
            assert_eq!(frame.kind, Kind::Ack);
            acks += 1;
        }
    }
    session
}

fn name(number: usize) -> String {
    format!("{}.{number}", vec!["a"; TOKENS as usize].join("."))
}

/// Sends a ping and counts the turns until it is answered.
fn turns_to_answer(broker: &mut SimBroker, session: &mut SimSession) -> usize {
    session.queue(Kind::Ping, 7, b"", b"");
    session.push();
    for turn in 1..1000 {
        broker.turn();
        broker.net.advance(Duration::from_micros(1));
        if session.next_frame().is_some_and(|frame| frame.kind == Kind::Pong) {
            return turn;
        }
    }
    panic!("no answer");
}

/// What broke: 400 events that 131,072 patterns match held a shard up for 12 s. Now they
/// take turns; all of them arrive, in their order, also if their emitter is gone.
#[test]
fn look_ups_among_many_patterns_let_others_pass() {
    const EVENTS: usize = 60;
    for shards in [1, 2] {
        let mut broker = broker(shards);
        let mut hoarder = hoarder(&mut broker, "heavy");
        let mut bystander = broker.join("light", &Hello::default());
        let usual = turns_to_answer(&mut broker, &mut bystander);
        let mut emitter = broker.join("heavy", &Hello::default());
        for number in 0..EVENTS {
            emitter.emit(&name(number), b"x");
        }
        // One that lies in two chunks, and one with a buffer of its own.
        emitter.emit(&name(EVENTS), &[1; 100_000]);
        emitter.emit(&name(EVENTS + 1), &[2; 1_000_000]);
        let mut emitter = Some(emitter);
        let (mut heard, mut answers) = (0, 0);
        while heard < EVENTS + 2 {
            // It is gone as soon as its last byte is.
            if emitter.as_mut().is_some_and(|emitter| emitter.push() == 0) {
                emitter = None;
            }
            let turns = turns_to_answer(&mut broker, &mut bystander);
            assert!(turns <= usual + 2, "an answer took {turns} turns, else {usual}");
            answers += 1;
            while let Some(frame) = hoarder.next_frame() {
                assert_eq!(frame.kind, Kind::Event);
                assert_eq!(frame.name, name(heard).as_bytes(), "in their order");
                heard += 1;
            }
            assert!(answers < 10_000, "{heard} were heard");
        }
        assert!(answers > EVENTS / 4, "only {answers} answers in between");
        drop((hoarder, bystander));
        broker.run_for(Duration::from_secs(1));
        assert_eq!(broker.net.sockets(), 0, "nobody is forgotten");
        assert_eq!(broker.budget.used_bytes(), 0);
    }
}

/// What broke: a client with a million patterns went, and others waited for 1.4 s.
#[test]
fn the_patterns_of_a_client_that_is_gone_go_in_slices() {
    for shards in [1, 2] {
        let mut broker = broker(shards);
        let hoarder = hoarder(&mut broker, "heavy");
        let listeners = |broker: &mut SimBroker| -> u64 {
            broker.reports().iter().map(|report| report.totals.listeners).sum()
        };
        drop(hoarder);
        let mut left = listeners(&mut broker);
        assert_eq!(left, 1 << TOKENS);
        let mut turns = 0;
        while left > 0 {
            broker.turn();
            broker.net.advance(Duration::from_micros(1));
            let now = listeners(&mut broker);
            assert!(left - now <= 2048, "{} in one turn", left - now);
            left = now;
            turns += 1;
            assert!(turns < 1000, "they go");
        }
        broker.run_for(Duration::from_secs(1));
        assert_eq!(broker.budget.used_bytes(), 0);
    }
}

/// An event behind which its emitter hangs up, and the broker is told to end: it is
/// delivered first.
#[test]
fn the_end_waits_for_what_is_looked_up() {
    let mut broker = broker(1);
    let mut hoarder = hoarder(&mut broker, "heavy");
    let mut emitter = broker.join("heavy", &Hello::default());
    emitter.emit(&name(1), b"x");
    emitter.emit(&name(2), b"x");
    emitter.push();
    broker.turn();
    broker.shut_down();
    let mut heard = Vec::new();
    for _ in 0..1000 {
        broker.run_for(Duration::from_millis(1));
        while let Some(frame) = hoarder.next_frame() {
            heard.push(frame.kind);
        }
    }
    assert_eq!(heard, [Kind::Event, Kind::Event, Kind::Bye]);
    drop((hoarder, emitter));
    broker.run_for(Duration::from_secs(10));
    assert!(broker.has_ended());
}

/// After a restart a client asks who would hear events, and emits one. The answers take
/// turns; the event waits for the listener that is not back yet all the same.
#[test]
fn an_event_behind_questions_that_take_turns_is_held_like_any_other() {
    const QUESTIONS: usize = 8;
    let mut awaited = Record::of(1);
    let before = Source { node: 1, client: 7 };
    let absent = Duration::ZERO;
    let channel = "heavy".into();
    let has_missed = false;
    awaited.add(&[Listening { channel, source: before, before, patterns: 1, absent, has_missed }]);
    let config = ShardConfig { node: 2, awaited: Arc::new(awaited), ..config() };
    let mut broker = SimBroker::new(1, Faults::default(), 1, config, MEMORY_BYTES);
    let mut hoarder = hoarder(&mut broker, "heavy");
    let mut emitter = broker.join("heavy", &Hello::default());
    for question in 1..=QUESTIONS {
        emitter.queue(Kind::Audience, question as u64, name(question).as_bytes(), b"");
    }
    emitter.emit(&name(0), b"x");
    while emitter.push() > 0 {
        broker.turn();
    }
    let (mut turns, mut answers) = (0, 0);
    while answers < QUESTIONS {
        answers += usize::from(emitter.next_frame().is_some());
        broker.turn();
        broker.net.advance(Duration::from_micros(1));
        turns += 1;
        assert!(turns < 1000, "questions are answered while events wait");
    }
    assert!(turns > QUESTIONS / 2, "answered in {turns} turns: nothing was postponed");
    broker.run_for(Duration::from_millis(5));
    assert!(hoarder.next_frame().is_none(), "an event passed the hold by");
    let mut listener = broker.join("heavy", &Hello { previous: before, ..Hello::default() });
    assert!(broker.subscribe(&mut listener, "**").is_empty());
    broker.run_for(Duration::from_millis(50));
    for session in [&mut listener, &mut hoarder] {
        let frame = session.next_frame().expect("the event comes once all are back");
        assert_eq!((frame.kind, &frame.name[..]), (Kind::Event, name(0).as_bytes()));
    }
}
