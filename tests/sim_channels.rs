//! Rules of channels over the simulator: copies into other channels, and clients that emit
//! too much.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use netcluster::ChannelOptions;
use netcluster::internals::{ChannelRules, ShardConfig};
use netcluster::sim::{SimBroker, SimSession};
use netcluster_platform::sim::Faults;
use netcluster_wire::{Hello, Kind};

const SEEDS: u64 = 20;
const EVENTS: u64 = 2000;

fn broker(seed: u64, change: impl FnOnce(&mut ChannelOptions)) -> SimBroker {
    let mut options = ChannelOptions::default();
    change(&mut options);
    let rules = ChannelRules::new(&BTreeMap::from([("raw".to_owned(), options)])).unwrap();
    let channels = Arc::new(rules);
    // Clients of one channel are on several shards.
    let config = ShardConfig { seed, channels, spill_clients: 2, ..ShardConfig::default() };
    SimBroker::new(seed, Faults::rough_without_resets(), 1 + (seed % 3) as usize, config, 64 << 20)
}

/// Takes the numbers that a listener has heard.
fn hear(session: &mut SimSession, heard: &mut Vec<u64>) {
    while let Some(frame) = session.next_frame() {
        if frame.kind == Kind::Event {
            heard.push(u64::from_le_bytes(frame.payload[..].try_into().unwrap()));
        }
    }
}

#[test]
fn a_copy_keeps_the_order_of_each_emitter_on_whichever_shard() {
    for seed in 0..SEEDS {
        let mut broker = broker(seed, |raw| raw.forward_to = vec!["all.*".to_owned()]);
        let channels = ["raw", "all.a", "all.a", "all.b", "raw", "other"];
        let mut listeners = channels.map(|it| broker.join(it, &Hello::default()));
        for listener in &mut listeners {
            broker.subscribe(listener, "n.*");
        }
        let mut emitter = broker.join("raw", &Hello::default());
        for number in 0..EVENTS {
            emitter.emit("n.x", &number.to_le_bytes());
        }
        let mut heard = vec![Vec::new(); listeners.len()];
        for _ in 0..20_000 {
            emitter.push();
            broker.run_for(Duration::from_millis(1));
            for (listener, heard) in listeners.iter_mut().zip(&mut heard) {
                hear(listener, heard);
            }
            if heard[..5].iter().all(|heard| heard.len() as u64 >= EVENTS) {
                break;
            }
        }
        let all: Vec<u64> = (0..EVENTS).collect();
        for (channel, heard) in channels.iter().zip(&heard) {
            let expected = if *channel == "other" { &[][..] } else { &all[..] };
            assert!(heard == expected, "seed {seed}, {channel}: {} events", heard.len());
        }
    }
}

/// What broke: a client that was in debt when the broker ended was not read any more.
#[test]
fn what_a_client_in_debt_has_written_arrives_though_the_broker_ends() {
    for seed in 0..SEEDS {
        let mut broker = broker(seed, |raw| raw.max_events_per_s = Some(1));
        let mut listener = broker.join("raw", &Hello::default());
        broker.subscribe(&mut listener, "n");
        let mut emitter = broker.join("raw", &Hello::default());
        let mut heard = Vec::new();
        let mut emitted = 0u64;
        // It is in debt with the first ones, and the others wait in its socket.
        for _ in 0..50 {
            emitter.emit("n", &emitted.to_le_bytes());
            emitted += 1;
            emitter.push();
            broker.run_for(Duration::from_millis(2));
            hear(&mut listener, &mut heard);
        }
        assert!(heard.len() < 50, "seed {seed}: it is not held back");
        let mut tries = 0;
        while emitter.push() > 0 {
            broker.run_for(Duration::from_millis(1));
            tries += 1;
            assert!(tries < 1000, "seed {seed}: so little has room in a socket");
        }
        broker.shut_down();
        for _ in 0..20_000 {
            broker.run_for(Duration::from_millis(1));
            hear(&mut listener, &mut heard);
            if broker.has_ended() {
                break;
            }
        }
        hear(&mut listener, &mut heard);
        assert_eq!(heard, (0..emitted).collect::<Vec<_>>(), "seed {seed}");
    }
}
