//! Answers about very many connections, in the simulator: each turn counts a bounded part,
//! others are served in between, and pages have everybody once.

use std::collections::BTreeSet;
use std::time::Duration;

use netcluster::internals::ShardConfig;
use netcluster::sim::{SimBroker, SimSession};
use netcluster_platform::sim::Faults;
use netcluster_wire::{Hello, Kind};
use serde_json::Value;

const MEMORY_BYTES: usize = 256 << 20;

/// Connections that one turn counts are 256: this is many times as much.
const CLIENTS: usize = 3_000;

fn broker(shards: usize, spill_clients: usize) -> SimBroker {
    let config = ShardConfig { spill_clients, max_clients: 100_000, ..ShardConfig::default() };
    SimBroker::new(1, Faults::default(), shards, config, MEMORY_BYTES)
}

fn crowd(broker: &mut SimBroker, clients: usize) -> Vec<SimSession> {
    (0..clients).map(|at| broker.join(&format!("c{}", at % 7), &Hello::default())).collect()
}

/// Asks, and waits for the answer.
fn ask(broker: &mut SimBroker, session: &mut SimSession, kind: Kind, request: &str) -> Value {
    session.queue(kind, 9, b"", request.as_bytes());
    session.push();
    for _ in 0..100_000 {
        broker.run_for(Duration::from_micros(10));
        if let Some(frame) = session.next_frame() {
            assert_eq!((frame.kind, frame.sequence), (kind, 9));
            return serde_json::from_slice(&frame.payload).unwrap();
        }
    }
    panic!("no answer");
}

/// A scrape or a list of clients could hold everybody else up.
#[test]
fn a_count_of_many_connections_lets_others_pass() {
    let mut broker = broker(1, usize::MAX);
    let _crowd = crowd(&mut broker, CLIENTS);
    let mut asker = broker.join("asker", &Hello::default());
    let mut other = broker.join("other", &Hello::default());
    for (kind, request) in [
        (Kind::Stats, ""),
        (Kind::Control, r#"{"do":"totals"}"#),
        (Kind::Control, r#"{"do":"clients","by":"queued_bytes","limit":1000}"#),
        (Kind::Control, r#"{"do":"channels"}"#),
    ] {
        asker.queue(kind, 9, b"", request.as_bytes());
        asker.push();
        let mut pongs = 0;
        loop {
            other.queue(Kind::Ping, 1, b"", b"");
            other.push();
            let mut turns = 0;
            while other.next_frame().is_none() {
                broker.turn();
                broker.net.advance(Duration::from_micros(1));
                turns += 1;
                assert!(turns < 5, "a ping takes as long as without the question");
            }
            pongs += 1;
            if let Some(frame) = asker.next_frame() {
                assert_eq!(frame.kind, kind);
                break;
            }
            assert!(pongs < 1000, "{request} is not answered");
        }
        assert!(pongs >= 3, "{request}: all was counted in {pongs} rounds");
    }
}

#[test]
fn pages_have_each_client_once_whoever_comes_and_goes() {
    for shards in [1, 3] {
        let mut broker = broker(shards, 64);
        let mut asker = broker.join("asker", &Hello::default());
        let stay = crowd(&mut broker, 700);
        let mut go = crowd(&mut broker, 300);
        let (mut listed, mut after, mut pages) = (Vec::new(), 0, 0);
        loop {
            let request = format!(r#"{{"do":"clients","after":{after},"limit":90}}"#);
            let page = ask(&mut broker, &mut asker, Kind::Control, &request);
            assert_eq!(page["schema"], 1);
            let clients = page["clients"].as_array().unwrap();
            assert!(clients.len() <= 90);
            listed.extend(clients.iter().map(|client| client["client"].as_u64().unwrap() as u32));
            pages += 1;
            go.truncate(go.len().saturating_sub(40));
            broker.run_for(Duration::from_millis(1));
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => break assert_eq!(page["omitted"], 0),
            }
        }
        assert!(pages > 7);
        let each: BTreeSet<u32> = listed.iter().copied().collect();
        assert_eq!(each.len(), listed.len(), "nobody is listed twice");
        assert!(listed.is_sorted(), "by their numbers");
        assert!(stay.iter().all(|session| each.contains(&session.source.client)));
    }
}

#[test]
fn totals_and_lists_agree_with_the_whole() {
    for shards in [1, 3] {
        let mut broker = broker(shards, 64);
        let mut crowd = crowd(&mut broker, 300);
        for (at, session) in crowd.iter_mut().enumerate() {
            broker.subscribe(session, "log.*");
            for _ in 0..at % 3 {
                session.emit("log.x", b"1234");
            }
            session.push();
        }
        broker.run_for(Duration::from_secs(1));
        let mut asker = broker.join("asker", &Hello::default());
        let whole = ask(&mut broker, &mut asker, Kind::Stats, "");
        let totals = ask(&mut broker, &mut asker, Kind::Control, r#"{"do":"totals"}"#);
        for key in ["clients", "listeners", "events_in", "events_out", "queued_bytes"] {
            assert_eq!(totals["totals"][key], whole["totals"][key], "{key}");
        }
        assert_eq!(totals["totals"]["clients"], 301);
        assert_eq!(totals["totals"]["listeners"], 300);
        assert!(totals.get("clients").is_none() && totals.get("channels").is_none());
        let runs: u64 = counts(&totals["fan_out"]).iter().sum();
        assert!(runs >= 200, "each emitter's events are at least one run");
        let sends: u64 = counts(&totals["queueing_delay"]).iter().sum();
        assert!(sends > 300, "each client was sent something");

        let channels = ask(&mut broker, &mut asker, Kind::Control, r#"{"do":"channels"}"#);
        let sum: u64 = numbers(&channels["channels"], "clients").iter().sum();
        assert_eq!((sum, &channels["omitted"]), (301, &Value::from(0)));
        let few = ask(&mut broker, &mut asker, Kind::Control, r#"{"do":"channels","limit":2}"#);
        assert_eq!((few["channels"].as_array().unwrap().len(), &few["omitted"]), (2, &6.into()));

        let request = r#"{"do":"clients","by":"events_in","limit":100}"#;
        let most = ask(&mut broker, &mut asker, Kind::Control, request);
        let emitted = numbers(&most["clients"], "events_in");
        assert_eq!(emitted, vec![2; 100]);
        assert_eq!((&most["omitted"], &most["next"]), (&201.into(), &Value::Null));
        let peers = ask(&mut broker, &mut asker, Kind::Control, r#"{"do":"peers"}"#);
        assert!(peers["link"].is_null() && peers["schema"] == 1);
    }
}

fn counts(histogram: &Value) -> Vec<u64> {
    let counts = histogram["counts"].as_array().unwrap();
    counts.iter().map(|count| count.as_u64().unwrap()).collect()
}

fn numbers(list: &Value, key: &str) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|it| it[key].as_u64().unwrap()).collect()
}

/// Whoever may connect could ask so much that the owner could not disconnect him.
#[test]
fn whatever_others_ask_the_owner_is_answered() {
    const ROOT: u32 = 0;
    const ALICE: u32 = 1_000;
    for shards in [1, 3] {
        let mut broker = broker(shards, 64);
        let _crowd = crowd(&mut broker, CLIENTS);
        let join = |broker: &mut SimBroker, uid| {
            let mut session = broker.connect_as(uid);
            session.hello("default", &Hello::default());
            let frame = broker.ask(&mut session);
            assert_eq!(frame.kind, Kind::Welcome);
            session.source = frame.source;
            session
        };
        let mut alice = join(&mut broker, ALICE);
        let mut owner = join(&mut broker, ROOT);
        for after in 0..100 {
            let request = format!(r#"{{"do":"clients","after":{after}}}"#);
            alice.queue(Kind::Control, 9, b"", request.as_bytes());
        }
        let refused = broker.ask(&mut alice);
        assert_eq!((refused.kind, refused.sequence), (Kind::Error, 9), "she asks too much");
        let kick = format!(r#"{{"do":"kick","client":{}}}"#, alice.source.client);
        owner.queue(Kind::Control, 8, b"", br#"{"do":"clients","by":"dropped"}"#);
        owner.queue(Kind::Control, 9, b"", kick.as_bytes());
        let first = broker.ask(&mut owner);
        assert_eq!((first.kind, first.sequence), (Kind::Control, 9));
        assert_eq!(first.payload, br#"{"kicked":1}"#);
        let second = broker.ask(&mut owner);
        assert_eq!((second.kind, second.sequence), (Kind::Control, 8));
    }
}
