//! Memory that the broker shares: who uses it when, and what becomes of a connection that
//! does.
#![cfg(target_os = "linux")]

mod support;

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::time::Duration;

use netcluster_client::{Client, Lifecycle, SharedMemory};
use netcluster_wire::frame::encode;
use netcluster_wire::{ErrorCode, Kind, SharedStep, Source};
use support::{Broker, PATIENCE, Sharing, wait_until, with_sharing};

/// More than the largest ring.
const LARGE_BYTES: usize = 3 << 20;

fn shared(test: impl FnOnce()) {
    with_sharing(Sharing::Everybody, test);
}

/// A client of this broker that uses memory.
fn connect(broker: &Broker) -> Client {
    let before = broker.state.accepted.load(SeqCst);
    let client = Client::connect(&broker.path).unwrap();
    wait_until("the memory is used", || broker.state.accepted.load(SeqCst) > before);
    client.ping().unwrap();
    client
}

#[test]
fn memory_is_used_unless_it_is_switched_off() {
    shared(|| {
        let broker = Broker::start();
        let off = Client::builder().shared_memory(SharedMemory::Off);
        let off = off.connect(&broker.path).unwrap();
        off.ping().unwrap();
        assert!(!broker.state.hellos.lock().unwrap()[0].1.shared);
        let _client = connect(&broker);
        assert!(broker.state.hellos.lock().unwrap()[1].1.shared);
        assert_eq!(broker.state.accepted.load(SeqCst), 1);
    });
}

#[test]
fn what_cannot_be_mapped_is_declined_with_a_reason_and_the_socket_goes_on() {
    let offer = |bytes| SharedStep::Offer { arena_bytes: bytes }.encode();
    let null = std::fs::File::open("/dev/null").unwrap();
    for (count, reason) in [(0, "0 of 5 descriptors"), (4, "4 of 5"), (5, ""), (6, "6 of 5")] {
        let broker = Broker::start();
        let client = Client::connect(&broker.path).unwrap();
        let frame = encode(Kind::Shared, Source::NONE, 0, b"", &offer(4096));
        broker.send_with(&frame, &vec![null.as_fd(); count]);
        wait_until("it is declined", || !broker.state.declined.lock().unwrap().is_empty());
        let declined = broker.state.declined.lock().unwrap().clone();
        assert!(declined[0].contains(reason) && !declined[0].is_empty(), "{declined:?}");
        client.ping().unwrap();
        client.emit("a", "x").unwrap();
        client.disconnect().unwrap();
        assert_eq!((broker.events(), declined.len()), (1, 1));
    }
}

#[test]
fn a_step_that_is_not_the_next_ends_the_connection() {
    for step in [SharedStep::Begin, SharedStep::Accept] {
        let broker = Broker::start();
        let client = Client::connect(&broker.path).unwrap();
        let (sender, told) = channel();
        client.on_lifecycle(move |event| drop(sender.send(event.clone())));
        broker.send(&encode(Kind::Shared, Source::NONE, 0, b"", &step.encode()));
        let is_error = |event: &Lifecycle| matches!(event, Lifecycle::Error(_));
        let told = || told.recv_timeout(PATIENCE).unwrap();
        assert!(is_error(&told()) || is_error(&told()));
    }
}

#[test]
fn a_full_ring_makes_emitters_wait_and_grows() {
    shared(|| {
        let broker = Broker::start();
        let client = connect(&broker);
        broker.state.stalled.store(true, SeqCst);
        let emitter = client.clone();
        let emitting = std::thread::spawn(move || {
            for _ in 0..20_000 {
                emitter.emit("a", [7; 1000]).unwrap();
            }
            emitter.emit("b", vec![7; LARGE_BYTES]).unwrap();
            emitter.flush().unwrap();
        });
        wait_until("it waits", || broker.state.room_wanted.load(SeqCst));
        assert!(!emitting.is_finished() && client.last_sequence() < 2000);
        broker.state.stalled.store(false, SeqCst);
        emitting.join().unwrap();
        client.disconnect().unwrap();
        assert_eq!(broker.events(), 20_001);
        assert!(broker.state.largest_ring.load(SeqCst) > 64 << 10, "it grew");
    });
}

#[test]
fn who_waits_for_room_has_put_pings_and_what_others_appended_meanwhile() {
    const EVENTS: usize = 200;
    shared(|| {
        let broker = Broker::start();
        let client = connect(&broker);
        let emit = |number: usize| {
            let client = client.clone();
            std::thread::spawn(move || {
                for at in 0..EVENTS {
                    client.emit("a", vec![7; 1000 + (at * 7 + number) % 40 * 20_000]).unwrap();
                }
            })
        };
        let emitters: Vec<_> = (0..4).map(emit).collect();
        wait_until("all is emitted", || emitters.iter().all(|emitter| emitter.is_finished()));
        for emitter in emitters {
            emitter.join().unwrap();
        }
        client.disconnect().unwrap();
        assert_eq!(broker.events(), 4 * EVENTS);
    });
}

#[test]
fn an_emitter_that_waits_for_room_goes_on_with_the_next_broker() {
    shared(|| {
        let broker = Broker::start();
        let client = connect(&broker);
        let (sender, told) = channel();
        client.on_lifecycle(move |event| drop(sender.send(event.clone())));
        broker.state.stalled.store(true, SeqCst);
        let emitter = client.clone();
        let emitting = std::thread::spawn(move || {
            for _ in 0..1000 {
                emitter.emit("a", [7; 1000]).unwrap();
            }
        });
        wait_until("it waits", || broker.state.room_wanted.load(SeqCst));
        assert!(client.last_sequence() < 1000);
        let broker = Broker::start_in(broker.kill());
        emitting.join().unwrap();
        wait_until("it is back", || client.ping().is_ok());
        client.disconnect().unwrap();
        let told: Vec<_> = told.try_iter().collect();
        let put = told.iter().find_map(|event| match event {
            Lifecycle::Connect { resumed: true, doubtful, .. } => Some(*doubtful),
            _ => None,
        });
        let confirmed = told.iter().find_map(|event| match event {
            Lifecycle::Disconnect { confirmed, .. } => Some(*confirmed),
            _ => None,
        });
        // Those that were put are in doubt, all others came.
        let put = put.zip(confirmed).map(|(put, confirmed)| put + confirmed);
        assert_eq!(put, Some(1000 - broker.events() as u64), "{told:?}");
    });
}

#[test]
fn what_the_broker_says_last_is_read_before_its_end() {
    shared(|| {
        let broker = Broker::start();
        let client = connect(&broker);
        let (sender, told) = channel();
        client.on_lifecycle(move |event| drop(sender.send(event.clone())));
        broker.kick(ErrorCode::Stalled, "too slow");
        let told = || format!("{:?}", told.recv_timeout(PATIENCE).unwrap());
        assert!(told().contains("too slow") || told().contains("too slow"));
    });
}

#[test]
fn what_was_emitted_before_the_last_handle_goes_arrives() {
    shared(|| {
        let broker = Broker::start();
        for _ in 0..20 {
            let client = connect(&broker);
            let before = broker.events();
            for _ in 0..100 {
                client.emit("a", "x").unwrap();
            }
            drop(client);
            wait_until("all came", || broker.events() == before + 100);
        }
    });
}

#[test]
fn a_client_that_spins_hears_and_sleeps_when_nothing_comes() {
    shared(|| {
        let broker = Broker::start();
        let spinning = Client::builder().spin(Duration::from_micros(50));
        let listener = spinning.connect(&broker.path).unwrap();
        let client = connect(&broker);
        let heard = listener.subscribe("a").unwrap();
        for _ in 0..100 {
            client.emit("a", "x").unwrap();
            assert_eq!(heard.recv_timeout(PATIENCE).unwrap().payload(), b"x");
        }
    });
}
