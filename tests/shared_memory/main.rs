//! Memory that the broker shares with clients of its machine: who gets it, what becomes of
//! it, and that nobody notices but by the clock.
//!
//! - `strangers`: clients of other users and in other namespaces
//! - `refused`: systems, limits and clients that have no memory to share
//! - `broken`: clients that break the rules of their memory
//! - `stopped`: processes that stand still
//! - `killed`: processes that are killed
//! - `forked`: clients whose process forks
//! - `kept`: messages that are kept
//! - `restarted`: brokers that end in order
//! - `parts`: what the processes of these tests do

#![cfg(target_os = "linux")]

mod broken;
#[path = "../common/mod.rs"]
mod common;
mod forked;
mod kept;
mod killed;
mod parts;
mod refused;
mod restarted;
mod stopped;
mod strangers;

use common::process::{RemoteBus, play_broker};
use common::{
    Bed, Bus, connect, on_all, on_both, on_sharing, patterned, status_at, take, wait_until,
};
use netcluster::SharedMemory as Sharing;
use netcluster_client::{Client, SharedMemory};

/// Bytes of the payloads that make a client move enough to get memory.
const PAYLOAD_BYTES: usize = 1 << 10;

/// Lets a client emit until the broker shares memory with it.
fn share(bus: &Bus, client: &Client) {
    let number = client.source().client;
    wait_until("the client has memory", || {
        client.emit("share", [0; PAYLOAD_BYTES]).unwrap();
        client.ping().unwrap();
        bus.status().clients.iter().any(|it| it.client == number && it.shared.is_some())
    });
}

on_all! {
    /// Whoever emits and whoever listens gets memory, and nothing is lost or changes places
    /// on the way there.
    fn all_come_in_order_while_clients_go_over_to_shared_memory(bed) {
        let bus = bed.bus_with(|options| options.share_after_bytes = 64 << 10);
        let (emitter, listener) = (bus.client(), bus.client());
        let events = listener.subscribe("n").unwrap();
        for number in 0..4000_u64 {
            let payload = patterned(number, (number % 1500) as usize);
            emitter.emit("n", payload).unwrap();
        }
        for number in 0..4000_u64 {
            let message = take(&events);
            assert_eq!(message.sequence(), number + 1);
            assert_eq!(message.payload(), patterned(number, (number % 1500) as usize));
        }
        share(&bus, &emitter);
        let status = bus.status();
        assert!(status.totals.shared_clients >= 2, "{:#?}", status.clients);
        assert!(status.memory.shared_bytes > 0);
    }
}

on_both! {
    fn either_side_can_do_without(bed) {
        let bus = bed.bus_with(|options| options.share_after_bytes = 0);
        let socket = bus.client_with(|builder| builder.shared_memory(SharedMemory::Off));
        let shared = bus.client();
        let events = socket.subscribe("a").unwrap();
        let back = shared.subscribe("b").unwrap();
        share(&bus, &shared);
        for number in 0..100_u64 {
            shared.emit("a", patterned(number, 5000)).unwrap();
            socket.emit("b", patterned(number, 5000)).unwrap();
        }
        for number in 0..100_u64 {
            assert_eq!(take(&events).payload(), patterned(number, 5000));
            assert_eq!(take(&back).payload(), patterned(number, 5000));
        }
        let number = socket.source().client;
        let status = bus.status();
        let client = status.clients.iter().find(|it| it.client == number).unwrap();
        assert_eq!(client.shared, None);

        let without = bed.bus_with(|options| options.shared_memory = Sharing::Off);
        let client = without.client();
        let events = without.client().subscribe("a").unwrap();
        drop(events);
        for _ in 0..200 {
            client.emit("a", [0; PAYLOAD_BYTES]).unwrap();
        }
        client.ping().unwrap();
        let status = without.status();
        assert_eq!(status.totals.shared_clients, 0);
        assert_eq!(status.memory.shared_bytes, 0);
    }
}

on_both! {
    /// Events that are larger than ring, buffer and arena range go by all of them.
    fn events_of_all_sizes_arrive_whole(bed) {
        let bus = bed.bus_with(|options| options.share_after_bytes = 0);
        let (emitter, listener) = (bus.client(), bus.client());
        let events = listener.subscribe("size").unwrap();
        share(&bus, &emitter);
        let sizes = [0, 1, 8, 100, 4096, 65_000, 65_536, 70_000, 131_072, 262_144, 300_000, 1 << 20];
        for (number, size) in sizes.into_iter().enumerate() {
            emitter.emit("size", patterned(number as u64, size)).unwrap();
        }
        for (number, size) in sizes.into_iter().enumerate() {
            let message = take(&events);
            assert!(message.payload() == patterned(number as u64, size), "event of {size} bytes");
        }
    }
}

on_sharing! {
    /// A client that finds its broker dead goes on with the next one, by its memory.
    fn a_broker_that_is_killed_is_replaced(bed) {
        let mut bus = RemoteBus::start(bed);
        let (emitter, listener) = (connect(&bus.path, |it| it), connect(&bus.path, |it| it));
        let events = listener.subscribe("n").unwrap();
        for round in 0..3 {
            wait_until("both have memory", || {
                emitter.emit("n", [0; PAYLOAD_BYTES]).unwrap();
                let _ = emitter.ping();
                while events.try_recv().is_ok() {}
                status_at(&bus.path).totals.shared_clients >= 2
            });
            bus.process.kill();
            bus.restart(bed);
            let payload = format!("round {round}");
            wait_until("both are back", || {
                let _ = emitter.emit("n", payload.as_bytes());
                let _ = emitter.ping();
                let mut messages = std::iter::from_fn(|| events.try_recv().ok());
                messages.any(|message| message.payload() == payload.as_bytes())
            });
        }
    }
}

#[test]
fn broker_process() {
    play_broker();
}
