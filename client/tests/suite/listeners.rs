//! Listeners: order, once, removal, panics, the pull style.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Bus, Pull};
use crate::support::{Broker, PATIENCE, wait_until};
use netcluster_client::{Client, Encoding, Error, Lifecycle, LossReason, RecvError};
use netcluster_wire::frame::encode;
use netcluster_wire::{Kind, control};

fn pair<B: Bus>() -> (Broker, B, B) {
    let broker = Broker::start();
    let emitter = B::connect(&broker.path).unwrap();
    let listener = B::connect(&broker.path).unwrap();
    (broker, emitter, listener)
}

fn text(
    sender: &Sender<String>,
    label: &str,
) -> impl FnMut(&netcluster_client::Message<'_>) + use<> {
    let (sender, label) = (sender.clone(), label.to_owned());
    move |message| {
        let payload = String::from_utf8_lossy(message.payload()).into_owned();
        sender.send(format!("{label}{payload}")).unwrap();
    }
}

fn take<const N: usize>(receiver: &Receiver<String>) -> [String; N] {
    std::array::from_fn(|_| receiver.recv_timeout(PATIENCE).unwrap())
}

pub fn events_arrive_in_the_order_emitted_with_all_they_carry<B: Bus>() {
    let (_broker, emitter, listener) = pair::<B>();
    let (sender, receiver) = channel();
    listener
        .on("a.*", move |message| {
            assert_eq!(message.payload().as_ptr() as usize % 8, 0);
            let kept = message.into_owned();
            assert_eq!(kept.payload().as_ptr() as usize % 8, 0);
            assert_eq!(message.payload_bytes(), kept.payload());
            sender.send(kept).unwrap();
        })
        .unwrap();
    for index in 0..10_000u64 {
        emitter.emit(if index % 3 == 0 { "a.x" } else { "a.y" }, index.to_string()).unwrap();
    }
    for index in 0..10_000u64 {
        let message = receiver.recv_timeout(PATIENCE).unwrap();
        assert_eq!(message.event(), if index % 3 == 0 { "a.x" } else { "a.y" });
        assert_eq!(message.payload(), index.to_string().as_bytes());
        assert_eq!((message.source(), message.sequence()), (emitter.source(), index + 1));
    }
    assert_eq!(emitter.last_sequence(), 10_000);
}

pub fn listeners_run_in_their_order_and_once_runs_once<B: Bus>() {
    let (broker, emitter, listener) = pair::<B>();
    let (sender, receiver) = channel();
    listener.on("log", text(&sender, "1:")).unwrap();
    listener.on("**", text(&sender, "2:")).unwrap();
    listener.once("log", text(&sender, "once:")).unwrap();
    listener.prepend_listener("lag", text(&sender, "never:")).unwrap();
    listener.prepend_listener("log", text(&sender, "0:")).unwrap();
    listener.prepend_once_listener("*", text(&sender, "first:")).unwrap();
    assert_eq!(listener.event_names(), ["*", "**", "lag", "log"]);
    assert_eq!((listener.listener_count("log"), listener.listener_count("x")), (3, 0));
    emitter.emit("log", "A").unwrap();
    emitter.emit("log", "B").unwrap();
    let got: [String; 8] = take(&receiver);
    assert_eq!(got, ["first:A", "0:A", "1:A", "2:A", "once:A", "0:B", "1:B", "2:B"]);
    assert_eq!(listener.listener_count("log"), 2);
    assert_eq!(listener.event_names(), ["**", "lag", "log"]);
    // Several listeners of one pattern are one subscription.
    let subscribed = |name: &str, kind| {
        broker.seen().iter().filter(|seen| seen.name == name && seen.kind == kind).count()
    };
    assert_eq!(subscribed("log", netcluster_wire::Kind::Subscribe), 1);
    wait_until("it is unsubscribed", || subscribed("*", netcluster_wire::Kind::Unsubscribe) == 1);
    assert_eq!(listener.remove_all_listeners(Some("log")), 2);
    assert_eq!(listener.remove_all_listeners(None), 2);
    assert!(listener.event_names().is_empty());
}

pub fn a_listener_removed_while_a_message_is_dispatched_is_not_called_again<B: Bus>() {
    let (_broker, emitter, listener) = pair::<B>();
    let (sender, receiver) = channel();
    let ids = Arc::new(Mutex::new(Vec::new()));
    let (inside, remove, log) = (listener.clone(), Arc::clone(&ids), sender.clone());
    let first = listener
        .on("log", move |_| {
            for id in remove.lock().unwrap().drain(..) {
                assert!(inside.remove_listener(id));
                assert!(!inside.remove_listener(id));
            }
            // Not for this message, but for the next.
            if log.send("first".into()).is_ok() {
                inside.on_inside("log", text(&log, "late:"));
            }
        })
        .unwrap();
    let second = listener.on("log", text(&sender, "removed:")).unwrap();
    ids.lock().unwrap().extend([first, second]);
    listener.on("log", text(&sender, "third:")).unwrap();
    emitter.emit("log", "A").unwrap();
    emitter.emit("log", "B").unwrap();
    let got: [String; 4] = take(&receiver);
    assert_eq!(got, ["first", "third:A", "third:B", "late:B"]);
}

pub fn a_listener_that_panics_stays_and_the_client_lives<B: Bus>() {
    let (_broker, emitter, listener) = pair::<B>();
    let (sender, receiver) = channel();
    let errors = sender.clone();
    listener.on_lifecycle(move |event| {
        if let Lifecycle::Error(Error::ListenerPanicked { event, message }) = event {
            errors.send(format!("{event}!{message}")).unwrap();
        }
    });
    listener.on("log", |_| panic!("on purpose")).unwrap();
    emitter.emit("log", "").unwrap();
    emitter.emit("log", "").unwrap();
    assert_eq!(take(&receiver), ["log!on purpose", "log!on purpose"]);
    // Also among several.
    listener.on("log", text(&sender, "other:")).unwrap();
    emitter.emit("log", "C").unwrap();
    assert_eq!(take(&receiver), ["other:C", "log!on purpose"]);
}

pub fn a_refused_pattern_is_an_error_and_no_listener<B: Bus>() {
    let (_broker, _emitter, listener) = pair::<B>();
    assert!(matches!(listener.on("refused", |_| {}), Err(Error::PatternRefused(_))));
    assert!(matches!(listener.on("", |_| {}), Err(Error::Pattern(_))));
    assert!(matches!(listener.on("**.**.**.**.**", |_| {}), Err(Error::Pattern(_))));
    assert!(listener.event_names().is_empty());
    listener.on("fine", |_| {}).unwrap();
}

pub fn on_waits_for_the_acknowledgement_and_gives_up_in_time<B: Bus>() {
    use std::sync::atomic::Ordering::SeqCst;
    let broker = Broker::start();
    let client =
        B::build(Client::builder().connect_timeout(Duration::from_secs(2)), &broker.path).unwrap();
    broker.state.hold_acks.store(true, SeqCst);
    assert!(matches!(client.on("a", |_| {}), Err(Error::Timeout { .. })));
    assert_eq!(client.listener_count("a"), 0);
    broker.state.hold_acks.store(false, SeqCst);
    client.on("a", |_| {}).unwrap();
}

pub fn own_events_are_heard_only_with_echo<B: Bus>() {
    let broker = Broker::start();
    let (sender, receiver) = channel();
    let with = B::build(Client::builder().echo(true), &broker.path).unwrap();
    let without = B::connect(&broker.path).unwrap();
    with.on("log", text(&sender, "with:")).unwrap();
    without.on("log", text(&sender, "without:")).unwrap();
    with.emit("log", "A").unwrap();
    let mut got: [String; 2] = take(&receiver);
    got.sort();
    assert_eq!(got, ["with:A", "without:A"]);
    without.emit("log", "B").unwrap();
    assert_eq!(take(&receiver), ["with:B"]);
}

pub fn a_subscription_gives_messages_waits_and_ends_with_the_client<B: Bus>() {
    let (_broker, emitter, listener) = pair::<B>();
    let mut subscription = listener.subscribe("**").unwrap();
    assert_eq!(subscription.try_recv(), Err(RecvError::Empty));
    assert_eq!(subscription.recv_timeout(Duration::from_millis(1)), Err(RecvError::Empty));
    emitter.emit("a", "1").unwrap();
    assert_eq!(subscription.next().unwrap().unwrap().payload(), b"1");
    emitter.emit("a", "2").unwrap();
    emitter.ping().unwrap();
    listener.disconnect().unwrap();
    assert_eq!(subscription.by_ref().count(), 1);
    assert_eq!(subscription.try_recv(), Err(RecvError::Ended));
}

pub fn a_full_subscription_holds_the_emitter_but_not_its_own_client<B: Bus>() {
    const EVENTS: usize = 400;
    let (_broker, emitter, listener) = pair::<B>();
    let mut subscription = listener.subscribe("big").unwrap();
    let emitted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&emitted);
    let emitting = std::thread::spawn(move || {
        for _ in 0..EVENTS {
            emitter.emit("big", vec![7; 100_000]).unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        }
        emitter.disconnect().unwrap();
    });
    wait_until("some events are emitted", || emitted.load(Ordering::SeqCst) > 40);
    std::thread::sleep(Duration::from_millis(200));
    assert!(emitted.load(Ordering::SeqCst) < EVENTS, "nothing held the emitter");
    // The reader waits, but this client can still emit.
    listener.emit("other", "x").unwrap();
    listener.flush().unwrap();
    for _ in 0..EVENTS {
        assert_eq!(subscription.recv_timeout(PATIENCE).unwrap().payload().len(), 100_000);
    }
    emitting.join().unwrap();
}

pub fn a_client_can_end_while_its_subscription_is_full<B: Bus>() {
    let (_broker, emitter, listener) = pair::<B>();
    let subscription = listener.subscribe("big").unwrap();
    std::thread::spawn(move || while emitter.emit("big", vec![7; 100_000]).is_ok() {});
    std::thread::sleep(Duration::from_millis(100));
    listener.disconnect().unwrap();
    assert!(subscription.count() >= 1);
}

pub fn events_of_many_names_find_their_listeners<B: Bus>() {
    let (_broker, emitter, listener) = pair::<B>();
    let total = Arc::new(AtomicUsize::new(0));
    let all = Arc::clone(&total);
    listener
        .on("n.**", move |_| {
            all.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
    for name in 0..50 {
        let one = Arc::clone(&total);
        let pattern = format!("n.{name}");
        let expected = pattern.clone();
        listener
            .on(&pattern, move |message| {
                assert_eq!(message.event(), expected);
                one.fetch_add(1_000_000, Ordering::SeqCst);
            })
            .unwrap();
    }
    // More names than the cache holds.
    for index in 0..10_000 {
        emitter.emit(&format!("n.{index}"), "").unwrap();
    }
    wait_until("all of them are heard", || total.load(Ordering::SeqCst) == 50 * 1_000_000 + 10_000);
}

#[cfg(feature = "json")]
pub fn values_travel_as_json<B: Bus>() {
    let (_broker, emitter, listener) = pair::<B>();
    let mut subscription = listener.subscribe("json").unwrap();
    let (sender, receiver) = channel();
    listener
        .on("json", move |message| {
            sender.send(message.json::<Vec<u32>>()).unwrap();
        })
        .unwrap();
    emitter.emit_json("json", &[1, 2, 3]).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap().unwrap(), [1, 2, 3]);
    let message = subscription.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(message.json::<String>(), Err(Error::Json(_))));
}

/// Whatever the payload is; who decodes what is wrongly claimed gets an error, and has the
/// bytes all the same.
pub fn an_encoding_arrives_as_it_was_claimed<B: Bus>() {
    const LARGE_BYTES: usize = 300_000;
    let (_broker, emitter, listener) = pair::<B>();
    let (sender, receiver) = channel();
    listener.on("a", move |message| sender.send(message.into_owned()).unwrap()).unwrap();
    let large = "1".repeat(LARGE_BYTES);
    emitter.emit("a", "ä").unwrap();
    emitter.emit_text("a", "ä").unwrap();
    emitter.emit_json("a", &[1, 2]).unwrap();
    emitter.emit_encoded("a", Encoding::Json, large.as_bytes()).unwrap();
    emitter.emit_encoded("a", Encoding::Text, b"\xff").unwrap();
    emitter.emit_encoded("a", Encoding::Json, b"{").unwrap();
    let next = || receiver.recv_timeout(PATIENCE).unwrap();
    let (bytes, text, json) = (next(), next(), next());
    assert_eq!((bytes.encoding(), bytes.text().unwrap()), (Encoding::Bytes, "ä"));
    assert_eq!((text.encoding(), text.text().unwrap()), (Encoding::Text, "ä"));
    assert_eq!((json.encoding(), json.json::<[u32; 2]>().unwrap()), (Encoding::Json, [1, 2]));
    let long = next();
    assert_eq!((long.encoding(), long.payload()), (Encoding::Json, large.as_bytes()));
    let (no_text, no_json) = (next(), next());
    assert_eq!((no_text.encoding(), no_text.payload()), (Encoding::Text, &b"\xff"[..]));
    assert!(matches!(no_text.text(), Err(Error::Text(_))));
    assert_eq!((no_json.encoding(), no_json.payload()), (Encoding::Json, &b"{"[..]));
    assert!(matches!(no_json.json::<u32>(), Err(Error::Json(_))));
}

/// At its place in the order, also after a reconnect; losses in a row are one.
pub fn those_who_pull_are_told_what_is_missing<B: Bus>() {
    let (broker, emitter, listener) = pair::<B>();
    let mut subscription = listener.subscribe("a").unwrap();
    let lost = |count| {
        let reason = control::encode_lost(LossReason::Overflow);
        broker.send(&encode(Kind::Lost, emitter.source(), count, b"", &reason));
    };
    emitter.emit("a", "1").unwrap();
    emitter.ping().unwrap();
    lost(5);
    lost(2);
    emitter.emit("a", "2").unwrap();
    let mut recv = || subscription.recv_timeout(PATIENCE);
    assert_eq!(recv().unwrap().payload(), b"1");
    let mut missing = 0;
    let after = loop {
        match recv() {
            Err(RecvError::Lost(lost)) => {
                assert_eq!(lost.source, Some(emitter.source()));
                assert_eq!(lost.reason, LossReason::Overflow);
                missing += lost.count.unwrap();
            }
            other => break other.unwrap(),
        }
    };
    assert_eq!((missing, after.payload()), (7, &b"2"[..]));
    broker.cut();
    let Err(RecvError::Lost(lost)) = recv() else { panic!("a reconnect may miss events") };
    assert_eq!((lost.count, lost.reason), (None, LossReason::Disconnected));
    wait_until("the emitter is back", || emitter.ping().is_ok());
    emitter.emit("a", "3").unwrap();
    let mut items = subscription;
    assert_eq!(items.next().unwrap().unwrap().payload(), b"3");
}

super::both!(
    events_arrive_in_the_order_emitted_with_all_they_carry,
    listeners_run_in_their_order_and_once_runs_once,
    a_listener_removed_while_a_message_is_dispatched_is_not_called_again,
    a_listener_that_panics_stays_and_the_client_lives,
    a_refused_pattern_is_an_error_and_no_listener,
    on_waits_for_the_acknowledgement_and_gives_up_in_time,
    own_events_are_heard_only_with_echo,
    a_subscription_gives_messages_waits_and_ends_with_the_client,
    a_full_subscription_holds_the_emitter_but_not_its_own_client,
    a_client_can_end_while_its_subscription_is_full,
    events_of_many_names_find_their_listeners,
    #[cfg(feature = "json")]
    values_travel_as_json,
    an_encoding_arrives_as_it_was_claimed,
    those_who_pull_are_told_what_is_missing,
);
