//! Users who connect more than is good for the others.

use std::time::Duration;

use netcluster::internals::{MAX_SILENT_PER_USER, ShardConfig};
use netcluster::sim::{SimBroker, SimSession};
use netcluster::status::Totals;
use netcluster_platform::sim::{Faults, SimNet};
use netcluster_wire::control::decode_error;
use netcluster_wire::{ErrorCode, Hello, Kind};

const SEEDS: u64 = 10;
const ROOT: u32 = 0;
const ALICE: u32 = 1000;
const BOB: u32 = 1001;

fn broker(config: ShardConfig) -> SimBroker {
    SimBroker::on(SimNet::new(config.seed, Faults::default()), 2, config, 64 << 20, None)
}

fn totals(broker: &mut SimBroker) -> Totals {
    let mut all = Totals::default();
    broker.reports().iter().for_each(|report| all.add(&report.totals));
    all
}

/// Connects a client of this user, if it is welcome; the error says why not.
fn join(broker: &mut SimBroker, uid: u32) -> Result<SimSession, String> {
    let mut session = broker.connect_as(uid);
    session.queue(Kind::Hello, 0, b"default", &Hello::default().encode());
    let frame = broker.ask(&mut session);
    match frame.kind {
        Kind::Welcome => Ok(session),
        _ => {
            let (code, text) = decode_error(&frame.payload).unwrap();
            assert_eq!(code, ErrorCode::Busy, "{text}");
            Err(text)
        }
    }
}

/// What broke: connections that had not said hello counted for nothing, and one user
/// could have all places.
#[test]
fn one_user_cannot_keep_the_others_out() {
    for seed in 0..SEEDS {
        let mut broker = broker(ShardConfig { seed, max_clients: 32, ..ShardConfig::default() });
        // Half of them never say anything: they count as well.
        let mut silent: Vec<SimSession> = (0..8).map(|_| broker.connect_as(ALICE)).collect();
        broker.run_for(Duration::from_millis(20));
        let mut alices: Vec<_> = (0..8).map(|_| join(&mut broker, ALICE).unwrap()).collect();
        let text = join(&mut broker, ALICE).err().unwrap();
        assert!(text.contains("--max-clients-per-user allows, 16"), "{text}");
        let bobs: Vec<_> = (0..14).map(|_| join(&mut broker, BOB).unwrap()).collect();
        let text = join(&mut broker, BOB).err().unwrap();
        assert!(text.contains("places are for root"), "{text}");
        let roots: Vec<_> = (0..2).map(|_| join(&mut broker, ROOT).unwrap()).collect();
        let text = join(&mut broker, ROOT).err().unwrap();
        assert!(text.contains("--max-clients allows, 32"), "{text}");
        let now = totals(&mut broker);
        assert_eq!((now.refused, now.silent, now.clients), (3, 8, 24), "seed {seed}");
        // A place is free again once its connection is closed, whatever shard it was on.
        silent.pop();
        alices.pop();
        drop(roots);
        broker.run_for(Duration::from_millis(200));
        for _ in 0..2 {
            alices.push(join(&mut broker, ALICE).unwrap());
        }
        assert!(join(&mut broker, ALICE).is_err(), "seed {seed}");
        drop((silent, alices, bobs));
        broker.run_for(Duration::from_millis(200));
        assert_eq!(totals(&mut broker).clients, 0, "seed {seed}");
        assert!(join(&mut broker, ALICE).is_ok(), "seed {seed}");
    }
}

#[test]
fn who_never_says_hello_keeps_only_his_like_out() {
    let mut broker = broker(ShardConfig::default());
    let connect = |_| broker.connect_as(ALICE);
    let mut silent: Vec<_> = (0..MAX_SILENT_PER_USER).map(connect).collect();
    broker.run_for(Duration::from_millis(100));
    assert_eq!(totals(&mut broker).silent, MAX_SILENT_PER_USER as u64);
    let text = join(&mut broker, ALICE).err().unwrap();
    assert!(text.contains("have not said hello"), "{text}");
    join(&mut broker, BOB).unwrap();
    silent.truncate(MAX_SILENT_PER_USER - 1);
    broker.run_for(Duration::from_millis(100));
    join(&mut broker, ALICE).unwrap();
}

/// What broke: all that ended at once were disconnected in one turn, however many.
#[test]
fn a_crowd_that_leaves_at_once_goes_a_part_each_turn() {
    const CROWD: u64 = 1500;
    const PART: u64 = 128;
    let config = ShardConfig::default();
    let mut broker = SimBroker::on(SimNet::new(1, Faults::default()), 1, config, 64 << 20, None);
    let mut bystander = broker.join("default", &Hello::default());
    let crowd: Vec<_> = (0..CROWD).map(|_| broker.join("default", &Hello::default())).collect();
    assert_eq!(totals(&mut broker).clients, CROWD + 1);
    drop(crowd);
    let mut left = CROWD;
    let mut turns = 0;
    while left > 0 {
        bystander.queue(Kind::Ping, turns, b"", b"");
        bystander.push();
        broker.turn();
        let now = totals(&mut broker).clients - 1;
        assert!(left - now <= PART, "{} in one turn", left - now);
        left = now;
        turns += 1;
        assert!(turns < 100, "{left} of {CROWD} are there");
        broker.net.advance(Duration::from_micros(100));
    }
    assert!(turns >= CROWD / PART);
    let pong = std::iter::from_fn(|| bystander.next_frame()).next();
    assert_eq!(pong.map(|frame| frame.kind), Some(Kind::Pong), "it was answered meanwhile");
}

/// What broke: all whose time was over were disconnected in one turn, however many.
#[test]
fn a_crowd_whose_time_is_over_goes_a_part_each_turn() {
    const CROWD: u64 = 1500;
    const PART: u64 = 256;
    let timeout = Duration::from_secs(1);
    let mut broker = broker(ShardConfig { hello_timeout: timeout, ..ShardConfig::default() });
    let mut bystander = broker.join("default", &Hello::default());
    let crowd: Vec<_> = (0..CROWD).map(|_| broker.connect_as(ROOT)).collect();
    broker.run_for(timeout / 2);
    assert_eq!(totals(&mut broker).silent, CROWD);
    broker.net.advance(timeout);
    let mut gone = 0;
    let mut turns = 0;
    while gone < CROWD {
        bystander.queue(Kind::Ping, turns, b"", b"");
        bystander.push();
        broker.turn();
        let now = totals(&mut broker).protocol_errors;
        assert!(now - gone <= PART, "{} in one turn", now - gone);
        gone = now;
        turns += 1;
        assert!(turns < 100, "{gone} of {CROWD} are gone");
        broker.net.advance(Duration::from_micros(100));
    }
    assert!(turns >= CROWD / PART);
    assert_eq!(totals(&mut broker).silent, 0);
    let pong = std::iter::from_fn(|| bystander.next_frame()).next();
    assert_eq!(pong.map(|frame| frame.kind), Some(Kind::Pong), "it was answered meanwhile");
    drop(crowd);
}
