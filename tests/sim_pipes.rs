//! Shards that all accept and keep what they get, which they do on named pipes, and what
//! they must know of each other's clients.

use std::time::Duration;

use netcluster::internals::ShardConfig;
use netcluster::sim::SimBroker;
use netcluster_platform::sim::{Faults, SimNet};
use netcluster_wire::control::decode_error;
use netcluster_wire::{ErrorCode, Hello, Kind, Source, Welcome};

const SEEDS: u64 = 20;
const SHARDS: usize = 3;

fn broker(seed: u64, config: ShardConfig) -> SimBroker {
    let faults = Faults { reset_per_million: 0, ..Faults::rough_pipes() };
    let net = SimNet::new(seed, faults);
    net.keep_connections();
    SimBroker::on(net, SHARDS, config, 1 << 20, None)
}

#[test]
fn clients_are_on_every_shard_and_hear_each_other() {
    for seed in 0..SEEDS {
        let mut broker = broker(seed, ShardConfig { seed, ..ShardConfig::default() });
        let mut clients: Vec<_> = (0..12).map(|_| broker.join("c", &Hello::default())).collect();
        for client in &mut clients {
            broker.subscribe(client, "hi");
        }
        let occupied = broker.reports().iter().filter(|report| report.totals.clients > 0).count();
        assert!(occupied > 1, "seed {seed}");
        let mut sources: Vec<u32> = clients.iter().map(|client| client.source.client).collect();
        sources.sort_unstable();
        sources.dedup();
        assert_eq!(sources.len(), clients.len(), "seed {seed}: numbers are never used twice");
        for client in &mut clients {
            client.emit("hi", b"");
        }
        let mut heard = vec![0; clients.len()];
        for _ in 0..5_000 {
            broker.run_for(Duration::from_millis(1));
            for (client, heard) in clients.iter_mut().zip(&mut heard) {
                client.push();
                while client.next_frame().is_some() {
                    *heard += 1;
                }
            }
            if heard.iter().sum::<usize>() >= 12 * 11 {
                break;
            }
        }
        assert!(heard.iter().all(|&heard| heard == 11), "seed {seed}: {heard:?}");
    }
}

#[test]
fn the_limit_of_clients_is_that_of_all_shards_together() {
    for seed in 0..SEEDS {
        let config = ShardConfig {
            seed,
            max_clients: 4,
            max_clients_per_user: Some(4),
            ..ShardConfig::default()
        };
        let mut broker = broker(seed, config);
        let mut clients: Vec<_> = (0..4).map(|_| broker.join("c", &Hello::default())).collect();
        let mut fifth = broker.connect();
        let frame = broker.ask(&mut fifth);
        assert_eq!(frame.kind, Kind::Error, "seed {seed}");
        assert_eq!(decode_error(&frame.payload).unwrap().0, ErrorCode::Busy);
        clients.pop();
        broker.run_for(Duration::from_millis(200));
        broker.join("c", &Hello::default());
    }
}

/// Each shard has books of its own: the reason was told again by each shard.
#[test]
fn why_a_client_was_disconnected_is_told_once_on_whichever_shard_it_comes_back() {
    for seed in 0..SEEDS {
        let mut broker = broker(seed, ShardConfig { seed, ..ShardConfig::default() });
        let mut client = broker.join("c", &Hello::default());
        let previous = client.source;
        client.source = Source { node: 1, client: 99 };
        client.queue(Kind::Ping, 1, b"", b"");
        assert_eq!(broker.ask(&mut client).kind, Kind::Error);
        let mut again = || {
            let mut again = broker.connect();
            again.queue(Kind::Hello, 0, b"c", &Hello { previous, ..Hello::default() }.encode());
            let frame = broker.ask(&mut again);
            assert_eq!(frame.kind, Kind::Welcome, "seed {seed}");
            (Welcome::decode(&frame.payload).unwrap().reason, again)
        };
        let (reason, _first) = again();
        assert!(matches!(reason, Some((ErrorCode::Source, _))), "seed {seed}: {reason:?}");
        let others: Vec<_> = (0..2 * SHARDS).map(|_| again()).collect();
        assert!(others.iter().all(|(reason, _)| reason.is_none()), "seed {seed}: told twice");
    }
}
