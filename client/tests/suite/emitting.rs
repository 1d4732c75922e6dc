//! Emitting: coalescing, limits, back-pressure, what listeners may do.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::Bus;
use crate::support::{Broker, PATIENCE, wait_until};
use netcluster_client::{Client, DisconnectReason, Error};

pub fn a_plain_loop_coalesces<B: Bus>() {
    const EVENTS: usize = 200_000;
    let broker = Broker::start();
    let client = B::connect(&broker.path).unwrap();
    let before = broker.state.reads.load(SeqCst);
    for _ in 0..EVENTS {
        client.emit("tick", [0; 16]).unwrap();
    }
    client.flush().unwrap();
    wait_until("all events have come", || broker.events() == EVENTS);
    let reads = broker.state.reads.load(SeqCst) - before;
    // By memory the broker may find what was put before it was all that is coming.
    assert!(reads < EVENTS / 20, "{reads} reads for {EVENTS} events");
}

pub fn a_single_event_leaves_by_itself<B: Bus>() {
    let broker = Broker::start();
    let client = B::connect(&broker.path).unwrap();
    // The second comes too soon after the first to be written at once.
    for count in [2, 4, 6] {
        client.emit("tick", "").unwrap();
        client.emit("tick", "").unwrap();
        wait_until("both have come", || broker.events() == count);
    }
}

pub fn several_threads_emit_each_in_its_order<B: Bus>() {
    const EVENTS: u64 = 20_000;
    let broker = Broker::start();
    let client = B::connect(&broker.path).unwrap();
    let listener = B::connect(&broker.path).unwrap();
    let (sender, receiver) = channel();
    let mut next = [0u64; 3];
    let mut last = 0;
    listener
        .on("t.*", move |message| {
            let thread: usize = message.event()[2..].parse().unwrap();
            let number = u64::from_le_bytes(message.payload()[..8].try_into().unwrap());
            assert_eq!(number, next[thread]);
            next[thread] += 1;
            assert_eq!(message.sequence(), last + 1);
            last += 1;
            if last == 3 * EVENTS {
                sender.send(()).unwrap();
            }
        })
        .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let client = client.clone();
            scope.spawn(move || {
                for number in 0..EVENTS {
                    let mut payload = number.to_le_bytes().to_vec();
                    // Now and then one that is gathered.
                    payload.resize(if number % 1000 == 999 { 40_000 } else { 8 }, 0);
                    client.emit(&format!("t.{thread}"), payload).unwrap();
                }
            });
        }
    });
    receiver.recv_timeout(PATIENCE).unwrap();
}

pub fn the_largest_payload_arrives_and_a_larger_one_is_refused_here<B: Bus>() {
    const LIMIT: usize = 16 << 20;
    let broker = Broker::start();
    let client = B::connect(&broker.path).unwrap();
    let listener = B::connect(&broker.path).unwrap();
    let (sender, receiver) = channel();
    listener
        .on("big", move |message| {
            assert_eq!(message.payload().as_ptr() as usize % 8, 0);
            sender.send(message.payload_bytes()).unwrap();
        })
        .unwrap();
    assert_eq!(client.max_payload(), LIMIT);
    let payload: Vec<u8> = (0..LIMIT).map(|index| (index % 251) as u8).collect();
    client.emit("big", "before").unwrap();
    client.emit("big", &payload).unwrap();
    client.emit("big", "after").unwrap();
    assert!(matches!(
        client.emit("big", vec![0; LIMIT + 1]),
        Err(Error::PayloadTooLarge { bytes, limit: LIMIT }) if bytes == LIMIT + 1
    ));
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), "before");
    assert!(receiver.recv_timeout(PATIENCE).unwrap() == payload);
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), "after");
}

pub fn a_small_limit_of_the_broker_holds<B: Bus>() {
    let broker = Broker::start();
    broker.state.max_payload.store(100, SeqCst);
    let client = B::connect(&broker.path).unwrap();
    assert!(matches!(client.emit("a", [0; 101]), Err(Error::PayloadTooLarge { .. })));
    client.emit("a", [0; 100]).unwrap();
    assert!(matches!(client.emit("a.*", ""), Err(Error::Name(_))));
    assert_eq!(client.last_sequence(), 1);
}

pub fn a_listener_emits_what_it_hears_and_its_own_order_holds<B: Bus>() {
    const EVENTS: usize = 50_000;
    let broker = Broker::start();
    let (one, two) = (B::connect(&broker.path).unwrap(), B::connect(&broker.path).unwrap());
    let answering = two.clone();
    two.on("ask", move |message| answering.emit_inside("answer", message.payload()).unwrap())
        .unwrap();
    let (sender, receiver) = channel();
    let mut next = 0u64;
    one.on("answer", move |message| {
        assert_eq!(message.payload(), next.to_le_bytes());
        next += 1;
        if next == EVENTS as u64 {
            sender.send(()).unwrap();
        }
    })
    .unwrap();
    for number in 0..EVENTS as u64 {
        one.emit("ask", number.to_le_bytes()).unwrap();
        if number % 1000 == 0 {
            // Bounds what waits at the listener's side.
            one.ping().unwrap();
        }
    }
    receiver.recv_timeout(PATIENCE).unwrap();
}

pub fn two_clients_that_flood_each_other_never_lock_up<B: Bus>() {
    let broker = Broker::start();
    // The other may still flood at the end, so that a bye takes long.
    let short = Duration::from_millis(100);
    let connect = |_| B::build(Client::builder().disconnect_timeout(short), &broker.path).unwrap();
    let clients = [0; 2].map(connect);
    let heard = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let stop = Arc::new(AtomicBool::new(false));
    for (index, client) in clients.iter().enumerate() {
        let (inside, heard) = (client.clone(), Arc::clone(&heard));
        client
            .on("**", move |message| {
                heard[index].fetch_add(1, SeqCst);
                // More than came in, so that it must hit the bound.
                for _ in 0..2 {
                    match inside.emit_inside("from.listener", message.payload()) {
                        Ok(()) | Err(Error::Backpressure) => {}
                        Err(Error::Disconnected(DisconnectReason::Requested)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
            .unwrap();
    }
    let loops = clients.clone().map(|client| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stop.load(SeqCst) {
                client.emit("from.loop", [1; 200]).unwrap();
            }
        })
    });
    let mut before = [0, 0];
    for _ in 0..5 {
        let start = Instant::now();
        wait_until("both go on", || {
            start.elapsed() > Duration::from_millis(100)
                && (0..2).all(|index| heard[index].load(SeqCst) > before[index])
        });
        before = [0, 1].map(|index| heard[index].load(SeqCst));
    }
    stop.store(true, SeqCst);
    loops.into_iter().for_each(|thread| thread.join().unwrap());
    for client in clients {
        // That it ends is all that is promised here.
        let _ = client.disconnect();
    }
}

pub fn dropping_the_last_handle_writes_what_was_emitted_and_ends<B: Bus>() {
    let broker = Broker::start();
    let client = B::connect(&broker.path).unwrap();
    client.on("a", |_| {}).unwrap();
    for _ in 0..1000 {
        client.emit("tick", "x").unwrap();
    }
    drop(client);
    wait_until("it is gone", || broker.clients() == 0);
    assert_eq!(broker.events(), 1000);
}

pub fn two_clients_that_emit_to_each_other_flat_out_do_not_wait_for_each_other<B: Bus>() {
    const EVENTS: usize = 3000;
    let broker = Broker::start();
    let clients = [0, 1].map(|_| B::connect(&broker.path).unwrap());
    let heard = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
    for (client, heard) in clients.iter().zip(&heard) {
        let heard = Arc::clone(heard);
        let count = move || {
            heard.fetch_add(1, SeqCst);
        };
        client.on("tick", move |_| count()).unwrap();
    }
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                for _ in 0..EVENTS {
                    client.emit("tick", [7; 1000]).unwrap();
                }
            });
        }
    });
    wait_until("all have come", || heard.iter().all(|heard| heard.load(SeqCst) == EVENTS));
}

super::both!(
    a_plain_loop_coalesces,
    a_single_event_leaves_by_itself,
    several_threads_emit_each_in_its_order,
    the_largest_payload_arrives_and_a_larger_one_is_refused_here,
    a_small_limit_of_the_broker_holds,
    a_listener_emits_what_it_hears_and_its_own_order_holds,
    two_clients_that_flood_each_other_never_lock_up,
    dropping_the_last_handle_writes_what_was_emitted_and_ends,
    two_clients_that_emit_to_each_other_flat_out_do_not_wait_for_each_other,
);
