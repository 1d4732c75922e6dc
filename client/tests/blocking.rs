//! Behaviour of the blocking client alone: waiting for a place, and listeners that call
//! what others wait in.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
#[cfg(target_os = "linux")]
use std::time::{Duration, Instant};

use netcluster_client::{Client, Encoding, Error};
use support::{Broker, PATIENCE, wait_until};
#[cfg(target_os = "linux")]
#[test]
fn connecting_is_given_up_in_time_also_while_nobody_accepts() {
    let path = std::env::temp_dir().join(format!("nc-backlog-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let held = support::full_backlog(&path);
    let timeout = Duration::from_millis(50);
    let builder = || Client::builder().connect_timeout(timeout);
    let start = Instant::now();
    let error = builder().connect(&path).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(start.elapsed() >= timeout);
    // A place that becomes free is taken.
    let patient = Client::builder().connect_timeout(PATIENCE);
    let waiting = path.clone();
    let connecting = std::thread::spawn(move || patient.connect(&waiting).unwrap_err());
    std::thread::sleep(timeout);
    assert!(!connecting.is_finished());
    rustix::net::accept(&held[0]).unwrap();
    let taken = rustix::net::accept(&held[0]).unwrap();
    let mut hello = [0; 8];
    let (_, bytes) =
        rustix::net::recv(&taken, &mut hello, rustix::net::RecvFlags::empty()).unwrap();
    assert_eq!(bytes, 8, "the client that waited says hello");
    drop((taken, held));
    connecting.join().unwrap();
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_listener_gets_backpressure_where_a_thread_would_wait() {
    let broker = Broker::start();
    let client = Client::builder().echo(true).max_buffer(1 << 20).connect(&broker.path).unwrap();
    let (sender, receiver) = channel();
    let (inside, state) = (client.clone(), Arc::clone(&broker.state));
    client
        .once("start", move |_| {
            state.stalled.store(true, SeqCst);
            let mut emitted = 0;
            let error = loop {
                match inside.emit("flood", [0; 1000]) {
                    Ok(()) => emitted += 1,
                    Err(error) => break error,
                }
            };
            assert!(inside.flush().is_err());
            assert!(matches!(inside.ping(), Err(Error::InsideListener(_))));
            assert!(matches!(inside.status(), Err(Error::InsideListener(_))));
            sender.send((emitted, error)).unwrap();
        })
        .unwrap();
    client.emit("start", "").unwrap();
    let (emitted, error) = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(error, Error::Backpressure), "{error:?}");
    assert!(emitted >= 1000, "{emitted}");
    broker.state.stalled.store(false, SeqCst);
    client.disconnect().unwrap();
    assert_eq!(broker.events(), emitted + 1, "nothing accepted is lost");
}

#[test]
fn a_thread_that_tries_gets_backpressure_where_another_would_wait() {
    let broker = Broker::start();
    let client = Client::builder().max_buffer(1 << 20).connect(&broker.path).unwrap();
    client.try_emit("alone", "").unwrap();
    client.ping().unwrap();
    assert_eq!(broker.events(), 1, "it leaves by itself");
    broker.state.stalled.store(true, SeqCst);
    let mut emitted = 1;
    let error = loop {
        match client.try_emit("flood", [0; 1000]) {
            Ok(()) => emitted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Backpressure), "{error:?}");
    assert!(emitted >= 1000, "{emitted}");
    assert!(!client.in_listener(), "the thread is what it was");
    broker.state.stalled.store(false, SeqCst);
    client.emit("flood", [0; 1000]).unwrap();
    client.disconnect().unwrap();
    assert_eq!(broker.events(), emitted + 1, "nothing accepted is lost");
    assert!(matches!(client.try_emit("late", ""), Err(Error::Disconnected(_))));
}

#[test]
fn an_emit_that_waits_for_room_asks_whether_to_wait_on() {
    let broker = Broker::start();
    let client = Client::builder().max_buffer(1 << 20).connect(&broker.path).unwrap();
    broker.state.stalled.store(true, SeqCst);
    let emit = |go_on: &mut dyn FnMut() -> bool| {
        client.emit_while("flood", Encoding::Bytes, [0; 1000], go_on)
    };
    let (mut emitted, mut asked) = (0, 0);
    let mut stop = || {
        asked += 1;
        asked < 3
    };
    let error = loop {
        match emit(&mut stop) {
            Ok(()) => emitted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Backpressure), "{error:?}");
    assert!(emitted >= 1000, "{emitted}");
    assert_eq!(asked, 3);
    // Once there is room it is emitted, whatever others emit meanwhile.
    let others: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || {
                (0..20_000).for_each(|_| client.emit("flood", [0; 1000]).unwrap());
            })
        })
        .collect();
    let broker_state = &broker.state;
    let mut resume = || {
        broker_state.stalled.store(false, SeqCst);
        true
    };
    (0..20_000).for_each(|_| emit(&mut resume).unwrap());
    others.into_iter().for_each(|other| other.join().unwrap());
    client.disconnect().unwrap();
    assert_eq!(broker.events(), emitted + 80_000, "nothing accepted is lost");
    assert!(matches!(emit(&mut || true), Err(Error::Disconnected(_))));
}

#[test]
fn a_listener_may_disconnect_and_drop_its_client() {
    let broker = Broker::start();
    let emitter = Client::connect(&broker.path).unwrap();
    let listener = Client::connect(&broker.path).unwrap();
    let (sender, receiver) = channel();
    let mut own = Some(listener.clone());
    listener
        .on("stop", move |_| {
            if let Some(client) = own.take() {
                client.disconnect().unwrap();
            }
            sender.send(()).unwrap();
        })
        .unwrap();
    drop(listener);
    emitter.emit("stop", "").unwrap();
    receiver.recv_timeout(PATIENCE).unwrap();
    wait_until("it is gone", || broker.clients() == 1);
}
