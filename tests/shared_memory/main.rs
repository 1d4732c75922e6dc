//! Memory that the broker shares with clients of its machine: who gets it, what becomes of
//! it, and that nobody notices but by the clock.

#![cfg(target_os = "linux")]

mod common;

use std::time::Duration;

use common::process::{Played, RemoteBus, part, play_broker};
use common::{Bed, Bus, connect, on_all, on_both, patterned, status_at, take, wait_until};
use netcluster::SharedMemory as Sharing;
use netcluster_client::{Client, SharedMemory};
use netcluster_platform::BackendChoice;

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

/// Number of descriptors and of shared mappings of a process.
fn held(process: u32) -> (usize, usize) {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").count();
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).expect("it runs");
    (descriptors, maps.matches("memfd:netcluster-client").count())
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

on_both! {
    /// Whatever a client is doing at the moment, its death leaves nothing in the broker, and
    /// the others do not notice.
    fn killed_clients_leave_nothing(bed) {
        let cycles = std::env::var("SHARED_MEMORY_CYCLES").ok();
        let cycles: u64 = cycles.map_or(20, |text| text.parse().expect("a number of cycles"));
        let bus = RemoteBus::start(&Bed::new(bed.backend, bed.shards).sharing());
        let (emitter, listener) = (connect(&bus.path, |it| it), connect(&bus.path, |it| it));
        let events = listener.subscribe("steady").unwrap();
        wait_until("both have memory", || {
            emitter.emit("steady", []).unwrap();
            take(&events);
            status_at(&bus.path).totals.shared_clients == 2
        });
        let before = held(bus.process.id());
        for number in 0..cycles {
            let mut victim = Played::start("victim", &bus.path, |_| {});
            wait_until("the victim has memory", || {
                let clients = status_at(&bus.path).clients;
                clients.iter().any(|it| it.name == "victim" && it.shared.is_some())
            });
            // Not always in the same state.
            std::thread::sleep(Duration::from_micros(number * 997 % 3000));
            victim.kill();
            emitter.emit("steady", number.to_le_bytes()).unwrap();
            assert_eq!(take(&events).payload(), number.to_le_bytes());
        }
        // The count before may have had a connection that asked for the status.
        wait_until("all that was shared is given back", || {
            let now = held(bus.process.id());
            now.0 <= before.0 && now.1 <= before.1
        });
    }
}

on_both! {
    /// A client that finds its broker dead goes on with the next one, by its memory.
    fn a_broker_that_is_killed_is_replaced(bed) {
        let bed = &Bed::new(bed.backend, bed.shards).sharing();
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

/// Emits and listens as fast as it can, until it is killed.
#[test]
fn victim() {
    let Some(path) = part("victim") else { return };
    let client = connect(&path, |builder| builder.name("victim"));
    client.on("flood", |message| drop(message.payload_bytes())).unwrap();
    let other = connect(&path, |builder| builder.name("victim"));
    for number in 0_u64.. {
        if other.emit("flood", patterned(number, (number % 9000) as usize)).is_err() {
            return;
        }
    }
}

#[test]
fn broker_process() {
    play_broker();
}
